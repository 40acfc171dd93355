// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Clients and their keys.

#include "plugin_tests.h"

#include "plugin/clients.h"

#include <stdio.h>

#define MANY 5000

static void test_many_are_found_and_forgotten(void **state)
{
	static char contexts[MANY];
	struct clients *clients;
	char id[16];

	assert_int_equal(clients_create(&clients), 0);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(id, sizeof(id), "c%u", i);
		assert_null(clients_find(clients, &contexts[i], id));
		assert_int_equal(clients_get(clients, &contexts[i], id)->key, i + 1);
	}
	assert_int_equal(clients_count(clients), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		struct client *client;

		snprintf(id, sizeof(id), "c%u", i);
		client = clients_find(clients, &contexts[i], id);
		assert_non_null(client);
		assert_int_equal(client->key, i + 1);
		clients_remove(clients, client);
		assert_null(clients_find(clients, &contexts[i], id));
	}
	assert_int_equal(clients_count(clients), 0);
	clients_destroy(clients);
}

static void test_another_client_at_the_same_place_gets_another_key(void **state)
{
	struct clients *clients;
	uint64_t first, second;
	char context;

	assert_int_equal(clients_create(&clients), 0);
	first = clients_join(clients, &context, "a")->key;
	assert_null(clients_find(clients, &context, "b"));
	assert_null(clients_find(clients, &context, NULL));
	second = clients_get(clients, &context, "b")->key;
	assert_int_not_equal(first, second);
	assert_null(clients_find(clients, &context, "a"));
	assert_int_equal(clients_count(clients), 1);
	clients_destroy(clients);
}

static void test_joining_gives_a_key_that_nobody_had(void **state)
{
	struct clients *clients;
	struct client *client;
	uint64_t lazy, joined;
	char context;

	assert_int_equal(clients_create(&clients), 0);
	// mosquitto freed a session without a word, and the same client has come again.
	lazy = clients_get(clients, &context, "a")->key;
	client = clients_join(clients, &context, "a");
	joined = client->key;
	assert_int_not_equal(joined, lazy);
	client_joined(client, 1, 10);
	assert_int_equal(clients_join(clients, &context, "a")->key, joined);
	assert_int_equal(clients_get(clients, &context, "a")->key, joined);
	clients_destroy(clients);
}

static void test_it_is_known_since_when_who_joined(void **state)
{
	struct client client = {0};

	assert_false(client_is_joined(&client));
	assert_false(client_was_joined(&client, 1, 100));
	client_joined(&client, 1, 10);
	client_joined(&client, 1, 20); // the first time counts
	assert_true(client_is_joined(&client));
	assert_true(client_was_joined(&client, 1, 10));
	assert_false(client_was_joined(&client, 1, 9));
	assert_false(client_was_joined(&client, 2, 100));
	client_joined(&client, 2, 30);
	assert_true(client_was_joined(&client, 1, 10));
	assert_false(client_was_joined(&client, 2, 29));
	assert_true(client_was_joined(&client, 2, 30));
	client_joined(&client, 3, 40);
	assert_false(client_was_joined(&client, 1, 100));
}

int test_plugin_clients(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_are_found_and_forgotten),
		cmocka_unit_test(test_another_client_at_the_same_place_gets_another_key),
		cmocka_unit_test(test_joining_gives_a_key_that_nobody_had),
		cmocka_unit_test(test_it_is_known_since_when_who_joined),
	};

	return cmocka_run_group_tests_name("clients", tests, NULL, NULL);
}
