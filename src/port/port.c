// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// Opening, starting and closing ports; main thread.

#include "port/port.h"

#include "base/assert.h"
#include "base/log.h"
#include "port/eal_arguments.h"
#include "port/filter.h"
#include "port/flow_rules.h"
#include "port/port_state.h"
#include "port/shortcut.h"

#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COMPONENT	"port"
#define RING_MIN	512u
#define RING_MAX	2048u
#define ETHERNET_TAGGED 18u
// The driver of af_xdp registers a pool with the kernel as the number of its frames times their
// size. No frame crosses a page, so this reaches the last one only if each fills a page: there must
// be no gaps, and none are left to spread frames over memory channels.
#define PAGE_ROOM   (4096u - RTE_MEMPOOL_ALIGN - (uint32_t)sizeof(struct rte_mbuf))
#define FRAME_CACHE 256u

// The ethdev that a device string made: the string up to its arguments; a PCI address may come
// without its domain.
static int device_find(const char *device, uint16_t *ret_id)
{
	size_t length = strcspn(device, ",");
	bool domainless = eal_device_is_physical(device) &&
			  memchr(device, ':', length) == memrchr(device, ':', length) &&
			  strncmp(device, "auxiliary:", strlen("auxiliary:")) != 0;
	char name[RTE_ETH_NAME_MAX_LEN];

	snprintf(name, sizeof(name), "%s%.*s", domainless ? "0000:" : "", (int)length, device);
	return rte_eth_dev_get_port_by_name(name, ret_id);
}

// One pair a worker, where there are so many.
static uint16_t pairs_of(const struct rte_eth_dev_info *info, unsigned workers)
{
	return (uint16_t)RTE_MIN(workers, RTE_MIN(info->max_rx_queues, info->max_tx_queues));
}

// A frame of the MTU must fit into a pool's mbuf, or the device must be able to scatter it.
static int rx_room_suffices(const struct port_config *config, uint16_t mtu,
	const struct rte_eth_dev_info *info, struct rte_mempool *pool, uint64_t *rx_offloads)
{
	unsigned room = rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM;

	if (room >= mtu + ETHERNET_TAGGED)
		return 0;
	if (info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER) {
		*rx_offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
		return 0;
	}
	log_error(COMPONENT, "%s: frames of MTU %u need buffers of %u bytes, these have %u",
		config->name, mtu, mtu + ETHERNET_TAGGED, room);
	return -EINVAL;
}

static uint64_t tx_offloads(const struct port_caps *caps)
{
	return (caps->tx_ip_checksum ? RTE_ETH_TX_OFFLOAD_IPV4_CKSUM : 0) |
	       (caps->tx_tcp_checksum ? RTE_ETH_TX_OFFLOAD_TCP_CKSUM : 0) |
	       (caps->tso ? RTE_ETH_TX_OFFLOAD_TCP_TSO : 0) |
	       (caps->multi_segment ? RTE_ETH_TX_OFFLOAD_MULTI_SEGS : 0);
}

static uint16_t ring_size(unsigned configured, uint16_t driver_default)
{
	if (configured != 0)
		return configured < UINT16_MAX ? (uint16_t)configured : UINT16_MAX;
	return RTE_MAX(RING_MIN, RTE_MIN(RING_MAX, driver_default));
}

static int queues_setup(const struct port *port, const struct port_config *config,
	const struct rte_eth_dev_info *info, struct rte_mempool *const *rx_pools)
{
	uint16_t rx = ring_size(config->rx_ring, info->default_rxportconf.ring_size);
	uint16_t tx = ring_size(config->tx_ring, info->default_txportconf.ring_size);
	int socket = rte_eth_dev_socket_id(port->id);
	int r = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);

	for (uint16_t i = 0; r == 0 && i < port->pairs; i++) {
		r = rte_eth_rx_queue_setup(port->id, i, rx, (unsigned)socket, NULL, rx_pools[i]);
		if (r == 0)
			r = rte_eth_tx_queue_setup(port->id, i, tx, (unsigned)socket, NULL);
	}
	return r;
}

