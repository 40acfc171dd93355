// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// The shape of the configuration file: every key, which of them must be there, and
// the words an enumerated one may hold. What numbers may be: config_numbers.c.

#include "control/config_raw.h"

#define OPTIONAL     CYAML_FLAG_OPTIONAL
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define TEXT(type, member) CYAML_FIELD_STRING_PTR(#member, 0, type, member, 0, CYAML_UNLIMITED)
#define OPTIONAL_TEXT(type, member) \
	CYAML_FIELD_STRING_PTR(#member, OPTIONAL, type, member, 0, CYAML_UNLIMITED)
#define CHOICE(type, member, table) \
	CYAML_FIELD_ENUM(#member, OPTIONAL | CYAML_FLAG_STRICT, type, member, table, COUNT(table))
#define LIST(type, member, flags, entry, min) \
	CYAML_FIELD_SEQUENCE(                 \
		#member, CYAML_FLAG_POINTER | (flags), type, member, entry, min, CYAML_UNLIMITED)

static const cyaml_schema_value_t text_entry = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED),
};
static const cyaml_schema_value_t core_entry = {
	CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, unsigned),
};

static const cyaml_strval_t modes[] = {
	{"stack", CONFIG_MODE_STACK},
	{"monitor", CONFIG_MODE_MONITOR},
	{"socket", CONFIG_MODE_SOCKET},
};
static const cyaml_strval_t bridges[] = {
	{"none", CONFIG_BRIDGE_NONE},
	{"learning", CONFIG_BRIDGE_LEARNING},
	{"static", CONFIG_BRIDGE_STATIC},
	{"hub", CONFIG_BRIDGE_HUB},
};
static const cyaml_strval_t filters[] = {
	{"none", CONFIG_FILTER_NONE},
	{"auto", CONFIG_FILTER_AUTO},
};
static const cyaml_strval_t idles[] = {
	{"adaptive", CONFIG_IDLE_ADAPTIVE},
	{"busy", CONFIG_IDLE_BUSY},
};
static const cyaml_strval_t hugepages[] = {
	{"auto", CONFIG_HUGEPAGES_AUTO},
	{"off", CONFIG_HUGEPAGES_OFF},
};
static const cyaml_strval_t knowledges[] = {
	{"broker", OFFLOAD_KNOWLEDGE_BROKER},
	{"wire", OFFLOAD_KNOWLEDGE_WIRE},
	{"none", OFFLOAD_KNOWLEDGE_NONE},
};
static const cyaml_strval_t authorizations[] = {
	{"broker", OFFLOAD_AUTHORIZATION_BROKER},
	{"open", OFFLOAD_AUTHORIZATION_OPEN},
	{"none", OFFLOAD_AUTHORIZATION_NONE},
};
static const cyaml_strval_t fences[] = {
	{"ping", OFFLOAD_FENCE_PING},
	{"none", OFFLOAD_FENCE_NONE},
};
static const cyaml_strval_t overlaps[] = {
	{"mosquitto", PROOF_OVERLAP_MOSQUITTO},
	{"one", PROOF_OVERLAP_ONE},
	{"each", PROOF_OVERLAP_EACH},
	{"pass", PROOF_OVERLAP_PASS},
};
static const cyaml_strval_t topics[] = {
	{"mqtt", OFFLOAD_TOPICS_MQTT},
	{"amqp", OFFLOAD_TOPICS_AMQP},
};
static const cyaml_strval_t acks[] = {
	{"early", OFFLOAD_ACK_EARLY},
	{"end-to-end", OFFLOAD_ACK_END_TO_END},
};
static const cyaml_strval_t congestions[] = {
	{"cubic", TCP_CONGESTION_CUBIC},
	{"newreno", TCP_CONGESTION_NEWRENO},
};
static const cyaml_strval_t log_levels[] = {
	{"error", LOG_LEVEL_ERROR},
	{"warning", LOG_LEVEL_WARNING},
	{"info", LOG_LEVEL_INFO},
	{"debug", LOG_LEVEL_DEBUG},
};

static const cyaml_strval_t services[] = {
	{"admin", CONFIG_SERVICE_ADMIN},
	{"broker", CONFIG_SERVICE_BROKER},
	{"exhook", CONFIG_SERVICE_EXHOOK},
	{"health", CONFIG_SERVICE_HEALTH},
};
static const cyaml_schema_value_t service_entry = {
	CYAML_VALUE_ENUM(CYAML_FLAG_STRICT, enum config_service, services, COUNT(services)),
};

static const cyaml_strval_t directions[] = {
	{"both", RAW_DIRECTION_BOTH},
	{"rx", RAW_DIRECTION_RX},
	{"tx", RAW_DIRECTION_TX},
};

static const cyaml_schema_field_t impair_fields[] = {
	OPTIONAL_TEXT(struct raw_impair, loss),
	OPTIONAL_TEXT(struct raw_impair, duplicate),
	OPTIONAL_TEXT(struct raw_impair, reorder),
	OPTIONAL_TEXT(struct raw_impair, corrupt),
	OPTIONAL_TEXT(struct raw_impair, delay),
	OPTIONAL_TEXT(struct raw_impair, rate),
	OPTIONAL_TEXT(struct raw_impair, seed),
	CHOICE(struct raw_impair, direction, directions),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t port_fields[] = {
	TEXT(struct raw_port, name),
	TEXT(struct raw_port, device),
	OPTIONAL_TEXT(struct raw_port, mtu),
	CHOICE(struct raw_port, filter, filters),
	OPTIONAL_TEXT(struct raw_port, rx_ring),
	OPTIONAL_TEXT(struct raw_port, tx_ring),
	LIST(struct raw_port, addresses, OPTIONAL, &text_entry, 0),
	CYAML_FIELD_MAPPING_PTR("impair", OPTIONAL, struct raw_port, impair, impair_fields),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t port_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_port, port_fields),
};

static const cyaml_schema_field_t route_fields[] = {
	TEXT(struct raw_route, to),
	TEXT(struct raw_route, via),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t route_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_route, route_fields),
};

