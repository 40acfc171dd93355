// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// grpc.reflection.v1alpha.ServerReflection: what is served at this address, and the
// files that define it. One answer to each question, in their order: the next question is
// read when the answer to this one has gone.

#include "control/control_state.h"
#include "control/descriptors.h"
#include "control/services.h"
#include "grpc/reflection/v1alpha/reflection.pb-c.h"

#include <stdlib.h>
#include <string.h>

#define AGE_MAX_S 60

typedef Grpc__Reflection__V1alpha__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1alpha__ServerReflectionResponse reflection_response;

#define REQUEST(kind) GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##kind
#define RESPONSE(kind) \
	GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##kind

struct reflection {
	reflection_request *question; // NULL: none waits for its answer
	bool ended;
};

// --- questions -----------------------------------------------------------------------------------

static bool reflection_receive(
	void *ctx, void *state, const ProtobufCMessage *request, struct rpc_reply *reply)
{
	struct reflection *reflection = state;

	(void)ctx;
	if (reflection->question)
		return false;
	if (!request) {
		reflection->ended = true;
		return true;
	}
	reflection->question = (reflection_request *)rpc_request_keep(reply);
	return true;
}

static void reflection_close(void *ctx, void *state)
{
	struct reflection *reflection = state;

	(void)ctx;
	if (reflection->question)
		grpc__reflection__v1alpha__server_reflection_request__free_unpacked(
			reflection->question, NULL);
}

// --- answers -------------------------------------------------------------------------------------

static void answer_error(reflection_response *response, grpc_status_code code, const char *text,
	struct rpc_reply *reply)
{
	Grpc__Reflection__V1alpha__ErrorResponse error =
		GRPC__REFLECTION__V1ALPHA__ERROR_RESPONSE__INIT;

	error.error_code = code;
	error.error_message = (char *)text;
	response->message_response_case = RESPONSE(ERROR_RESPONSE);
	response->error_response = &error;
	rpc_reply_message(reply, &response->base);
}

static void answer_file(
	reflection_response *response, const ProtobufCMessage *file, struct rpc_reply *reply)
{
	Grpc__Reflection__V1alpha__FileDescriptorResponse files =
		GRPC__REFLECTION__V1ALPHA__FILE_DESCRIPTOR_RESPONSE__INIT;
	ProtobufCBinaryData packed = {0};

	if (file) {
		packed.len = protobuf_c_message_get_packed_size(file);
		packed.data = malloc(packed.len);
	}
	if (!packed.data) {
		answer_error(response, GRPC_STATUS_NOT_FOUND, "not defined here", reply);
		return;
	}
	protobuf_c_message_pack(file, packed.data);
	files.file_descriptor_proto = &packed;
	files.n_file_descriptor_proto = 1;
	response->message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
	response->file_descriptor_response = &files;
	rpc_reply_message(reply, &response->base);
	free(packed.data);
}

static void answer_services(
	const struct control *control, reflection_response *response, struct rpc_reply *reply)
{
	Grpc__Reflection__V1alpha__ListServiceResponse list =
		GRPC__REFLECTION__V1ALPHA__LIST_SERVICE_RESPONSE__INIT;
	Grpc__Reflection__V1alpha__ServiceResponse rows[SERVICES_MAX], *pointers[SERVICES_MAX];

	for (unsigned i = 0; i < control->services_count; i++) {
		const char *name = control->services[i].name;

		if (!rpc_call_serves(rpc_reply_call(reply), name))
			continue;
		grpc__reflection__v1alpha__service_response__init(&rows[list.n_service]);
		rows[list.n_service].name = (char *)name;
		pointers[list.n_service] = &rows[list.n_service];
		list.n_service++;
	}
	list.service = pointers;
	response->message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
	response->list_services_response = &list;
	rpc_reply_message(reply, &response->base);
}

static void answer(
	const struct control *control, reflection_request *question, struct rpc_reply *reply)
{
	reflection_response response = GRPC__REFLECTION__V1ALPHA__SERVER_REFLECTION_RESPONSE__INIT;
	const struct descriptors *descriptors = control->descriptors;

	response.valid_host = question->host;
	response.original_request = question;
	switch (question->message_request_case) {
	case REQUEST(LIST_SERVICES):
		answer_services(control, &response, reply);
		break;
	case REQUEST(FILE_BY_FILENAME):
		answer_file(&response, descriptors_file(descriptors, question->file_by_filename),
			reply);
		break;
	case REQUEST(FILE_CONTAINING_SYMBOL):
		answer_file(&response,
			descriptors_symbol(descriptors, question->file_containing_symbol), reply);
		break;
	case REQUEST(FILE_CONTAINING_EXTENSION):
	case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
		answer_error(&response, GRPC_STATUS_NOT_FOUND, "there are no extensions", reply);
		break;
	default:
		answer_error(&response, GRPC_STATUS_INVALID_ARGUMENT, "no question", reply);
		break;
	}
}

static void reflection_next(void *ctx, void *state, struct rpc_reply *reply)
{
	struct reflection *reflection = state;

	if (reflection->question) {
		answer(ctx, reflection->question, reply);
		grpc__reflection__v1alpha__server_reflection_request__free_unpacked(
			reflection->question, NULL);
		reflection->question = NULL;
		rpc_call_wake(rpc_reply_call(reply), 0);
	} else if (reflection->ended) {
		rpc_reply_end(reply);
	}
}

const struct rpc_method reflection_methods[] = {
	{
		.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
		.request = &grpc__reflection__v1alpha__server_reflection_request__descriptor,
		.state_size = sizeof(struct reflection),
		.age_max_s = AGE_MAX_S,
		.receive = reflection_receive,
		.next = reflection_next,
		.close = reflection_close,
	},
	{.path = NULL},
};
