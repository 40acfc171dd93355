// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What mosquitto calls: the three entry points and the callbacks, all on its only thread. They
// hand on what they are given (witness.h) and answer at once.
//
// mosquitto asks its sources for access in the order in which they are loaded and takes the
// first answer that is not "defer", so this plugin is the first `plugin` of mosquitto.conf:
// else it does not see what another one has answered. Where that shows, it stops speaking.

#include "base/marker.h"
#include "plugin/events.h"
#include "plugin/notes.h"
#include "plugin/options.h"
#include "plugin/probes.h"
#include "plugin/queue.h"
#include "plugin/secret.h"
#include "plugin/stream.h"
#include "plugin/subscriptions.h"
#include "plugin/witness.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 64

struct plugin {
	mosquitto_plugin_id_t *identifier;
	struct options options;
	struct options_pair pairs[OPTIONS_MAX]; // copies: the stream's thread reads them
	struct queue *queue;
	struct secret secret;
	struct notes notes;
	struct events *events;
	struct witness *witness;
	struct stream *stream; // NULL: it has been stopped for good
};

static void print(int level, const char *text)
{
	mosquitto_log_printf(level, "%s", text);
}

static struct witness_client client_of(const struct mosquitto *client)
{
	return (struct witness_client){
		.context = client,
		.id = mosquitto_client_id(client),
		.username = mosquitto_client_username(client),
	};
}

static void wake(void *ctx)
{
	struct plugin *plugin = ctx;

	if (plugin->stream)
		stream_wake(plugin->stream);
}

// Without a stream nothing is captured: that is always right.
static void give_up(struct plugin *plugin)
{
	if (!plugin->stream)
		return;
	print(MOSQ_LOG_ERR, "offramp: another plugin answers before this one: mosquitto_offramp.so "
			    "must be the first plugin of mosquitto.conf; it stays out of it until "
			    "mosquitto is started again");
	stream_stop(plugin->stream);
	plugin->stream = NULL;
}

// --- callbacks -----------------------------------------------------------------------------------

static int answer(const struct plugin *plugin)
{
	return plugin->options.acl_allow ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
}

// A marker may be written by anybody: who cannot make one gets nothing by it. Commands to other
// plugins are theirs to judge, whatever was said of the rest.
static int answer_write(const struct plugin *plugin, const char *topic)
{
	if (strcmp(topic, MARKER_TOPIC) == 0)
		return MOSQ_ERR_SUCCESS;
	if (strncmp(topic, "$CONTROL/", strlen("$CONTROL/")) == 0)
		return MOSQ_ERR_PLUGIN_DEFER;
	return answer(plugin);
}

static int on_acl_check(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_acl_check *check = data;
	struct plugin *plugin = userdata;
	struct witness_client client = client_of(check->client);

	if (check->access == MOSQ_ACL_READ)
		return witness_read(plugin->witness, &client, check->topic, check->payload)
			       ? MOSQ_ERR_ACL_DENIED
			       : answer(plugin);
	notes_flush(&plugin->notes, print); // there may be no ticks
	if (check->access == MOSQ_ACL_WRITE) {
		witness_write(plugin->witness, &client, check->topic);
		return answer_write(plugin, check->topic);
	}
	subscriptions_checked(plugin->witness, &client, check->access, check->topic, check->qos);
	return answer(plugin);
}

static int on_message(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_message *message = data;
	struct plugin *plugin = userdata;
	struct witness_client client = client_of(message->client);

	if (!witness_message(plugin->witness, &client,
		    &(struct probes_message){message->topic, message->payload, message->qos}))
		give_up(plugin);
	return MOSQ_ERR_SUCCESS;
}

static int on_control(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_control *control = data;
	struct plugin *plugin = userdata;
	struct witness_client client = client_of(control->client);

	if (!witness_marker(plugin->witness, &client, control->payload, control->payloadlen))
		give_up(plugin);
	return MOSQ_ERR_SUCCESS;
}

static int on_disconnect(int event, void *data, void *userdata)
{
	const struct mosquitto_evt_disconnect *disconnect = data;
	struct plugin *plugin = userdata;
	struct witness_client client = client_of(disconnect->client);

	witness_disconnect(plugin->witness, &client);
	return MOSQ_ERR_SUCCESS;
}

// Comes before mosquitto reads its files again, and all of that before any later packet.
static int on_reload(int event, void *data, void *userdata)
{
	struct plugin *plugin = userdata;

	witness_revoke(plugin->witness, "mosquitto has reloaded its configuration");
	return MOSQ_ERR_PLUGIN_DEFER; // anything else ends the round, and others do not hear of it
}