static int device_configure(struct port *port, const struct port_config *config,
	const struct rte_eth_dev_info *info, struct rte_mempool *const *rx_pools)
{
	const uint64_t rss = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP;
	struct rte_eth_conf conf = {
		// Devices of the kernel's keep the MTU they have (port_mtu_choose()).
		.rxmode.mtu = info->if_index == 0 ? port->mtu : 0,
		.txmode.offloads = tx_offloads(&port->caps),
	};
	int r;

	if (port->caps.rx_checksum)
		conf.rxmode.offloads |=
			RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	if (port->pairs > 1 && (info->flow_type_rss_offloads & rss) != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = info->flow_type_rss_offloads & rss;
	}
	for (unsigned i = 0; i < port->pairs; i++) {
		r = rx_room_suffices(config, port->mtu, info, rx_pools[i], &conf.rxmode.offloads);
		if (r < 0)
			return r;
	}
	r = rte_eth_dev_configure(port->id, port->pairs, port->pairs, &conf);
	if (r == 0)
		r = queues_setup(port, config, info, rx_pools);
	if (r < 0)
		log_error(COMPONENT, "%s: '%s' refuses %u queue pairs: %s", config->name,
			config->device, port->pairs, strerror(-r));
	return r;
}

static const char *tso_describe(const struct port_caps *caps)
{
	if (!caps->tso)
		return "no";
	return caps->tso_ipv6 ? "yes" : "IPv4 only";
}

static void log_capabilities(const struct port *port, const struct port_config *config)
{
	const struct port_caps *caps = &port->caps;
	struct rte_ether_addr mac;

	memcpy(&mac, port->mac, sizeof(mac));
	log_info(COMPONENT,
		"%s: %s, " RTE_ETHER_ADDR_PRT_FMT
		", MTU %u, %u queue pair%s; in hardware: rx checksum %s, tx checksum %s, tso %s, multi-segment %s",
		port->name, config->device, RTE_ETHER_ADDR_BYTES(&mac), port->mtu, port->pairs,
		port->pairs == 1 ? "" : "s", caps->rx_checksum ? "yes" : "no",
		caps->tx_ip_checksum && caps->tx_tcp_checksum ? "yes" : "no", tso_describe(caps),
		caps->multi_segment ? "yes" : "no");
}

static int port_filter(const struct port *port, const struct port_config *config)
{
	if (port_is_af_xdp(config->device))
		return filter_fill(port->name, port->if_index, config->own, config->own_count);
	log_info(COMPONENT, "%s: '%s' cannot be told what is for Offramp: everything comes",
		port->name, config->device);
	return 0;
}

static int port_setup(
	struct port *port, const struct port_config *config, struct rte_mempool *const *rx_pools)
{
	struct rte_eth_dev_info info;
	struct rte_ether_addr mac;
	int r;

	r = rte_eth_dev_info_get(port->id, &info);
	if (r == 0)
		r = rte_eth_macaddr_get(port->id, &mac);
	if (r < 0) {
		log_error(COMPONENT, "%s: '%s' does not answer: %s", config->name, config->device,
			strerror(-r));
		return r;
	}
	memcpy(port->mac, &mac, sizeof(port->mac));
	port->if_index = info.if_index;
	port->pairs = pairs_of(&info, port->pairs);
	r = port->pairs > 0 ? 0 : -ENOTSUP;
	if (r == 0)
		r = port_mtu_choose(config, &info, &port->mtu);
	port_caps_detect(&info, port->mtu, &port->caps);
	if (r == 0)
		r = port_impair_open(port, config, rx_pools[0]);
	port->burst = (uint16_t)port->caps.burst;
	port->tx_prepare = port->caps.tx_ip_checksum || port->caps.tx_tcp_checksum;
	if (r == 0)
		r = device_configure(port, config, &info, rx_pools);
	if (r == 0 && config->filter == PORT_FILTER_OWN)
		r = port_filter(port, config);
	return r;
}

int port_open(const struct port_config *config, unsigned workers,
	struct rte_mempool *const *rx_pools, struct port **ret_port)
{
	struct port *port;
	uint16_t id;
	int r;

	ASSERT(workers > 0 && workers <= UINT16_MAX);
	if (device_find(config->device, &id) < 0) {
		log_error(COMPONENT, "%s: there is no DPDK device '%s'", config->name,
			config->device);
		return -ENODEV;
	}
	port = rte_zmalloc("port", sizeof(*port), RTE_CACHE_LINE_SIZE);
	if (port == NULL)
		return -ENOMEM;
	port->id = id;
	port->pairs = (uint16_t)workers; // at most; see port_setup()
	port->promiscuous = config->promiscuous;
	port->physical = eal_device_is_physical(config->device);
	snprintf(port->name, sizeof(port->name), "%s", config->name);
	port_counters_init(port);
	port->queues =
		rte_zmalloc("port queues", workers * sizeof(*port->queues), RTE_CACHE_LINE_SIZE);
	r = port->queues != NULL ? port_setup(port, config, rx_pools) : -ENOMEM;
	if (r < 0) {
		port_impair_close(port);
		rte_free(port->queues);
		rte_free(port);
		return r;
	}
	log_capabilities(port, config);
	*ret_port = port;
	return 0;
}

