# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A bump in the wire edits MQTT connections, and all else that the same hosts say crosses as it is:
files by HTTP and ssh, pings of many sizes, IPv6, VLANs.

How fast it crosses is measured by tools/bench-forward. Datagrams and fragments: test_monitor.py.
"""

import hashlib
import os
import socket
import struct
import threading

import pytest

import mqttraw as mqtt
import traffic
from bed import hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.monitor_only]

FAMILIES = pytest.mark.parametrize("address", [hosts.LISTEN, hosts.LISTEN6], ids=["v4", "v6"])
FILE = "file"
ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA, TP_STATUS_VLAN_VALID = 3, 263, 8, 16  # <linux/if_packet.h>


class Editing(threading.Thread):
    """Messages are taken out and put in, one after the other, until the block ends."""

    def __init__(self, bed):
        super().__init__(daemon=True)
        self.bed, self.count, self.failure = bed, 0, None
        self.over = threading.Event()
        self.publisher, self.subscriber = bed.client("edit-p"), bed.client("edit-s")
        self.subscriber.subscribe("edit/#", options=1)

    def run(self):
        try:
            while self.count == 0 or not self.over.wait(0.001):
                text = b"%d" % self.count
                self.publisher.publish("edit/this", text, 1, timeout=self.bed.seconds(20))
                assert self.subscriber.payloads(1, self.bed.seconds(20)) == [text]
                self.count += 1
        except (AssertionError, OSError, mqtt.Closed, mqtt.Timeout) as error:
            self.failure = error

    def __enter__(self):
        self.captured = self.bed.counters()["publish_captured_total"]["1"]
        self.start()
        return self

    def __exit__(self, kind, *_):
        self.over.set()
        self.join(self.bed.seconds(60))
        captured = self.bed.counters()["publish_captured_total"]["1"] - self.captured
        self.publisher.close()
        self.subscriber.close()
        if not kind:
            assert not self.failure, self.failure
            assert captured >= self.count > 0


@pytest.fixture
def edited(bed):
    """The testbed, MQTT being edited in it meanwhile."""
    with Editing(bed):
        yield bed


@pytest.fixture
def servers(edited, tmp_path):
    (tmp_path / FILE).write_bytes(os.urandom(300_000 if edited.is_impaired else 5_000_000))
    with traffic.Servers(lambda host, *command: edited.popen(*command, host=host), tmp_path) as all_:
        yield all_


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@FAMILIES
def test_files_cross_unchanged(edited, servers, address):
    """Down by HTTP, up by ssh."""
    original, down, up = (servers.directory / name for name in (FILE, "down", "up"))
    done = edited.run("curl", "--silent", "--show-error", "--fail", "--output", down,
                      traffic.url(address, FILE), timeout=60)
    assert done.returncode == 0, done.stderr
    assert digest(down) == digest(original)
    done = edited.run(*traffic.scp(servers.directory, address, original, up), timeout=60)
    assert done.returncode == 0, done.stderr
    assert digest(up) == digest(original)


@FAMILIES
def test_pings_of_many_sizes_are_answered(edited, address, request):
    """The answer is the question, octet for octet: ping compares them."""
    sizes = [0, 1, 56, 500, 1400, 1452]
    if hosts.is_ipv6(address) or request.config.getoption("--io") != "af_packet":
        sizes += [3000, 20000]  # in fragments; of IPv4, DPDK's af_packet has the kernel put them together
    count = 10 if edited.is_impaired else 2
    for size in sizes:
        done = edited.run("ping", "-n", "-i", "0.05", "-c", count, "-W", 2, "-s", size, "-p", "a5f00d",
                          address)
        assert done.returncode == 0 and "wrong data" not in done.stdout, (size, done.stdout)
        if not edited.is_impaired:
            assert f"{count} received, 0% packet loss" in done.stdout, done.stdout


def packet_socket(bed, host):
    """Sees and says whole frames of that host's; the kernel tells tags apart from the rest."""
    sock = hosts.open_socket(bed.name, host, socket.AF_PACKET, socket.SOCK_RAW,
                             socket.htons(ETH_P_ALL))
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.bind(("eth0", ETH_P_ALL))
    sock.settimeout(0.5)
    return sock


def outer_tag(ancillary):
    """(type, tag) of the outermost tag; None: there was none."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tag, type_ = struct.unpack("IIIHHHH", data[:20])
            return (type_, tag) if status & TP_STATUS_VLAN_VALID else None
    return None


def crosses(sender, taker, frame):
    """Comes that frame, its first tag told apart? What else comes is others'."""
    head, tag, rest = frame[:12], struct.unpack(">HH", frame[12:16]), frame[16:]
    sender.send(frame)
    try:
        while True:
            got, ancillary, _, _ = taker.recvmsg(65536, 256)
            if got == head + rest and outer_tag(ancillary) == tag:
                return True
    except socket.timeout:
        return False


@pytest.mark.parametrize("tags", [[(0x8100, 0x6007)], [(0x8100, 7), (0x8100, 0xa064)],
                                  [(0x88a8, 7), (0x8100, 100)]], ids=["one", "two", "service"])
def test_tags_are_kept(edited, tags, request):
    """VLAN, priority, and every octet behind them."""
    if tags[0][0] != 0x8100 and request.config.getoption("--io") == "af_packet":
        pytest.skip("DPDK's af_packet does not tell which type a tag had")
    with packet_socket(edited, "clients") as sender, packet_socket(edited, "broker") as taker:
        ends = [sock.getsockname()[4] for sock in (taker, sender)]
        for size in (46, 1000, 1492):
            frame = b"".join([*ends, *(struct.pack(">HH", *tag) for tag in tags), b"\x88\xb5",
                              os.urandom(size)])
            assert any(crosses(sender, taker, frame) for _ in range(edited.patience)), size


@pytest.mark.full
@FAMILIES
def test_iperf3_sees_nothing_wrong(edited, servers, address):
    """TCP both ways at once, and datagrams at a rate that no good wire loses any of."""
    done = edited.run(*traffic.iperf(address, 1, "--bidir"))
    assert done.returncode == 0, done.stdout
    done = edited.run(*traffic.iperf(address, 1, "--udp", "--bitrate", "5M", "--length", 1200))
    assert done.returncode == 0, done.stdout
    if not edited.is_impaired:
        assert traffic.udp_lost(done.stdout) == 0, done.stdout
