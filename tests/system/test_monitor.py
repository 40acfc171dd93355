# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A bump in the wire: what says something of monitor mode only.

That clients and broker see what they would see without it, is what the other modules' tests show in
mode `monitor`. Here: who is spoken to, what passes untouched, crashes, stalls, ports used again.
"""

import os
import signal
import socket
import threading
import time

import pytest

import mqttraw as mqtt
from bed import eventually, hosts
from others import ECHO_PORT, Echo, broker_socket, client_socket, exchange

pytestmark = [pytest.mark.stack_only, pytest.mark.monitor_only, pytest.mark.core]


@pytest.fixture
def own(open_bed, mode):
    """A testbed that the test may break."""
    bed = open_bed(mode)
    yield bed
    bed.down()


def flows(bed, state):
    return bed.counters()["flows"][state]


def test_the_broker_sees_the_client_itself(bed):
    client = bed.client("seen")
    try:
        address, port = client.sock.getsockname()[:2]
        peers = bed.run("ss", "-tnH", "state", "established", host="broker").stdout
        assert f"{address}:{port}" in peers
        assert flows(bed, "adopted") >= 1
    finally:
        client.leave()


@pytest.mark.parametrize("address", [hosts.LISTEN, hosts.LISTEN6])
def test_other_connections_pass_while_messages_are_captured(bed, address):
    data = os.urandom(2_000_000)
    before = bed.counters()
    with Echo(bed, address), client_socket(bed, socket.SOCK_STREAM, address) as sock, \
            bed.watch() as watch:
        sock.connect((address, ECHO_PORT))
        result = {}
        other = threading.Thread(target=lambda: result.update(bench=bed.bench(
            "-P", 2, "-S", 10, "-t", "one-to-many", "-r", 50, "-n", 200, "--quiet")))
        other.start()
        assert exchange(sock, data) == data
        other.join(60)
        assert result["bench"]["lost"] == 0 and result["bench"]["delivered"] > 0
        assert watch.captured() > 0
    after = bed.counters()
    assert after["bridge_frames_total"] > before["bridge_frames_total"] + 1000
    assert after["map_complete"] == 1


@pytest.mark.parametrize("address", [hosts.LISTEN, hosts.LISTEN6])
@pytest.mark.parametrize("size", [1, 1400, 9000])  # the last one in fragments
def test_datagrams_pass(bed, address, size):
    if size > 1500 and not hosts.is_ipv6(address) and "af_packet" in bed.options:
        pytest.skip("DPDK's af_packet has the kernel put IPv4 fragments together, and cuts them")
    with broker_socket(bed, socket.SOCK_DGRAM, address, ECHO_PORT) as server, \
            client_socket(bed, socket.SOCK_DGRAM, address) as sock:
        server.settimeout(bed.seconds(2))
        for turn in range(20):  # datagrams may be lost over bad wires
            data = bytes([turn]) * size
            sock.sendto(data, (address, ECHO_PORT))
            try:
                while True:
                    got, peer = server.recvfrom(65536)
                    if got == data:
                        assert peer[1] == sock.getsockname()[1]
                        return
            except socket.timeout:
                continue
        pytest.fail("none of 20 arrived")


def test_what_is_not_mqtt_passes(bed):
    before = bed.counters()["flows_passed_total"]
    sock = bed.connect()
    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    try:
        assert sock.recv(100) == b""  # the broker's answer
    except ConnectionError:
        pass
    sock.close()
    bed.connect().close()  # a health check
    after = bed.counters()["flows_passed_total"]
    assert after["not_mqtt"] == before["not_mqtt"] + 1
    assert eventually(
        lambda: bed.counters()["flows_passed_total"]["ended"] == before["ended"] + 1)
    assert bed.counters()["map_complete"] == 1


def test_a_port_is_used_again(bed):
    """At once, from TIME-WAIT, and after a reset."""
    port = None
    for turn in range(6):
        sock = hosts.open_socket(bed.name, "clients", hosts.family(bed.host), socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(bed.seconds(20))
        sock.bind(("0.0.0.0", port or 0))
        port = sock.getsockname()[1]
        if turn % 2:  # goes at once
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        try:
            sock.connect((bed.host, bed.port))
        except OSError as error:  # the client's own kernel is not through with it yet
            assert "in use" in str(error) or "assign" in str(error), error
            sock.close()
            port = None
            continue
        client = bed.stranger(f"again{turn}", sock=sock)
        client.connect()
        client.ping()
        client.close()


@pytest.mark.every_time("monitor-workers")
def test_connections_that_were_not_adopted_live_on_and_adopted_ones_are_reset(own):
    """kill -9 and a new start. Nobody says anything meanwhile."""
    with Echo(own, hosts.LISTEN), client_socket(own, socket.SOCK_STREAM, hosts.LISTEN) as other:
        other.connect((hosts.LISTEN, ECHO_PORT))
        assert exchange(other, b"before") == b"before"
        clients = [own.client(f"c{number}") for number in range(20)]
        own.tool("stop", "daemon", "--signal", "KILL")
        own.tool("start", "daemon")
        started = time.monotonic()
        for client in clients:
            client.wait_closed(own.seconds(5))
        assert time.monotonic() - started < own.seconds(5)
        # Each side is asked for itself, and again where the question or the answer got lost.
        assert eventually(lambda: not own.run("ss", "-tnH", "state", "established", "sport", "=",
                                              f":{own.port}", host="broker").stdout.split(),
                          own.seconds(5))
        assert exchange(other, b"after") == b"after"
        # The new one captures again.
        with own.watch() as watch:
            publisher, subscriber = own.client("p"), own.client("s")
            subscriber.subscribe("again")
            publisher.publish("again", b"x", 1)
            assert subscriber.payloads(1) == [b"x"]
            assert watch.captured() == 1


@pytest.mark.parametrize("seconds", [pytest.param(0.3, marks=pytest.mark.full), 2])
def test_a_stalled_daemon_loses_nothing(own, seconds):
    result = {}
    load = threading.Thread(target=lambda: result.update(bench=own.bench(
        "-P", 2, "-S", 20, "-t", "one-to-many", "-q", 1, "-r", 200, "-n", 1600, "--quiet", timeout=200)))
    load.start()
    for _ in range(3):
        time.sleep(1)
        os.kill(own.pid("daemon"), signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(own.pid("daemon"), signal.SIGCONT)
    load.join(200)
    wrong = {key: result["bench"][key] for key in ("lost", "duplicated", "reordered", "corrupted",
                                                   "unexpected", "connections_lost", "refused")}
    assert not any(wrong.values()), wrong
    assert result["bench"]["delivered"] == result["bench"]["expected"] > 0


def test_an_orderly_stop_ends_what_was_adopted(own):
    client = own.client("idle")
    own.tool("stop", "daemon")
    client.wait_closed(own.seconds(5))
    own.tool("start", "daemon")
    own.client("after").leave()


def test_messages_stay_whole_when_mqtt_is_one_octet_a_segment(bed):
    publisher, subscriber = bed.client("octets-p"), bed.client("octets-s")
    subscriber.subscribe("octets")
    publisher.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for octet in mqtt.publish("octets", b"0123456789"):
        publisher.sock.sendall(bytes([octet]))
        time.sleep(0.002)
    assert subscriber.payloads(1) == [b"0123456789"]
    publisher.leave()
    subscriber.leave()
