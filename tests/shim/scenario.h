// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Small things that a server does with sockets, each in a process of its own, each with one line
// of results: "name: what=value …". The same program runs on the kernel's TCP and on Offramp's;
// the lines are compared (tests/system/test_shim.py). The clients are the kernel's, also when it
// runs under the shim: their sockets are made in another network namespace.
//
// Results must not depend on time or chance: what is awaited is waited for, up to WAIT_MS.

#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define WAIT_MS 5000 // for what must happen
#define CALM_MS 60   // in which nothing happens

struct play {
	struct sockaddr_in address;   // where the server listens
	struct sockaddr_in6 address6; // likewise
	struct sockaddr_in peer;      // where the clients' host has servers
	struct sockaddr_in6 peer6;    // likewise
	int home, away;		      // namespaces: of the server, of the clients
	unsigned user;		      // who may attach, and is not root
	const char *self;	      // this program
	char line[4096];
	size_t used;
};

struct scenario {
	const char *name;
	void (*play)(struct play *play);
};

// Each ends with an entry without a name.
extern const struct scenario listening_scenarios[], accepting_scenarios[], closing_scenarios[],
	reading_scenarios[], writing_scenarios[], option_scenarios[], name_scenarios[],
	descriptor_scenarios[], epoll_scenarios[], poll_scenarios[], signal_scenarios[],
	thread_scenarios[], fork_scenarios[], datagram_scenarios[], kernel_scenarios[],
	connecting_scenarios[];

// --- results (main.c) ----------------------------------------------------------------------------

// "what=value"; for -1 what errno says. Returns the value.
long told(struct play *play, const char *what, long value);
void say(struct play *play, const char *what, const char *value);

// --- ends (ends.c) -------------------------------------------------------------------------------

struct pair {
	int listener, server, client;
};

// A listening socket. These end the process when they fail: then nothing can be said.
int end_listen(struct play *play);
int end_listen_at(const void *address, socklen_t length, int backlog);
// A client of the kernel's, connected; its calls end after WAIT_MS.
int end_client(struct play *play);
int end_client_at(struct play *play, const void *address, socklen_t length);
// A client's socket that is not connected.
int end_client_new(struct play *play, int family);
// A server of the kernel's, on the clients' host.
int end_serve_at(struct play *play, const void *address, socklen_t length, int backlog);
// A connection. pair_close() closes what is not -1.
struct pair pair_open(struct play *play);
void pair_close(struct pair *pair);

// True when one of the events is there in time; poll()'s.
bool wait_for(int fd, short events);
// True when so many octets can be read in time.
bool wait_octets(int fd, int octets);
// The kernel's client sends these, and closes with a reset.
void client_says(int client, const char *text);
void client_resets(int client);
// What the client finds: "4" octets, "0" for the end, or an errno.
void client_finds(struct play *play, const char *what, int client);
// Is nobody there any more, now or soon?
void nobody_listens(struct play *play);
void set_nonblocking(int fd, bool on);
void set_number(int fd, int level, int name, int value);
void set_timeout(int fd, int name, int ms);
int64_t now_ms(void);
void calm(void);

// --- signals and threads (ends.c) ----------------------------------------------------------------

// A handler that counts, for SIGUSR1 or another.
void count_signals(int signal, int flags);
int signals_counted(void);

// Sends the thread that starts it a signal every few milliseconds, until it is stopped.
struct nag;
struct nag *nag_start(int signal);
void nag_stop(struct nag *nag);
// After CALM_MS, and a few signals, if there is a nag: sends the text from the client.
struct later;
struct later *later_says(int client, const char *text);
void later_join(struct later *later);
