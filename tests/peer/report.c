// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// One JSON object: every connection there is room for, sums over all, every counter.

#include "peer.h"

#include "base/clock.h"

#include <rte_common.h>

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
	printf("\"seconds\": %.3f, \"srtt\": %.6f, \"rto\": %.6f, \"backoff\": %u, ",
		(double)(app->ended_us - app->begun_us) / 1e6, info->srtt_us / 1e6,
		info->rto_us / 1e6, info->backoff);
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

// A moment by CLOCK_MONOTONIC, in seconds. The two clocks may run at slightly different speeds.
static double by_monotonic(const struct peer *peer, uint64_t at_us)
{
	double ours = (double)(clock_now_us() - peer->start_us);
	double theirs = (double)(monotonic_us() - peer->start_monotonic_us);

	return ((double)peer->start_monotonic_us +
		       (double)(at_us - peer->start_us) * theirs / ours) /
	       1e6;
}

static void print_waits(const struct peer *peer)
{
	static const char *const kinds[WAIT_KINDS] = {"bytes", "advance"};
	const struct waits *waits = &peer->waits;

	printf(",\n \"waits_total\": %" PRIu64 ", \"waits\": [", waits->count);
	for (uint64_t i = 0; i < RTE_MIN(waits->count, WAITS_MAX); i++) {
		const struct wait *wait = &waits->list[i];

		printf("%s\n  {\"kind\": \"%s\", \"port\": %u, \"begin\": %.6f, \"end\": %.6f, ",
			i > 0 ? "," : "", kinds[wait->kind], wait->port,
			by_monotonic(peer, wait->begin_us), by_monotonic(peer, wait->end_us));
		printf("\"rto\": %.6f, \"srtt\": %.6f, \"rttvar\": %.6f, \"backoff\": %u}",
			wait->rto_us / 1e6, wait->srtt_us / 1e6, wait->rttvar_us / 1e6,
			wait->backoff);
	}
	printf("]");
}

// What is left to the port's device.
static void print_caps(const struct port_caps *caps)
{
	printf(",\n \"caps\": {\"rx_checksum\": %u, \"tx_ip_checksum\": %u, "
	       "\"tx_tcp_checksum\": %u, \"multi_segment\": %u, \"tso\": %u, "
	       "\"tso_ipv6\": %u}",
		caps->rx_checksum, caps->tx_ip_checksum, caps->tx_tcp_checksum, caps->multi_segment,
		caps->tso, caps->tso_ipv6);
}

// Connections, and what they keep.
static void print_kept(const struct peer *peer)
{
	struct tcp_usage usage;

	tcp_stack_usage(peer->tcp, &usage);
	printf(",\n \"kept\": {\"connections\": %u, \"pieces\": %u",
		usage.pcbs - peer->options.listens_count, usage.pieces);
	for (unsigned i = 0; i < POOLS; i++)
		printf(", \"%s\": %u", pool_names[i], pools_in_use(&peer->pools, i));
	printf("}");
}

void report_print(const struct peer *peer)
{
	printf("{\"ended\": %" PRIu64 ", \"open\": %u, \"wrong\": %" PRIu64
	       ", \"pause\": %.3f,\n \"outcomes\": {",
		peer->ended, peer->apps_open, peer->wrong, (double)peer->pause_us / 1e6);
	for (unsigned i = 0; i < OUTCOMES; i++)
		printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", outcome_names[i],
			i == OUTCOME_OPEN ? peer->apps_open : peer->outcomes[i]);
	printf("},\n \"connections\": [");
	for (unsigned i = 0; i < peer->apps_used && i < 64; i++) {
		printf("%s\n  ", i > 0 ? "," : "");
		print_app(&peer->apps[i]);
	}
	printf("]");
	print_waits(peer);
	print_kept(peer);
	print_caps(port_get_caps(peer->port));
	port_counters_update(peer->port);
	print_set("port", port_counters(peer->port));
	print_set("net", net_counters(peer->net));
	print_set("tcp", tcp_counters(peer->tcp));
	printf("}\n");
	fflush(stdout);
}
