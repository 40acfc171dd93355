// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// MQTT control packets of 3.1, 3.1.1 and 5.0: decoding validates and fills a
// struct whose pointers refer into the caller's bytes; encoding writes into the
// caller's buffer. Pure: no I/O, no allocation, no state.
//
// Section numbers are of MQTT 5.0 unless said otherwise.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mqtt_version {
	MQTT_VERSION_UNKNOWN = 0,
	MQTT_VERSION_3_1 = 3,
	MQTT_VERSION_3_1_1 = 4,
	MQTT_VERSION_5 = 5,
};

enum mqtt_type { // 2.1.2
	MQTT_RESERVED = 0,
	MQTT_CONNECT,
	MQTT_CONNACK,
	MQTT_PUBLISH,
	MQTT_PUBACK,
	MQTT_PUBREC,
	MQTT_PUBREL,
	MQTT_PUBCOMP,
	MQTT_SUBSCRIBE,
	MQTT_SUBACK,
	MQTT_UNSUBSCRIBE,
	MQTT_UNSUBACK,
	MQTT_PINGREQ,
	MQTT_PINGRESP,
	MQTT_DISCONNECT,
	MQTT_AUTH,
	MQTT_TYPES,
};
extern const char *const mqtt_type_names[MQTT_TYPES]; // "PUBLISH"
const char *mqtt_type_name(enum mqtt_type type);      // "RESERVED" for any other number

// Why bytes are not a legal packet. Each value is a counter; none is an errno.
enum mqtt_error {
	MQTT_OK = 0,
	MQTT_ERROR_TRUNCATED,	     // the packet ends inside a field
	MQTT_ERROR_TRAILING,	     // bytes after the last field
	MQTT_ERROR_REMAINING_LENGTH, // more than four bytes, 1.5.5
	MQTT_ERROR_TYPE,	     // reserved type, or one the version does not have
	MQTT_ERROR_FLAGS,	     // reserved fixed-header flags, 2.1.3
	MQTT_ERROR_QOS,		     // QoS 3
	MQTT_ERROR_UTF8,	     // ill-formed, U+0000, or a surrogate, 1.5.4
	MQTT_ERROR_TOPIC,	     // empty or with wildcards
	MQTT_ERROR_FILTER,	     // malformed filter
	MQTT_ERROR_PACKET_ID,	     // zero
	MQTT_ERROR_PROTOCOL,	     // protocol name or level
	MQTT_ERROR_PROPERTY,	     // unknown, not of this packet, or malformed
	MQTT_ERROR_PROPERTY_TWICE,
	MQTT_ERROR_REASON, // reason or return code out of range
	MQTT_ERROR_EMPTY,  // no filter or no reason code
	MQTT_ERROR_FIELD,  // another field has an illegal value
	MQTT_ERRORS,
};
const char *mqtt_error_name(enum mqtt_error error); // "remaining_length"

struct mqtt_bytes {
	const uint8_t *data;
	uint32_t length;
};

static inline struct mqtt_bytes mqtt_bytes(const void *data, size_t length)
{
	return (struct mqtt_bytes){(const uint8_t *)data, (uint32_t)length};
}
bool mqtt_bytes_equal(struct mqtt_bytes a, struct mqtt_bytes b);

#define MQTT_HEADER_MAX	   5
#define MQTT_REMAINING_MAX 268435455u
#define MQTT_PACKET_ID_MAX 65535u

// --- fixed header --------------------------------------------------------------------------------

struct mqtt_header {
	uint8_t type;  // enum mqtt_type
	uint8_t flags; // low nibble of the first byte
	uint8_t size;  // bytes of the header itself, 2..5
	uint32_t remaining;
};

// Decodes a fixed header out of the first n bytes. MQTT_OK with ret filled; MQTT_ERROR_TRUNCATED
// when more bytes are needed; else what is wrong. Flags are checked against the type (2.1.3), but
// what any version allows is accepted: a stream is cut before its version is known. A header that
// fails here has no legal continuation in any version.
enum mqtt_error mqtt_header_decode(const uint8_t *data, size_t n, struct mqtt_header *ret);
// What mqtt_header_decode() had to leave open: is the header legal in this version? 3.1 repeats
// PUBREL, SUBSCRIBE and UNSUBSCRIBE with DUP; 5.0 wants the shortest remaining length and knows
// AUTH; a PUBLISH of QoS 0 has no DUP. Part of mqtt_publish_decode() and mqtt_packet_check().
enum mqtt_error mqtt_header_check(enum mqtt_version version, const struct mqtt_header *header);
// Writes 2..5 bytes, returns how many. remaining <= MQTT_REMAINING_MAX.
unsigned mqtt_header_encode(
	uint8_t type, uint8_t flags, uint32_t remaining, uint8_t out[MQTT_HEADER_MAX]);

