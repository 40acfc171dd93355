// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors

#include "mosquitto_mock.h"

#include <mosquitto.h>

#include <stdarg.h>
#include <stdio.h>

struct mosquitto_mock mosquitto_mock;

int mosquitto_mock_call(int event, void *data)
{
	return mosquitto_mock.callbacks[event](event, data, mosquitto_mock.userdata[event]);
}

int mosquitto_callback_register(mosquitto_plugin_id_t *identifier, int event,
	MOSQ_FUNC_generic_callback callback, const void *data, void *userdata)
{
	if (event == mosquitto_mock.refuse)
		return MOSQ_ERR_NOT_SUPPORTED;
	mosquitto_mock.callbacks[event] = callback;
	mosquitto_mock.userdata[event] = userdata;
	if (event == MOSQ_EVT_CONTROL)
		mosquitto_mock.control_topic = data;
	return MOSQ_ERR_SUCCESS;
}

const char *mosquitto_client_id(const struct mosquitto *client)
{
	return client->id;
}

const char *mosquitto_client_username(const struct mosquitto *client)
{
	return client->username;
}

void mosquitto_log_printf(int level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(mosquitto_mock.line, sizeof(mosquitto_mock.line), format, args);
	va_end(args);
	mosquitto_mock.lines++;
}
