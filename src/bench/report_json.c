// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a run found out, for programs: one JSON object (RFC 8259).

#include "bench/report.h"

#include "mqtt/packet.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

// Writes members with the commas between them.
struct json {
	FILE *out;
	bool more; // a member stands before the next one
};

static void json_string(struct json *json, const char *text)
{
	fputc('"', json->out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fprintf(json->out, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			fprintf(json->out, "\\u%04x", *text);
		else
			fputc(*text, json->out);
	}
	fputc('"', json->out);
}

static void json_key(struct json *json, const char *key)
{
	if (json->more)
		fputs(", ", json->out);
	json->more = true;
	if (!key)
		return; // an array's element
	json_string(json, key);
	fputs(": ", json->out);
}

static void json_open(struct json *json, const char *key, char bracket)
{
	if (key)
		json_key(json, key);
	fputc(bracket, json->out);
	json->more = false;
}

static void json_close(struct json *json, char bracket)
{
	fputc(bracket, json->out);
	json->more = true;
}

static void json_text(struct json *json, const char *key, const char *text)
{
	json_key(json, key);
	json_string(json, text);
}

static void json_count(struct json *json, const char *key, uint64_t n)
{
	json_key(json, key);
	fprintf(json->out, "%" PRIu64, n);
}

static void json_number(struct json *json, const char *key, double n)
{
	json_key(json, key);
	fprintf(json->out, "%.6g", n);
}

static void json_bool(struct json *json, const char *key, bool truth)
{
	json_key(json, key);
	fputs(truth ? "true" : "false", json->out);
}

static void json_histogram(struct json *json, const char *key, const struct histogram *h)
{
	json_open(json, key, '{');
	json_count(json, "count", h->count);
	json_count(json, "min", h->count ? h->min : 0);
	json_number(json, "mean", h->count ? (double)h->sum / h->count : 0);
	json_count(json, "p50", histogram_quantile(h, 500));
	json_count(json, "p90", histogram_quantile(h, 900));
	json_count(json, "p99", histogram_quantile(h, 990));
	json_count(json, "p999", histogram_quantile(h, 999));
	json_count(json, "max", h->count ? h->max : 0);
	json_close(json, '}');
}

static void json_load(struct json *json, const struct bench_options *o)
{
	json_open(json, "load", '{');
	json_count(json, "publishers", o->publishers);
	json_count(json, "subscribers", o->subscribers);
	json_text(json, "topics", bench_topics_name(o->topics));
	json_bool(json, "wildcard", o->wildcard);
	json_text(json, "pace", bench_pace_name(o->pace));
	if (o->pace == BENCH_PACE_RATE)
		json_number(json, "rate", o->rate);
	if (o->pace == BENCH_PACE_CLOSED)
		json_count(json, "outstanding", o->outstanding);
	if (o->messages)
		json_count(json, "messages", o->messages);
	else
		json_number(json, "duration_s", o->duration_s);
	json_number(json, "warmup_s", o->warmup_s);
	json_open(json, "sizes", '[');
	for (unsigned i = 0; i < o->sizes_count; i++)
		json_count(json, NULL, o->sizes[i]);
	json_close(json, ']');
	json_count(json, "qos", o->qos);
	json_text(json, "protocol",
		o->version == MQTT_VERSION_5	 ? "5"
		: o->version == MQTT_VERSION_3_1 ? "3.1"
						 : "3.1.1");
	json_bool(json, "nagle", o->nagle);
	json_count(json, "threads", o->threads);
	json_close(json, '}');
}

static void json_counts(
	struct json *json, const struct bench_options *o, const struct bench_result *r)
{
	const struct bench_stats *t = &r->total;

	json_count(json, "published", t->published);
	json_count(json, "expected", t->expected);
	json_count(json, "delivered", t->delivered);
	json_count(json, "lost", r->lost);
	json_count(json, "duplicated", t->duplicated);
	json_count(json, "reordered", t->reordered);
	json_count(json, "corrupted", t->corrupted);
	json_count(json, "unexpected", t->unexpected);
	json_count(json, "unsent", r->unsent);
	json_count(json, "unacknowledged", o->qos ? t->published - t->acknowledged : 0);
	json_count(json, "refused", t->refused);
	json_count(json, "abandoned", t->abandoned);
	json_count(json, "unmeasured", t->unmeasured);
	json_count(json, "connections_lost", t->connections_lost);
	if (r->loss[0])
		json_text(json, "first_connection_lost", r->loss);
}

static void json_cpu(struct json *json, const struct bench_options *o, const struct bench_result *r)
{
	json_open(json, "cpu", '{');
	json_number(json, "over_s", r->wall_s);
	json_number(json, "offramp_bench_s", r->own_cpu_s);
	json_open(json, "processes", '{');
	for (unsigned i = 0; i < o->watches_count; i++) {
		json_open(json, o->watches[i].name, '{');
		json_bool(json, "ended", r->watch_cpu_s[i] < 0);
		json_number(json, "s", r->watch_cpu_s[i] < 0 ? 0 : r->watch_cpu_s[i]);
		if (r->watch_cpu_s[i] >= 0 && r->total.measured_delivered)
			json_number(json, "s_per_million_deliveries",
				r->watch_cpu_s[i] * 1e6 / r->total.measured_delivered);
		json_close(json, '}');
	}
	json_close(json, '}');
	json_close(json, '}');
}

static void json_measured(struct json *json, const struct bench_result *r)
{
	const struct bench_stats *t = &r->total;
	double seconds = r->elapsed_s > 0 ? r->elapsed_s : 1;

	json_open(json, "measured", '{');
	json_number(json, "elapsed_s", r->elapsed_s);
	json_count(json, "messages", t->measured_published);
	json_count(json, "deliveries", t->measured_delivered);
	json_number(json, "messages_per_s", t->measured_published / seconds);
	json_number(json, "deliveries_per_s", t->measured_delivered / seconds);
	json_number(json, "bytes_per_s", t->measured_bytes / seconds);
	json_histogram(json, "distribution_us", &t->distribution);
	json_histogram(json, "delivery_us", &t->delivery);
	json_histogram(json, "acknowledgement_us", &t->acknowledgement);
	json_histogram(json, "send_lag_us", &t->lag);
	json_close(json, '}');
}

void bench_report_json(FILE *out, const struct bench_options *o, const struct bench_address *target,
	const struct bench_result *r)
{
	struct json json = {.out = out};

	json_open(&json, NULL, '{');
	json_text(&json, "program", "offramp-bench");
	json_text(&json, "version", OFFRAMP_VERSION);
	json_text(&json, "target", target->text);
	json_bool(&json, "ok", bench_result_good(o, r) && r->outcome == BENCH_OUTCOME_DONE);
	json_bool(&json, "interrupted", r->outcome == BENCH_OUTCOME_INTERRUPTED);
	json_load(&json, o);
	json_number(&json, "connect_s", r->connect_s);
	json_counts(&json, o, r);
	json_measured(&json, r);
	json_cpu(&json, o, r);
	json_close(&json, '}');
	fputc('\n', out);
}
