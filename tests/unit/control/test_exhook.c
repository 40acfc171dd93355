// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What EMQX's hooks tell, and when that is no longer all there is. EMQX's connections
// are real ones, over loopback.

#include "tests.h"

#include "control/exhook.h"
#include "control/exhook_clients.h"
#include "control/tcp_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// --- a broker's hooks and what follows from them -------------------------------------------------

struct link { // a connection of EMQX
	int emqx, ours;
	char name[TCP_PEER_NAME];
};

struct fixture {
	struct exhook *exhook;
	struct link link;
	char told[1024]; // what the sink has been told since the last look
	const char *why;
};

static void tell(struct fixture *f, const char *format, ...)
{
	size_t n = strlen(f->told);
	va_list args;

	va_start(args, format);
	vsnprintf(f->told + n, sizeof(f->told) - n, format, args);
	va_end(args);
}

static void sink_up(void *ctx, unsigned broker)
{
	tell(ctx, "up %u;", broker);
}

static void sink_down(void *ctx, unsigned broker, const char *why)
{
	((struct fixture *)ctx)->why = why;
	tell(ctx, "down %u;", broker);
}

static void sink_session(void *ctx, unsigned broker, const struct exhook_client *client,
	enum offload_session_state state)
{
	static const char *const names[] = {"created", "resumed", "disconnected", "ended"};

	tell(ctx, "%u %s %s;", broker, names[state], client->id);
}

static void sink_subscribed(void *ctx, unsigned broker, const struct exhook_client *client,
	const struct exhook_filter *filter)
{
	tell(ctx, "%u %s +%s;", broker, client->id, filter->text);
}

static void sink_unsubscribed(
	void *ctx, unsigned broker, const struct exhook_client *client, const char *filter)
{
	tell(ctx, "%u %s -%s;", broker, client->id, filter);
}

static void sink_written(void *ctx, unsigned broker, const struct exhook_message *message)
{
	tell(ctx, "%u %s wrote %s;", broker, message->client_id, message->topic);
}

static void expect_told(struct fixture *f, const char *expected)
{
	assert_string_equal(f->told, expected);
	f->told[0] = '\0';
}

static void expect_down(struct fixture *f, const char *because)
{
	expect_told(f, "down 0;");
	if (!strstr(f->why, because))
		fail_msg("'%s' does not say '%s'", f->why, because);
}

static void link_open(struct link *link, int family)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *any = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t length = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int listener = socket(family, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, any, length), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, any, &length), 0);
	link->emqx = socket(family, SOCK_STREAM, 0);
	assert_int_equal(connect(link->emqx, any, length), 0);
	link->ours = accept(listener, NULL, NULL);
	assert_true(link->ours >= 0);
	assert_int_equal(getsockname(link->emqx, any, &length), 0);
	if (family == AF_INET)
		snprintf(link->name, sizeof(link->name), "ipv4:127.0.0.1:%u", ntohs(v4.sin_port));
	else
		snprintf(
			link->name, sizeof(link->name), "ipv6:%%5B::1%%5D:%u", ntohs(v6.sin6_port));
	close(listener);
}

static void link_close(struct link *link)
{
	if (link->emqx >= 0)
		close(link->emqx);
	close(link->ours);
	link->emqx = -1;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct exhook_sink sink = {f, sink_up, sink_down, sink_session, sink_subscribed,
		sink_unsubscribed, sink_written};

	assert_int_equal(exhook_create(2, &sink, &f->exhook), 0);
	link_open(&f->link, AF_INET);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	exhook_destroy(f->exhook);
	link_close(&f->link);
	free(f);
	return 0;
}

static struct exhook_call call_of(struct fixture *f)
{
	return (struct exhook_call){.broker = 0, .node = "emqx@a", .peer = f->link.name};
}

#define CLIENT(name, its_protocol, its_mountpoint)                                        \
	{                                                                                 \
		.id = (name), .protocol = (its_protocol), .mountpoint = (its_mountpoint), \
		.peer_host = "198.18.0.2",                                                \
	}
static const struct exhook_client a = CLIENT("a", "mqtt", ""), b = CLIENT("b", "mqtt", "");

// Loaded as it should be.
static struct exhook_call load(struct fixture *f)
{
	struct exhook_call call = call_of(f);

	exhook_loaded(f->exhook, &call, 8000);
	expect_told(f, "up 0;");
	return call;
}

static void subscribe(
	struct fixture *f, const struct exhook_client *client, const char *text, const char *share)
{
	const struct exhook_filter filter = {.text = text, .share = share};
	struct exhook_call call = call_of(f);

	exhook_subscribed(f->exhook, &call, client, &filter);
}

static void publish(struct fixture *f, const char *client_id, const char *topic, bool by_mqtt)
{
	const struct exhook_message message = {
		.client_id = client_id, .topic = topic, .by_mqtt = by_mqtt};
	struct exhook_call call = call_of(f);

	exhook_published(f->exhook, &call, &message);
}

