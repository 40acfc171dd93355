# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Socket mode gives back what it takes: thousands of connections in places for a few dozen.

Slots and chunks of the memory that daemon and shim share have no gauge: there are so few of them here that
what is lost of them is missed before the test ends.
"""

import contextlib
import os
import socket
import struct

import pytest

import mqttraw as mqtt
from bed import eventually
from levels import assert_back_to, settled_level

pytestmark = [pytest.mark.stack_only,
              pytest.mark.in_modes("socket", "socket-unix", "socket-tcp"), pytest.mark.core]

CONNECTIONS = [2000, pytest.param(20000, marks=pytest.mark.full)]
BLOB = 100_000  # octets: more than a stream holds
GROWTH = 100  # octets a connection, of the broker


def up_options(_mode):
    return ["--config", os.path.join(os.path.dirname(os.path.abspath(__file__)), "small-socket.yaml")]


def comes_and_goes(bed):
    bed.client("").leave()


def asks_for_more_than_it_reads(bed):
    client = bed.client("")
    client.send(mqtt.subscribe(1, [("turnover/blob", 0)]))
    client.expect(mqtt.SUBACK)
    client.close()


def resets(bed):
    client = bed.client("")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def says_nothing(bed):
    bed.connect().close()


def talks_nonsense(bed):
    """The broker closes, and may do so with something unread."""
    with bed.connect() as sock, contextlib.suppress(ConnectionResetError):
        sock.sendall(b"\x00" * 20)
        while sock.recv(100):
            pass


WAYS = (comes_and_goes, asks_for_more_than_it_reads, resets, says_nothing, talks_nonsense)


def descriptors(bed):
    return len(os.listdir(f"/proc/{bed.pid('broker')}/fd"))


def turnover(bed, count):
    for number in range(count):
        WAYS[number % len(WAYS)](bed)


@pytest.mark.parametrize("connections", CONNECTIONS)
def test_what_connections_took_is_given_back(bed, connections):
    with bed.client("retainer") as client:
        client.publish("turnover/blob", bytes(BLOB), 1, retain=True)
        client.leave()
    turnover(bed, 300)  # what grows once has grown
    before, files = settled_level(bed), descriptors(bed)
    memory = bed.rss_kb("broker")
    turnover(bed, connections)
    assert_back_to(bed, before)
    assert eventually(lambda: descriptors(bed) <= files)
    grown = bed.rss_kb("broker") - memory
    print(f"the broker has grown by {grown} KiB")
    assert grown * 1024 <= connections * GROWTH
