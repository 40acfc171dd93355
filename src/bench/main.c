// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// offramp-bench: loads an MQTT broker and reports what arrived, and when.

#include "bench/report.h"

#include <argp.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum exit_status {
	EXIT_GOOD = 0,
	EXIT_BAD = 1, // messages lost, duplicated, reordered, corrupted
	EXIT_USAGE = 2,
	EXIT_NOT_CONNECTED = 3,
	EXIT_INTERRUPTED = 130,
};

const char *argp_program_version = "offramp-bench " OFFRAMP_VERSION;

static int report(const struct bench_options *options, const struct bench_address *target,
	const struct bench_result *result)
{
	bool never_ran = result->outcome == BENCH_OUTCOME_INTERRUPTED && !result->connect_s;

	if (result->outcome == BENCH_OUTCOME_NOT_CONNECTED) {
		fprintf(stderr, "offramp-bench: %s\n", result->reason);
		return EXIT_NOT_CONNECTED;
	}
	if (never_ran)
		return EXIT_INTERRUPTED;
	if (options->json)
		bench_report_json(stdout, options, target, result);
	else
		bench_report_table(stdout, options, target, result);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "offramp-bench: cannot write the report: %s\n", strerror(errno));
		return EXIT_BAD;
	}
	if (result->outcome == BENCH_OUTCOME_INTERRUPTED)
		return EXIT_INTERRUPTED;
	return bench_result_good(options, result) ? EXIT_GOOD : EXIT_BAD;
}

static bool watches_exist(const struct bench_options *options)
{
	for (unsigned i = 0; i < options->watches_count; i++)
		if (bench_process_cpu_s(options->watches[i].pid) < 0) {
			fprintf(stderr, "offramp-bench: --cpu-of %s: there is no process %d\n",
				options->watches[i].name, options->watches[i].pid);
			return false;
		}
	return true;
}

int main(int argc, char **argv)
{
	struct bench_options options;
	struct bench_address target;
	struct bench_result *result;
	int family = AF_UNSPEC, rc;
	uint32_t id;

	argp_err_exit_status = EXIT_USAGE;
	if (bench_options_parse(argc, argv, 0, &options) || !watches_exist(&options))
		return EXIT_USAGE;
	if (options.sources_count)
		family = options.sources[0].first.ss_family;
	rc = bench_address_resolve(options.host, options.port, family, &target);
	if (rc) {
		fprintf(stderr, "offramp-bench: %s: %s\n", options.host, gai_strerror(rc));
		return EXIT_NOT_CONNECTED;
	}
	if (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
		perror("offramp-bench: getrandom");
		return EXIT_BAD;
	}
	result = calloc(1, sizeof(*result));
	rc = result ? bench_run(&options, &target, id, result) : -ENOMEM;
	if (rc == -EMFILE)
		fprintf(stderr,
			"offramp-bench: the system allows too few open files for %u clients: raise "
			"'ulimit -n'\n",
			options.publishers + options.subscribers);
	else if (rc)
		fprintf(stderr, "offramp-bench: cannot start: %s\n", strerror(-rc));
	rc = rc ? EXIT_NOT_CONNECTED : report(&options, &target, result);
	free(result);
	return rc;
}
