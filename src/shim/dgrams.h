// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Datagram sockets: ICMP (ping) and UDP. Each is the kernel's, and has a slot beside once it is
// bound to a place of the daemon's, or has something to send to where the daemon has a way; what
// comes to either is received. All else that it sends stays the kernel's. Under the shim's lock;
// what waits lets it go meanwhile.

#pragma once

#include <sys/socket.h>

#include "shim/object.h"
#include "shim/ways.h"

struct shim;

// What the kernel's socket remembers, and what it means here. Of two, the first is IPv4's, which an
// IPv6 socket has, too.
struct dgram_options {
	bool timestamp, timestamp_ns;	      // SO_TIMESTAMP, SO_TIMESTAMPNS
	bool hops[2], tos[2], packet_info[2]; // IP_RECVTTL, IPV6_RECVHOPLIMIT …
	bool errors[2];			      // IP_RECVERR
	bool whole[2];			      // never in fragments
	bool learns_mtu[2];		      // IP_MTU_DISCOVER is not "don't"
	bool elsewhere;		       // headers of its own, or bound to a device: the kernel's
	int send_hops[2], send_tos[2]; // -1: the usual ones
	int64_t read_timeout_us, write_timeout_us; // -1: none
	uint32_t receive_octets;		   // SO_RCVBUF
	uint32_t filter[8]; // ICMP_FILTER, ICMP6_FILTER: a type's bit: not it
};

// What has come, or (`error` not 0) an error with what it is about.
struct dgram_packet {
	struct list link;
	int error;
	uint8_t origin, type, code;
	uint32_t info;
	struct channel_endpoint remote, local; // of an error: where it was sent to, and who told
	uint8_t hops, tos;
	uint64_t came_ns;
	uint32_t length;
	uint8_t data[];
};

enum dgram_kind { DGRAM_UDP, DGRAM_PING, DGRAM_RAW };

// What is known of an address.
struct dgram_peer {
	struct channel_endpoint address; // port 0
	unsigned asked;			 // of which attachment; 0: of none
	int64_t asked_us;		 // when; a way that there is stays
	bool ours;
	bool firm;	// the kernel was not asked
	unsigned heard; // by which attachment something has come from there
	uint16_t mtu;	// that was learned; 0: none was
	struct way way;
};
#define DGRAM_PEERS 16 // the latest

struct dgram {
	struct object object;
	struct list link; // of all
	int family;
	enum dgram_kind kind;
	struct dgram_options options;
	bool options_stale; // what the kernel has may be another
	// The slot.
	uint32_t number;
	bool open;
	uint32_t slot;
	uint8_t *record;		   // of the datagram that is being written
	uint8_t *came;			   // room for one that comes: stacks may be small
	uint32_t record_at, record_length; // what of it found no room
	unsigned refused;		   // an attachment that does not have it
	// UDP: its place, as the kernel has it; port 0: it has none.
	struct channel_endpoint bound;
	bool ephemeral; // nobody has asked for that port
	bool firm;	// an address of the daemon's
	bool serves;	// its slot is open, or is to be so, whatever it sends
	bool inherited; // in a child: as long as it is not used there the parent has it
	bool shut_read, shut_write;
	// Where it sends to.
	struct dgram_peer peers[DGRAM_PEERS];
	bool connected;
	bool named; // connect() was more than the kernel could do
	bool ours;  // connected to where the daemon has the way
	struct channel_endpoint peer, local;
	struct list packets, errors;
	unsigned errors_count;
	uint32_t packets_octets; // as the kernel would count them
	int error;		 // SO_ERROR
};

// The descriptor's object, or NULL. Takes no lock. All but ICMP and UDP stay the kernel's.
void dgram_create(int fd, int family, int type, int protocol);
// Has it nothing to do with the daemon?
bool dgram_is_kernels(const struct dgram *dgram);
// As sendmsg(). False: the kernel's.
bool dgram_send(struct dgram *dgram, const struct msghdr *message, int flags, ssize_t *ret_rc);
// As recvmsg(), from both.
ssize_t dgram_receive(struct dgram *dgram, struct msghdr *message, int flags);
uint32_t dgram_events(struct dgram *dgram); // EPOLL…
int dgram_take_error(struct dgram *dgram);  // SO_ERROR
// FIONREAD. False: the kernel's.
bool dgram_readable(const struct dgram *dgram, int *ret_octets);
void dgram_close(struct dgram *dgram);
void dgram_destroy(struct dgram *dgram);

// --- names (dgram_names.c) -----------------------------------------------------------------------