static void all_is_told_in_order(void **state)
{
	struct fixture *f = *state;
	struct exhook_call call = load(f);

	exhook_session_created(f->exhook, &call, &a);
	subscribe(f, &a, "t/#", "");
	subscribe(f, &a, "$share/g/s", "");
	publish(f, "a", "t/1", true);
	exhook_unsubscribed(f->exhook, &call, &a, "t/#");
	exhook_session_resumed(f->exhook, &call, &a);
	exhook_session_ended(f->exhook, &call, &a);
	expect_told(f, "0 created a;0 a +t/#;0 a +$share/g/s;0 a wrote t/1;0 a -t/#;"
		       "0 resumed a;0 ended a;");
	assert_true(exhook_look(f->exhook, 0));
	assert_false(exhook_look(f->exhook, 1));
	exhook_unloaded(f->exhook, &call);
	expect_down(f, "has unloaded its hooks");
}

// The old session of a client ends in another process of EMQX than the new one begins in.
static void a_session_that_ends_late_does_not_end_its_successor(void **state)
{
	struct fixture *f = *state;
	struct exhook_call call = load(f);

	exhook_session_created(f->exhook, &call, &a);
	exhook_session_created(f->exhook, &call, &a);
	subscribe(f, &a, "t", "");
	expect_told(f, "0 created a;0 created a;0 a +t;");
	exhook_session_ended(f->exhook, &call, &a);
	expect_told(f, "");
	exhook_session_ended(f->exhook, &call, &a);
	expect_told(f, "0 ended a;");
}

// A gateway's clients may be named as those of MQTT are.
static void names_of_gateways_are_their_own(void **state)
{
	static const struct exhook_client coap = CLIENT("a", "coap", "");
	struct fixture *f = *state;
	struct exhook_call call = load(f);

	exhook_session_created(f->exhook, &call, &a);
	exhook_session_created(f->exhook, &call, &coap);
	subscribe(f, &coap, "t", "");
	expect_told(f, "0 created a;0 created a;0 a +t;");
	exhook_session_ended(f->exhook, &call, &coap);
	expect_told(f, "0 ended a;");
	exhook_session_ended(f->exhook, &call, &a);
	expect_told(f, "0 ended a;");
	assert_true(exhook_space("coap") != exhook_space("stomp"));
	assert_int_equal(exhook_space("mqtt"), 0);
}

static void only_what_clients_send_shows_their_rights(void **state)
{
	struct fixture *f = *state;
	struct exhook_call call = load(f);

	exhook_session_created(f->exhook, &call, &a);
	publish(f, "a", "t", false);
	publish(f, "b", "t", true); // a will of one that has gone
	expect_told(f, "0 created a;");
	assert_true(exhook_look(f->exhook, 0));
}

static void calls_without_a_load_are_not_all(void **state)
{
	struct fixture *f = *state;
	struct exhook_call call = call_of(f);

	exhook_session_created(f->exhook, &call, &a);
	expect_down(f, "before Offramp started");
	subscribe(f, &a, "t", "");
	publish(f, "a", "t", true);
	expect_told(f, "");
	assert_false(exhook_look(f->exhook, 0));
	load(f);
}

static void hooks_that_are_loaded_late_are_not_all(void **state)
{
	static const int64_t uptimes_ms[] = {EXHOOK_BOOT_MS + 1, -1, INT64_MAX, INT64_MIN};
	struct fixture *f = *state;
	struct exhook_call call = call_of(f);

	for (unsigned i = 0; i < sizeof(uptimes_ms) / sizeof(uptimes_ms[0]); i++) {
		exhook_loaded(f->exhook, &call, uptimes_ms[i]);
		expect_down(f, "long after its own start");
		exhook_session_created(f->exhook, &call, &a);
		expect_told(f, "");
	}
	// Again by an EMQX that told all before: what came between is not known.
	load(f);
	exhook_loaded(f->exhook, &call, EXHOOK_BOOT_MS + 1);
	expect_down(f, "long after its own start");
}

static void a_restarted_emqx_tells_all_again(void **state)
{
	struct fixture *f = *state;
	struct exhook_call call = load(f);

	exhook_session_created(f->exhook, &call, &a);
	link_close(&f->link);
	link_open(&f->link, AF_INET);
	call = call_of(f);
	f->told[0] = '\0';
	exhook_loaded(f->exhook, &call, 1);
	expect_told(f, "up 0;");
	assert_true(exhook_look(f->exhook, 0));
	subscribe(f, &a, "t", "");
	expect_down(f, "was there before its hooks");
}

static void clients_that_were_there_before_are_noticed(void **state)
{
	struct fixture *f = *state;
	struct exhook_call call = load(f);

	exhook_session_ended(f->exhook, &call, &a); // has taken with it what it had
	expect_told(f, "");
	subscribe(f, &a, "t", "");
	expect_down(f, "was there before its hooks");
	load(f);
	exhook_session_resumed(f->exhook, &call, &a);
	expect_down(f, "was there before its hooks");
	load(f);
	exhook_unsubscribed(f->exhook, &call, &a, "t");
	expect_down(f, "was there before its hooks");
}

