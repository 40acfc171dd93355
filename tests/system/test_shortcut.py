# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""ports[].filter: auto in monitor mode: what is not MQTT crosses in the kernel.

    namespace clients         namespace offramp (af_xdp)         namespace broker
    ┌─────────────┐           ┌────────────────────────┐         ┌────────────┐
    │ eth0 ───────┼───────────┼─ clients  XDP  broker ─┼─────────┼─ eth0      │
    └─────────────┘           │     └── offrampd ──┘   │         └────────────┘
                              └────────────────────────┘

Redirected frames reach a veth whose other end has NAPI: the hosts' ends have GRO on.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from bed import ToolBed, eventually, hosts
from others import ECHO_PORT, Echo, broker_socket, client_socket, exchange

FILTER = """
ports:
  - {name: clients, filter: auto}
  - {name: broker, filter: auto}
"""
STATIONS = """
stations:
  - {mac: '02:00:00:00:00:0a', port: clients}
  - {mac: '02:00:00:00:00:0b', port: broker}
"""
A, B = bytes.fromhex("02000000000a"), bytes.fromhex("02000000000b")
MARK = b"offramp-test"
TEST_TYPE = b"\x88\xb5"  # IEEE 802: for experiments
ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA = 263, 8


def wake(bed, host, on=True):
    subprocess.run(["ip", "netns", "exec", hosts.netns(bed.name, host), "ethtool", "-K", "eth0",
                    "gro", "on" if on else "off"], check=True, timeout=20)


def crosses(bed):
    """Does the kernel redirect both ways?"""
    return bed.log("daemon").count("in the kernel (XDP") >= 2


@contextlib.contextmanager
def shortcut(open_bed, folder, more="", redirects=True):
    overlay = folder / "overlay.yaml"
    overlay.write_text(FILTER + more)
    bed = open_bed("monitor", "--io", "af_xdp", "--config", str(overlay))
    try:
        for host in ("clients", "broker") if redirects else ():
            wake(bed, host)
        assert not redirects or eventually(lambda: crosses(bed), 10), bed.log("daemon")
        yield bed
    finally:
        bed.down()


@pytest.fixture(scope="module")
def shared(open_bed, tmp_path_factory):
    with shortcut(open_bed, tmp_path_factory.mktemp("shortcut")) as bed:
        yield bed


@pytest.fixture
def bed(shared):
    """Broker and daemon outlive each test."""
    yield shared
    assert shared.is_alive("broker") and shared.is_alive("daemon"), shared.log("daemon")


class Count:
    """What has gone which way since. The hosts' kernels speak too, of neighbours: that crosses."""

    def __init__(self, bed):
        self.bed, self.before = bed, bed.counters()

    def since(self, family, label):
        return self.bed.counters()[family][label] - self.before[family][label]

    def crossed(self, port="clients"):
        return self.since("shortcut_packets_total", port)

    def came(self, port="clients"):
        return self.since("port_rx_packets_total", port)

    def dropped(self, reason):
        return self.since("packets_dropped_total", reason)


class Wire:
    """Frames as they are, at the interface of one host."""

    def __init__(self, bed, host):
        self.sock = hosts.open_socket(bed.name, host, socket.AF_PACKET, socket.SOCK_RAW,
                                      socket.htons(ETH_P_ALL))
        self.sock.bind(("eth0", ETH_P_ALL))
        self.sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.sock.settimeout(0.05)
        self.mac = self.sock.getsockname()[4]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, frame):
        self.sock.send(frame.ljust(60, b"\0"))

    def came(self, wanted=1):
        """(frame, its outermost tag's TCI or None) of those of this test, in order: so many, or, if
        none are wanted, what comes within some time."""
        seen, end = [], time.monotonic() + (5 if wanted else 0.3)
        while time.monotonic() < end and not (seen and len(seen) == wanted):
            with contextlib.suppress(TimeoutError):
                frame, extra, _, address = self.sock.recvmsg(65536, 64)
                if MARK in frame and address[2] != socket.PACKET_OUTGOING:
                    seen.append((frame, tag_of(extra)))
        return seen