int port_start(struct port *port)
{
	int r = rte_eth_dev_start(port->id);

	if (r < 0) {
		log_error(COMPONENT, "%s: does not start: %s", port->name, strerror(-r));
		return r;
	}
	// Devices that see everything anyway (af_packet, rings) may not know the setting.
	r = port->promiscuous ? rte_eth_promiscuous_enable(port->id)
			      : rte_eth_promiscuous_disable(port->id);
	if (r < 0 && r != -ENOTSUP && port->promiscuous) {
		log_error(
			COMPONENT, "%s: cannot be made promiscuous: %s", port->name, strerror(-r));
		rte_eth_dev_stop(port->id);
		return r;
	}
	// IPv6 neighbours ask by groups. A device that does not know the setting filters none.
	r = rte_eth_allmulticast_enable(port->id);
	if (r < 0 && r != -ENOTSUP)
		log_warning(COMPONENT,
			"%s: does not take frames to groups, so IPv6 will not work: %s", port->name,
			strerror(-r));
	return 0;
}

void port_close(struct port *port)
{
	if (port == NULL)
		return;
	flow_rules_close(port); // as long as the devices of both ports run
	for (unsigned i = 0; i < port->pairs; i++)
		rte_pktmbuf_free_bulk(port->queues[i].frames, port->queues[i].count);
	rte_eth_dev_stop(port->id); // harmless when it is stopped
	rte_eth_dev_close(port->id);
	port_impair_close(port);
	shortcut_destroy(port->shortcut);
	rte_free(port->queues);
	rte_free(port);
}

void port_tap_add(struct port *port, unsigned queue, struct port_tap *tap)
{
	DASSERT(queue < port->pairs);
	tap->next = port->queues[queue].taps;
	port->queues[queue].taps = tap;
}

void port_tap_remove(struct port *port, unsigned queue, struct port_tap *tap)
{
	struct port_tap **at = &port->queues[queue].taps;

	DASSERT(queue < port->pairs);
	while (*at != NULL && *at != tap)
		at = &(*at)->next;
	if (*at != NULL)
		*at = tap->next;
}

const char *port_name(const struct port *port)
{
	return port->name;
}

const struct port_caps *port_get_caps(const struct port *port)
{
	return &port->caps;
}

void port_mac(const struct port *port, uint8_t ret_mac[6])
{
	memcpy(ret_mac, port->mac, sizeof(port->mac));
}

unsigned port_queues(const struct port *port)
{
	return port->pairs;
}

uint16_t port_mtu(const struct port *port)
{
	return port->mtu;
}

uint16_t port_frame_room(const char *device, uint32_t bytes)
{
	uint32_t room = RTE_ALIGN_CEIL(bytes + RTE_PKTMBUF_HEADROOM, RTE_CACHE_LINE_SIZE);

	if (port_is_af_xdp(device))
		room = RTE_MAX(room, PAGE_ROOM);
	return (uint16_t)RTE_MIN(room, (uint32_t)UINT16_MAX);
}

struct rte_mempool *port_frame_pool_create(const char *name, unsigned count, uint16_t data_room)
{
	struct rte_pktmbuf_pool_private private = {
		.mbuf_data_room_size = data_room != 0 ? data_room : RTE_MBUF_DEFAULT_BUF_SIZE};
	// Every core that frees such frames keeps some, and there must be enough for all.
	struct rte_mempool *pool = rte_mempool_create_empty(name, count,
		sizeof(struct rte_mbuf) + private.mbuf_data_room_size,
		RTE_MIN(FRAME_CACHE, count / 8), sizeof(private), SOCKET_ID_ANY,
		data_room == PAGE_ROOM ? RTE_MEMPOOL_F_NO_SPREAD : 0);

	if (pool == NULL)
		return NULL;
	rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	rte_pktmbuf_pool_init(pool, &private);
	if (rte_mempool_populate_default(pool) < 0) {
		rte_mempool_free(pool);
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}
