# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Past the backlog clients are answered at once, with a SYN cookie, and their broker comes after."""

import os
import signal

import pytest

from bed import eventually

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small-backlog.yaml")
CROWD = 40

pytestmark = [pytest.mark.stack_only, pytest.mark.endpoint]


@pytest.fixture(params=[(), ("--ipv6",)], ids=["v4", "v6"])
def bed(request, open_bed, mode):
    own = open_bed(mode, "--config", OVERLAY, *request.param)
    yield own
    own.down()


def is_gone(sock):
    try:
        return sock.recv(1) == b""
    except (ConnectionError, TimeoutError):
        return True
    except BlockingIOError:
        return False


def test_a_crowd_is_served_through_cookies(bed):
    """Now and then the broker's kernel is so quick that the backlog never fills: then once more."""
    accepted = "tcp_syn_cookies_accepted_total"
    before = bed.counters()[accepted]
    for _ in range(10):
        serve_crowd(bed)
        if bed.counters()[accepted] > before:
            return
    pytest.fail("ten crowds were served without a cookie")


def serve_crowd(bed):
    os.kill(bed.pid("broker"), signal.SIGSTOP)  # the kernel still answers for it
    try:
        clients = bed.strangers([f"crowd{number}" for number in range(CROWD)])
    finally:
        os.kill(bed.pid("broker"), signal.SIGCONT)
    for client in clients:
        client.connack = client.connect()
    subscriber, publisher = clients[0], clients[-1]
    subscriber.subscribe("crowd/#", options=1)
    for index in range(20):
        publisher.publish("crowd/x", str(index).encode(), qos=1)
    assert subscriber.payloads(20) == [str(index).encode() for index in range(20)]
    for client in clients:
        client.leave()


@pytest.mark.good_wires("a RST is not sent again")
def test_without_a_broker_they_are_reset(bed):
    bed.tool("stop", "broker")
    clients = bed.strangers([f"crowd{number}" for number in range(CROWD)])
    assert eventually(lambda: all(is_gone(client.sock) for client in clients))
    if bed.shape != "socket":  # without a process nobody listens: TCP refuses, and nobody else
        assert sum(bed.counters()["connections_refused_total"].values()) > 0
    assert eventually(lambda: bed.counters()["connections"] == 0)
    for client in clients:
        client.close()
