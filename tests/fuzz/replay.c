// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Runs a fuzz target over the files of the directories given: its corpus as a test,
// without libFuzzer.

#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

#define INPUT_MAX (1 << 20)

static int replay_file(const char *path, uint8_t *input)
{
	FILE *file = fopen(path, "rb");
	size_t size;

	if (file == NULL) {
		perror(path);
		return -1;
	}
	size = fread(input, 1, INPUT_MAX, file);
	fclose(file);
	LLVMFuzzerTestOneInput(input, size);
	return 0;
}

// How many files were replayed, -1 on trouble.
static int replay_directory(const char *path, uint8_t *input)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int files = 0;

	if (directory == NULL) {
		perror(path);
		return -1;
	}
	while (files >= 0 && (entry = readdir(directory)) != NULL) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		files = replay_file(name, input) == 0 ? files + 1 : -1;
	}
	closedir(directory);
	return files;
}

int main(int argc, char **argv)
{
	uint8_t *input = malloc(INPUT_MAX);
	int failed = argc < 2 || input == NULL;

	if (LLVMFuzzerInitialize != NULL)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc && !failed; i++) {
		int files = replay_directory(argv[i], input);

		printf("%s: %d inputs\n", argv[i], files);
		failed = files <= 0; // an empty corpus proves nothing
	}
	free(input);
	return failed;
}
