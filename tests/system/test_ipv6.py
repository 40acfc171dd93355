# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""IPv6 on both legs, and on one of them: the same service, and a host that behaves on its wires."""

import json
import os
import re
import socket
import struct

import pytest

from bed import eventually, hosts

pytestmark = pytest.mark.endpoint

HERE = os.path.dirname(os.path.abspath(__file__))
# Which legs are IPv6: the options of `up` that make them so.
LEGS = {
    "both": ("--ipv6",),
    "clients": ("--ipv6", "--config", os.path.join(HERE, "ipv6-clients.yaml")),
    "broker": ("--config", os.path.join(HERE, "ipv6-broker.yaml")),
}


def up_options(_mode):
    return LEGS["both"]


@pytest.fixture
def own(open_bed, mode):
    """A testbed of the test's own."""
    beds = []

    def up(*options):
        beds.append(open_bed(mode, *options))
        return beds[-1]

    yield up
    for bed in beds:
        bed.down()


@pytest.mark.core
@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_of_every_size_arrive(bed, version, qos):
    topic = f"six/{version}/{qos}"
    subscriber = bed.client("s", version=version)
    subscriber.subscribe(topic, options=qos)
    publisher = bed.client("p", version=version)
    sizes = [0, 1, 1000, 1440, 1441, 5000, 100000]
    for size in sizes:
        publisher.publish(topic, b"x" * size, qos)
    assert [len(found) for found in subscriber.payloads(len(sizes))] == sizes
    subscriber.leave()
    publisher.leave()


@pytest.mark.stack_only
def test_messages_are_captured(bed):
    with bed.watch() as watch:
        subscriber = bed.client("s")
        subscriber.subscribe("six/captured", options=1)
        publisher = bed.client("p")
        for number in range(100):
            publisher.publish("six/captured", b"%d" % number, 1)
        assert subscriber.payloads(100) == [b"%d" % number for number in range(100)]
        assert watch.captured() == 100
        watch.broker_received((0, 0))
        publisher.leave()
        subscriber.leave()


@pytest.mark.parametrize("qos", [0, 1])
def test_a_load_arrives_whole(bed, qos):
    result = bed.bench("--publishers", 2, "--subscribers", 50, "--duration", 3, "--closed",
                       "--warmup", 0, "--nagle", "--quiet", "--qos", qos)
    wrong = {key: result[key] for key in ("lost", "duplicated", "reordered", "corrupted",
                                          "unexpected", "connections_lost", "refused")}
    assert not any(wrong.values()), wrong
    assert result["delivered"] == result["expected"] > 0


@pytest.mark.stack_only
@pytest.mark.in_modes("stack", "workers", "impaired")  # where there are two
@pytest.mark.parametrize("legs", ["clients", "broker"])
def test_one_leg_may_be_ipv4(own, legs):
    bed = own(*LEGS[legs])
    with bed.watch() as watch:
        subscriber = bed.client("s", version=5)
        subscriber.subscribe("six/mixed", options=1)
        publisher = bed.client("p")
        for number in range(20):
            publisher.publish("six/mixed", b"%d" % number, 1)
        assert subscriber.payloads(20) == [b"%d" % number for number in range(20)]
        assert watch.captured() == 20
        sources = bed.run("ss", "-Htn", "sport", "=", f":{bed.port}", host="broker").stdout
        assert ("[2001:db8:19::1]" in sources) == (legs == "broker"), sources
        publisher.leave()
        subscriber.leave()


# On the wires


def is_answered(bed, address, size):
    """An echo request of that many bytes, sent from the clients' host; over bad wires, several."""
    with hosts.open_socket(bed.name, "clients", socket.AF_INET6, socket.SOCK_RAW,
                           socket.IPPROTO_ICMPV6) as sock:
        payload = bytes(number * 7 % 256 for number in range(size))
        request = struct.pack(">BBHHH", 128, 0, 0, 4660, size % 65536) + payload
        link = json.loads(bed.run("ip", "-j", "link", "show", "eth0").stdout)[0]["ifindex"]
        target = (address, 0, 0, link if address.startswith("fe80:") else 0)
        return any(is_echoed(sock, request, target) for _ in range(bed.patience))


def is_echoed(sock, request, target):
    sock.settimeout(3)
    sock.sendto(request, target)
    try:
        while True:
            reply = sock.recv(65536)
            if reply[:2] == b"\x81\x00" and reply[4:] == request[4:]:
                return True
    except TimeoutError:
        return False


@pytest.mark.stack_only
@pytest.mark.parametrize("size", [0, 56, 1452, 1453, 6000])
def test_echoes_of_every_size_are_answered(bed, size):
    assert is_answered(bed, bed.host, size)


@pytest.mark.stack_only
def test_a_host_that_forgets_us_finds_us_again(bed):
    client = bed.client("c", keep_alive=0)
    bed.run("ip", "-6", "neigh", "flush", "dev", "eth0")
    client.ping()
    found = bed.run("ip", "-6", "neigh", "show", bed.host).stdout
    assert "lladdr" in found and "FAILED" not in found
    # The link-local address made from the port's MAC is there, too.
    octets = [int(part, 16) for part in re.search(r"lladdr (\S+)", found)[1].split(":")]
    octets[0] ^= 2
    suffix = bytes(octets[:3] + [0xff, 0xfe] + octets[3:])
    assert is_answered(bed, socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + bytes(6) + suffix), 8)
    client.leave()


@pytest.mark.stack_only
@pytest.mark.good_wires("who looks for a second owner asks once")
def test_a_second_owner_of_our_address_is_told_or_logged(own):
    bed = own("--ipv6", "--timeout", 15)
    # Another host's probe (DAD) for our address is answered: it stays ours.
    bed.run("ip", "address", "add", f"{bed.host}/64", "dev", "eth0")
    assert eventually(lambda: "dadfailed" in bed.run("ip", "-6", "address").stdout)
    assert bed.counters()["nd_conflicts_total"] == 0
    bed.run("ip", "address", "delete", f"{bed.host}/64", "dev", "eth0")
    bed.client("still-there").leave()
    # A host that has it before our start keeps it, and the log says who that is.
    bed.tool("stop", "daemon")
    bed.run("ip", "address", "add", f"{bed.host}/64", "dev", "eth0", "nodad")
    bed.tool("start", "daemon", check=False, timeout=90)
    assert eventually(lambda: f"{bed.host} is also claimed by" in bed.log("daemon"))


@pytest.mark.stack_only
def test_nothing_was_dropped_that_should_not_be(bed):
    dropped = bed.counters()["packets_dropped_total"]
    for reason in ("ip_header", "ip_length", "tcp_checksum", "icmp_checksum", "nd_malformed",
                   "nd_conflict", "ipv6_extension", "ipv6_option", "too_big", "no_route"):
        assert dropped[reason] == 0, reason