def tag_of(extra):
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data[:20])
            return tci if status & 0x10 else None
    return None


def frame(source, destination, content=b"", tags=b""):
    return destination + source + tags + TEST_TYPE + MARK + content


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def ipv4(source, destination, protocol, body, number=0, offset=0, more=False):
    """An IPv4 packet, or a fragment of one; `offset` in octets."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), number,
                       (0x2000 if more else 0) | offset // 8, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + body


def tcp(source_port, destination_port, content=MARK):
    return struct.pack(">HHIIBBHHH", source_port, destination_port, 1, 1, 0x50, 0x10, 100, 0,
                       0) + content


def ip_frame(source, destination, packet, tags=b""):
    return destination + source + tags + b"\x08\x00" + packet


# --- other traffic -------------------------------------------------------------------------------

@pytest.mark.parametrize("address", [hosts.LISTEN, hosts.LISTEN6])
def test_other_connections_cross_in_the_kernel_while_messages_are_captured(bed, address):
    data = os.urandom(2_000_000)
    count = Count(bed)
    with Echo(bed, address), client_socket(bed, socket.SOCK_STREAM, address) as sock, \
            bed.watch() as watch:
        sock.connect((address, ECHO_PORT))
        publisher, subscriber = bed.client("p"), bed.client("s")
        subscriber.subscribe("beside")
        for turn in range(10):
            publisher.publish("beside", b"%d" % turn, 1)
            assert exchange(sock, data[turn * 200_000:][:200_000]) == data[turn * 200_000:][:200_000]
        assert subscriber.payloads(10) == [b"%d" % turn for turn in range(10)]
        assert watch.captured() == 10
        publisher.leave()
        subscriber.leave()
    assert count.crossed("clients") > 1000 and count.crossed("broker") > 1000
    assert count.came("clients") < 200 and count.came("broker") < 200
    assert bed.counters()["map_complete"] == 1


@pytest.mark.parametrize("address", [hosts.LISTEN, hosts.LISTEN6])
def test_datagrams_and_pings_cross_in_the_kernel(bed, address):
    count = Count(bed)
    with broker_socket(bed, socket.SOCK_DGRAM, address, ECHO_PORT) as server, \
            client_socket(bed, socket.SOCK_DGRAM, address) as sock:
        server.settimeout(5)
        for size in (1, 1400, 9000):  # the last one in fragments
            sock.sendto(bytes(size), (address, ECHO_PORT))
            assert len(server.recv(65536)) == size
    bed.run("ping", "-c", "2", "-i", "0.2", "-W", "2", address)
    assert count.crossed() >= 9 + 2
    assert count.came() == 0


def test_it_crosses_as_it_came(bed):
    """Tags, also two of them; what is no IP; what is for many."""
    tagged = b"\x81\x00" + struct.pack(">H", 0x6005)
    outer = b"\x88\xa8" + struct.pack(">H", 7)
    many = bytes.fromhex("0180c200000e")  # LLDP's
    count = Count(bed)
    with Wire(bed, "clients") as here, Wire(bed, "broker") as there:
        for destination, tags, tci, rest in ((there.mac, b"", None, b""),
                                             (there.mac, tagged, 0x6005, b""),
                                             (there.mac, outer + tagged, 7, tagged),
                                             (many, b"", None, b"")):
            sent = frame(here.mac, destination, bytes(1400), tags)
            here.send(sent)
            assert there.came() == [(destination + here.mac + rest + TEST_TYPE + MARK + bytes(1400),
                                     tci)]
    assert count.crossed() >= 4 and count.came() == 0


# --- what has to be seen -------------------------------------------------------------------------

def test_mqtt_in_a_vlan_comes_to_offramp(bed):
    """IPv4 and IPv6 behind a tag; other ports behind the same tag cross."""
    tag = b"\x81\x00\x00\x05"
    there = socket.inet_pton(socket.AF_INET6, hosts.CLIENT6)
    six = struct.pack(">IHBB", 0x60000000, 20 + len(MARK), 6, 64) + there * 2
    count = Count(bed)
    with Wire(bed, "clients") as wire:
        for port in (bed.port, bed.port + 1):
            wire.send(ip_frame(A, B, ipv4(hosts.CLIENT, hosts.LISTEN, 6, tcp(40000, port)), tag))
            wire.send(B + A + tag + b"\x86\xdd" + six + tcp(40000, port))
    assert eventually(lambda: count.crossed() >= 3 and count.came() == 1, 3)


@pytest.mark.parametrize("port,ahead,way", [
    (0, "first", "came"), (1, "first", "crossed"), (1, "second", "came")])
def test_fragments_go_one_way(bed, port, ahead, way):
    """Those of a broker's connection to Offramp; others where the first to come says."""
    number = int.from_bytes(os.urandom(2), "big")
    body = tcp(40001, bed.port + port, MARK * 4)
    parts = [ipv4(hosts.CLIENT, hosts.LISTEN, 6, body[:32], number, 0, True),
             ipv4(hosts.CLIENT, hosts.LISTEN, 6, body[32:], number, 32, False)]
    count = Count(bed)
    with Wire(bed, "clients") as here, Wire(bed, "broker") as there:
        for part in parts if ahead == "first" else reversed(parts):
            here.send(ip_frame(here.mac, there.mac, part))
        # All arrive: the connection is not known to Offramp.
        assert len(there.came(2)) == 2
    assert count.came() == (2 if way == "came" else 0)


