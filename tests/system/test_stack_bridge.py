# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""`bridge` in stack mode: Offramp is a host of its own, and a bridge for everybody else.

    namespace clients               offramp                  namespace broker
    eth0 198.18.0.2   ── port clients ─┬─ port broker ──     eth0 198.19.0.2
         10.77.0.2         198.18.0.1  │    198.19.0.1            10.77.0.1
         fd77::2                       │                          fd77::1
                                     bridge                       198.18.0.50 (on the other side)
"""

import os
import socket

import pytest

from bed import hosts
from others import ECHO_PORT, Echo, broker_socket, client_socket, exchange

ADDRESSES = {"clients": ("10.77.0.2/24", "fd77::2/64"),
             "broker": ("10.77.0.1/24", "fd77::1/64", "198.18.0.50/16")}
ACROSS = ("10.77.0.1", "fd77::1")


def bridged(open_bed, folder, *options, bridge="learning"):
    overlay = folder / "overlay.yaml"
    overlay.write_text(f"bridge: {bridge}\n")
    bed = open_bed("stack", "--config", str(overlay), *options)
    for host, addresses in ADDRESSES.items():
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            bed.run("ip", "address", "add", address, "dev", "eth0", *nodad, host=host)
    return bed


@pytest.fixture(scope="module", params=[
    1, pytest.param(2, marks=pytest.mark.full)], ids=["one-worker", "two-workers"])
def shared(request, open_bed, tmp_path_factory):
    bed = bridged(open_bed, tmp_path_factory.mktemp("bridged"), "--workers", str(request.param))
    yield bed
    bed.down()


@pytest.fixture
def bed(shared):
    """Broker and daemon outlive each test."""
    yield shared
    assert shared.is_alive("broker") and shared.is_alive("daemon"), shared.log("daemon")


@pytest.mark.parametrize("address", ACROSS)
def test_other_traffic_crosses_while_messages_are_captured(bed, address):
    data = os.urandom(500_000)
    before = bed.counters()
    with Echo(bed, address), client_socket(bed, socket.SOCK_STREAM, address) as sock, \
            broker_socket(bed, socket.SOCK_DGRAM, address, ECHO_PORT) as server, \
            client_socket(bed, socket.SOCK_DGRAM, address) as datagrams, bed.watch() as watch:
        sock.connect((address, ECHO_PORT))
        publisher, subscriber = bed.client("p"), bed.client("s")
        subscriber.subscribe("beside")
        for turn in range(5):
            publisher.publish("beside", b"%d" % turn, 1)
            assert exchange(sock, data) == data
        assert subscriber.payloads(5) == [b"%d" % turn for turn in range(5)]
        assert watch.captured() == 5
        server.settimeout(10)
        datagrams.sendto(bytes(1400), (address, ECHO_PORT))
        assert len(server.recv(65536)) == 1400
        publisher.leave()
        subscriber.leave()
    assert bed.run("ping", "-c", "2", "-i", "0.2", "-W", "2", address).returncode == 0
    after = bed.counters()
    assert after["bridge_frames_total"] > before["bridge_frames_total"] + 1000
    assert after["bridge_stations"]["learned"] >= 2


def test_offramp_is_reached_from_the_other_side_too(bed):
    """Its address there, by a host of the clients' network that is beside the broker."""
    sock = hosts.open_socket(bed.name, "broker", socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.bind(("198.18.0.50", 0))
    sock.connect((bed.host, bed.port))
    far, near = bed.stranger("far", sock=sock), bed.client("near")
    far.connect()
    far.subscribe("sides")
    with bed.watch() as watch:
        near.publish("sides", b"x", 1)
        assert far.payloads(1) == [b"x"]
        assert watch.captured() == 1
    far.leave()
    near.leave()


@pytest.mark.full
@pytest.mark.parametrize("bridge,crosses", [("none", False), ("hub", True)])
def test_what_crosses_is_what_the_configuration_says(open_bed, tmp_path, bridge, crosses):
    bed = bridged(open_bed, tmp_path, bridge=bridge)
    try:
        answered = bed.run("ping", "-c", "1", "-W", "2", ACROSS[0]).returncode == 0
        assert answered == crosses
        client = bed.client("served")
        client.ping()
        client.leave()
    finally:
        bed.down()
