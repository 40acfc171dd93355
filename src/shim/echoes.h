// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// ICMP sockets (ping). Each is the kernel's, and has a slot beside once it has sent an echo request
// to where the daemon has a way; what comes to either is received. All else that it sends stays the
// kernel's. Under the shim's lock; what waits lets it go meanwhile.

#pragma once

#include <sys/socket.h>

#include "shim/object.h"
#include "shim/ways.h"

struct shim;

// What the kernel's socket remembers, and what it means here.
struct echo_options {
	bool timestamp, timestamp_ns; // SO_TIMESTAMP, SO_TIMESTAMPNS
	bool hops, tos, packet_info;  // IP_RECVTTL, IPV6_RECVHOPLIMIT …
	bool errors;		      // IP_RECVERR
	bool whole;		      // never in fragments
	bool learns_mtu;	      // IP_MTU_DISCOVER is not "don't"
	bool elsewhere;		      // headers of its own, or bound to a device: the kernel's
	int send_hops, send_tos;      // -1: the usual ones
	int64_t read_timeout_us, write_timeout_us; // -1: none
	uint32_t filter[8]; // ICMP_FILTER, ICMP6_FILTER: a type's bit: not it
};

// What has come, or (`error` not 0) an error with what it is about.
struct echo_packet {
	struct list link;
	int error;
	uint8_t origin, type, code;
	uint32_t info;
	struct channel_endpoint remote, local; // of an error: where it was sent to, and who told
	uint8_t hops, tos;
	uint64_t came_ns;
	uint32_t length;
	uint8_t data[];
};

struct echo {
	struct object object;
	struct list link; // of all
	bool ipv6, raw;
	struct echo_options options;
	// The slot.
	uint32_t number;
	bool open;
	uint32_t slot;
	uint8_t *record;		   // of the datagram that is being written
	uint8_t *came;			   // room for one that comes: stacks may be small
	uint32_t record_at, record_length; // what of it found no room
	// Where it sends to.
	unsigned asked;	  // of which attachment: `remote`'s way
	int64_t asked_us; // when; a way that there is stays
	bool ours;
	struct channel_endpoint remote;
	struct way way;
	unsigned refused; // an attachment that does not have it
	bool connected;
	bool named; // connect() was more than the kernel could do
	struct channel_endpoint peer;
	struct list packets, errors;
	unsigned packets_count, errors_count;
	int error; // SO_ERROR
};

// The descriptor's object, or NULL. Takes no lock.
void echo_create(int fd, int family, int type);
// As sendmsg(). False: the kernel's.
bool echo_send(struct echo *echo, const struct msghdr *message, int flags, ssize_t *ret_rc);
// As recvmsg(), from both.
ssize_t echo_receive(struct echo *echo, struct msghdr *message, int flags);
int echo_connect(struct echo *echo, const struct sockaddr *address, socklen_t length);
// Is the address the daemon's?
bool echo_binds(const struct sockaddr *address, socklen_t length);
// getpeername(), or getsockname(): 0, or -errno.
int echo_name(struct echo *echo, bool peer, struct sockaddr *ret_address, socklen_t *length);
uint32_t echo_events(struct echo *echo); // EPOLL…
int echo_take_error(struct echo *echo);	 // SO_ERROR
// FIONREAD. False: the kernel's.
bool echo_readable(const struct echo *echo, int *ret_octets);
void echo_close(struct echo *echo);
void echo_destroy(struct echo *echo);

// --- news ----------------------------------------------------------------------------------------

// False: no echo's.
bool echo_opened(struct shim *shim, uint32_t slot, const struct lane_slot *state);
void echo_moved(struct shim *shim, uint32_t slot);
// The attachment is gone, or (in a child) another's.
void echo_lost(struct echo *echo);

// --- options (echo_options.c) --------------------------------------------------------------------

// After every setsockopt() that the kernel took.
void echo_options_read(struct echo *echo, int fd);

// --- what comes (echo_packets.c) -----------------------------------------------------------------

// An ICMP message as the lane brought it, `head.header` octets of IPv4 header in front.
void echo_packet_arrived(
	struct echo *echo, const struct channel_datagram *head, const uint8_t *data);
// Too long for one packet: told as Linux does.
void echo_too_long(struct echo *echo, const struct channel_endpoint *to, uint16_t mtu);
// Fills what recvmsg() was given. How many octets.
ssize_t echo_packet_give(const struct echo *echo, const struct echo_packet *packet,
	struct msghdr *message, int flags);
// Of `packets` or `errors`: the first is done with.
void echo_packet_drop(struct echo *echo, struct list *queue);
