# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Past the backlog clients are answered at once, with a SYN cookie, and their broker comes after."""

import os
import signal
import socket

import pytest

import mqttraw as mqtt
from bed import eventually, hosts

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small-backlog.yaml")
CROWD = 40

pytestmark = pytest.mark.stack_only


def up_options(_mode):
    return ("--config", OVERLAY)


def knock(bed, count):
    """Sockets that connect all at once."""
    sockets = []
    for _ in range(count):
        sock = hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        assert sock.connect_ex((bed.host, bed.port)) != 0
        sockets.append(sock)
    return sockets


def is_gone(sock):
    try:
        return sock.recv(1) == b""
    except (ConnectionError, TimeoutError):
        return True
    except BlockingIOError:
        return False


def test_a_crowd_is_served_through_cookies(bed):
    before = bed.counters()
    os.kill(bed.pid("broker"), signal.SIGSTOP)  # the kernel still answers for it
    try:
        sockets = knock(bed, CROWD)
    finally:
        os.kill(bed.pid("broker"), signal.SIGCONT)
    clients = []
    for index, sock in enumerate(sockets):
        sock.settimeout(20)
        clients.append(mqtt.Client(sock, 4, f"crowd{index}"))
    for client in clients:
        client.connack = client.connect()
    subscriber, publisher = clients[0], clients[-1]
    subscriber.subscribe("crowd/#", options=1)
    for index in range(20):
        publisher.publish("crowd/x", str(index).encode(), qos=1)
    assert subscriber.payloads(20) == [str(index).encode() for index in range(20)]
    after = bed.counters()
    accepted = "tcp_syn_cookies_accepted_total"
    assert after[accepted] > before[accepted]
    for client in clients:
        client.leave()


def test_without_a_broker_they_are_reset(open_bed, mode):
    bed = open_bed(mode, "--config", OVERLAY)
    bed.tool("stop", "broker")
    sockets = knock(bed, CROWD)
    assert eventually(lambda: all(is_gone(sock) for sock in sockets))
    counters = bed.counters()
    assert sum(counters["connections_refused_total"].values()) > 0
    assert eventually(lambda: bed.counters()["connections"] == 0)
    for sock in sockets:
        sock.close()
    bed.down()
