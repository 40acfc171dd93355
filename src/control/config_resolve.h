// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// From what the file says to what the floors need: numbers with their defaults and
// ranges, addresses, and whether the parts agree with each other.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "control/config_raw.h"

struct config_document;

// Fills `config`, which points into `raw` from then on. -EINVAL when errors were told, -ENOMEM;
// config_unresolve() must follow in every case.
int config_resolve(
	struct config_document *document, const struct raw_config *raw, struct config *ret_config);
void config_unresolve(struct config *config);

// --- shared by the parts of the resolver ---------------------------------------------------------

// Formats a path into a buffer of CONFIG_PATH_MAX and returns it.
__attribute__((format(printf, 2, 3))) const char *config_path(char *path, const char *format, ...);

// Fills all numbers of a section; `path` is where it stands in this file ("brokers[0].client").
void config_resolve_numbers(struct config_document *document, enum config_section_id section,
	const char *path, const void *raw, void *into);

// False after one error line.
bool config_resolve_address(struct config_document *document, const char *path, const char *text,
	struct net_address *ret_address);
// One error line when no port has the address.
void config_check_own(struct config_document *document, const char *path, const char *text,
	const struct config *config, const struct net_address *address);
bool config_resolve_name(struct config_document *document, const char *path, const char *text);

// Ports, routes, neighbours; then brokers, which need them. -ENOMEM or 0.
int config_resolve_network(
	struct config_document *document, const struct raw_config *raw, struct config *config);
int config_resolve_brokers(
	struct config_document *document, const struct raw_config *raw, struct config *config);

// control.listen. -ENOMEM or 0.
int config_resolve_control(
	struct config_document *document, const struct raw_control *raw, struct config *config);
// socket. -ENOMEM or 0.
int config_resolve_socket(
	struct config_document *document, const struct raw_socket *raw, struct config *config);
void config_unresolve_socket(struct config_socket *socket);
// A unix socket's path; one error line when it cannot be one.
void config_check_socket(struct config_document *document, const char *path, const char *socket);
// UINT32_MAX: none is named.
uint32_t config_group_of(struct config_document *document, const char *path, const char *name);
bool config_is_loopback(const struct net_address *address);
// An address and a port, or "unix:" and *ret_path. False after one error line.
bool config_resolve_place(struct config_document *document, const char *path, const char *text,
	const char **ret_path, struct net_endpoint *ret_tcp);
// Reads and checks the files of a `tls` section, which stands at `path`. -ENOMEM or 0.
int config_tls_create(struct config_document *document, const char *path, const struct raw_tls *raw,
	struct config_tls **ret_tls);
void config_tls_destroy(struct config_tls *tls); // accepts NULL

// The port of which `address` is an address; NULL when it is not ours.
const struct config_port *config_port_of_address(
	const struct config *config, const struct net_address *address);
// The prefix in which `address` lies, the longest of all ports'; NULL when it is on no wire of
// ours.
const struct net_interface_address *config_prefix_of_neighbour(
	const struct config *config, const struct net_address *address);
