# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Many clients that do nothing: what they cost in memory, and that they are in nobody's way."""

import os
import time

import pytest

import mqttraw as mqtt
from bed import eventually, hosts
from test_storm import ADDRESSES, AT_ONCE, Bystanders, enough_files  # noqa: F401

CLIENTS = 10000
BYTES_A_CLIENT = 4096  # both halves of TCP, flow, session, one subscription
BYTES_OF_FEW = 12288  # what is taken once, buffers on their way above all, weighs more among few


def up_options(_mode):
    return ("--clients", ADDRESSES)


def used(bed):
    """Bytes that clients take: what is taken from pools, and the heap."""
    return sum(bed.counters()["pool_bytes_in_use"].values()) + heap(bed.pid("daemon"))


def heap(pid):
    with open(f"/proc/{pid}/smaps", encoding="ascii") as maps:
        lines = iter(maps)
        for line in lines:
            if line.rstrip().endswith("[heap]"):
                sizes = dict(next(lines).split(":") for _ in range(4))
                return int(sizes["Rss"].split()[0]) * 1024
    return 0


@pytest.mark.stack_only
@pytest.mark.parametrize("count", [1000, pytest.param(CLIENTS, marks=pytest.mark.full)])
def test_idle_clients_are_cheap(bed, count):
    """One subscription each, none shared: the map grows with them."""
    before = used(bed)
    clients = []
    try:
        addresses = [hosts.client_address(index) for index in range(ADDRESSES)]
        while len(clients) < count:
            names = [f"idle{len(clients) + number}" for number in range(AT_ONCE)]
            new = bed.strangers(names, addresses * (AT_ONCE // ADDRESSES + 1))
            for client in new:
                client.send(mqtt.connect(client.client_id, keep_alive=0))
                client.send(mqtt.subscribe(1, [(f"idle/{client.client_id}/command", 1)]))
            for client in new:
                client.expect(mqtt.CONNACK)
                client.expect(mqtt.SUBACK)
            clients.extend(new)
        assert eventually(lambda: bed.counters()["connections"] == count, 10)
        time.sleep(0.5)  # gauges are refreshed four times a second
        bytes_each = (used(bed) - before) / count
        bystanders = Bystanders(bed)
        time.sleep(3)
        latency = bystanders.leave()
        print(f"{count} idle clients: {bytes_each:.0f} bytes each; of {len(latency)} messages beside "
              f"them half took {latency[len(latency) // 2] * 1000:.1f} ms, the last "
              f"{latency[-1] * 1000:.1f} ms")
        assert bytes_each < (BYTES_A_CLIENT if count == CLIENTS else BYTES_OF_FEW)
        clients[0].publish(f"idle/{clients[-1].client_id}/command", b"wake up", 1)
        assert clients[-1].payloads(1) == [b"wake up"]
    finally:
        for client in clients:
            client.close()
