// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// A server whose sockets live in offrampd, by linking the library instead of starting under the
// shim: says back what it hears.
//
//   cc echo-server.c $(pkg-config --cflags --libs offramp) && ./a.out 198.18.0.1 7000

#include <arpa/inet.h>
#include <offramp.h>
#include <stdio.h>
#include <stdlib.h>

// False: the client has gone.
static int echo(int fd)
{
	char data[4096];
	ssize_t n = offramp_recv(fd, data, sizeof(data), 0);

	return n > 0 && offramp_send(fd, data, (size_t)n, MSG_NOSIGNAL) == n;
}

static int serve(int listener)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	int epfd = offramp_epoll_create(0);

	if (offramp_epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &event) < 0)
		return -1;
	while (offramp_epoll_wait(epfd, &event, 1, -1) == 1) {
		if (event.data.fd != listener) {
			if (!echo(event.data.fd))
				offramp_close(event.data.fd);
			continue;
		}
		event.data.fd = offramp_accept(listener, NULL, NULL, 0);
		event.events = EPOLLIN;
		if (event.data.fd >= 0)
			offramp_epoll_ctl(epfd, EPOLL_CTL_ADD, event.data.fd, &event);
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int listener = offramp_socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
		fprintf(stderr, "usage: echo-server IPV4 PORT\n");
		return 2;
	}
	address.sin_port = htons((unsigned short)atoi(argv[2]));
	offramp_setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (offramp_bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		offramp_listen(listener, 16) < 0 || serve(listener) < 0)
		perror("echo-server");
	return 1;
}