@pytest.mark.parametrize("quoted,way", [(hosts.LISTEN, "came"), ("198.18.0.77", "crossed")])
def test_icmp_errors_about_a_brokers_connections_come_to_offramp(bed, quoted, way):
    inner = ipv4(quoted, hosts.CLIENT, 6, tcp(bed.port, 40002))[:28]
    body = struct.pack(">BBHI", 3, 4, 0, 1400) + inner + MARK
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    count = Count(bed)
    with Wire(bed, "clients") as here, Wire(bed, "broker") as there:
        here.send(ip_frame(here.mac, there.mac, ipv4("198.18.0.9", hosts.LISTEN, 1, body)))
        assert len(there.came()) == 1
    assert count.came() == (way == "came")


# --- the bridge ----------------------------------------------------------------------------------

def test_stations_are_learned_and_move(bed):
    count = Count(bed)
    with Wire(bed, "clients") as here, Wire(bed, "broker") as there:
        here.send(frame(A, B))  # nobody knows where B is
        assert len(there.came()) == 1
        here.send(frame(B, A))  # it is where A is
        assert there.came(0) == []
        assert count.dropped("bridge_same_port") == 1
        here.send(frame(A, B))
        here.send(frame(A, B, tags=b"\x81\x00\x00\x05"))  # in a VLAN nobody knows it
        assert [tci for _, tci in there.came()] == [5]
        assert count.dropped("bridge_same_port") == 2
        there.send(frame(B, A))  # B has moved
        assert len(here.came()) == 1
        here.send(frame(A, B))
        assert len(there.came()) == 1


@pytest.mark.full
@pytest.mark.parametrize("bridge", ["static", "hub"])
def test_stations_are_not_learned(open_bed, tmp_path, bridge):
    more = f"bridge: {bridge}\n" + (STATIONS if bridge == "static" else "")
    # Nobody else could connect to the broker then: the testbed's own look is by static stations.
    with shortcut(open_bed, tmp_path, more) if bridge == "hub" else static(
            open_bed, tmp_path) as bed:
        count = Count(bed)
        with Wire(bed, "clients") as here, Wire(bed, "broker") as there:
            here.send(frame(B, A))
            assert len(there.came(bridge == "hub")) == (bridge == "hub")
            here.send(frame(A, B))
            assert len(there.came()) == 1
            here.send(frame(A, bytes.fromhex("020000000033")))
            assert len(there.came(bridge == "hub")) == (bridge == "hub")
        assert count.dropped("bridge_same_port") == (bridge == "static")
        assert count.dropped("bridge_unknown") == (bridge == "static")


