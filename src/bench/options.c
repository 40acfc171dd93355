// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The command line: one argp table, and the rules that hold between options.

#include "bench/options.h"

#include "bench/address.h"
#include "bench/stamp.h"
#include "bench/values.h"

#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const topics_names[] = {"one-to-many", "many-to-one", "pairs", "all-to-all"};
static const char *const pace_names[] = {"rate", "closed", "flood"};

const char *bench_topics_name(enum bench_topics topics)
{
	return topics_names[topics];
}

const char *bench_pace_name(enum bench_pace pace)
{
	return pace_names[pace];
}

enum option_key {
	KEY_CLOSED = 256,
	KEY_FLOOD,
	KEY_WILDCARD,
	KEY_TOPIC_PREFIX,
	KEY_WARMUP,
	KEY_DRAIN,
	KEY_INFLIGHT,
	KEY_KEEP_ALIVE,
	KEY_NAGLE,
	KEY_CONNECT_RATE,
	KEY_CONNECT_TIMEOUT,
	KEY_USERNAME,
	KEY_PASSWORD,
	KEY_CPU_OF,
	KEY_JSON,
	KEY_QUIET,
	KEY_ALLOW_LOSS,
	KEY_SOURCE,
	KEY_THREADS,
};

// clang-format off
static const struct argp_option option_table[] = {
	{0, 0, 0, 0, "Broker and connections:", 1},
	{"host", 'h', "HOST", 0, "broker's name or address (localhost)", 0},
	{"port", 'p', "PORT", 0, "broker's port (1883)", 0},
	{"source", KEY_SOURCE, "ADDR[-ADDR],…", 0,
		"addresses to connect from, in turn (the kernel's choice)", 0},
	{"username", KEY_USERNAME, "NAME", 0, "user name of every client", 0},
	{"password", KEY_PASSWORD, "TEXT", 0, "password of every client", 0},
	{"connect-rate", KEY_CONNECT_RATE, "N", 0, "connections a second (as fast as accepted)", 0},
	{"connect-timeout", KEY_CONNECT_TIMEOUT, "S", 0,
		"give up when no connection got further for so long (10)", 0},
	{"keep-alive", KEY_KEEP_ALIVE, "S", 0, "MQTT keep alive, 0: off (60)", 0},
	{"nagle", KEY_NAGLE, 0, 0, "leave Nagle's algorithm on (off)", 0},
	{"threads", KEY_THREADS, "N", 0, "threads that serve the connections (1)", 0},

	{0, 0, 0, 0, "Who hears whom:", 2},
	{"publishers", 'P', "N", 0, "publishing clients (1)", 0},
	{"subscribers", 'S', "N", 0, "subscribing clients (1)", 0},
	{"topics", 't', "PATTERN", 0,
		"one-to-many, many-to-one, pairs or all-to-all (one-to-many)", 0},
	{"wildcard", KEY_WILDCARD, 0, 0, "subscribe to PREFIX/+ instead of each topic", 0},
	{"topic-prefix", KEY_TOPIC_PREFIX, "TOPIC", 0, "topics are TOPIC/N (bench/ and a random number)", 0},

	{0, 0, 0, 0, "Load:", 3},
	{"rate", 'r', "N", 0, "messages a second and publisher (10)", 0},
	{"closed", KEY_CLOSED, "N", OPTION_ARG_OPTIONAL,
		"the next message once at most N-1 of a publisher's are on their way (1)", 0},
	{"flood", KEY_FLOOD, 0, 0, "as fast as the connection takes them", 0},
	{"messages", 'n', "N", 0, "messages of each publisher (until the duration is over)", 0},
	{"duration", 'd', "S", 0, "seconds to measure (10)", 0},
	{"warmup", KEY_WARMUP, "S", 0,
		"seconds of the same load before (1; 0 with --messages)", 0},
	{"drain", KEY_DRAIN, "S", 0, "what did not arrive in S seconds without progress is lost (5)", 0},
	{"size", 's', "N|A..B,…", 0,
		"bytes of a message, or a list to go through; A..B doubles from A to B (64)", 0},
	{"qos", 'q', "0|1|2", 0, "quality of service of both sides (0)", 0},
	{"inflight", KEY_INFLIGHT, "N", 0, "unacknowledged messages a publisher, QoS 1 and 2 (20)", 0},
	{"protocol", 'V', "VERSION", 0, "3.1, 3.1.1 or 5 (3.1.1)", 0},

	{0, 0, 0, 0, "Report:", 4},
	{"json", KEY_JSON, 0, 0, "one JSON object on standard output", 0},
	{"quiet", KEY_QUIET, 0, 0, "no progress line", 0},
	{"allow-loss", KEY_ALLOW_LOSS, 0, 0, "exit with 0 also when messages were lost", 0},
	{"cpu-of", KEY_CPU_OF, "NAME=PID", 0,
		"report a process's CPU time over the measured part, repeatable", 0},
	{0, 0, 0, 0, 0, 0},
};
// clang-format on

