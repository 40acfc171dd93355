// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The entry points and the answers, with nobody at the other end of the stream.

#include "plugin_tests.h"

#include "mosquitto_mock.h"

#include "base/marker.h"

#include <mosquitto.h>
#include <mosquitto_plugin.h>

#include <string.h>

static void *start(const char *acl)
{
	struct mosquitto_opt options[] = {
		{"address", "unix:/nowhere/offramp.sock"}, {"acl", (char *)acl}};
	void *userdata = NULL;

	memset(&mosquitto_mock, 0, sizeof(mosquitto_mock));
	assert_int_equal(mosquitto_plugin_init(NULL, &userdata, options, 2), MOSQ_ERR_SUCCESS);
	assert_non_null(userdata);
	return userdata;
}

static void stop(void *userdata)
{
	assert_int_equal(mosquitto_plugin_cleanup(userdata, NULL, 0), MOSQ_ERR_SUCCESS);
}

static int check(int access, const char *topic)
{
	struct mosquitto client = {"c", NULL};
	struct mosquitto_evt_acl_check data = {.client = &client, .access = access, .topic = topic};

	return mosquitto_mock_call(MOSQ_EVT_ACL_CHECK, &data);
}

static void test_only_the_fifth_version_is_spoken(void **state)
{
	assert_int_equal(mosquitto_plugin_version(3, (const int[]){6, 5, 4}), 5);
	assert_int_equal(mosquitto_plugin_version(2, (const int[]){4, 3}), -1);
	assert_int_equal(mosquitto_plugin_version(0, NULL), -1);
}

static void test_access_is_answered_as_was_asked_for(void **state)
{
	const int accesses[] = {
		MOSQ_ACL_READ, MOSQ_ACL_WRITE, MOSQ_ACL_SUBSCRIBE, MOSQ_ACL_UNSUBSCRIBE};
	const char *const answers[] = {"allow", "defer"};

	for (unsigned i = 0; i < 2; i++) {
		void *userdata = start(answers[i]);
		int answer = i == 0 ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;

		for (unsigned a = 0; a < 4; a++)
			assert_int_equal(check(accesses[a], "a"), answer);
		assert_int_equal(check(MOSQ_ACL_WRITE, MARKER_TOPIC), MOSQ_ERR_SUCCESS);
		assert_int_equal(check(MOSQ_ACL_WRITE, "$CONTROL/x/v1"), MOSQ_ERR_PLUGIN_DEFER);
		assert_int_equal(check(MOSQ_ACL_READ, MARKER_TOPIC), answer);
		stop(userdata);
	}
}

static void test_a_reload_goes_on_to_others(void **state)
{
	void *userdata = start("allow");
	struct mosquitto_evt_reload data = {0};

	assert_int_equal(mosquitto_mock_call(MOSQ_EVT_RELOAD, &data), MOSQ_ERR_PLUGIN_DEFER);
	assert_string_equal(mosquitto_mock.control_topic, MARKER_TOPIC);
	stop(userdata);
}

static void test_a_marker_that_mosquitto_did_not_ask_about_ends_the_plugin(void **state)
{
	void *userdata = start("allow");
	struct mosquitto client = {"c", NULL};
	struct mosquitto_evt_control data = {
		.client = &client, .topic = MARKER_TOPIC, .payload = "x", .payloadlen = 1};

	assert_int_equal(mosquitto_mock_call(MOSQ_EVT_CONTROL, &data), MOSQ_ERR_SUCCESS);
	assert_int_equal(mosquitto_mock.lines, 1);
	assert_non_null(strstr(mosquitto_mock.line, "first plugin"));
	assert_int_equal(mosquitto_mock_call(MOSQ_EVT_CONTROL, &data), MOSQ_ERR_SUCCESS);
	assert_int_equal(mosquitto_mock.lines, 1);
	assert_int_equal(check(MOSQ_ACL_SUBSCRIBE, "a"), MOSQ_ERR_SUCCESS); // it answers as ever
	stop(userdata);
}

static void test_what_cannot_start_leaves_nothing(void **state)
{
	struct mosquitto_opt options[] = {{"address", "unix:/s"}, {"acl", "allow"}};
	void *userdata = NULL;

	memset(&mosquitto_mock, 0, sizeof(mosquitto_mock));
	mosquitto_mock.refuse = MOSQ_EVT_TICK;
	assert_int_not_equal(mosquitto_plugin_init(NULL, &userdata, options, 2), MOSQ_ERR_SUCCESS);
	assert_null(userdata);
	assert_int_equal(mosquitto_mock.lines, 1);
	assert_int_not_equal(mosquitto_plugin_init(NULL, &userdata, options, 1), MOSQ_ERR_SUCCESS);
	assert_non_null(strstr(mosquitto_mock.line, "plugin_opt_acl is missing"));
	assert_int_equal(mosquitto_plugin_cleanup(NULL, NULL, 0), MOSQ_ERR_SUCCESS);
}

int test_plugin_plugin(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_the_fifth_version_is_spoken),
		cmocka_unit_test(test_access_is_answered_as_was_asked_for),
		cmocka_unit_test(test_a_reload_goes_on_to_others),
		cmocka_unit_test(test_a_marker_that_mosquitto_did_not_ask_about_ends_the_plugin),
		cmocka_unit_test(test_what_cannot_start_leaves_nothing),
	};

	return cmocka_run_group_tests_name("plugin", tests, NULL, NULL);
}
