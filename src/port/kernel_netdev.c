// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What an interface can do with XDP, by the kernel's generic netlink family "netdev" (Linux 6.3).
// Its numbers are the kernel's ABI; its header is younger than the systems that we build on. Main
// thread.

#include "port/kernel_interface.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define FAMILY_NAME	   "netdev"
#define COMMAND_DEVICE_GET 1
#define ATTRIBUTE_INDEX	   1
#define ATTRIBUTE_FEATURES 3
#define FEATURE_XMIT	   4u // frames can be redirected to it

// A request with one attribute; the answer comes into the same place.
union message {
	struct {
		struct nlmsghdr netlink;
		struct genlmsghdr generic;
		struct nlattr attribute;
		char value[16];
	};
	char room[8192];
};

static void request_make(union message *message, uint16_t family, uint8_t command,
	uint16_t attribute, const void *value, size_t length)
{
	memset(message, 0, sizeof(*message));
	message->netlink.nlmsg_len =
		(uint32_t)(NLMSG_HDRLEN + GENL_HDRLEN + NLA_HDRLEN + NLA_ALIGN(length));
	message->netlink.nlmsg_type = family;
	message->netlink.nlmsg_flags = NLM_F_REQUEST;
	message->generic.cmd = command;
	message->generic.version = 1;
	message->attribute.nla_len = (uint16_t)(NLA_HDRLEN + length);
	message->attribute.nla_type = attribute;
	memcpy(message->value, value, length);
}

// The value of an attribute of the answer, at least `length` bytes; NULL: none, or an error.
static const void *answer_attribute(
	const union message *message, size_t received, uint16_t type, size_t length)
{
	size_t at = NLMSG_HDRLEN + GENL_HDRLEN;

	if (received < at || message->netlink.nlmsg_len > received ||
		message->netlink.nlmsg_type == NLMSG_ERROR)
		return NULL;
	while (at + NLA_HDRLEN <= message->netlink.nlmsg_len) {
		struct nlattr attribute;

		memcpy(&attribute, message->room + at, sizeof(attribute));
		if (attribute.nla_len < NLA_HDRLEN ||
			at + attribute.nla_len > message->netlink.nlmsg_len)
			return NULL;
		if ((attribute.nla_type & NLA_TYPE_MASK) == type)
			return attribute.nla_len >= NLA_HDRLEN + length
				       ? message->room + at + NLA_HDRLEN
				       : NULL;
		at += NLA_ALIGN(attribute.nla_len);
	}
	return NULL;
}

// `value` of `length` is asked for as `asked`; what comes as `wanted` is copied to ret_answer.
static bool ask(int fd, uint16_t family, uint8_t command, uint16_t asked, const void *value,
	size_t length, uint16_t wanted, void *ret_answer, size_t answer_length)
{
	union message message;
	const void *answer;
	ssize_t received;

	request_make(&message, family, command, asked, value, length);
	if (send(fd, &message, message.netlink.nlmsg_len, 0) < 0)
		return false;
	received = recv(fd, &message, sizeof(message), 0);
	if (received < 0)
		return false;
	answer = answer_attribute(&message, (size_t)received, wanted, answer_length);
	if (answer == NULL)
		return false;
	memcpy(ret_answer, answer, answer_length);
	return true;
}

bool kernel_interface_takes_redirects(unsigned if_index, bool *ret_takes)
{
	const struct timeval patience = {.tv_sec = 1};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	uint32_t index = if_index;
	uint64_t features;
	uint16_t family;
	bool told;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	told = ask(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, FAMILY_NAME,
		       sizeof(FAMILY_NAME), CTRL_ATTR_FAMILY_ID, &family, sizeof(family)) &&
	       ask(fd, family, COMMAND_DEVICE_GET, ATTRIBUTE_INDEX, &index, sizeof(index),
		       ATTRIBUTE_FEATURES, &features, sizeof(features));
	close(fd);
	if (told)
		*ret_takes = (features & FEATURE_XMIT) != 0;
	return told;
}
