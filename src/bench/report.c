// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a run found out, for people.

#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>

static const char *plural(uint32_t n)
{
	return n == 1 ? "" : "s";
}

static const char *version_name(enum mqtt_version version)
{
	return version == MQTT_VERSION_5 ? "5" : version == MQTT_VERSION_3_1 ? "3.1" : "3.1.1";
}

static void report_head(
	FILE *out, const struct bench_options *o, const struct bench_address *target)
{
	uint32_t low = o->sizes[0], high = o->sizes[0];

	for (unsigned i = 1; i < o->sizes_count; i++) {
		low = o->sizes[i] < low ? o->sizes[i] : low;
		high = o->sizes[i] > high ? o->sizes[i] : high;
	}
	fprintf(out, "%s: %u publisher%s, %u subscriber%s, %s, ", target->text, o->publishers,
		plural(o->publishers), o->subscribers, plural(o->subscribers),
		bench_topics_name(o->topics));
	if (low == high)
		fprintf(out, "%u byte%s, ", low, plural(low));
	else
		fprintf(out, "%u to %u bytes, ", low, high);
	fprintf(out, "QoS %u, MQTT %s, ", o->qos, version_name(o->version));
	if (o->pace == BENCH_PACE_RATE)
		fprintf(out, "%g messages/s each\n\n", o->rate);
	else if (o->pace == BENCH_PACE_CLOSED)
		fprintf(out, "closed loop of %u\n\n", o->outstanding);
	else
		fprintf(out, "flood\n\n");
}

// 1234 microseconds as "1.23 ms", right-aligned in 10 columns.
static void report_time(FILE *out, uint64_t us)
{
	if (us < 1000)
		fprintf(out, "%7" PRIu64 " us", us);
	else if (us < 1000000)
		fprintf(out, "%7.*f ms", us < 10000 ? 2 : us < 100000 ? 1 : 0, us / 1e3);
	else
		fprintf(out, "%7.2f s ", us / 1e6);
}

static void report_row(FILE *out, const char *name, const struct histogram *h)
{
	static const unsigned permille[] = {500, 900, 990, 999};

	if (!h->count)
		return;
	fprintf(out, "%-18s %10" PRIu64, name, h->count);
	report_time(out, h->min);
	for (unsigned i = 0; i < sizeof(permille) / sizeof(permille[0]); i++)
		report_time(out, histogram_quantile(h, permille[i]));
	report_time(out, h->max);
	fputc('\n', out);
}

static void report_times(FILE *out, const struct bench_stats *t)
{
	fprintf(out, "%-18s %10s%9s %9s %9s %9s %9s %9s\n", "time from PUBLISH to", "count", "min",
		"median", "p90", "p99", "p99.9", "max");
	report_row(out, "last subscriber", &t->distribution);
	report_row(out, "each subscriber", &t->delivery);
	report_row(out, "acknowledgement", &t->acknowledgement);
	report_row(out, "sending, from due", &t->lag);
}

static void report_cpu(FILE *out, const struct bench_options *o, const struct bench_result *r)
{
	fprintf(out, "CPU over %.2f s    offramp-bench %.2f s", r->wall_s, r->own_cpu_s);
	for (unsigned i = 0; i < o->watches_count; i++) {
		if (r->watch_cpu_s[i] < 0) {
			fprintf(out, ", %s ended", o->watches[i].name);
			continue;
		}
		fprintf(out, ", %s %.2f s", o->watches[i].name, r->watch_cpu_s[i]);
		if (r->total.measured_delivered)
			fprintf(out, " (%.2f s a million deliveries)",
				r->watch_cpu_s[i] * 1e6 / r->total.measured_delivered);
	}
	fputc('\n', out);
}

// What went wrong besides the four counts, a line each; nothing when all is well.
static void report_trouble(FILE *out, const struct bench_options *o, const struct bench_result *r)
{
	const struct bench_stats *t = &r->total;

	if (r->outcome == BENCH_OUTCOME_INTERRUPTED)
		fprintf(out, "interrupted: the numbers are of the part that ran\n");
	if (t->connections_lost)
		fprintf(out, "%" PRIu64 " connections lost; the first: %s\n", t->connections_lost,
			r->loss);
	if (r->unsent)
		fprintf(out, "%" PRIu64 " messages not sent: the publishers could not keep up\n",
			r->unsent);
	if (o->qos && t->published > t->acknowledged)
		fprintf(out, "%" PRIu64 " messages not acknowledged\n",
			t->published - t->acknowledged);
	if (t->refused)
		fprintf(out, "%" PRIu64 " messages refused by the broker\n", t->refused);
	if (t->unexpected)
		fprintf(out, "%" PRIu64 " messages of topics that are not this run's\n",
			t->unexpected);
	if (t->abandoned)
		fprintf(out, "%" PRIu64 " messages given up by the closed loop\n", t->abandoned);
	if (t->unmeasured)
		fprintf(out, "%" PRIu64 " deliveries came too late to be measured\n",
			t->unmeasured);
}

void bench_report_table(FILE *out, const struct bench_options *o,
	const struct bench_address *target, const struct bench_result *r)
{
	const struct bench_stats *t = &r->total;

	report_head(out, o, target);
	report_times(out, t);
	fprintf(out, "\nmessages           %" PRIu64 " (%.0f/s)\n", t->published,
		r->elapsed_s > 0 ? t->measured_published / r->elapsed_s : 0);
	fprintf(out, "deliveries         %" PRIu64 " of %" PRIu64 " (%.0f/s, %.1f MB/s)\n",
		t->delivered, t->expected,
		r->elapsed_s > 0 ? t->measured_delivered / r->elapsed_s : 0,
		r->elapsed_s > 0 ? t->measured_bytes / r->elapsed_s / 1e6 : 0);
	fprintf(out,
		"                   lost %" PRIu64 ", duplicated %" PRIu64 ", reordered %" PRIu64
		", corrupted %" PRIu64 "\n",
		r->lost, t->duplicated, t->reordered, t->corrupted);
	report_cpu(out, o, r);
	report_trouble(out, o, r);
}
