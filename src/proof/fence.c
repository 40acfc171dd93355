// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A linear table: forty keys are scanned faster than hashed.

#include "proof/fence.h"

#include <stddef.h>

#define FAILURES_MAX 6 // the hold grows to 64 times

void fences_init(struct fences *fences)
{
	fences->count = fences->next = 0;
	fences->all = false;
}

bool fences_empty(const struct fences *fences)
{
	return fences->count == 0 && !fences->all;
}

static struct fence_entry *fence_find(const struct fences *fences, uint64_t key)
{
	for (unsigned i = 0; i < fences->count; i++)
		if (fences->entries[i].key == key)
			return (struct fence_entry *)&fences->entries[i];
	return NULL;
}

static struct fence_entry *fence_add(struct fences *fences, uint64_t key)
{
	struct fence_entry *entry = fence_find(fences, key);

	if (entry != NULL)
		return entry;
	if (fences->count == FENCES_MAX && !fences->all)
		fences_passed_unknown(fences);
	if (fences->count < FENCES_MAX) {
		entry = &fences->entries[fences->count++];
	} else {
		// A forgotten exception only costs another fence.
		entry = &fences->entries[fences->next];
		fences->next = (fences->next + 1) % FENCES_MAX;
	}
	*entry = (struct fence_entry){.key = key};
	return entry;
}

bool fences_known(const struct fences *fences, uint64_t key)
{
	return fence_find(fences, key) != NULL;
}

enum fence_state fences_state(const struct fences *fences, uint64_t key, uint64_t now_us)
{
	const struct fence_entry *entry = fence_find(fences, key);

	if (entry == NULL)
		return fences->all ? FENCE_BLOCKED : FENCE_CLEAR;
	if (entry->held_until_us == 0)
		return FENCE_CLEAR;
	return now_us < entry->held_until_us ? FENCE_HELD : FENCE_BLOCKED;
}

void fences_passed(struct fences *fences, uint64_t key, uint64_t now_us, uint64_t hold_us)
{
	fence_add(fences, key)->held_until_us = now_us + hold_us;
}

void fences_passed_unknown(struct fences *fences)
{
	fences->all = true;
	fences->count = fences->next = 0;
}

void fences_cleared(struct fences *fences, uint64_t key)
{
	struct fence_entry *entry = fence_find(fences, key);

	if (fences->all) {
		entry = fence_add(fences, key);
		entry->held_until_us = 0;
		entry->failures = 0;
	} else if (entry != NULL) {
		*entry = fences->entries[--fences->count];
	}
}

void fences_failed(struct fences *fences, uint64_t key, uint64_t now_us, uint64_t hold_us)
{
	struct fence_entry *entry = fence_add(fences, key);

	if (entry->failures < FAILURES_MAX)
		entry->failures++;
	entry->held_until_us = now_us + (hold_us << entry->failures);
}
