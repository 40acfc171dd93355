// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Fuzz target: sequences of segments, of calls of the user and of time into the TCP engine, for
// four peers of one port: every state is reached, and met by anything. The input is one byte of
// configuration and then steps (see step() and tcp_segments_peer.c); what is missing counts as 0.
//
//   bits 0–1   peer
//   bits 2–5   what
//   bits 6–7   variant
//
// After each step the invariants hold. What is read are the peer's octets, what is sent are the
// user's, in the right places; at the end every buffer is back.

#include "tcp_segments.h"

#include "base/payload.h"
#include "tcp/segment.h"

#include <rte_eal.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <string.h>

#define FRAMES	 63
#define RESERVE	 15
#define STEP_MAX 4000 // steps of one input

enum {
	CONFIG_IPV6 = 1,
	CONFIG_TIMESTAMPS = 2,
	CONFIG_SACK = 4,
	CONFIG_NEWRENO = 8,
	CONFIG_CHAINS = 16,	   // and TSO
	CONFIG_SMALL_BACKLOG = 32, // SYN cookies at once
	CONFIG_ECN = 64,
	CONFIG_SMALL_BUFFER = 128,
};

static struct fuzz_tcp fuzz;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char *arguments[] = {"tcp_segments", "--no-huge", "--no-shconf", "-m", "64", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--log-level=lib.*:error",
		"--log-level=user1:error", NULL};
	const struct payload_pool_config payloads = {.count = {63, 31, 15, 15}, .socket = -1};

	ASSERT(rte_eal_init(sizeof(arguments) / sizeof(*arguments) - 1, arguments) >= 0);
	fuzz.frames = rte_pktmbuf_pool_create(
		"frames", FRAMES, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	fuzz.reserve = rte_pktmbuf_pool_create(
		"reserve", RESERVE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	fuzz.receive = rte_pktmbuf_pool_create(
		"receive", FRAMES, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	ASSERT(fuzz.frames && fuzz.reserve && fuzz.receive);
	ASSERT(payload_pool_create("payloads", &payloads, &fuzz.payloads) == 0);
	return 0;
}

static void net_start(struct fuzz_tcp *f)
{
	const struct net_interface_address address = {
		.address = f->local.address, .prefix = f->ipv6 ? 64 : 24};
	const struct net_interface_config interface = {&f->netif, &address, 1};
	struct net_config config;
	const char *error;

	net_config_init(&config);
	config.interfaces = &interface;
	config.interfaces_count = 1;
	config.neighbours_max = 8;
	config.fragments_max = 2;
	ASSERT(net_create(&config, &f->rng, f->now_us, &f->net, &error) == 0);
}

static void stack_start(struct fuzz_tcp *f, unsigned flags)
{
	struct tcp_config config;

	tcp_config_init(&config);
	config.connections_max = 12;
	config.pieces_max = 64;
	config.timestamps = (flags & CONFIG_TIMESTAMPS) != 0;
	config.sack = (flags & CONFIG_SACK) != 0;
	config.congestion = flags & CONFIG_NEWRENO ? TCP_CONGESTION_NEWRENO : TCP_CONGESTION_CUBIC;
	config.ecn = flags & CONFIG_ECN ? TCP_ECN_ACTIVE : TCP_ECN_PASSIVE;
	config.backlog = flags & CONFIG_SMALL_BACKLOG ? 1 : 8;
	config.receive_buffer = flags & CONFIG_SMALL_BUFFER ? 3000 : 100000;
	config.retries = config.syn_retries = 4;
	config.reference_least = 200;
	ASSERT(tcp_stack_create(
		       "fuzz", &config, f->net, f->payloads, &f->rng, f->now_us, &f->stack) == 0);
	ASSERT(tcp_listen(f->stack, &f->local, NULL, &f->listener) == 0);
}

static void start(struct fuzz_tcp *f, unsigned flags)
{
	f->ipv6 = flags & CONFIG_IPV6;
	f->now_us = 1000000;
	random_init(&f->rng, 1);
	ASSERT(net_address_parse(f->ipv6 ? "2001:db8:18::1" : "198.18.0.1", &f->local.address) ==
		0);
	ASSERT(net_address_parse(f->ipv6 ? "2001:db8:18::2" : "198.18.0.2", &f->remote) == 0);
	f->local.port = FUZZ_PORT;
	f->netif = (struct net_if){
		.name = "fuzz",
		.raw_ip = true,
		.mtu = 1500,
		.caps = {.multi_segment = flags & CONFIG_CHAINS, .tso = flags & CONFIG_CHAINS},
		.tx_pool = f->frames,
		.tx_reserve = f->reserve,
		.tx = fuzz_peer_receive,
		.ctx = f,
	};
	// A device that cuts completes the sums, too.
	f->netif.caps.tx_ip_checksum = f->netif.caps.tx_tcp_checksum = f->netif.caps.tso;
	net_start(f);
	stack_start(f, flags);
	for (unsigned i = 0; i < FUZZ_PEERS; i++)
		f->peers[i] = (struct fuzz_peer){.port = (uint16_t)(FUZZ_PEER_PORT + i),
			.isn = 0xffff8000u + i * 1000u,
			.tsval = 1000};
}

static void finish(struct fuzz_tcp *f)
{
	fuzz_frames_release(f);
	tcp_stack_destroy(f->stack);
	net_destroy(f->net);
	ASSERT(rte_mempool_avail_count(f->frames) == FRAMES);
	ASSERT(rte_mempool_avail_count(f->reserve) == RESERVE);
	ASSERT(rte_mempool_avail_count(f->receive) == FRAMES);
	ASSERT(payload_pool_pressure(f->payloads) == 0);
}

// --- the user ------------------------------------------------------------------------------------

static void user_read(struct fuzz_peer *peer, uint32_t most)
{
	struct tcp_info info;
	struct tcp_span span;

	while (most > 0 && tcp_recv_peek(peer->pcb, &span, 1) > 0) {
		uint32_t n = RTE_MIN(span.length, most), seq;

		tcp_pcb_info(peer->pcb, &info);
		seq = info.rcv_nxt - (uint32_t)info.unread - tcp_recv_eof(peer->pcb);
		for (uint32_t i = 0; i < n && !peer->garbled; i++)
			ASSERT(span.data[i] == fuzz_octet(seq + i));
		tcp_recv_consume(peer->pcb, n);
		most -= n;
	}
}

// Ours are numbered from the start of the stream.
static void user_write(struct fuzz_tcp *f, struct fuzz_peer *peer, uint32_t n, unsigned variant)
{
	uint8_t text[4000];
	struct tcp_piece pieces[2] = {{.offset = TCP_PIECE_INLINE, .length = 5}};
	int err;

	n = n % sizeof(text) + 6;
	n = RTE_MIN(n, (uint32_t)sizeof(text));
	for (uint32_t i = 0; i < n; i++)
		text[i] = fuzz_octet((uint32_t)peer->written + i);
	if (variant & 1) {
		err = tcp_send_copy(peer->pcb, text, n);
	} else {
		pieces[1].payload = payload_alloc(f->payloads, n - 5);
		if (pieces[1].payload == NULL)
			return;
		memcpy(pieces[0].bytes, text, 5);
		memcpy(pieces[1].payload->data, text + 5, n - 5);
		pieces[1].length = pieces[1].payload->length = n - 5;
		err = tcp_send(peer->pcb, pieces, 2);
		payload_put(pieces[1].payload);
	}
	if (err == 0)
		peer->written += n;
}

static void user_leave(struct fuzz_peer *peer, unsigned variant)
{
	struct tcp_pcb *pcb = peer->pcb;

	if (variant == 0) {
		tcp_shutdown(pcb);
		return;
	}
	peer->pcb = NULL;
	peer->knocking = false;
	if (variant == 1)
		tcp_close(pcb);
	else if (variant == 2)
		tcp_abort(pcb);
	else
		tcp_abort_after_send(pcb);
}

static void user_connect(struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned variant)
{
	const struct net_endpoint remote = {.address = f->remote, .port = peer->port};
	const struct tcp_connect_options options = {
		.hold_ack = variant & 1, .no_delay = variant & 2};

	if (tcp_connect(f->stack, &f->local, &remote, &options, peer, &peer->pcb) == 0)
		fuzz_peer_forget(peer);
}

static void user_adopt(struct fuzz_tcp *f, struct fuzz_peer *peer, struct fuzz_input *in)
{
	unsigned flags = fuzz_byte(in);
	const struct tcp_adoption adoption = {
		.self = {.endpoint = f->local,
			.isn = 0xfffff000u,
			.right_edge = peer->isn + 1 + fuzz_u16(in),
			.mss = flags & 1 ? 1400 : 0,
			.wscale = flags >> 5,
			.has_wscale = flags & 2,
			.sack_permitted = flags & 4,
			.timestamps = flags & 8},
		.peer = {.endpoint = {f->remote, peer->port},
			.isn = peer->isn,
			.right_edge = 0xfffff001u + fuzz_u16(in),
			.tsval = peer->tsval,
			.mss = 1000,
			.wscale = 3,
			.has_wscale = flags & 2,
			.sack_permitted = flags & 4,
			.timestamps = flags & 8},
	};
	struct net_path path;

	if (net_path_open(f->net, &f->local.address, &f->remote, &path) != 0)
		return;
	if (tcp_adopt(f->stack, &adoption, &path, peer, &peer->pcb) != 0) {
		net_path_close(&path);
		return;
	}
	fuzz_peer_forget(peer);
	fuzz_peer_begin(peer, adoption.self.isn);
	peer->expected = peer->isn + 1;
}

static void user_option(struct fuzz_peer *peer, unsigned variant, unsigned value)
{
	const struct tcp_keep_alive keep_alive = {.idle_s = value, .interval_s = 1, .probes = 2};

	switch (variant + 4 * (value & 1)) {
	case 0:
		tcp_set_no_delay(peer->pcb, value & 2);
		break;
	case 1:
		tcp_set_keep_alive(peer->pcb, &keep_alive);
		break;
	case 2:
		tcp_set_linger(peer->pcb, (int)value - 1);
		break;
	case 3:
		tcp_set_receive_buffer(peer->pcb, value * 100);
		break;
	case 4:
		tcp_set_send_buffer(peer->pcb, value * 100);
		break;
	case 5:
		tcp_set_mss(peer->pcb, (uint16_t)(value * 8));
		break;
	case 6:
		tcp_set_congestion(peer->pcb, value / 2 % TCP_CONGESTIONS);
		break;
	default:
		tcp_set_low_water(peer->pcb, value * 16);
	}
}

static struct fuzz_peer *peer_of(struct fuzz_tcp *f, const struct tcp_pcb *pcb)
{
	unsigned i = tcp_pcb_remote(pcb).port - FUZZ_PEER_PORT;

	ASSERT(i < FUZZ_PEERS);
	return &f->peers[i];
}

static void user_hear(struct fuzz_tcp *f)
{
	struct tcp_pcb *pcb;
	uint32_t events;

	while ((pcb = tcp_ready_next(f->stack, &events)) != NULL) {
		struct fuzz_peer *peer = peer_of(f, pcb);

		ASSERT(events != 0);
		if (events & (TCP_EVENT_SYN | TCP_EVENT_COOKIE)) {
			// It has replaced an old one, which only its owner still holds.
			if (peer->pcb)
				tcp_close(peer->pcb);
			ASSERT(tcp_pcb_listener(pcb) == f->listener);
			tcp_pcb_set_user(pcb, peer);
			peer->pcb = pcb;
			fuzz_peer_forget(peer);
			peer->knocking = (events & TCP_EVENT_SYN) != 0;
		}
		ASSERT(peer->pcb == pcb && tcp_pcb_user(pcb) == peer);
		if (events & TCP_EVENTS_TERMINAL) {
			user_read(peer, UINT32_MAX);
			tcp_close(pcb);
			peer->pcb = NULL;
		}
	}
}

// --- steps ---------------------------------------------------------------------------------------

static void pass(struct fuzz_tcp *f, unsigned power)
{
	tcp_flush(f->stack);
	tcp_stack_check(f->stack);
	f->now_us += 500ull << power % 20;
	net_timers(f->net, f->now_us);
	tcp_advance(f->stack, f->now_us);
}

static void user_decide(struct fuzz_peer *peer, unsigned variant)
{
	if (!peer->knocking)
		tcp_confirm(peer->pcb);
	else if (variant == 3)
		tcp_refuse(peer->pcb), peer->pcb = NULL;
	else
		tcp_accept(peer->pcb);
	peer->knocking = false;
}

static void user_step(struct fuzz_tcp *f, struct fuzz_peer *peer, unsigned what, unsigned variant,
	struct fuzz_input *in)
{
	switch (what) {
	case FUZZ_USER_WRITES:
		user_write(f, peer, fuzz_u16(in), variant);
		break;
	case FUZZ_USER_READS:
		user_read(peer, variant ? UINT32_MAX : fuzz_u16(in));
		break;
	case FUZZ_USER_LEAVES:
		user_leave(peer, variant);
		break;
	case FUZZ_USER_DECIDES:
		user_decide(peer, variant);
		break;
	case FUZZ_USER_SETS:
		user_option(peer, variant, fuzz_byte(in));
		break;
	default:
		break;
	}
}

static void step(struct fuzz_tcp *f, struct fuzz_input *in)
{
	unsigned first = fuzz_byte(in), what = first >> 2 & 15, variant = first >> 6;
	struct fuzz_peer *peer = &f->peers[first & 3];

	if (what <= FUZZ_PEER_LAST)
		fuzz_peer_step(f, peer, what, variant, in);
	else if (what == FUZZ_TIME_PASSES)
		pass(f, fuzz_byte(in));
	else if (what == FUZZ_TURN_ENDS && variant == 2)
		fuzz_frames_hoard(f);
	else if (what == FUZZ_TURN_ENDS && variant == 3)
		fuzz_frames_release(f);
	else if (what == FUZZ_TURN_ENDS)
		tcp_flush(f->stack);
	else if (what == FUZZ_USER_OPENS && peer->pcb == NULL && variant == 3)
		user_adopt(f, peer, in);
	else if (what == FUZZ_USER_OPENS && peer->pcb == NULL)
		user_connect(f, peer, variant);
	else if (peer->pcb != NULL)
		user_step(f, peer, what, variant, in);
	tcp_stack_check(f->stack);
	user_hear(f);
	tcp_stack_check(f->stack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, data + size};

	start(&fuzz, fuzz_byte(&in));
	for (unsigned n = 0; in.at < in.end && n < STEP_MAX; n++)
		step(&fuzz, &in);
	pass(&fuzz, 0);
	user_hear(&fuzz);
	finish(&fuzz);
	return 0;
}
