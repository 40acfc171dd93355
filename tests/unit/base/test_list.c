// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Lists, against what their drawing says.

#include "base_tests.h"

#include "base/list.h"

struct node {
	int value;
	struct list link;
};

static void nodes_init(struct node *nodes, int count)
{
	for (int i = 0; i < count; i++) {
		nodes[i].value = i;
		list_init(&nodes[i].link);
	}
}

static void assert_values(const struct list *head, const int *values, int count)
{
	int i = 0;

	list_for_each (link, head) {
		assert_true(i < count);
		assert_int_equal(container_of(link, struct node, link)->value, values[i++]);
	}
	assert_int_equal(i, count);
}

static void test_nodes_leave_in_the_order_of_arrival(void **state)
{
	struct node nodes[3];
	struct list head;

	list_init(&head);
	nodes_init(nodes, 3);
	assert_null(list_pop(&head));
	for (int i = 0; i < 3; i++)
		list_append(&head, &nodes[i].link);
	for (int i = 0; i < 3; i++) {
		assert_ptr_equal(list_pop(&head), &nodes[i].link);
		assert_false(list_linked(&nodes[i].link));
	}
	assert_true(list_empty(&head));
}

static void test_removing_twice_is_harmless(void **state)
{
	struct node nodes[3];
	struct list head;

	list_init(&head);
	nodes_init(nodes, 3);
	for (int i = 0; i < 3; i++)
		list_append(&head, &nodes[i].link);
	list_remove(&nodes[1].link);
	list_remove(&nodes[1].link);
	assert_values(&head, (int[]){0, 2}, 2);
}

static void test_a_loop_may_remove_its_node(void **state)
{
	struct node nodes[4];
	struct list head;

	list_init(&head);
	nodes_init(nodes, 4);
	for (int i = 0; i < 4; i++)
		list_append(&head, &nodes[i].link);
	list_for_each_safe (link, &head) {
		if (container_of(link, struct node, link)->value % 2 == 0)
			list_remove(link);
	}
	assert_values(&head, (int[]){1, 3}, 2);
}

static void test_all_nodes_move_in_order(void **state)
{
	struct node nodes[4];
	struct list from, to;

	list_init(&from);
	list_init(&to);
	nodes_init(nodes, 4);
	list_move_all(&from, &to);
	assert_true(list_empty(&to));
	for (int i = 0; i < 4; i++)
		list_append(i < 2 ? &to : &from, &nodes[i].link);
	list_move_all(&from, &to);
	assert_true(list_empty(&from));
	assert_values(&to, (int[]){0, 1, 2, 3}, 4);
}

int test_base_list(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes_leave_in_the_order_of_arrival),
		cmocka_unit_test(test_removing_twice_is_harmless),
		cmocka_unit_test(test_a_loop_may_remove_its_node),
		cmocka_unit_test(test_all_nodes_move_in_order),
	};

	return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
