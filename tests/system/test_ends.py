# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A bump in the wire between ends and networks that are not alike: options of TCP that one has and the
other has not, and MTUs that differ from side to side.
"""

import contextlib
import os
import re
import socket

import pytest

import mqttraw as mqtt
from bed import hosts
from others import Echo, ECHO_PORT, client_socket, exchange

pytestmark = [pytest.mark.stack_only, pytest.mark.monitor_only]

# What a kernel offers and accepts of TCP's options.
OPTIONS = ("timestamps", "sack", "window_scaling")
HOSTS = ("clients", "broker")


@contextlib.contextmanager
def without(bed, options, on):
    """These hosts know nothing of these options until the block ends: new connections have them not."""
    def set_(value):
        for host in on:
            done = bed.run("sysctl", "-qw", *(f"net.ipv4.tcp_{name}={value}" for name in options),
                           host=host)
            assert done.returncode == 0, done.stderr

    set_(0)
    try:
        yield
    finally:
        set_(1)


def converse(bed, topic):
    """Nagle's algorithm is on, ACKs are delayed; small messages and large, each way, edited and passed."""
    result = bed.bench("-P", 5, "-S", 10, "-t", "all-to-all", "-n", 20, "-q", 1, "--nagle", "--closed",
                       "--warmup", 0, "--quiet")
    wrong = {key: result[key] for key in ("lost", "duplicated", "reordered", "corrupted", "unexpected",
                                          "connections_lost", "refused")}
    assert not any(wrong.values()), wrong
    assert result["delivered"] == result["expected"] > 0
    with bed.client(f"{topic}-p") as publisher, bed.client(f"{topic}-s") as subscriber:
        subscriber.subscribe(topic)
        for size in (0, 10, 1500, 9000, 70000):
            for retain in (False, True):  # captured; through the broker
                payload = os.urandom(size)
                publisher.send(mqtt.publish(topic, payload, retain=retain))
                assert subscriber.expect(mqtt.PUBLISH).payload == payload
        publisher.send(mqtt.publish(topic, b"", retain=True))
        assert subscriber.expect(mqtt.PUBLISH).payload == b""


def told_of(bed, host):
    """What that kernel says of its connections with clients and broker."""
    return bed.run("ss", "-tinOH", "state", "established", "( dport = :1883 or sport = :1883 )",
                   host=host).stdout


@pytest.mark.parametrize("on", [
    HOSTS, pytest.param(HOSTS[:1], marks=pytest.mark.full),
    pytest.param(HOSTS[1:], marks=pytest.mark.full)], ids=["both", "client", "broker"])
@pytest.mark.parametrize("options", [
    OPTIONS[:2], OPTIONS, pytest.param(OPTIONS[:1], marks=pytest.mark.full),
    pytest.param(OPTIONS[1:2], marks=pytest.mark.full)], ids="+".join)
def test_ends_without_options(bed, options, on):
    """What is not offered is not used, and neither end misses anything."""
    captured = sum(bed.counters()["publish_captured_total"].values())
    with without(bed, options, on), bed.client("witness"):
        converse(bed, f"without/{len(on)}{on[0]}{len(options)}")
        for host in HOSTS:
            words = told_of(bed, host).split()
            assert words
            assert "timestamps" not in options or "ts" not in words
            assert "sack" not in options or "sack" not in words
            assert "window_scaling" not in options or not any(w.startswith("wscale") for w in words)
    assert sum(bed.counters()["publish_captured_total"].values()) > captured


SIZES = [pytest.param(*sizes, marks=() if sizes == (9000, 1500) else pytest.mark.full)
         for sizes in ((9000, 1500), (1500, 9000), (9000, 9000), (576, 1500), (1500, 576), (576, 9000),
                       (9000, 576))]


def largest_segment(bed):
    """Of those that a client has got a large message in, as its kernel has seen them."""
    with bed.client("large") as client:
        client.subscribe("large")
        client.publish("large", bytes(60000), kept=(kept := []))
        assert kept or client.payloads(1) == [bytes(60000)]
        return max(int(size) for size in re.findall(r"rcvmss:(\d+)", told_of(bed, "clients")))


@pytest.mark.parametrize("clients,broker", SIZES)
def test_networks_of_different_mtu(open_bed, mode, request, clients, broker):
    """Each half cuts its stream as its side has it; what passes is as large as both ends agreed."""
    if max(clients, broker) > 1500 and request.config.getoption("--io") == "af_xdp":
        pytest.skip("af_xdp has no frames above a page")
    bed = open_bed(mode, "--mtu", f"{clients},{broker}")
    try:
        converse(bed, "mtu")
        assert clients - 100 < largest_segment(bed) <= clients - 40
        data = os.urandom(300_000 if bed.is_impaired else 3_000_000)
        with Echo(bed, hosts.LISTEN), client_socket(bed, socket.SOCK_STREAM, hosts.LISTEN) as sock:
            sock.connect((hosts.LISTEN, ECHO_PORT))
            assert exchange(sock, data) == data
        counted = bed.counters()
        assert counted["packets_dropped_total"]["bridge_too_big"] == 0
        assert counted["flows_passed_total"]["full"] == 0
    finally:
        bed.down()
