// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Descriptor → object: pages of a table, made when needed and never freed, so that whoever asks
// about a descriptor of the kernel's takes no lock.

#include "shim/table.h"

#include <stdlib.h>

#define PAGE  1024
#define PAGES 1024

static _Atomic(_Atomic(struct object *) *) pages[PAGES];

struct object *table_look(int fd)
{
	_Atomic(struct object *) *page;

	if (fd < 0 || fd >= PAGE * PAGES)
		return NULL;
	page = atomic_load_explicit(&pages[fd / PAGE], memory_order_acquire);
	return page != NULL ? atomic_load_explicit(&page[fd % PAGE], memory_order_acquire) : NULL;
}

bool table_set(int fd, struct object *object)
{
	_Atomic(struct object *) *page;

	if (fd < 0 || fd >= PAGE * PAGES)
		return false;
	page = atomic_load_explicit(&pages[fd / PAGE], memory_order_acquire);
	if (page == NULL) {
		if (object == NULL)
			return true;
		page = calloc(PAGE, sizeof(*page));
		if (page == NULL)
			return false;
		atomic_store_explicit(&pages[fd / PAGE], page, memory_order_release);
	}
	atomic_store_explicit(&page[fd % PAGE], object, memory_order_release);
	return true;
}

int table_next(int fd)
{
	for (fd++; fd < PAGE * PAGES; fd++) {
		if (atomic_load_explicit(&pages[fd / PAGE], memory_order_acquire) == NULL)
			fd |= PAGE - 1;
		else if (table_look(fd) != NULL)
			return fd;
	}
	return -1;
}

int table_find(const struct object *object)
{
	int fd = table_next(-1);

	while (fd >= 0 && table_look(fd) != object)
		fd = table_next(fd);
	return fd;
}
