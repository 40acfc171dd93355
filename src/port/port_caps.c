// SPDX-License-Identifier: Apache-2.0
// Copyright (c) The Offramp Authors
//
// What a device can do: capabilities and MTU, with the drivers' known deviations from what they
// announce (DPDK 22.11).

#include "port/port_state.h"

#include "base/log.h"
#include "port/kernel_interface.h"

#include <rte_ethdev.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COMPONENT "port"

#define BURST_MIN	 32u
#define ETHERNET_TAGGED	 18u // header and one VLAN tag
#define AF_PACKET_FRAME	 2048u
#define AF_PACKET_HEADER 66u // before the frame in a slot of the receive ring (TPACKET_V2)
// It announces no limit and is told no MTU, and drops longer packets.
#define TAP_MTU RTE_ETHER_MTU

static bool driver_is(const struct rte_eth_dev_info *info, const char *driver)
{
	return info->driver_name != NULL && strcmp(info->driver_name, driver) == 0;
}

// net_tap cuts in software (rte_gso), TCP over IPv4 only: of IPv6 it sends the whole frame as it
// is. It holds a segment with all its headers, Ethernet's too, against the MTU that the EAL gave
// it, and refuses the frame when they are longer.
static void tap_caps_limit(uint16_t mtu, struct port_caps *caps)
{
	caps->tso_ipv6 = false;
	if (mtu + RTE_ETHER_HDR_LEN > TAP_MTU)
		caps->tso = false;
}

void port_caps_detect(const struct rte_eth_dev_info *info, uint16_t mtu, struct port_caps *ret_caps)
{
	const uint64_t rx_checksum = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
	uint64_t rx = info->rx_offload_capa, tx = info->tx_offload_capa;
	unsigned burst = info->default_txportconf.burst_size;

	*ret_caps = (struct port_caps){
		.rx_checksum = (rx & rx_checksum) == rx_checksum,
		.tx_ip_checksum = tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM,
		.tx_tcp_checksum = tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM,
		.multi_segment = tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS,
		.burst = burst >= BURST_MIN && burst <= PORT_BURST_MAX ? burst : PORT_BURST_MAX,
	};
	// It sends a chain's first segment and zeros for the rest, and reports success.
	if (driver_is(info, "net_af_xdp"))
		ret_caps->multi_segment = false;
	// A segmented send is a chain whose checksums the device completes; those of the IPv4
	// headers too, which virtio does for no other frames.
	ret_caps->tso = (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO) && ret_caps->multi_segment &&
			ret_caps->tx_tcp_checksum;
	ret_caps->tso_ipv6 = ret_caps->tso;
	if (driver_is(info, "net_tap"))
		tap_caps_limit(mtu, ret_caps);
}

// af_packet announces no limit; it is the size of a slot in its ring, framesz= in the vdev string.
static uint16_t af_packet_mtu_max(const char *device)
{
	const char *option = strstr(device, ",framesz=");
	unsigned long size =
		option != NULL ? strtoul(option + strlen(",framesz="), NULL, 10) : AF_PACKET_FRAME;

	if (size <= AF_PACKET_HEADER + ETHERNET_TAGGED)
		return 0;
	size -= AF_PACKET_HEADER + ETHERNET_TAGGED;
	return size < UINT16_MAX ? (uint16_t)size : UINT16_MAX;
}

static uint16_t device_mtu_max(
	const struct port_config *config, const struct rte_eth_dev_info *info)
{
	if (driver_is(info, "net_af_packet"))
		return af_packet_mtu_max(config->device);
	if (driver_is(info, "net_tap"))
		return TAP_MTU;
	return info->max_mtu;
}

// The interface belongs to the host: its MTU is taken as it is, or as a limit; never changed.
static int kernel_mtu_choose(const struct port_config *config, uint16_t own, uint16_t max,
	const char *hint, uint16_t *ret_mtu)
{
	if (own > max) {
		log_error(COMPONENT,
			"%s: the interface has MTU %u, but '%s' carries at most %u: %s",
			config->name, own, config->device, max, hint);
		return -EINVAL;
	}
	if (config->mtu > own) {
		log_error(COMPONENT, "%s: mtu %u is above the interface's own, %u", config->name,
			config->mtu, own);
		return -EINVAL;
	}
	*ret_mtu = config->mtu != 0 ? config->mtu : own;
	return 0;
}

int port_mtu_choose(
	const struct port_config *config, const struct rte_eth_dev_info *info, uint16_t *ret_mtu)
{
	uint16_t own = info->if_index != 0 ? kernel_interface_mtu(info->if_index) : 0;
	uint16_t max = device_mtu_max(config, info);

	if (own != 0) {
		const char *hint =
			driver_is(info, "net_af_packet")
				? "add framesz= and blocksz= to it, or lower the interface's MTU"
				: "lower the interface's MTU";

		return kernel_mtu_choose(config, own, max, hint, ret_mtu);
	}
	if (config->mtu != 0 && (config->mtu > max || config->mtu < info->min_mtu)) {
		log_error(COMPONENT, "%s: mtu %u, but the device takes %u to %u", config->name,
			config->mtu, info->min_mtu, max);
		return -EINVAL;
	}
	*ret_mtu = config->mtu != 0 ? config->mtu : max < RTE_ETHER_MTU ? max : RTE_ETHER_MTU;
	return 0;
}