// Variable byte integers (1.5.5), value <= MQTT_REMAINING_MAX. Both return the bytes it takes.
#define MQTT_VARINT_MAX 4
unsigned mqtt_varint_size(uint32_t value);
unsigned mqtt_varint_encode(uint32_t value, uint8_t out[MQTT_VARINT_MAX]);

// --- CONNECT, CONNACK ----------------------------------------------------------------------------

struct mqtt_will {
	uint8_t qos;
	bool retain;
	struct mqtt_bytes properties; // raw, without the length
	struct mqtt_bytes topic, payload;
};

struct mqtt_connect {
	enum mqtt_version version;
	bool bridge;	     // bit 7 of the level (mosquitto bridges, 3.1/3.1.1): level 0x83, 0x84
	bool clean_start;    // clean session in 3.x
	uint16_t keep_alive; // seconds, 0: off
	struct mqtt_bytes client_id; // may be empty
	bool has_will, has_username, has_password;
	struct mqtt_will will;
	struct mqtt_bytes username, password;
	struct mqtt_bytes properties; // raw
	uint32_t
		session_expiry; // v5: 0 when absent; UINT32_MAX: never. v3: UINT32_MAX unless clean
	uint16_t receive_maximum;     // 65535 when absent or v3
	uint32_t maximum_packet_size; // UINT32_MAX when absent or v3
	uint16_t topic_alias_maximum; // 0 when absent or v3
};
// All decoders take the packet's body (what the fixed header counts as remaining) unless said
// otherwise, and MQTT_OK means: legal by the specification of that version.
enum mqtt_error mqtt_connect_decode(struct mqtt_bytes body, struct mqtt_connect *ret);

struct mqtt_connack {
	bool session_present;
	uint8_t reason; // v3 return code or v5 reason code; 0: accepted
	struct mqtt_bytes properties;
	bool has_session_expiry, has_server_keep_alive, has_maximum_qos, has_assigned_client_id;
	uint32_t session_expiry;
	uint16_t server_keep_alive;
	uint16_t receive_maximum;     // 65535 when absent
	uint32_t maximum_packet_size; // UINT32_MAX when absent
	uint16_t topic_alias_maximum; // 0 when absent
	uint8_t maximum_qos;	      // 2 when absent
	bool retain_available;
	struct mqtt_bytes assigned_client_id;
};
enum mqtt_error mqtt_connack_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_connack *ret);

// --- PUBLISH -------------------------------------------------------------------------------------

struct mqtt_publish {
	uint8_t qos;
	bool dup, retain;
	struct mqtt_bytes topic;      // v5: may be empty when an alias is given
	uint16_t packet_id;	      // 0 at QoS 0
	struct mqtt_bytes properties; // raw, without the length; empty in v3
	uint16_t topic_alias;	      // 0: none
	bool has_message_expiry;
	uint32_t message_expiry; // seconds
	bool has_payload_format;
	uint8_t payload_format;
	bool has_subscription_id; // a client must not send one (3.3.4-6)
	// The topic or a text property holds a control or non-character: legal, but 1.5.4 lets the
	// receiver refuse it, so only the broker knows what becomes of the packet.
	bool text_discouraged;
	uint32_t head_length; // bytes of the body before the application message
	uint32_t payload_length;
};
// `body` may be only a prefix of the packet's body (at least the head; MQTT_ERROR_TRUNCATED if it
// is less); header gives flags and the true length. The application message is not looked at.
enum mqtt_error mqtt_publish_decode(enum mqtt_version version, const struct mqtt_header *header,
	struct mqtt_bytes body, struct mqtt_publish *ret);

// The v5 properties that remain when a PUBLISH is forwarded, in their order and byte for byte: all
// but topic alias and (from servers only) subscription identifiers; message expiry is replaced by
// `expiry` when the packet has one. Written without their length (mqtt_varint_encode() writes
// that). Returns the bytes written to out (NULL: only counts), at most publish->properties.length.
uint32_t mqtt_publish_properties_forward(
	const struct mqtt_publish *publish, uint32_t expiry, uint8_t *out);

// --- PUBACK, PUBREC, PUBREL, PUBCOMP -------------------------------------------------------------

