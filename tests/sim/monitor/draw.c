// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What follows from a seed. What is switched off is drawn all the same, so that the rest stays as
// it was.

#include "world.h"

#include "base/clock.h"

const char *const world_dimension_names[DIMENSIONS] = {
	[LOSS] = "loss",
	[DUPLICATES] = "duplicates",
	[REORDERING] = "reordering",
	[CORRUPTION] = "corruption",
	[STALLS] = "stalls",
	[NARROWINGS] = "narrowings",
	[BLACK_HOLES] = "black-holes",
	[FRAGMENTS] = "fragments",
	[SMALL_BUFFERS] = "small-buffers",
	[NAPS] = "naps",
	[CUTS] = "cuts",
	[NAGLE] = "nagle",
	[NO_SACK] = "no-sack",
	[NO_TIMESTAMPS] = "no-timestamps",
	[VLAN] = "vlan",
	[HUB] = "hub",
	[MOVING] = "moves",
	[STOPS] = "stops",
	[BREAKS] = "breaks",
	[BROKER_BREAKS] = "broker-breaks",
	[PORT_REUSE] = "port-reuse",
	[FOREIGN] = "foreign",
	[CROWD] = "crowd",
	[FEW_CLIENTS] = "few-clients",
	[LATE_CONNECTS] = "late-connects",
	[BIG_MESSAGES] = "big-messages",
	[RETAIN] = "retain",
	[QOS] = "qos",
	[MQTT_5] = "mqtt-5",
	[BROKER_MESSAGES] = "broker-messages",
	[BYSTANDERS] = "bystanders",
	[END_TO_END] = "end-to-end",
};

bool world_has(const struct world *world, enum dimension dimension, bool drawn)
{
	return drawn && !(world->without & 1ull << dimension);
}

static uint32_t draw(struct world *world, uint32_t bound)
{
	return random_below(&world->rng, bound);
}

static bool one_in(struct world *world, enum dimension dimension, uint32_t n)
{
	return world_has(world, dimension, draw(world, n) == 0);
}

// Rather soon than late, within a minute.
static uint64_t moment_draw(struct world *world)
{
	return world->now_us + draw(world, 1u << (10 + draw(world, 17)));
}

// --- wires ---------------------------------------------------------------------------------------

static void spells_draw(struct world *world, struct sim_impairment *i)
{
	static const uint16_t mtus[] = {1400, 1200, 900, 576};
	struct sim_stall stall = {.from_us = moment_draw(world), .drops = draw(world, 2)};
	struct sim_narrowing narrowing = {.from_us = moment_draw(world),
		.mtu = mtus[draw(world, 4)],
		.router = draw(world, SIM_ROUTERS)};
	enum dimension kind = narrowing.router == SIM_ROUTER_SILENT ? BLACK_HOLES : NARROWINGS;

	stall.until_us = stall.from_us + (1 + draw(world, 100)) * 100 * US_IN_MS;
	narrowing.until_us = narrowing.from_us + (1 + draw(world, 100)) * 100 * US_IN_MS;
	if (one_in(world, STALLS, 8))
		i->stalls[0] = stall;
	if (one_in(world, kind, 8))
		i->narrowings[0] = narrowing;
}

static void wire_draw(struct world *world, struct sim_wire *wire, bool dirty)
{
	uint32_t loss = draw(world, 800), duplicate = draw(world, 500);
	uint32_t reorder = draw(world, 1500), corrupt = draw(world, 100);

	*wire = (struct sim_wire){.rng = &world->rng};
	wire->impairment = (struct sim_impairment){
		.loss = world_has(world, LOSS, dirty) ? loss : 0,
		.duplicate = world_has(world, DUPLICATES, dirty) ? duplicate : 0,
		.reorder = world_has(world, REORDERING, dirty) ? reorder : 0,
		.corrupt = world_has(world, CORRUPTION, dirty) ? corrupt : 0,
		.delay_us = 1 + draw(world, 1u << draw(world, 15)),
		.jitter_us = 1 + draw(world, 20000),
		.bytes_per_ms = 500 + draw(world, 20000),
		.queue_us = 200000,
	};
	if (!world->clean)
		spells_draw(world, &wire->impairment);
}

// --- kernels -------------------------------------------------------------------------------------

static struct tcp_config tcp_draw(struct world *world)
{
	static const uint32_t buffers[] = {4000, 20000, 65535};
	uint32_t buffer = draw(world, 4);
	struct tcp_config tcp;