// argp's own rule: its arguments are read into this before the rules between options are applied.
struct option_state {
	struct bench_options *options;
	bool warmup_given;
	unsigned paces_given;
};

static int option_cpu_of(struct bench_options *o, const char *arg)
{
	const char *equals = strchr(arg, '=');
	struct bench_watch *watch = &o->watches[o->watches_count];
	uint32_t pid;

	if (o->watches_count == BENCH_WATCHES_MAX || !equals || equals == arg ||
		equals - arg >= sizeof(watch->name) ||
		!bench_value_count(equals + 1, 1, INT32_MAX, &pid))
		return -EINVAL;
	memset(watch, 0, sizeof(*watch));
	memcpy(watch->name, arg, equals - arg);
	watch->pid = (pid_t)pid;
	o->watches_count++;
	return 0;
}

static bool option_version(const char *arg, enum mqtt_version *ret_version)
{
	if (!strcmp(arg, "3.1"))
		*ret_version = MQTT_VERSION_3_1;
	else if (!strcmp(arg, "3.1.1"))
		*ret_version = MQTT_VERSION_3_1_1;
	else if (!strcmp(arg, "5") || !strcmp(arg, "5.0"))
		*ret_version = MQTT_VERSION_5;
	else
		return false;
	return true;
}

static bool option_topics(const char *arg, enum bench_topics *ret_topics)
{
	for (unsigned i = 0; i < sizeof(topics_names) / sizeof(topics_names[0]); i++)
		if (!strcmp(arg, topics_names[i])) {
			*ret_topics = (enum bench_topics)i;
			return true;
		}
	return false;
}

static void option_pace(struct option_state *st, enum bench_pace pace)
{
	st->options->pace = pace;
	st->paces_given |= 1u << pace;
}

// Broker, connections and report; ARGP_ERR_UNKNOWN when the key is not one of these.
static bool option_connection(struct bench_options *o, int key, const char *arg, bool *ret_legal)
{
	uint32_t n = 0;

	*ret_legal = true;
	switch (key) {
	case 'h':
		o->host = arg;
		return true;
	case 'p':
		*ret_legal = bench_value_count(arg, 1, 65535, &n);
		o->port = arg;
		return true;
	case KEY_SOURCE:
		*ret_legal = bench_sources_parse(
				     arg, o->sources, BENCH_SOURCES_MAX, &o->sources_count) == 0;
		return true;
	case KEY_USERNAME:
		o->username = arg;
		return true;
	case KEY_PASSWORD:
		o->password = arg;
		return true;
	case KEY_CONNECT_RATE:
		*ret_legal = bench_value_number(arg, 0, 1e6, &o->connect_rate);
		return true;
	case KEY_CONNECT_TIMEOUT:
		*ret_legal = bench_value_number(arg, 0.1, 3600, &o->connect_timeout_s);
		return true;
	case KEY_KEEP_ALIVE:
		*ret_legal = bench_value_count(arg, 0, 65535, &n);
		o->keep_alive_s = (uint16_t)n;
		return true;
	case KEY_NAGLE:
		o->nagle = true;
		return true;
	case KEY_THREADS:
		*ret_legal = bench_value_count(arg, 1, 64, &o->threads);
		return true;
	case KEY_JSON:
		o->json = true;
		return true;
	case KEY_QUIET:
		o->quiet = true;
		return true;
	case KEY_ALLOW_LOSS:
		o->allow_loss = true;
		return true;
	case KEY_CPU_OF:
		*ret_legal = option_cpu_of(o, arg) == 0;
		return true;
	default:
		return false;
	}
}

static bool option_load(struct option_state *st, int key, const char *arg, bool *ret_legal)
{
	struct bench_options *o = st->options;
	uint32_t n = 0;

	*ret_legal = true;
	switch (key) {
	case 'P':
		*ret_legal = bench_value_count(arg, 0, 1000000, &o->publishers);
		return true;
	case 'S':
		*ret_legal = bench_value_count(arg, 0, 1000000, &o->subscribers);
		return true;
	case 't':
		*ret_legal = option_topics(arg, &o->topics);
		return true;
	case KEY_WILDCARD:
		o->wildcard = true;
		return true;
	case KEY_TOPIC_PREFIX:
		o->topic_prefix = arg;
		*ret_legal = *arg && strlen(arg) <= 200 && !strpbrk(arg, "+#");
		return true;
	case 'r':
		option_pace(st, BENCH_PACE_RATE);
		*ret_legal = bench_value_number(arg, 0.001, 1e7, &o->rate);
		return true;
	case KEY_CLOSED:
		option_pace(st, BENCH_PACE_CLOSED);
		*ret_legal = !arg || bench_value_count(arg, 1, 65536, &o->outstanding);
		return true;
	case KEY_FLOOD:
		option_pace(st, BENCH_PACE_FLOOD);
		return true;
	case 'n':
		*ret_legal = bench_value_count(arg, 1, 1000000000, &o->messages);
		return true;
	case 'd':
		*ret_legal = bench_value_number(arg, 0.01, 1e6, &o->duration_s);
		return true;
	case KEY_WARMUP:
		st->warmup_given = true;
		*ret_legal = bench_value_number(arg, 0, 1e6, &o->warmup_s);
		return true;
	case KEY_DRAIN:
		*ret_legal = bench_value_number(arg, 0.1, 3600, &o->drain_s);
		return true;
	case 's':
		*ret_legal = bench_value_sizes(
			arg, BENCH_SIZE_MAX, o->sizes, BENCH_SIZES_MAX, &o->sizes_count);
		return true;
	case 'q':
		*ret_legal = bench_value_count(arg, 0, 2, &n);
		o->qos = (uint8_t)n;
		return true;
	case KEY_INFLIGHT:
		*ret_legal = bench_value_count(arg, 1, 65535, &o->inflight);
		return true;
	case 'V':
		*ret_legal = option_version(arg, &o->version);
		return true;
	default:
		return false;
	}
}