static const cyaml_schema_field_t neighbour_fields[] = {
	TEXT(struct raw_neighbour, address),
	TEXT(struct raw_neighbour, mac),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t neighbour_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_neighbour, neighbour_fields),
};

static const cyaml_schema_field_t station_fields[] = {
	TEXT(struct raw_station, mac),
	TEXT(struct raw_station, port),
	OPTIONAL_TEXT(struct raw_station, vlan),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t station_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_station, station_fields),
};

static const cyaml_schema_field_t capture_fields[] = {
	CYAML_FIELD_BOOL_PTR("enabled", OPTIONAL, struct raw_capture, enabled),
	OPTIONAL_TEXT(struct raw_capture, qos),
	OPTIONAL_TEXT(struct raw_capture, max_size),
	OPTIONAL_TEXT(struct raw_capture, hold),
	LIST(struct raw_capture, pass, OPTIONAL, &text_entry, 0),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t proof_fields[] = {
	OPTIONAL_TEXT(struct raw_proof, ttl),
	OPTIONAL_TEXT(struct raw_proof, lease),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t client_fields[] = {
	OPTIONAL_TEXT(struct raw_client, queue_messages),
	OPTIONAL_TEXT(struct raw_client, queue_bytes),
	OPTIONAL_TEXT(struct raw_client, queued_qos1),
	OPTIONAL_TEXT(struct raw_client, inflight),
	OPTIONAL_TEXT(struct raw_client, subscriptions),
	OPTIONAL_TEXT(struct raw_client, pending_messages),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t broker_fields[] = {
	TEXT(struct raw_broker, name),
	OPTIONAL_TEXT(struct raw_broker, listen),
	OPTIONAL_TEXT(struct raw_broker, address),
	LIST(struct raw_broker, sources, OPTIONAL, &text_entry, 0),
	CHOICE(struct raw_broker, knowledge, knowledges),
	CHOICE(struct raw_broker, authorization, authorizations),
	CHOICE(struct raw_broker, fence, fences),
	CHOICE(struct raw_broker, overlap, overlaps),
	CHOICE(struct raw_broker, topics, topics),
	CHOICE(struct raw_broker, ack, acks),
	OPTIONAL_TEXT(struct raw_broker, connect_timeout),
	CYAML_FIELD_MAPPING("capture", OPTIONAL, struct raw_broker, capture, capture_fields),
	CYAML_FIELD_MAPPING("proof", OPTIONAL, struct raw_broker, proof, proof_fields),
	CYAML_FIELD_MAPPING("client", OPTIONAL, struct raw_broker, client, client_fields),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t broker_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_broker, broker_fields),
};

static const cyaml_schema_field_t workers_fields[] = {
	LIST(struct raw_workers, cores, OPTIONAL, &core_entry, 1),
	OPTIONAL_TEXT(struct raw_workers, control_core),
	CHOICE(struct raw_workers, idle, idles),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t memory_fields[] = {
	CHOICE(struct raw_memory, hugepages, hugepages),
	OPTIONAL_TEXT(struct raw_memory, payloads),
	OPTIONAL_TEXT(struct raw_memory, frames),
	OPTIONAL_TEXT(struct raw_memory, connections),
	OPTIONAL_TEXT(struct raw_memory, sessions),
	OPTIONAL_TEXT(struct raw_memory, subscriptions),
	OPTIONAL_TEXT(struct raw_memory, send_pieces),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t keep_alive_fields[] = {
	OPTIONAL_TEXT(struct raw_keep_alive, idle),
	OPTIONAL_TEXT(struct raw_keep_alive, interval),
	OPTIONAL_TEXT(struct raw_keep_alive, probes),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t tcp_fields[] = {
	OPTIONAL_TEXT(struct raw_tcp, receive_buffer),
	OPTIONAL_TEXT(struct raw_tcp, backlog),
	OPTIONAL_TEXT(struct raw_tcp, rto_min),
	OPTIONAL_TEXT(struct raw_tcp, rto_max),
	OPTIONAL_TEXT(struct raw_tcp, rto_initial),
	OPTIONAL_TEXT(struct raw_tcp, syn_retries),
	OPTIONAL_TEXT(struct raw_tcp, retries),
	OPTIONAL_TEXT(struct raw_tcp, connect_retries),
	OPTIONAL_TEXT(struct raw_tcp, time_wait),
	OPTIONAL_TEXT(struct raw_tcp, fin_wait),
	OPTIONAL_TEXT(struct raw_tcp, delayed_ack),
	CHOICE(struct raw_tcp, congestion, congestions),
	CYAML_FIELD_MAPPING("keep_alive", OPTIONAL, struct raw_tcp, keep_alive, keep_alive_fields),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t tls_fields[] = {
	TEXT(struct raw_tls, certificate),
	TEXT(struct raw_tls, key),
	OPTIONAL_TEXT(struct raw_tls, client_ca),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t endpoint_fields[] = {
	TEXT(struct raw_endpoint, address),
	OPTIONAL_TEXT(struct raw_endpoint, group),
	CYAML_FIELD_MAPPING_PTR("tls", OPTIONAL, struct raw_endpoint, tls, tls_fields),
	LIST(struct raw_endpoint, services, 0, &service_entry, 1),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t endpoint_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_endpoint, endpoint_fields),
};

static const cyaml_schema_field_t control_fields[] = {
	OPTIONAL_TEXT(struct raw_control, socket),
	LIST(struct raw_control, listen, OPTIONAL, &endpoint_entry, 0),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t door_fields[] = {
	TEXT(struct raw_door, address),
	OPTIONAL_TEXT(struct raw_door, group),
	OPTIONAL_TEXT(struct raw_door, secret_file),
	LIST(struct raw_door, allow, OPTIONAL, &text_entry, 0),
	CYAML_FIELD_END,
};
static const cyaml_schema_value_t door_entry = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_door, door_fields),
};

static const cyaml_schema_field_t socket_fields[] = {
	OPTIONAL_TEXT(struct raw_socket, path),
	OPTIONAL_TEXT(struct raw_socket, group),
	OPTIONAL_TEXT(struct raw_socket, memory),
	OPTIONAL_TEXT(struct raw_socket, silence),
	LIST(struct raw_socket, listen, OPTIONAL, &door_entry, 0),
	LIST(struct raw_socket, connect, OPTIONAL, &text_entry, 0),
	LIST(struct raw_socket, udp, OPTIONAL, &text_entry, 0),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t log_fields[] = {
	CYAML_FIELD_ENUM_PTR("level", OPTIONAL | CYAML_FLAG_STRICT, struct raw_log, level,
		log_levels, COUNT(log_levels)),
	CYAML_FIELD_END,
};

static const cyaml_schema_field_t root_fields[] = {
	CYAML_FIELD_ENUM("mode", CYAML_FLAG_STRICT, struct raw_config, mode, modes, COUNT(modes)),
	LIST(struct raw_config, ports, 0, &port_entry, 1),
	LIST(struct raw_config, routes, OPTIONAL, &route_entry, 0),
	LIST(struct raw_config, neighbours, OPTIONAL, &neighbour_entry, 0),
	LIST(struct raw_config, stations, OPTIONAL, &station_entry, 0),
	LIST(struct raw_config, brokers, 0, &broker_entry, 1),
	CYAML_FIELD_MAPPING("workers", OPTIONAL, struct raw_config, workers, workers_fields),
	CYAML_FIELD_MAPPING("memory", OPTIONAL, struct raw_config, memory, memory_fields),
	CYAML_FIELD_MAPPING("tcp", OPTIONAL, struct raw_config, tcp, tcp_fields),
	CHOICE(struct raw_config, bridge, bridges),
	OPTIONAL_TEXT(struct raw_config, secret_file),
	CYAML_FIELD_MAPPING("socket", OPTIONAL, struct raw_config, socket, socket_fields),
	CYAML_FIELD_MAPPING("control", OPTIONAL, struct raw_config, control, control_fields),
	CYAML_FIELD_MAPPING("log", OPTIONAL, struct raw_config, log, log_fields),
	CYAML_FIELD_END,
};

const cyaml_schema_value_t config_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_config, root_fields),
};

const char *config_mode_name(enum config_mode mode)
{
	for (size_t i = 0; i < COUNT(modes); i++)
		if (modes[i].val == mode)
			return modes[i].str;
	return "";
}

const char *config_service_name(enum config_service service)
{
	return services[service].str;
}