	tcp_config_init(&tcp);
	tcp.connections_max = 128;
	tcp.pieces_max = 8192;
	tcp.receive_buffer =
		world_has(world, SMALL_BUFFERS, buffer < 3) ? buffers[buffer % 3] : 262144;
	tcp.retries = tcp.syn_retries = 30;
	tcp.keep_alive = (struct tcp_keep_alive){.idle_s = 120, .interval_s = 20, .probes = 5};
	tcp.sack = !one_in(world, NO_SACK, 5);
	tcp.timestamps = !one_in(world, NO_TIMESTAMPS, 5);
	for (unsigned i = 0; i < sizeof(tcp.secret); i++)
		tcp.secret[i] = (uint8_t)random_next(&world->rng);
	return tcp;
}

static void moves_draw(struct world *world, struct host *host)
{
	bool moves = one_in(world, MOVING, 6) && !world->clean;
	uint32_t count = 1 + draw(world, MOVES_MAX);
	uint64_t at_us = world->now_us;

	for (unsigned i = 0; i < MOVES_MAX; i++) {
		struct move *move = &host->moves[i];
		bool new_mac = draw(world, 2), new_port = draw(world, 2);
		unsigned port = i > 0 ? move[-1].port : host->port;

		at_us += 10 * US_IN_MS + draw(world, 1u << (10 + draw(world, 16)));
		*move = (struct move){.at_us = at_us,
			.heard_us = at_us + draw(world, 3 * US_IN_S),
			.port = new_port ? port ^ 1 : port,
			.mac = (uint8_t)((i > 0 ? move[-1].mac : host->mac) + new_mac),
			.announced = draw(world, 2)};
		at_us = move->heard_us;
	}
	host->moves_count = moves ? count : 0;
}

static void host_draw(struct world *world, unsigned index)
{
	static const uint16_t mtus[] = {1500, 1500, 1400, 600};
	struct host *host = &world->hosts[index];
	bool dirty = draw(world, 3) > 0 && !world->clean, fragments = one_in(world, FRAGMENTS, 4);
	uint16_t mtu = mtus[draw(world, 4)];
	struct tcp_config tcp = tcp_draw(world);

	host->world = world;
	host->index = index;
	host->mac = host->mac_heard = (uint8_t)(index << 4);
	host->port = index == HOST_BROKER ? 2 : index;
	host->fragments = fragments ? 1 + draw(world, 1000) : 0;
	moves_draw(world, host);
	wire_draw(world, &host->out, dirty);
	wire_draw(world, &host->in, dirty);
	host->out.back = &host->in;
	host->in.back = &host->out;
	host->timestamps = tcp.timestamps;
	host_init(host, mtu, &tcp);
}

// --- lives ---------------------------------------------------------------------------------------

static uint32_t think_draw(struct world *world)
{
	switch (draw(world, 4)) {
	case 0:
		return 0;
	case 1:
		return 20 * US_IN_MS;
	case 2:
		return US_IN_S;
	default:
		return draw(world, 4) == 0 ? 40 * US_IN_S : 100 * US_IN_MS;
	}
}

static void manners_draw(struct world *world, struct life *life)
{
	static const uint16_t keep_alives[] = {0, 60, 100};
	bool five = draw(world, 2), cuts = draw(world, 3) == 0, naps = draw(world, 8) == 0;

	life->version = world_has(world, MQTT_5, five) ? MQTT_VERSION_5 : MQTT_VERSION_3_1_1;
	life->keep_alive = keep_alives[draw(world, 3)];
	life->receive_max = draw(world, 2) ? 20 : (uint16_t)(1 + draw(world, 10));
	if (life->version != MQTT_VERSION_5)
		life->receive_max = 65535;
	life->no_delay = !world_has(world, NAGLE, draw(world, 2));
	life->talker.cuts = world_has(world, CUTS, cuts);
	life->talker.pause_us = draw(world, 2) ? draw(world, 2000) : 0;
	life->talker.nap_at = draw(world, 2000);
	life->talker.nap_us = draw(world, 100) * 100 * US_IN_MS;
	if (!world_has(world, NAPS, naps))
		life->talker.nap_us = 0;
	life->ack_us = draw(world, 2) ? 100 * US_IN_MS : 0;
}

