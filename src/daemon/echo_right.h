// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// May a process have an ICMP socket here? It may if it could open one of the kernel's, and shows
// it: nobody is given more than the kernel gives (raw(7): CAP_NET_RAW; icmp(7):
// net.ipv4.ping_group_range). Called by the door's thread.

#pragma once

struct sockets_echo;

// 0, with what the kernel's socket is: family, raw or not, identifier; or an errno: EPERM: not
// this kernel's socket to judge by; EPROTONOSUPPORT: not an ICMP socket; EINVAL: a datagram socket
// without an identifier (not bound).
int echo_right(int socket, struct sockets_echo *ret_echo);
