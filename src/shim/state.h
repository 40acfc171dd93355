// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// All that the shim knows in this process, under one lock. Where it is in doubt it leaves things to
// the C library; it never exits, aborts or prints.

#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "channel/lane.h"
#include "shim/object.h"

// What the daemon has given to this process.
struct attachment {
	int socket;
	int wake; // an epoll of the daemon's; readable, by edges: something is new in a lane
	void *memory;
	size_t bytes;
	unsigned lanes_count;
	struct lane **lanes;
	struct stream ***streams; // [lane][slot]
	uint64_t lane_bytes;
	unsigned listens_count;
	struct channel_endpoint listens[CHANNEL_LISTENS_MAX];
	unsigned connects_count;
	struct channel_prefix connects[CHANNEL_CONNECTS_MAX];
	unsigned number; // of the attachments of this process
	bool icmp, udp;	 // the daemon serves such sockets
	struct list calls;
	bool over_stream; // lanes over streams; `wake` is an epoll of their connections
	bool unsaid;	  // something is to be written: before the lock is let go
	bool stuck;	  // a connection takes no more, and the watcher knows
};

// A call to the daemon whose answer is awaited, from each lane or from one.
struct call {
	struct list link;
	uint32_t number;
	unsigned awaited;	       // answers
	bool failed;		       // the attachment ended meanwhile
	struct channel_message answer; // the latest; of DONE the first error
};

struct shim {
	pthread_mutex_t lock;
	_Atomic pthread_t owner; // meant while held
	int cancel_state;	 // of the owner; while held it is not cancelled
	_Atomic bool held;
	struct attachment *attached; // NULL: there is none
	unsigned attachments;
	uint32_t calls, numbers;
	struct list listeners; // struct listener.link
	struct list waiters;   // struct waiter.link: who sleeps in poll, select or a blocking call
	struct list epolls;    // struct epoll.link
	struct list dgrams;    // struct dgram.link
	struct list outgoing;  // struct stream.link
	int64_t ask_again_us;  // for what is there; not earlier (attach_ask())
	bool useless;	       // it was, when last asked
	unsigned turn;	       // of lanes, for them
	unsigned sleepers;     // threads between news_arm() and news_disarm()
	struct list heirs;     // struct heir.link (loans.h)
	struct list relays;    // struct relay.link
	bool relaying;	       // their thread runs
	int relay_bell;	       // and hears of new ones by this
	struct heir *heir;     // of the fork that is under way
	int heir_end;	       // and its end of the control socket
	int lender;	       // in an heir: the control socket; -1: it has nothing to take
	unsigned rounds;       // through all streams, at forks
	int legacy;	       // in a child: its parent's socket to the daemon; -1: none
	ino_t legacy_inode;    // programs close what they do not know
	bool watched;	       // the watcher's thread runs
	int watcher_bell;
	pid_t pid;
	const char *where; // the daemon's door is (door.h)
	const char *secret_file;
};

struct shim *shim_get(void);

// False: this thread has it already, and is a signal handler now.
bool shim_lock(void);
void shim_unlock(void);
// By this thread?
bool shim_is_held(void);

// --- attaching (attach.c) ------------------------------------------------------------------------

// Is there an attachment, or can there be one now?
bool attach_try(struct shim *shim);
// The same for who does not know yet what there is for him: not too often, and who has no use for
// it does not stay.
bool attach_ask(struct shim *shim);
// The daemon is gone: streams end, listeners fall back to the kernel.
void attach_lost(struct shim *shim);
// Writes what is to be written; errno stays.
void attach_flush(struct attachment *attached);
// In a child: descriptors are closed, nobody is told. The socket to the daemon is kept where there
// are listening sockets of the parent's: while a child has it they are there, and who comes waits.
void attach_inherit(struct shim *shim, struct attachment *attached);
// The child has listening sockets of its own by now, or none.
void attach_renounce(struct shim *shim);
// Is this one of the endpoints that the daemon listens on?
bool attach_wants(
	const struct attachment *attached, const struct channel_endpoint *endpoint, bool ipv6_only);
// Starts the thread that notices the daemon's death, and its return.
void watcher_start(struct shim *shim);
// It looks now whether there is something to do.
void watcher_ring(struct shim *shim);
void watcher_forget(struct shim *shim); // in a child
// A thread of the shim's: no signal of the application's is handled there.
bool thread_start(void *(*run)(void *), void *ctx);

// --- the lanes (news.c) --------------------------------------------------------------------------

// Takes in everything that is new. Who sleeps goes on hearing of what comes afterwards.
void news_drain(struct shim *shim);
// Before sleeping: true when nothing is new; the daemon wakes when something is.
bool news_arm(struct shim *shim);
// After it; news_drain() must follow.
void news_disarm(struct shim *shim);
// The wake descriptor was found to be readable: it is not, until the daemon wakes again. Whose
// sleep that may cut short is rung for by the news_drain() that must follow.
void news_heard(struct shim *shim, int wake);
// Posts to every lane (or one) and waits for the answers. 0, or an errno.
int news_call(struct shim *shim, struct channel_message *message, int lane,
	struct channel_message *ret_answer);
// The same for what goes to the door with a descriptor beside it; answered in a lane.
int news_call_door(struct shim *shim, struct channel_message *message, int fd);
// To every lane; an answer is of no interest.
void news_tell(struct shim *shim, struct channel_message *message);

// --- sleeping (wait.c) ---------------------------------------------------------------------------

// Something is new of the object: who waits for it is woken, but for the caller.
void wait_touch(struct shim *shim, struct object *object);
void wait_touch_all(struct shim *shim);
// Sleeps until something is new, at most so long (-1: for ever). The lock is let go meanwhile; a
// thread that is cancelled there gives back `object`, which the call holds (NULL: none).
// 0, or EINTR, or ETIMEDOUT.
int wait_news(struct shim *shim, int64_t timeout_us, struct object *object);
// The same, or until `fd` has something to read.
int wait_news_or(struct shim *shim, int fd, int64_t timeout_us, struct object *object);
int64_t wait_now_us(void);
// In a child: the bell of its thread is not the parent's.
void wait_inherit(void);