// The rules between options; NULL when they are kept, else what is wrong.
static const char *options_conflict(const struct option_state *st)
{
	const struct bench_options *o = st->options;
	bool all_hear_all =
		o->topics == BENCH_TOPICS_ONE_TO_MANY || o->topics == BENCH_TOPICS_ALL_TO_ALL;

	if (__builtin_popcount(st->paces_given) > 1)
		return "choose one of --rate, --closed and --flood";
	if (o->publishers + o->subscribers == 0)
		return "there is nothing to do without publishers and subscribers";
	if (o->topics == BENCH_TOPICS_PAIRS && o->publishers != o->subscribers)
		return "pairs need as many --publishers as --subscribers";
	if (o->topics == BENCH_TOPICS_MANY_TO_ONE && o->subscribers > o->publishers)
		return "many-to-one needs at least as many --publishers as --subscribers";
	if (o->topics == BENCH_TOPICS_MANY_TO_ONE && o->publishers && !o->subscribers)
		return "many-to-one needs a subscriber";
	if (o->wildcard && !all_hear_all && o->subscribers != 1)
		return "--wildcard would make every subscriber hear every publisher: use all-to-all";
	if (o->pace == BENCH_PACE_CLOSED && !o->subscribers)
		return "--closed waits for subscribers: there are none";
	if (o->topics == BENCH_TOPICS_ONE_TO_MANY && o->publishers > 1)
		for (unsigned i = 0; i < o->sizes_count; i++)
			if (o->sizes[i] < BENCH_STAMP_SIZE)
				return "messages below 32 bytes do not say whose they are: use one "
				       "publisher a topic (--topics all-to-all)";
	if (o->password && !o->username && o->version != MQTT_VERSION_5)
		return "--password needs --username before MQTT 5";
	return NULL;
}

static error_t option_parse(int key, char *arg, struct argp_state *state)
{
	struct option_state *st = state->input;
	const char *conflict;
	bool legal;

	switch (key) {
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument '%s'", arg);
		return EINVAL;
	case ARGP_KEY_END:
		conflict = options_conflict(st);
		if (!conflict)
			return 0;
		argp_error(state, "%s", conflict);
		return EINVAL;
	}
	if (!option_connection(st->options, key, arg, &legal) && !option_load(st, key, arg, &legal))
		return ARGP_ERR_UNKNOWN;
	if (legal)
		return 0;
	for (const struct argp_option *o = option_table; o->name || o->doc; o++)
		if (o->key == key && o->name)
			argp_error(state, "'%s' is no value for --%s: %s", arg, o->name, o->doc);
	return EINVAL;
}

static const struct argp option_argp = {
	.options = option_table,
	.parser = option_parse,
	.doc = "Loads an MQTT broker with publishers and subscribers and measures the time from "
	       "issuing a PUBLISH to its arrival at the last subscriber waiting for it. Every "
	       "delivery is checked: lost, duplicated, reordered and corrupted messages are counted."
	       "\vExit status: 0 all well, 1 messages lost, duplicated, reordered or corrupted, 2 "
	       "wrong usage, 3 no connection. offramp-bench(1) describes the report.",
};

int bench_options_parse(int argc, char **argv, unsigned flags, struct bench_options *ret_options)
{
	struct bench_options o = {
		.host = "localhost",
		.port = "1883",
		.threads = 1,
		.publishers = 1,
		.subscribers = 1,
		.rate = 10,
		.outstanding = 1,
		.duration_s = 10,
		.warmup_s = 1,
		.drain_s = 5,
		.sizes = {64},
		.sizes_count = 1,
		.version = MQTT_VERSION_3_1_1,
		.inflight = 20,
		.keep_alive_s = 60,
		.connect_timeout_s = 10,
	};
	struct option_state st = {.options = &o};

	if (argp_parse(&option_argp, argc, argv, flags, NULL, &st))
		return -EINVAL;
	if (o.messages && !st.warmup_given)
		o.warmup_s = 0;
	*ret_options = o;
	return 0;
}
