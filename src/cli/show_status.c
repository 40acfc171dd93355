// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp status: a few lines, then tables of ports, brokers and workers.

#include "cli/output.h"

#include "offramp/v1/admin.pb-c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_S 1000000

static const struct table_column port_columns[] = {
	{"PORT", TABLE_LEFT},
	{"LINK", TABLE_LEFT},
	{"MAC", TABLE_LEFT},
	{"MTU", TABLE_RIGHT},
	{"ADDRESSES", TABLE_LEFT},
	{"DEVICE", TABLE_LEFT},
};
static const struct table_column broker_columns[] = {
	{"BROKER", TABLE_LEFT},
	{"LISTEN", TABLE_LEFT},
	{"ADDRESS", TABLE_LEFT},
	{"REACHABLE", TABLE_LEFT},
	{"MAP", TABLE_LEFT},
	{"KNOWLEDGE", TABLE_LEFT},
	{"AUTHORIZATION", TABLE_LEFT},
	{"CONNECTIONS", TABLE_RIGHT},
	{"SUBSCRIPTIONS", TABLE_RIGHT},
	{"SESSIONS", TABLE_RIGHT},
};
static const struct table_column worker_columns[] = {
	{"WORKER", TABLE_RIGHT},
	{"CORE", TABLE_RIGHT},
	{"BUSY", TABLE_RIGHT},
	{"CONNECTIONS", TABLE_RIGHT},
	{"SESSIONS", TABLE_RIGHT},
	{"SUBSCRIPTIONS", TABLE_RIGHT},
	{"CAPTURED", TABLE_RIGHT},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// --- for people ----------------------------------------------------------------------------------

static void print_duration(FILE *out, uint64_t us)
{
	uint64_t s = us / US_PER_S;

	if (s >= 86400)
		fprintf(out, "%" PRIu64 " d ", s / 86400);
	fprintf(out, "%02u:%02u:%02u", (unsigned)(s / 3600 % 24), (unsigned)(s / 60 % 60),
		(unsigned)(s % 60));
}

static void print_header(FILE *out, const Offramp__V1__StatusResponse *status)
{
	fprintf(out, "offrampd %s, process %u, up ", status->version, status->process_id);
	print_duration(out, status->uptime_us);
	fprintf(out, "\nconfiguration: %s\n", status->config_file);
	fprintf(out, "mode: %s, %u worker%s\n\n", status->mode, status->workers,
		status->workers == 1 ? "" : "s");
}

static void print_ports(FILE *out, const Offramp__V1__StatusResponse *status)
{
	struct table table;

	table_init(&table, port_columns, COUNT(port_columns));
	for (size_t i = 0; i < status->n_ports; i++) {
		const Offramp__V1__Port *port = status->ports[i];
		char addresses[256] = "";
		size_t length = 0;

		for (size_t j = 0; j < port->n_addresses && length < sizeof(addresses); j++)
			length += snprintf(addresses + length, sizeof(addresses) - length, "%s%s",
				j ? "," : "", port->addresses[j]);
		table_text(&table, port->name);
		table_text(&table, port->link_up ? "up" : "down");
		table_text(&table, port->mac);
		table_number(&table, port->mtu);
		table_text(&table, addresses);
		table_text(&table, port->device);
	}
	table_print(&table, out);
	table_fini(&table);
}

// Nothing where no stream ever was.
static void print_stream(FILE *out, const Offramp__V1__BrokerStatus *broker)
{
	const Offramp__V1__BrokerStream *stream = broker->stream;

	if (!stream || !(stream->connected || *stream->ended))
		return;
	fprintf(out, "\n%s: %s %s ", broker->name, stream->software,
		stream->connected ? "has told what happens for" : "was lost");
	print_duration(out, stream->for_us);
	if (!stream->connected)
		fprintf(out, " ago: %s\n", stream->ended);
	else
		fprintf(out, ", up to event %" PRIu64 "%s\n", stream->sequence,
			stream->lease_us ? "" : "; it is silent, nothing is relied on");
}

static void print_brokers(FILE *out, const Offramp__V1__StatusResponse *status)
{
	struct table table;

	table_init(&table, broker_columns, COUNT(broker_columns));
	for (size_t i = 0; i < status->n_brokers; i++) {
		const Offramp__V1__BrokerStatus *broker = status->brokers[i];

		table_text(&table, broker->name);
		table_text(&table, broker->listen);
		table_text(&table, broker->address);
		table_text(&table, broker->reachable ? "yes" : "no");
		table_text(&table, broker->map_complete ? "complete" : "incomplete");
		table_text(&table, broker->knowledge);
		table_text(&table, broker->authorization);
		table_number(&table, broker->connections);
		table_number(&table, broker->subscriptions);
		table_number(&table, broker->sessions);
	}
	fputc('\n', out);
	table_print(&table, out);
	table_fini(&table);
	for (size_t i = 0; i < status->n_brokers; i++) {
		print_stream(out, status->brokers[i]);
		if (!status->brokers[i]->map_complete)
			fprintf(out, "\n%s: publishes pass to the broker: %s\n",
				status->brokers[i]->name, status->brokers[i]->map_reason);
	}
}

static void print_workers(FILE *out, const Offramp__V1__StatusResponse *status)
{
	struct table table;

	table_init(&table, worker_columns, COUNT(worker_columns));
	for (size_t i = 0; i < status->n_worker_status; i++) {
		const Offramp__V1__WorkerStatus *worker = status->worker_status[i];
		char busy[16];

		snprintf(busy, sizeof(busy), "%u %%", (worker->busy_permille + 5) / 10);
		table_number(&table, worker->worker);
		table_number(&table, worker->core);
		table_text(&table, busy);
		table_number(&table, worker->connections);
		table_number(&table, worker->sessions);
		table_number(&table, worker->subscriptions);
		table_number(&table, worker->captured);
	}
	fputc('\n', out);
	table_print(&table, out);
	table_fini(&table);
}

// --- for programs --------------------------------------------------------------------------------

static void json_ports(struct json *json, const Offramp__V1__StatusResponse *status)
{
	json_array_begin(json, "ports");
	for (size_t i = 0; i < status->n_ports; i++) {
		const Offramp__V1__Port *port = status->ports[i];

		json_object_begin(json, NULL);
		json_text(json, "name", port->name);
		json_text(json, "device", port->device);
		json_text(json, "mac", port->mac);
		json_number(json, "mtu", port->mtu);
		json_bool(json, "link_up", port->link_up);
		json_array_begin(json, "addresses");
		for (size_t j = 0; j < port->n_addresses; j++)
			json_text(json, NULL, port->addresses[j]);
		json_array_end(json);
		json_object_end(json);
	}
	json_array_end(json);
}

static void json_stream(struct json *json, const Offramp__V1__BrokerStream *stream)
{
	bool ever = stream->connected || *stream->ended;

	json_object_begin(json, "stream");
	json_bool(json, "connected", stream->connected);
	json_text(json, "software", ever ? stream->software : NULL);
	json_real(json, "for_s", (double)stream->for_us / US_PER_S);
	json_text(json, "ended", *stream->ended ? stream->ended : NULL);
	json_number(json, "sequence", stream->sequence);
	json_real(json, "lease_s", (double)stream->lease_us / US_PER_S);
	json_object_end(json);
}

static void json_brokers(struct json *json, const Offramp__V1__StatusResponse *status)
{
	json_array_begin(json, "brokers");
	for (size_t i = 0; i < status->n_brokers; i++) {
		const Offramp__V1__BrokerStatus *broker = status->brokers[i];

		json_object_begin(json, NULL);
		json_text(json, "name", broker->name);
		json_text(json, "listen", broker->listen);
		json_text(json, "address", broker->address);
		json_text(json, "knowledge", broker->knowledge);
		json_text(json, "authorization", broker->authorization);
		json_bool(json, "map_complete", broker->map_complete);
		json_text(json, "map_reason", broker->map_complete ? NULL : broker->map_reason);
		json_bool(json, "reachable", broker->reachable);
		json_number(json, "connections", broker->connections);
		json_number(json, "subscriptions", broker->subscriptions);
		json_number(json, "sessions", broker->sessions);
		if (broker->stream)
			json_stream(json, broker->stream);
		json_object_end(json);
	}
	json_array_end(json);
}

static void json_workers(struct json *json, const Offramp__V1__StatusResponse *status)
{
	json_array_begin(json, "worker_status");
	for (size_t i = 0; i < status->n_worker_status; i++) {
		const Offramp__V1__WorkerStatus *worker = status->worker_status[i];

		json_object_begin(json, NULL);
		json_number(json, "worker", worker->worker);
		json_number(json, "core", worker->core);
		json_number(json, "connections", worker->connections);
		json_number(json, "sessions", worker->sessions);
		json_number(json, "subscriptions", worker->subscriptions);
		json_number(json, "captured", worker->captured);
		json_real(json, "busy", worker->busy_permille / 1000.0);
		json_object_end(json);
	}
	json_array_end(json);
}

static bool status_message(struct output *output, const uint8_t *bytes, size_t length)
{
	Offramp__V1__StatusResponse *status =
		offramp__v1__status_response__unpack(NULL, length, bytes);
	struct json *json = &output->json;

	if (!status)
		return false;
	if (output->as_json) {
		json_object_begin(json, NULL);
		json_text(json, "version", status->version);
		json_number(json, "process_id", status->process_id);
		json_real(json, "uptime_s", (double)status->uptime_us / US_PER_S);
		json_text(json, "mode", status->mode);
		json_text(json, "config_file", status->config_file);
		json_number(json, "workers", status->workers);
		json_ports(json, status);
		json_brokers(json, status);
		json_workers(json, status);
		json_object_end(json);
	} else {
		print_header(output->out, status);
		print_ports(output->out, status);
		print_brokers(output->out, status);
		print_workers(output->out, status);
	}
	offramp__v1__status_response__free_unpacked(status, NULL);
	return true;
}

const struct command command_status = {
	.name = "status",
	.summary = "the daemon, its ports, brokers and workers",
	.path = "/offramp.v1.Admin/Status",
	.message = status_message,
};
