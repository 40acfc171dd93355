// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Questions to the kernel about an interface; main and control threads.

#include "port/kernel_interface.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool ask(unsigned if_index, unsigned long question, struct ifreq *ret_answer)
{
	int fd, r;

	if (if_indextoname(if_index, ret_answer->ifr_name) == NULL)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	r = ioctl(fd, question, ret_answer);
	close(fd);
	return r == 0;
}

uint16_t kernel_interface_mtu(unsigned if_index)
{
	struct ifreq answer;

	if (!ask(if_index, SIOCGIFMTU, &answer) || answer.ifr_mtu > UINT16_MAX)
		return 0;
	return (uint16_t)answer.ifr_mtu;
}

bool kernel_interface_running(unsigned if_index)
{
	struct ifreq answer;

	return ask(if_index, SIOCGIFFLAGS, &answer) && (answer.ifr_flags & IFF_UP) &&
	       (answer.ifr_flags & IFF_RUNNING);
}