static void life_draw(struct world *world, unsigned serial, unsigned lives)
{
	struct life *life = &world->lives[serial];
	unsigned nth = serial % LIVES_EACH;
	bool breaks = draw(world, 2), reuse = draw(world, 2);
	enum ending ending = draw(world, ENDINGS);

	life->world = world;
	life->serial = serial;
	life->client = serial / LIVES_EACH;
	life->talker.ops = &life_ops;
	life->talker.host = &world->hosts[life->client % 2];
	random_init(&life->talker.rng, world->seed * 100 + serial);
	life->last = nth + 1 == lives;
	life->state = nth < lives ? LIFE_WAITS : LIFE_OVER;
	life->next_id = 1;
	life->begins_us = world->now_us + draw(world, 1u << (10 + draw(world, 11)));
	life->hesitates_us =
		one_in(world, LATE_CONNECTS, 10)
			? draw(world, 8) == 0 ? 310 * US_IN_S : draw(world, 5 * US_IN_S)
			: 0;
	// Without timestamps nothing tells octets of the life before that are still on their way
	// (RFC 7323 5.1).
	reuse = reuse && life->talker.host->timestamps && world->hosts[HOST_BROKER].timestamps;
	life->port = (uint16_t)(PORT_CLIENTS + serial);
	if (world_has(world, PORT_REUSE, reuse))
		life->port = (uint16_t)(PORT_CLIENTS + serial - nth);
	life->ending = world_has(world, BREAKS, breaks) ? ending : ENDING_ORDERLY;
	life->listens = draw(world, 4) > 0;
	life->wild = draw(world, 3) == 0;
	life->steps = draw(world, 1u << (2 + draw(world, 5)));
	life->think_us = think_draw(world);
	manners_draw(world, life);
}

static void lives_draw(struct world *world)
{
	unsigned clients = 1 + draw(world, CLIENTS_MAX);

	if (one_in(world, FEW_CLIENTS, 4))
		clients = 1;
	world->lives_count = clients * LIVES_EACH;
	for (unsigned c = 0; c < clients; c++) {
		unsigned lives = 1 + draw(world, LIVES_EACH);

		for (unsigned l = 0; l < LIVES_EACH; l++)
			life_draw(world, c * LIVES_EACH + l, lives);
	}
}

// --- the rest ------------------------------------------------------------------------------------

static void foreign_draw(struct world *world, enum foreign_kind kind)
{
	struct foreign *foreign = &world->foreigns[world->foreigns_count];

	foreign->world = world;
	foreign->port = (uint16_t)(PORT_FOREIGN + world->foreigns_count++);
	foreign->begins_us = moment_draw(world);
	if (kind == FOREIGN_SILENT)
		foreign->ends_us = foreign->begins_us + draw(world, 400 * US_IN_S);
	foreign_init(foreign, kind);
}

static void foreigns_draw(struct world *world)
{
	bool foreign = one_in(world, FOREIGN, 8), crowd = one_in(world, CROWD, 8);

	foreign_draw(world, FOREIGN_OTHER_PORT);
	for (unsigned i = 0; foreign && i < 3; i++)
		foreign_draw(world, draw(world, FOREIGN_KINDS));
	for (unsigned i = 0; crowd && i < 8; i++)
		foreign_draw(world, FOREIGN_SILENT);
	if (crowd)
		world->flows_max = 8;
}

static void traffic_draw(struct world *world)
{
	bool big = one_in(world, BIG_MESSAGES, 3), retain = one_in(world, RETAIN, 3);
	uint32_t qos = draw(world, 3);

	world->max_size = draw(world, 2) ? 1100 << 10 : 300 + draw(world, 1000);
	world->bump.broker.capture.max_size = world->max_size;
	world->big = big ? draw(world, 40) : 0;
	world->retain = retain ? draw(world, 30) : 0;
	world->qos = world_has(world, QOS, true) ? qos : 0;
	world->vlan = one_in(world, VLAN, 6) ? 100 : 0;
	world->bystanders = one_in(world, BYSTANDERS, 2) ? draw(world, 5000) : 0;
	world->broker_breaks = one_in(world, BROKER_BREAKS, 3);
	world->broker_says = one_in(world, BROKER_MESSAGES, 2) ? draw(world, 20) : 0;
	world->broker_says_us = moment_draw(world);
}

static void stop_draw(struct world *world)
{
	struct bump *bump = &world->bump;
	uint64_t from_us = moment_draw(world);

	if (!one_in(world, STOPS, 8) || world->clean)
		return;
	bump->stopped_from_us = from_us;
	bump->stopped_until_us = from_us + draw(world, 2 * US_IN_S);
}

void world_draw(struct world *world)
{
	struct tcp_config tcp;

	offload_config_init(&world->bump.config);
	offload_broker_config_init(&world->bump.broker);
	world->bump.config.clients_max = one_in(world, FEW_CLIENTS, 10) ? 2 : 32;
	world->flows_max = FLOWS_MAX;
	world->clean = draw(world, 4) == 0;
	traffic_draw(world);
	for (unsigned h = 0; h < HOSTS; h++)
		host_draw(world, h);
	lives_draw(world);
	foreigns_draw(world);
	stop_draw(world);
	tcp = tcp_draw(world);
	tcp.sack = tcp.timestamps = true; // the ends decide
	bump_start(world, &tcp, world->flows_max);
}
