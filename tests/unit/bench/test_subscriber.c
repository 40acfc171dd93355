// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a subscriber makes of the PUBLISHes it gets, without a network: five
// messages were issued, some arrive, some not, some twice, some changed.

#include "bench_tests.h"

#include "bench/bench.h"
#include "bench/publisher.h"
#include "bench/stamp.h"
#include "bench/subscriber.h"
#include "bench/worker.h"

#include <stdlib.h>
#include <string.h>

#define ISSUED	  5u
#define MEASURE	  1000u
#define ISSUED_US 2000u
#define NOW_US	  2500u

struct table {
	struct bench_options options;
	struct bench bench;
	struct bench_worker worker;
};

static void table_set(struct table *table, uint32_t size)
{
	memset(table, 0, sizeof(*table));
	table->options = (struct bench_options){
		.publishers = 2,
		.subscribers = 2,
		.topics = BENCH_TOPICS_ALL_TO_ALL,
		.topic_prefix = "t",
		.sizes = {size},
		.sizes_count = 1,
		.version = MQTT_VERSION_3_1_1,
		.inflight = 20,
		.messages = ISSUED,
	};
	table->bench.options = &table->options;
	table->bench.workers = &table->worker;
	table->bench.workers_count = 1;
	table->bench.measure_us = MEASURE;
	table->bench.publishers = test_calloc(2, sizeof(struct bench_publisher));
	table->bench.subscribers = test_calloc(2, sizeof(struct bench_subscriber));
	bench_plan_init(&table->bench.plan, &table->options, 0);
	table->worker.bench = &table->bench;
	table->worker.now_us = NOW_US;
	histogram_init(&table->worker.stats.distribution);
	histogram_init(&table->worker.stats.delivery);
	for (uint32_t i = 0; i < 2; i++) {
		bench_publisher_init(&table->bench.publishers[i], &table->worker, i);
		bench_subscriber_init(&table->bench.subscribers[i], &table->worker, i);
		table->bench.publishers[i].issued = ISSUED;
		for (uint32_t n = 0; n < ISSUED; n++)
			bench_flight_issue(&table->bench.publishers[i].flight, n, 2, ISSUED_US);
	}
}

static void table_clear(struct table *table)
{
	for (uint32_t i = 0; i < 2; i++) {
		bench_publisher_fini(&table->bench.publishers[i]);
		bench_subscriber_fini(&table->bench.subscribers[i]);
	}
	test_free(table->bench.publishers);
	test_free(table->bench.subscribers);
}

// A PUBLISH of publisher `publisher`'s message `sequence` comes on `topic`; byte `flip` of the
// message is changed (-1: none).
static void deliver(struct table *table, uint32_t subscriber, const char *topic, uint32_t publisher,
	uint32_t sequence, int flip)
{
	uint32_t size = table->options.sizes[0];
	struct bench_stamp stamp = {publisher, sequence, ISSUED_US};
	struct mqtt_publish publish = {.topic = mqtt_bytes(topic, strlen(topic))};
	struct mqtt_header header;
	uint8_t message[64], packet[128];
	size_t n;

	bench_stamp_write(&stamp, message, size);
	if (flip >= 0)
		message[flip] ^= 0x10;
	n = mqtt_publish_encode(
		MQTT_VERSION_3_1_1, &publish, mqtt_bytes(message, size), packet, sizeof(packet));
	assert_true(n > 0);
	assert_int_equal(mqtt_header_decode(packet, n, &header), MQTT_OK);
	assert_true(bench_subscriber_packet(&table->bench.subscribers[subscriber], &header,
		mqtt_bytes(packet + header.size, header.remaining)));
}

static void test_all_in_order_is_all_well(void **state)
{
	static const uint32_t sizes[] = {64, 32, 31, 4, 1, 0};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct table table;
		const struct bench_stats *stats = &table.worker.stats;

		table_set(&table, sizes[i]);
		for (uint32_t n = 0; n < ISSUED; n++)
			for (uint32_t s = 0; s < 2; s++) {
				deliver(&table, s, "t/0", 0, n, -1);
				deliver(&table, s, "t/1", 1, n, -1);
			}
		assert_int_equal(stats->delivered, 4 * ISSUED);
		assert_int_equal(stats->duplicated + stats->reordered + stats->corrupted +
					 stats->unexpected + stats->unmeasured,
			0);
		assert_int_equal(stats->distribution.count, 2 * ISSUED);
		assert_int_equal(stats->distribution.max, NOW_US - ISSUED_US);
		assert_int_equal(stats->delivery.count, 4 * ISSUED);
		assert_int_equal(bench_subscriber_missing(&table.bench.subscribers[0]), 0);
		table_clear(&table);
	}
}

static void test_distribution_ends_with_the_last_subscriber(void **state)
{
	struct table table;

	table_set(&table, 64);
	deliver(&table, 0, "t/0", 0, 0, -1);
	assert_int_equal(table.worker.stats.distribution.count, 0);
	table.worker.now_us = NOW_US + 300;
	deliver(&table, 1, "t/0", 0, 0, -1);
	assert_int_equal(table.worker.stats.distribution.count, 1);
	assert_int_equal(table.worker.stats.distribution.max, NOW_US + 300 - ISSUED_US);
	table_clear(&table);
}

static void test_every_anomaly_is_counted_as_what_it_is(void **state)
{
	struct table table;
	const struct bench_stats *stats = &table.worker.stats;
	const struct bench_subscriber *subscriber;

	table_set(&table, 64);
	subscriber = &table.bench.subscribers[0];
	deliver(&table, 0, "t/0", 0, 0, -1);
	deliver(&table, 0, "t/0", 0, 0, -1); // again
	assert_int_equal(stats->duplicated, 1);
	deliver(&table, 0, "t/0", 0, 2, -1); // before its predecessor
	assert_int_equal(stats->reordered, 0);
	deliver(&table, 0, "t/0", 0, 1, -1);
	assert_int_equal(stats->reordered, 1);
	deliver(&table, 0, "t/0", 0, 3, 40); // a changed byte
	assert_int_equal(stats->corrupted, 1);
	deliver(&table, 0, "t/0", 1, 3, -1); // on another publisher's topic
	assert_int_equal(stats->corrupted, 2);
	deliver(&table, 0, "t/0", 0, ISSUED, -1); // never issued
	assert_int_equal(stats->corrupted, 3);
	deliver(&table, 0, "t/2", 0, 3, -1); // nobody's topic
	assert_int_equal(stats->unexpected, 1);
	deliver(&table, 0, "u/0", 0, 3, -1);
	assert_int_equal(stats->unexpected, 2);
	assert_int_equal(stats->delivered, 3);
	assert_int_equal(stats->duplicated, 1);
	assert_int_equal(bench_subscriber_missing(subscriber), 2 + ISSUED);
	table_clear(&table);
}

static void test_surplus_of_empty_messages_is_duplication(void **state)
{
	struct table table;

	table_set(&table, 0);
	for (uint32_t n = 0; n < ISSUED + 2; n++)
		deliver(&table, 1, "t/1", 1, 0, -1);
	assert_int_equal(table.worker.stats.delivered, ISSUED);
	assert_int_equal(table.worker.stats.duplicated, 2);
	table_clear(&table);
}

int test_bench_subscriber(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_in_order_is_all_well),
		cmocka_unit_test(test_distribution_ends_with_the_last_subscriber),
		cmocka_unit_test(test_every_anomaly_is_counted_as_what_it_is),
		cmocka_unit_test(test_surplus_of_empty_messages_is_duplication),
	};

	return cmocka_run_group_tests_name("subscriber", tests, NULL, NULL);
}