struct mqtt_ack {
	uint16_t packet_id;
	uint8_t reason; // v5; 0 when absent or v3
	struct mqtt_bytes properties;
};
enum mqtt_error mqtt_ack_decode(
	enum mqtt_version version, uint8_t type, struct mqtt_bytes body, struct mqtt_ack *ret);
// 4 bytes, or 5 when v5 and reason != 0 (property length omitted, 3.4.2.2.1). Flags 2 for PUBREL.
#define MQTT_ACK_MAX 5
unsigned mqtt_ack_encode(enum mqtt_version version, uint8_t type, uint16_t packet_id,
	uint8_t reason, uint8_t out[MQTT_ACK_MAX]);

// --- SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK ----------------------------------------------------

struct mqtt_subscribe {
	uint16_t packet_id;
	uint32_t subscription_id; // 0: none
	struct mqtt_bytes properties;
	struct mqtt_bytes filters; // raw, for mqtt_subscribe_next()
	unsigned count;
};
struct mqtt_subscribe_filter {
	struct mqtt_bytes filter; // as sent, "$share/…" included
	uint8_t qos;		  // asked for
	bool no_local, retain_as_published;
	uint8_t retain_handling;
};
enum mqtt_error mqtt_subscribe_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_subscribe *ret);
// After a successful decode: takes the next filter off `filters`; false at the end.
bool mqtt_subscribe_next(struct mqtt_bytes *filters, struct mqtt_subscribe_filter *ret);

struct mqtt_suback { // UNSUBACK too: v3 has no codes there
	uint16_t packet_id;
	struct mqtt_bytes properties;
	struct mqtt_bytes codes; // one byte a filter: granted QoS 0..2, or >= 0x80
};
enum mqtt_error mqtt_suback_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_suback *ret);
enum mqtt_error mqtt_unsuback_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_suback *ret);

struct mqtt_unsubscribe {
	uint16_t packet_id;
	struct mqtt_bytes properties;
	struct mqtt_bytes filters;
	unsigned count;
};
enum mqtt_error mqtt_unsubscribe_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_unsubscribe *ret);
bool mqtt_unsubscribe_next(struct mqtt_bytes *filters, struct mqtt_bytes *ret_filter);

// --- DISCONNECT, AUTH, PINGREQ, PINGRESP ---------------------------------------------------------

struct mqtt_disconnect {
	uint8_t reason;
	struct mqtt_bytes properties;
	bool has_session_expiry;
	uint32_t session_expiry;
};
enum mqtt_error mqtt_disconnect_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_disconnect *ret);

struct mqtt_auth {
	uint8_t reason;
	struct mqtt_bytes properties, method, data;
};
enum mqtt_error mqtt_auth_decode(
	enum mqtt_version version, struct mqtt_bytes body, struct mqtt_auth *ret);

// Any packet: dispatches to the decoder above and drops the result. The oracle of the fuzzers and
// the judge of "well-formed". `version` may be unknown for a CONNECT only.
enum mqtt_error mqtt_packet_check(
	enum mqtt_version version, const struct mqtt_header *header, struct mqtt_bytes body);

// --- whole packets, for load generators and tests ------------------------------------------------

// Each writes one packet of at most `size` bytes to out and returns its length, or 0 when it does
// not fit. Raw `properties` are written as given (v5).
size_t mqtt_connect_encode(const struct mqtt_connect *packet, uint8_t *out, size_t size);
size_t mqtt_connack_encode(
	enum mqtt_version version, const struct mqtt_connack *packet, uint8_t *out, size_t size);
size_t mqtt_publish_encode(enum mqtt_version version, const struct mqtt_publish *packet,
	struct mqtt_bytes payload, uint8_t *out, size_t size);
size_t mqtt_subscribe_encode(enum mqtt_version version, uint16_t packet_id,
	struct mqtt_bytes properties, const struct mqtt_subscribe_filter *filters, unsigned count,
	uint8_t *out, size_t size);
size_t mqtt_suback_encode(enum mqtt_version version, uint8_t type, const struct mqtt_suback *packet,
	uint8_t *out, size_t size);
size_t mqtt_unsubscribe_encode(enum mqtt_version version, uint16_t packet_id,
	struct mqtt_bytes properties, const struct mqtt_bytes *filters, unsigned count,
	uint8_t *out, size_t size);
size_t mqtt_disconnect_encode(
	enum mqtt_version version, const struct mqtt_disconnect *packet, uint8_t *out, size_t size);
size_t mqtt_auth_encode(const struct mqtt_auth *packet, uint8_t *out, size_t size);