// As the calls; 0, or -errno.
int dgram_bind(struct dgram *dgram, const struct sockaddr *address, socklen_t length);
int dgram_connect(struct dgram *dgram, const struct sockaddr *address, socklen_t length);
int dgram_shutdown(struct dgram *dgram, int how);
int dgram_name(struct dgram *dgram, bool peer, struct sockaddr *ret_address, socklen_t *length);
// A socket that is to be the daemon's, and not bound, gets a port of the kernel's. False: none.
bool dgram_place(struct dgram *dgram);
// Of the way to where it is connected. False: the kernel knows.
bool dgram_mtu(const struct dgram *dgram, int *ret_mtu);

// --- slots (dgrams.c) ----------------------------------------------------------------------------

// True: it has one.
bool dgram_open(struct shim *shim, struct dgram *dgram);
// The same, with why not: an errno.
int dgram_try_open(struct shim *shim, struct dgram *dgram);
// Who has one that is to be open gets it back, in a child too. May let the lock go. False: it is to
// be tried again.
bool dgram_revive(struct shim *shim, struct dgram *dgram);
// One that has lost its slot, and is not another process's. NULL: none.
struct dgram *dgram_next_lost(struct shim *shim);
bool dgram_has_room(const struct dgram *dgram, uint32_t length);
// What of a datagram had no room. True: nothing waits.
bool dgram_push_rest(struct dgram *dgram);
struct lane *dgram_lane(const struct dgram *dgram);
// Takes in what the lane has, as far as there is room.
void dgram_take(struct dgram *dgram);
// Is one of them not the kernel's alone?
bool dgrams_need(const struct shim *shim);
// UDP is served; in doubt the daemon is asked, from time to time.
bool dgram_udp_served(struct shim *shim);

// --- where to (dgram_ways.c) ---------------------------------------------------------------------

struct dgram_peer *dgram_peer_of(struct dgram *dgram, const struct channel_endpoint *to);
// Is it the daemon's way? `firm`: whatever the kernel has.
bool dgram_way_to(
	struct shim *shim, struct dgram *dgram, const struct channel_endpoint *to, bool firm);
// Is the address one of the daemon's?
bool dgram_is_own(struct shim *shim, struct dgram *dgram, const struct channel_endpoint *address);
// An endpoint that the socket can speak to; of ICMP without a port.
bool dgram_destination(const struct dgram *dgram, const struct sockaddr *address, socklen_t length,
	struct channel_endpoint *ret_to);
bool dgram_address_is_any(const struct channel_endpoint *endpoint);
bool dgram_same_address(const struct channel_endpoint *a, const struct channel_endpoint *b);

// --- news ----------------------------------------------------------------------------------------

// False: no dgram's.
bool dgram_opened(struct shim *shim, uint32_t slot, const struct lane_slot *state);
void dgram_moved(struct shim *shim, uint32_t slot);
// The attachment is gone.
void dgram_lost(struct dgram *dgram);
// In a child: the slot is the parent's.
void dgram_inherit(struct dgram *dgram);

// --- options (dgram_options.c) -------------------------------------------------------------------

// Before they count.
void dgram_options_refresh(struct dgram *dgram);
// After every setsockopt() that the kernel took.
void dgram_options_changed(struct dgram *dgram);
// What the kernel would do by itself, and nobody does for the daemon.
bool dgram_option_refused(const struct dgram *dgram, int level, int name);

// --- what comes (dgram_packets.c, dgram_errors.c, dgram_control.c) -------------------------------

// As the lane brought it, `head.header` octets of IPv4 header in front.
void dgram_packet_arrived(
	struct dgram *dgram, const struct channel_datagram *head, const uint8_t *data);
bool dgram_packets_full(const struct dgram *dgram);
// Fills what recvmsg() was given. How many octets.
ssize_t dgram_packet_give(const struct dgram *dgram, const struct dgram_packet *packet,
	struct msghdr *message, int flags);
// Of `packets` or `errors`: the first is done with.
void dgram_packet_drop(struct dgram *dgram, struct list *queue);
// NULL: no memory.
struct dgram_packet *dgram_packet_make(
	const struct channel_datagram *head, const uint8_t *data, uint32_t length);
// An ICMP error, from its own header on.
void dgram_error_arrived(struct dgram *dgram, const struct channel_datagram *head,
	const uint8_t *icmp, uint32_t length);
// Too long for one packet: told as Linux does.
void dgram_too_long(struct dgram *dgram, const struct channel_endpoint *to, uint16_t mtu);
// What goes with it into msg_control.
void dgram_control_give(
	const struct dgram *dgram, const struct dgram_packet *packet, struct msghdr *message);

// What msg_control asks for of a datagram that is sent.
struct dgram_wishes {
	struct channel_endpoint from; // address 0: none is asked for
	int hops, tos;		      // -1: as the socket's options are
	bool whole;
};
// False: something that only the kernel does.
bool dgram_control_take(
	const struct dgram *dgram, const struct msghdr *message, struct dgram_wishes *ret_wishes);
