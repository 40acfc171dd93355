// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One JSON object: every connection there is room for, sums over all, every counter.

#include "peer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_app(const struct app *app)
{
	const struct tcp_info *info = &app->info;
	char remote[NET_ENDPOINT_STRLEN];

	printf("{\"role\": \"%s\", \"remote\": \"%s\", \"outcome\": \"%s\", \"state\": \"%s\", ",
		role_names[app->role], net_endpoint_format(&app->remote, remote),
		outcome_names[app->outcome], tcp_state_name(info->state));
	printf("\"received\": %" PRIu64 ", \"sent\": %" PRIu64 ", ", app->received, app->sent);
	if (app->wrong_at == UINT64_MAX)
		printf("\"wrong_at\": null, ");
	else
		printf("\"wrong_at\": %" PRIu64 ", ", app->wrong_at);
	printf("\"seconds\": %.3f, \"stall\": %.3f, \"rto_max\": %.3f, \"srtt\": %.6f, ",
		(double)(app->ended_us - app->begun_us) / 1e6, (double)app->stall_us / 1e6,
		app->rto_max_us / 1e6, info->srtt_us / 1e6);
	printf("\"mss\": %u, \"cwnd\": %u, \"ssthresh\": %u, \"retransmits\": %u}", info->mss,
		info->cwnd, info->ssthresh, info->retransmits);
}

static void print_family(const struct counter_family *family, const uint64_t *values)
{
	if (family->label == NULL) {
		printf("%" PRIu64, counter_read(values));
		return;
	}
	printf("{");
	for (unsigned i = 0; i < family->slots; i++)
		printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", family->values[i],
			counter_read(&values[i]));
	printf("}");
}

static void print_set(const char *floor, struct counter_set set)
{
	const uint64_t *values = set.values;

	printf(",\n \"%s\": {", floor);
	for (unsigned i = 0; i < set.families_count; i++) {
		printf("%s\"%s\": ", i > 0 ? ", " : "", set.families[i].name);
		print_family(&set.families[i], values);
		values += set.families[i].slots;
	}
	printf("}");
}

void report_print(const struct peer *peer)
{
	printf("{\"ended\": %" PRIu64 ", \"open\": %u, \"wrong\": %" PRIu64
	       ", \"stall\": %.3f, \"rto_max\": %.3f,\n \"outcomes\": {",
		peer->ended, peer->apps_open, peer->wrong, (double)peer->stall_us / 1e6,
		peer->rto_max_us / 1e6);
	for (unsigned i = 0; i < OUTCOMES; i++)
		printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", outcome_names[i],
			i == OUTCOME_OPEN ? peer->apps_open : peer->outcomes[i]);
	printf("},\n \"connections\": [");
	for (unsigned i = 0; i < peer->apps_used && i < 64; i++) {
		printf("%s\n  ", i > 0 ? "," : "");
		print_app(&peer->apps[i]);
	}
	printf("]");
	port_counters_update(peer->port);
	print_set("port", port_counters(peer->port));
	print_set("net", net_counters(peer->net));
	print_set("tcp", tcp_counters(peer->tcp));
	printf("}\n");
	fflush(stdout);
}
