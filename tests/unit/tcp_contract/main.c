// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The contract of tcp/tcp.h, used as it says and through a shared object that holds nothing of ours
// but base, net and tcp: two hosts, one clock that is only a number.

#include "driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <rte_eal.h>

#include <string.h>

#define NEVER UINT64_MAX
#define TICK  1000 // us

struct pair {
	struct driver *client, *server;
	struct tcp_pcb *listener;
	uint64_t now_us;
	bool cut; // the wire between them
};

static int setup(void **state)
{
	static struct pair pair;
	const struct net_endpoint here = driver_endpoint("198.18.0.2:1883");

	pair = (struct pair){.now_us = 5000000};
	pair.client = driver_create("198.18.0.1", pair.now_us);
	pair.server = driver_create("198.18.0.2", pair.now_us);
	assert_non_null(pair.client);
	assert_non_null(pair.server);
	assert_int_equal(tcp_listen(driver_stack(pair.server), &here, NULL, &pair.listener), 0);
	*state = &pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	driver_destroy(p->client);
	driver_destroy(p->server);
	return 0;
}

static unsigned carry(struct pair *p, struct driver *from, struct driver *to)
{
	uint8_t packet[2048];
	unsigned n = 0;
	size_t length;

	for (; (length = driver_take(from, packet, sizeof(packet))) > 0; n++)
		if (!p->cut)
			driver_inject(to, packet, length);
	return n;
}

// Packets go to and fro until nobody has any, then the clock jumps; for at most `us`.
static void play(struct pair *p, uint64_t us)
{
	uint64_t end = p->now_us + us;

	for (;;) {
		uint64_t client = driver_advance(p->client, p->now_us);
		uint64_t server = driver_advance(p->server, p->now_us);
		uint64_t next = client < server ? client : server;

		if (carry(p, p->client, p->server) + carry(p, p->server, p->client) > 0)
			continue;
		if (next > end)
			break;
		// A deadline of now means that events wait for the user, who looks at them later.
		p->now_us = next > p->now_us ? next : p->now_us + TICK;
		if (p->now_us > end)
			break;
	}
	p->now_us = end;
}

static uint32_t event_of(struct driver *d, struct tcp_pcb **ret_pcb)
{
	uint32_t events = 0;

	*ret_pcb = tcp_ready_next(driver_stack(d), &events);
	return *ret_pcb ? events : 0;
}

static void connected(struct pair *p, struct tcp_pcb **ret_client, struct tcp_pcb **ret_server)
{
	const struct net_endpoint any = {.port = 0};
	const struct net_endpoint there = driver_endpoint("198.18.0.2:1883");
	struct tcp_pcb *pcb;

	assert_int_equal(
		tcp_connect(driver_stack(p->client), &any, &there, NULL, NULL, ret_client), 0);
	driver_advance(p->client, p->now_us);
	carry(p, p->client, p->server);
	assert_int_equal(event_of(p->server, ret_server), TCP_EVENT_SYN);
	assert_ptr_equal(tcp_pcb_listener(*ret_server), p->listener);
	tcp_accept(*ret_server);
	play(p, 1000);
	assert_int_equal(event_of(p->client, &pcb), TCP_EVENT_ESTABLISHED);
	assert_int_equal(event_of(p->server, &pcb), TCP_EVENT_ESTABLISHED);
}