@contextlib.contextmanager
def static(open_bed, folder):
    """The testbed waits until MQTT crosses: its hosts' addresses are known only when they are there."""
    with shortcut(open_bed, folder) as bed:
        known = "".join(f"  - {{mac: '{mac_of(bed, host)}', port: {host}}}\n"
                        for host in ("clients", "broker"))
        path = os.path.join(ToolBed(bed.name).directory, "offrampd.yaml")
        with open(path, "a", encoding="utf-8") as file:
            file.write("bridge: static\n" + STATIONS.lstrip() + known)
        bed.tool("stop", "daemon")
        bed.tool("start", "daemon")
        assert eventually(lambda: bed.log("daemon").count("in the kernel (XDP") >= 4, 10)
        yield bed


def mac_of(bed, host):
    with Wire(bed, host) as wire:
        return wire.mac.hex(":")


# --- when things go wrong ------------------------------------------------------------------------

def test_others_do_not_notice_a_crash_and_the_next_run_takes_over(open_bed, tmp_path):
    with shortcut(open_bed, tmp_path) as bed, Echo(bed, hosts.LISTEN), \
            client_socket(bed, socket.SOCK_STREAM, hosts.LISTEN) as other:
        other.connect((hosts.LISTEN, ECHO_PORT))
        assert exchange(other, b"before") == b"before"
        client = bed.client("adopted")
        os.kill(bed.pid("daemon"), signal.SIGKILL)
        assert eventually(lambda: not bed.is_alive("daemon"))
        assert exchange(other, b"meanwhile" * 1000) == b"meanwhile" * 1000
        bed.tool("stop", "daemon")
        bed.tool("start", "daemon")
        client.wait_closed(10)
        assert exchange(other, b"after") == b"after"
        assert bed.log("daemon").count("removing the XDP program that an earlier run left") == 2
        with bed.watch() as watch:
            publisher, subscriber = bed.client("p"), bed.client("s")
            subscriber.subscribe("again")
            publisher.publish("again", b"x", 1)
            assert subscriber.payloads(1) == [b"x"]
            assert watch.captured() == 1
            publisher.leave()
            subscriber.leave()
        bed.tool("stop", "daemon")
        assert "offramp_bridge" not in bed.run("ip", "-d", "link", host="offramp").stdout


@pytest.mark.full
def test_where_redirected_frames_are_refused_all_comes_to_offramp(open_bed, tmp_path):
    with shortcut(open_bed, tmp_path, redirects=False) as bed:
        assert bed.log("daemon").count("takes no redirected frames: everything comes") == 2
        count = Count(bed)
        bed.run("ping", "-c", "2", "-i", "0.2", "-W", "2", hosts.LISTEN)
        assert count.crossed() == 0 and count.came() >= 2
        # It may come, and go.
        wake(bed, "broker")
        assert eventually(lambda: "goes to broker in the kernel" in bed.log("daemon"), 10)
        count = Count(bed)
        bed.run("ping", "-c", "2", "-i", "0.2", "-W", "2", hosts.LISTEN)
        assert count.crossed("clients") >= 2 and count.crossed("broker") == 0
        wake(bed, "broker", on=False)
        assert eventually(lambda: bed.log("daemon").count("takes no redirected frames") == 3, 10)
        bed.run("ping", "-c", "2", "-i", "0.2", "-W", "2", hosts.LISTEN)
        # Somebody takes the program away.
        bed.run("ip", "link", "set", "clients", "xdp", "off", host="offramp")
        assert eventually(lambda: "somebody has removed our XDP program" in bed.log("daemon"), 10)
