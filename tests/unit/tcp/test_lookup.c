// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The table of connections, against what was put in.

#include "tcp_tests.h"

#include "tcp/stack.h"

#include <errno.h>

static struct net_endpoint endpoint(uint32_t host, uint16_t port)
{
	struct net_endpoint e = {.port = port};

	e.address = net_address_from_ipv4(host);
	return e;
}

static void what_is_inserted_is_found_until_removed(void **state)
{
	enum { COUNT = 60 };
	struct fixture *f = *state;
	struct tcp_pcb *pcbs[COUNT];
	struct net_endpoint locals[COUNT], remotes[COUNT];
	bool in[COUNT] = {0};

	for (unsigned i = 0; i < COUNT; i++) {
		pcbs[i] = tcp_pcb_alloc(f->stack);
		assert_non_null(pcbs[i]);
		locals[i] = endpoint(i % 3, (uint16_t)(i % 5));
		remotes[i] = endpoint(i % 4, (uint16_t)(1000 + i));
		tcp_pcb_set_endpoints(pcbs[i], &locals[i], &remotes[i]);
		pcbs[i]->state = TCP_LISTEN; // anything but CLOSED
	}
	for (unsigned step = 0; step < 20000; step++) {
		unsigned i = random_below(&f->rng, COUNT);

		if (in[i])
			tcp_table_remove(pcbs[i]);
		else
			tcp_table_insert(pcbs[i]);
		in[i] = !in[i];
		i = random_below(&f->rng, COUNT);
		assert_ptr_equal(
			tcp_table_find(f->stack, &locals[i], &remotes[i]), in[i] ? pcbs[i] : NULL);
		if (step % 100 == 0)
			tcp_table_check(f->stack);
	}
	for (unsigned i = 0; i < COUNT; i++) {
		pcbs[i]->state = TCP_CLOSED;
		tcp_pcb_free(pcbs[i]);
	}
}

static void a_listener_of_the_address_goes_before_one_of_all(void **state)
{
	struct fixture *f = *state;
	const struct net_endpoint any = {.port = PORT};
	const struct net_endpoint other = {.port = PORT + 1};
	struct tcp_pcb *all, *ours, *again;

	assert_int_equal(tcp_listen(f->stack, &any, NULL, &all), 0);
	assert_int_equal(tcp_listen(f->stack, &any, NULL, &again), -EADDRINUSE);
	assert_ptr_equal(tcp_table_find_listener(f->stack, &f->local), all);
	assert_int_equal(tcp_listen(f->stack, &f->local, NULL, &ours), 0);
	assert_ptr_equal(tcp_table_find_listener(f->stack, &f->local), ours);
	assert_ptr_equal(tcp_table_find_listener(f->stack, &f->remote), NULL);
	assert_ptr_equal(tcp_table_find_listener(f->stack, &other), NULL);
	tcp_close(ours);
	assert_ptr_equal(tcp_table_find_listener(f->stack, &f->local), all);
}

int test_tcp_lookup(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE_TEST(what_is_inserted_is_found_until_removed),
		FIXTURE_TEST(a_listener_of_the_address_goes_before_one_of_all),
	};

	return cmocka_run_group_tests_name("tcp_lookup", tests, NULL, NULL);
}