static int on_tick(int event, void *data, void *userdata)
{
	struct plugin *plugin = userdata;

	witness_tick(plugin->witness);
	if (plugin->stream)
		stream_go(plugin->stream);
	notes_flush(&plugin->notes, print);
	return MOSQ_ERR_SUCCESS;
}

static int register_callbacks(struct plugin *plugin)
{
	const struct {
		int event;
		MOSQ_FUNC_generic_callback callback;
		const char *topic;
	} callbacks[] = {
		{MOSQ_EVT_ACL_CHECK, on_acl_check, NULL},
		{MOSQ_EVT_MESSAGE, on_message, NULL},
		{MOSQ_EVT_CONTROL, on_control, MARKER_TOPIC},
		{MOSQ_EVT_DISCONNECT, on_disconnect, NULL},
		{MOSQ_EVT_RELOAD, on_reload, NULL},
		{MOSQ_EVT_TICK, on_tick, NULL},
	};

	for (unsigned i = 0; i < sizeof(callbacks) / sizeof(callbacks[0]); i++) {
		int rc = mosquitto_callback_register(plugin->identifier, callbacks[i].event,
			callbacks[i].callback, callbacks[i].topic, plugin);

		if (rc != MOSQ_ERR_SUCCESS)
			return rc;
	}
	return subscriptions_register(plugin->identifier, plugin->witness);
}

// --- entry points --------------------------------------------------------------------------------

static int copy_options(struct plugin *plugin, const struct mosquitto_opt *options, int count,
	char error[OPTIONS_ERROR_MAX])
{
	if (count > OPTIONS_MAX)
		count = OPTIONS_MAX; // some of them are not ours, and are named
	for (int i = 0; i < count; i++) {
		plugin->pairs[i].key = strdup(options[i].key);
		plugin->pairs[i].value = strdup(options[i].value);
		if (!plugin->pairs[i].key || !plugin->pairs[i].value)
			return -ENOMEM;
	}
	return options_parse(plugin->pairs, count, &plugin->options, error);
}

static void plugin_free(struct plugin *plugin)
{
	if (!plugin)
		return;
	stream_stop(plugin->stream);
	plugin->stream = NULL;
	witness_destroy(plugin->witness);
	events_destroy(plugin->events);
	queue_destroy(plugin->queue);
	for (unsigned i = 0; i < OPTIONS_MAX; i++) {
		free((char *)plugin->pairs[i].key);
		free((char *)plugin->pairs[i].value);
	}
	free(plugin);
}

static int plugin_start(struct plugin *plugin, char error[OPTIONS_ERROR_MAX])
{
	const struct options *options = &plugin->options;
	int err;

	err = queue_create(options->queue_bytes, options->queue_events, &plugin->queue);
	if (!err)
		err = events_create(
			plugin->queue, options->readers_max, wake, plugin, &plugin->events);
	if (!err)
		err = witness_create(
			plugin->events, &plugin->secret, options->readers_max, &plugin->witness);
	if (!err)
		err = stream_start(options, plugin->queue, &plugin->secret, &plugin->notes,
			&plugin->stream, error, OPTIONS_ERROR_MAX);
	return err;
}

int mosquitto_plugin_version(int count, const int *versions)
{
	for (int i = 0; i < count; i++)
		if (versions[i] == MOSQ_PLUGIN_VERSION)
			return MOSQ_PLUGIN_VERSION;
	return -1;
}

int mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
	struct mosquitto_opt *options, int count)
{
	char error[OPTIONS_ERROR_MAX] = "out of memory";
	struct plugin *plugin = calloc(1, sizeof(*plugin));
	int rc = MOSQ_ERR_NOMEM;

	if (!plugin)
		return rc;
	plugin->identifier = identifier;
	if (copy_options(plugin, options, count, error) || plugin_start(plugin, error)) {
		mosquitto_log_printf(MOSQ_LOG_ERR, "offramp: %s", error);
		rc = MOSQ_ERR_INVAL;
		goto err;
	}
	rc = register_callbacks(plugin);
	if (rc != MOSQ_ERR_SUCCESS) {
		print(MOSQ_LOG_ERR,
			"offramp: this mosquitto lacks a callback that the plugin needs");
		goto err;
	}
	*userdata = plugin;
	return MOSQ_ERR_SUCCESS;
err:
	plugin_free(plugin);
	return rc;
}

// mosquitto is about to end and calls nothing any more.
int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
	plugin_free(userdata);
	return MOSQ_ERR_SUCCESS;
}