static void what_is_not_followed_is_noticed(void **state)
{
	const struct exhook_client moved = CLIENT("m", "mqtt", "tenant/");
	struct fixture *f = *state;
	struct exhook_call call = load(f), other = call;

	exhook_session_created(f->exhook, &call, &moved);
	expect_down(f, "mountpoint");
	load(f);
	exhook_session_created(f->exhook, &call, &a);
	subscribe(f, &a, "t", "g");
	expect_told(f, "0 created a;down 0;");
	load(f);
	other.node = "emqx@b";
	exhook_session_created(f->exhook, &other, &a);
	expect_down(f, "several EMQX nodes");
	load(f);
	exhook_loaded(f->exhook, &other, 5);
	expect_down(f, "several EMQX nodes");
	load(f);
	other = call;
	other.peer = "unix:";
	exhook_session_created(f->exhook, &other, &a);
	expect_down(f, "do not come by TCP");
	load(f);
	exhook_lost(f->exhook, 0);
	expect_down(f, "did not reach all workers");
}

static void a_connection_that_ends_is_noticed(void **state)
{
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};
	struct fixture *f = *state;
	struct exhook_call call = load(f), second = call;
	struct link link;

	for (unsigned i = 0; i < 3; i++) {
		load(f);
		link_open(&link, i == 2 ? AF_INET6 : AF_INET);
		second.peer = link.name;
		exhook_session_created(f->exhook, &second, &b);
		expect_told(f, "0 created b;");
		assert_true(exhook_look(f->exhook, 0));
		if (i == 0)
			setsockopt(link.emqx, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(link.emqx);
		link.emqx = -1;
		assert_false(exhook_look(f->exhook, 0));
		expect_down(f, "connection of EMQX's hooks has ended");
		assert_false(exhook_look(f->exhook, 0));
		expect_told(f, "");
		link_close(&link);
	}
	// Gone before its call was looked at.
	load(f);
	exhook_session_created(f->exhook, &second, &b);
	expect_down(f, "connection of EMQX's hooks has ended");
	assert_int_equal(call.broker, 0);
}

// --- parts ---------------------------------------------------------------------------------------

static void peers_are_found_by_their_address(void **state)
{
	static const char *const wrong[] = {"", "unix:", "unix:/a", "ipv4:127.0.0.1", "ipv4:x:1",
		"ipv6:[::1]", "ipv6:[zz]:1", "ipv4:999.0.0.1:80", "%"};
	struct tcp_peer peer;
	struct link link;

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(tcp_peer_watch(wrong[i], &peer), -EINVAL);
	link_open(&link, AF_INET);
	assert_int_equal(tcp_peer_watch("ipv4:127.0.0.1:1", &peer), -ENOTCONN);
	assert_int_equal(tcp_peer_watch(link.name, &peer), 0);
	assert_int_not_equal(peer.fd, link.ours);
	assert_true(tcp_peer_lives(&peer));
	// The library's own end of it.
	shutdown(link.ours, SHUT_RDWR);
	assert_false(tcp_peer_lives(&peer));
	tcp_peer_release(&peer);
	link_close(&link);
}

static void clients_are_counted_and_bounded(void **state)
{
	struct exhook_clients *clients = exhook_clients_create(5000);
	char id[16];

	(void)state;
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "c%u", i);
		assert_int_equal(exhook_clients_add(clients, 0, id), 0);
	}
	assert_int_equal(exhook_clients_add(clients, 0, "more"), -ENOSPC);
	assert_int_equal(exhook_clients_add(clients, 0, "c7"), 0);
	assert_false(exhook_clients_remove(clients, 0, "c7"));
	assert_true(exhook_clients_has(clients, 0, "c7"));
	assert_true(exhook_clients_remove(clients, 0, "c7"));
	assert_false(exhook_clients_has(clients, 0, "c7"));
	assert_false(exhook_clients_remove(clients, 0, "c7"));
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(id, sizeof(id), "c%u", i);
		assert_int_equal(exhook_clients_has(clients, 0, id), i != 7);
	}
	exhook_clients_clear(clients);
	assert_false(exhook_clients_has(clients, 0, "c0"));
	assert_int_equal(exhook_clients_add(clients, 0, "c0"), 0);
	exhook_clients_destroy(clients);
}

#define EXHOOK_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int test_exhook(void)
{
	const struct CMUnitTest tests[] = {
		EXHOOK_TEST(all_is_told_in_order),
		EXHOOK_TEST(a_session_that_ends_late_does_not_end_its_successor),
		EXHOOK_TEST(names_of_gateways_are_their_own),
		EXHOOK_TEST(only_what_clients_send_shows_their_rights),
		EXHOOK_TEST(calls_without_a_load_are_not_all),
		EXHOOK_TEST(hooks_that_are_loaded_late_are_not_all),
		EXHOOK_TEST(a_restarted_emqx_tells_all_again),
		EXHOOK_TEST(clients_that_were_there_before_are_noticed),
		EXHOOK_TEST(what_is_not_followed_is_noticed),
		EXHOOK_TEST(a_connection_that_ends_is_noticed),
		cmocka_unit_test(peers_are_found_by_their_address),
		cmocka_unit_test(clients_are_counted_and_bounded),
	};

	return cmocka_run_group_tests_name("exhook", tests, NULL, NULL);
}
