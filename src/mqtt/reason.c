// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Which packet may carry which reason code (2.4, table 2-6): [MQTT-3.2.2-8],
// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.9.3-2],
// [MQTT-3.11.3-2], [MQTT-3.14.2-1], [MQTT-3.15.2-1].

#include "mqtt/reason.h"

#include "mqtt/packet.h"

#define CONNACK	   (1u << MQTT_CONNACK)
#define PUBACK_REC (1u << MQTT_PUBACK | 1u << MQTT_PUBREC)
#define PUB_RELEND (1u << MQTT_PUBREL | 1u << MQTT_PUBCOMP)
#define SUBACK	   (1u << MQTT_SUBACK)
#define UNSUBACK   (1u << MQTT_UNSUBACK)
#define DISCONNECT (1u << MQTT_DISCONNECT)
#define AUTH	   (1u << MQTT_AUTH)

static const uint16_t packets[256] = {
	[0x00] = CONNACK | PUBACK_REC | PUB_RELEND | SUBACK | UNSUBACK | DISCONNECT | AUTH,
	[0x01] = SUBACK,						// granted QoS 1
	[0x02] = SUBACK,						// granted QoS 2
	[0x04] = DISCONNECT,						// with will message
	[0x10] = PUBACK_REC,						// no matching subscribers
	[0x11] = UNSUBACK,						// no subscription existed
	[0x18] = AUTH,							// continue authentication
	[0x19] = AUTH,							// re-authenticate
	[0x80] = CONNACK | PUBACK_REC | SUBACK | UNSUBACK | DISCONNECT, // unspecified error
	[0x81] = CONNACK | DISCONNECT,					// malformed packet
	[0x82] = CONNACK | DISCONNECT,					// protocol error
	[0x83] = CONNACK | PUBACK_REC | SUBACK | UNSUBACK | DISCONNECT, // implementation specific
	[0x84] = CONNACK,						// protocol version
	[0x85] = CONNACK,						// client identifier
	[0x86] = CONNACK,						// user name or password
	[0x87] = CONNACK | PUBACK_REC | SUBACK | UNSUBACK | DISCONNECT, // not authorized
	[0x88] = CONNACK,						// server unavailable
	[0x89] = CONNACK | DISCONNECT,					// server busy
	[0x8a] = CONNACK,						// banned
	[0x8b] = DISCONNECT,						// server shutting down
	[0x8c] = CONNACK | DISCONNECT,					// bad authentication method
	[0x8d] = DISCONNECT,						// keep alive timeout
	[0x8e] = DISCONNECT,						// session taken over
	[0x8f] = SUBACK | UNSUBACK | DISCONNECT,			// topic filter
	[0x90] = CONNACK | PUBACK_REC | DISCONNECT,			// topic name
	[0x91] = PUBACK_REC | SUBACK | UNSUBACK,			// packet identifier in use
	[0x92] = PUB_RELEND,				     // packet identifier not found
	[0x93] = DISCONNECT,				     // receive maximum exceeded
	[0x94] = DISCONNECT,				     // topic alias
	[0x95] = CONNACK | DISCONNECT,			     // packet too large
	[0x96] = DISCONNECT,				     // message rate
	[0x97] = CONNACK | PUBACK_REC | SUBACK | DISCONNECT, // quota exceeded
	[0x98] = DISCONNECT,				     // administrative action
	[0x99] = CONNACK | PUBACK_REC | DISCONNECT,	     // payload format
	[0x9a] = CONNACK | DISCONNECT,			     // retain not supported
	[0x9b] = CONNACK | DISCONNECT,			     // QoS not supported
	[0x9c] = CONNACK | DISCONNECT,			     // use another server
	[0x9d] = CONNACK | DISCONNECT,			     // server moved
	[0x9e] = SUBACK | DISCONNECT,			     // shared subscriptions
	[0x9f] = CONNACK | DISCONNECT,			     // connection rate
	[0xa0] = DISCONNECT,				     // maximum connect time
	[0xa1] = SUBACK | DISCONNECT,			     // subscription identifiers
	[0xa2] = SUBACK | DISCONNECT,			     // wildcard subscriptions
};

bool mqtt_reason_valid(uint8_t type, uint8_t reason)
{
	return packets[reason] >> type & 1;
}
