// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a descriptor of the application stands for when it is Offramp's. Each keeps a real kernel
// socket, so that numbers never collide and whoever asks the kernel about them sees a socket. All
// under the shim's lock (state.h).
//
//   listener  a bound socket that does not listen while the daemon lives; FALLEN: the kernel
//             listens in its place
//   stream    a connection: a slot of a lane. DEAD: the daemon is gone, or its life is over
//   dgram     an ICMP or UDP socket, the kernel's, with a slot of a lane beside it
//   epoll     the application's own epoll descriptor, with what of Offramp's is in it
//   borrowed  in a child: its parent's connection (loans.h). To all calls but those that ask for
//             names and options it is the kernel's

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/list.h"
#include "channel/lane.h"

struct dgram;

enum object_kind {
	OBJECT_LISTENER,
	OBJECT_STREAM,
	OBJECT_DGRAM,
	OBJECT_EPOLL,
	OBJECT_BORROWED,
};

struct object {
	enum object_kind kind;
	unsigned refs; // descriptors, and calls under way
	unsigned fds;  // descriptors
	int fd;	       // one of them
	bool nonblocking;
	struct list entries; // of epolls that watch it: struct entry.of_object
};

struct listener {
	struct object object;
	struct list link; // of all listeners
	uint32_t number;
	int family;
	int backlog;
	struct channel_endpoint endpoint;
	bool ipv6_only;
	bool reuses;	   // SO_REUSEADDR, as the application has set it
	bool offloaded;	   // false: the kernel listens
	bool accepts;	   // the application looks for connections
	struct list queue; // struct arrival
	bool closed;
	int64_t timeout_us; // SO_RCVTIMEO; not above 0: none
	unsigned offered;   // to which attachment, when it had fallen
	bool compared;	    // `unlike` is known
	uint32_t unlike;    // options, as options_inherit() counts them, that are not the usual
};

// A connection that nobody has accepted yet.
struct arrival {
	struct list link;
	unsigned lane;
	uint32_t slot, generation;
};

struct stream {
	struct object object;
	unsigned lane;
	uint32_t slot, generation;
	struct channel_endpoint local, remote;
	int family;
	// Of one that connect() makes (outgoing.h):
	struct list link; // of those that have no slot yet
	uint32_t number;  // by which the slot names it
	bool connecting;  // it does not stand yet; false as well when it could not
	bool asks;	  // and connect() has not told of that
	bool dead;	  // nothing of a lane is meant (any more)
	int dead_error;	  // what was not told of that yet
	bool error_told;  // the lane's error was told
	bool shut_read, shut_write;
	bool resets;				   // SO_LINGER with 0 seconds
	int64_t read_timeout_us, write_timeout_us; // -1: none
	uint32_t low_water;			   // SO_RCVLOWAT
	bool lent;	 // in a child: not taken yet; dead until then, and afterwards
	unsigned hidden; // descriptors that the application does not know of
	unsigned round;	 // at forks: seen
};

struct borrowed {
	struct object object;
	struct channel_endpoint local, remote;
	int family;
	int memory;	 // a TCP socket that remembers options
	uint64_t origin; // its stream's name at the lender; 0: this process itself is that
};

struct epoll {
	struct object object;
	struct list link;      // of all epolls
	struct list entries;   // struct entry.of_epoll
	struct list ready;     // struct entry.ready
	unsigned kernel_count; // descriptors that the kernel watches
	int bed;	       // an epoll descriptor of the shim's own: who waits sleeps in it
	int bell;	       // an eventfd in the bed
	unsigned waiting;      // threads in it
	unsigned waker;	       // which attachment's wake descriptor that is
	bool inherited;	       // and nobody has waited in it in this process
};

// An object of ours in an epoll.
struct entry {
	struct list of_object, of_epoll, ready;
	struct object *object;
	struct epoll *epoll;
	int fd; // under which it was added
	struct epoll_event event;
	bool spent;	// EPOLLONESHOT has fired
	bool in_kernel; // a fallen listener
	bool in_both;	// a datagram socket: the kernel watches it, too
};

// NULL: the kernel's. Else with a reference, and the lock held: until object_put(). What a child
// may borrow it borrows.
struct object *object_get(int fd);
// The same, and what is borrowed too.
struct object *object_get_any(int fd);
// The same, as it is: its descriptor goes.
struct object *object_get_to_close(int fd);
void object_put(struct object *object);
// Ours, and object_get() gave nothing: this thread is in a signal handler that has interrupted a
// call of the shim's.
bool object_is_busy(int fd);
// Under the lock.
void object_put_locked(struct object *object);
// The descriptor stands for the object from now on. False: no memory.
bool object_bind(struct object *object, int fd);
// No more: before it is closed, or becomes another. With its last one, and the last call that uses
// it, the object is closed.
void object_unbind(struct object *object, int fd);
// Of this kind, or NULL.
struct listener *listener_of(struct object *object);
struct stream *stream_of(struct object *object);
struct dgram *dgram_of(struct object *object);
struct borrowed *borrowed_of(struct object *object);