static void text_goes_both_ways_and_ends_in_order(void **state)
{
	static const char question[] = "how are you?";
	static uint8_t answer[60000];
	struct pair *p = *state;
	struct tcp_pcb *client, *server, *pcb;
	struct tcp_span span;
	uint32_t read = 0;

	connected(p, &client, &server);
	assert_int_equal(tcp_send_copy(client, question, sizeof(question)), 0);
	play(p, 1000);
	assert_int_equal(event_of(p->server, &pcb), TCP_EVENT_READABLE);
	assert_int_equal(tcp_recv_readable(server), sizeof(question));
	assert_int_equal(tcp_recv_peek(server, &span, 1), 1);
	assert_memory_equal(span.data, question, sizeof(question));
	tcp_recv_consume(server, sizeof(question));
	memset(answer, 'a', sizeof(answer));
	assert_int_equal(tcp_send_copy(server, answer, sizeof(answer)), 0);
	tcp_shutdown(server);
	for (unsigned i = 0; i < 100 && !tcp_recv_eof(client); i++) {
		play(p, 1000);
		while (tcp_recv_peek(client, &span, 1) > 0) {
			assert_memory_equal(span.data, answer, span.length);
			read += span.length;
			tcp_recv_consume(client, span.length);
		}
	}
	assert_int_equal(read, sizeof(answer));
	assert_true(tcp_recv_eof(client));
	tcp_close(client);
	play(p, 1000);
	assert_true(event_of(p->server, &pcb) & TCP_EVENT_EOF);
	tcp_close(server);
	play(p, 300 * 1000000ull);
	// Nothing is left but the listener, and nothing is due.
	assert_true(driver_advance(p->client, p->now_us) == NEVER);
	assert_true(driver_advance(p->server, p->now_us) == NEVER);
}

static void a_dead_peer_is_noticed_by_its_silence(void **state)
{
	const struct tcp_keep_alive keep = {.idle_s = 30, .interval_s = 5, .probes = 2};
	struct pair *p = *state;
	struct tcp_pcb *client, *server, *pcb;

	connected(p, &client, &server);
	tcp_set_keep_alive(client, &keep);
	play(p, 100 * 1000000ull);
	assert_int_equal(event_of(p->client, &pcb), 0);
	p->cut = true;
	play(p, 60 * 1000000ull);
	assert_int_equal(event_of(p->client, &pcb), TCP_EVENT_TIMEOUT);
	tcp_close(client);
	tcp_abort(server);
}

static void info_tells_what_goes_on(void **state)
{
	static uint8_t text[5000];
	struct pair *p = *state;
	struct tcp_pcb *client, *server;
	struct tcp_info info;

	connected(p, &client, &server);
	p->cut = true;
	assert_int_equal(tcp_send_copy(client, text, sizeof(text)), 0);
	play(p, 1500000);
	tcp_pcb_info(client, &info);
	assert_int_equal(info.state, TCP_ESTABLISHED);
	assert_string_equal(tcp_state_name(info.state), "ESTABLISHED");
	assert_int_equal(info.queued, sizeof(text));
	assert_int_not_equal(info.in_flight, 0);
	assert_int_not_equal(info.retransmits, 0);
	assert_int_not_equal(info.rto_us, 0);
	assert_true(info.cwnd >= info.mss);
	p->cut = false;
	play(p, 10 * 1000000ull);
	tcp_pcb_info(client, &info);
	assert_int_equal(info.queued, 0);
	assert_int_equal(tcp_recv_readable(server), sizeof(text));
	tcp_abort(client);
	tcp_abort(server);
}

static void an_abort_is_a_reset(void **state)
{
	struct pair *p = *state;
	struct tcp_pcb *client, *server, *pcb;

	connected(p, &client, &server);
	tcp_abort(client);
	play(p, 1000);
	assert_int_equal(event_of(p->server, &pcb), TCP_EVENT_RESET);
	tcp_close(server);
}

static void nobody_listens_is_a_refusal(void **state)
{
	const struct net_endpoint any = {.port = 0};
	const struct net_endpoint there = driver_endpoint("198.18.0.2:1");
	struct pair *p = *state;
	struct tcp_pcb *client, *pcb;

	assert_int_equal(
		tcp_connect(driver_stack(p->client), &any, &there, NULL, NULL, &client), 0);
	play(p, 1000);
	assert_int_equal(event_of(p->client, &pcb), TCP_EVENT_REFUSED);
	tcp_close(client);
}

int main(void)
{
	char *eal[] = {"contract", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			text_goes_both_ways_and_ends_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_dead_peer_is_noticed_by_its_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(info_tells_what_goes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(an_abort_is_a_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_listens_is_a_refusal, setup, teardown),
	};

	if (rte_eal_init(sizeof(eal) / sizeof(eal[0]) - 1, eal) < 0)
		return 1;
	return cmocka_run_group_tests_name("tcp_contract", tests, NULL, NULL);
}
