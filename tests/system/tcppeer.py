# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The engine (tests/peer) and a Linux kernel at the two ends of a wire.

    kernel eth0 198.18.0.2, 2001:db8::2 ──────── eth0 peer 198.18.0.1, 2001:db8::1

Bad wires are the peer's (--impair): this kernel has no netem. Both ends know the same stream of
bytes (tests/peer/pattern.c) and compare what arrives with it.
"""

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time

from bed import BUILD, hosts

PROGRAM = os.path.join(BUILD, "tests", "peer", "tcp-peer")
KERNEL = {4: "198.18.0.2", 6: "2001:db8::2"}
PEER = {4: "198.18.0.1", 6: "2001:db8::1"}
PREFIX = {4: 16, 6: 64}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SINK, SOURCE, ECHO = 9001, 9002, 9003  # where the peer listens
PERIOD = 65521

_numbers = itertools.count()


def _block():
    x, block = 1, bytearray()
    for _ in range(PERIOD):
        x = (x * 1103515245 + 12345) & 0xffffffff
        block.append(x >> 16 & 0xff)
    return bytes(block)


_BLOCK = _block()


def pattern(length):
    """The first bytes of the stream."""
    rounds = length // PERIOD + 1
    return b"".join(_BLOCK.translate(bytes(value ^ (number & 0xff) for value in range(256)))
                    for number in range(rounds))[:length]


class KernelInfo:
    """What TCP_INFO says: the retransmission timer at its longest, and what was sent again."""

    def __init__(self, sock):
        self.sock = sock
        self.rto_max = 0.0
        self.total_retrans = 0
        self._at = 0

    def sample(self):
        now = time.monotonic()
        if now - self._at < 0.002:
            return
        self._at = now
        raw = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        self.rto_max = max(self.rto_max, struct.unpack_from("I", raw, 8)[0] / 1e6)
        self.total_retrans = struct.unpack_from("I", raw, 100)[0]

    @property
    def options(self):
        """Which the kernel agreed on: the set of "timestamps", "sack", "wscale"."""
        raw = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        names = ("timestamps", "sack", "wscale")
        return {name for bit, name in enumerate(names) if raw[5] & 1 << bit}


class Wire:
    """Two namespaces and a veth pair; the kernel's TCP as asked for."""

    def __init__(self, mtu=1500, sack=True, timestamps=True, **sysctls):
        self.name = f"w{os.getpid()}-{next(_numbers)}"
        self.mtu = mtu
        self.sysctls = {"net.ipv4.tcp_sack": int(sack), "net.ipv4.tcp_dsack": int(sack),
                        "net.ipv4.tcp_timestamps": int(timestamps), **sysctls}
        self.peers = []

    def netns(self, role):
        return hosts.netns(self.name, role)

    def ip(self, role, *arguments):
        hosts.run("ip", "-n", self.netns(role), *arguments)

    def inside(self, role, *command):
        hosts.run("ip", "netns", "exec", self.netns(role), *command)

    def __enter__(self):
        try:
            self._create()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _create(self):
        for role in ("kernel", "peer"):
            hosts.run("ip", "netns", "add", self.netns(role))
        # Only the engine speaks at the peer's end.
        self.inside("peer", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                    "net.ipv6.conf.default.disable_ipv6=1")
        self.inside("kernel", "sysctl", "-qw",
                    *[f"{key}={value}" for key, value in self.sysctls.items()])
        self.ip("kernel", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0",
                "netns", self.netns("peer"))
        for role in ("kernel", "peer"):
            self.inside(role, "ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off",
                        "gro", "off")
            self.ip(role, "link", "set", "eth0", "mtu", str(self.mtu))
        self.ip("peer", "link", "set", "eth0", "arp", "off")
        for role in ("kernel", "peer"):
            self.ip(role, "link", "set", "eth0", "up")
        self.ip("kernel", "link", "set", "lo", "up")
        self.ip("kernel", "address", "add", f"{KERNEL[4]}/{PREFIX[4]}", "dev", "eth0")
        if self.mtu >= 1280:
            self.ip("kernel", "address", "add", f"{KERNEL[6]}/{PREFIX[6]}", "dev", "eth0",
                    "nodad")
        # A SYN that waits a second for a lost answer to ARP makes the kernel's first round trip,
        # and with it its timer, a matter of seconds.
        link = json.loads(hosts.run("ip", "-n", self.netns("peer"), "-j", "link", "show", "eth0"))
        self.peer_mac = link[0]["address"]
        for family in (4, 6) if self.mtu >= 1280 else (4,):
            self.ip("kernel", "neighbour", "replace", PEER[family], "lladdr", self.peer_mac,
                    "dev", "eth0", "nud", "permanent")

    def __exit__(self, *_):
        for peer in self.peers:
            peer.kill()
        for role in ("kernel", "peer"):
            with contextlib.suppress(hosts.HostError):
                hosts.run("ip", "netns", "delete", self.netns(role))

    def socket(self, family=4, kind=socket.SOCK_STREAM, protocol=0, role="kernel"):
        return hosts.open_socket(self.name, role, FAMILY.get(family, family), kind, protocol)

    def connect(self, port, family=4, timeout=30):
        sock = self.socket(family)
        sock.settimeout(timeout)
        sock.connect((PEER[family], port))
        return sock

    def peer(self, *arguments, family=4, **options):
        return Peer(self, family, *arguments, **options)


class Peer:
    """A running tcp-peer."""

    def __init__(self, wire, family, *arguments, bytes_=1 << 20, impair=None, connections=0):
        command = ["ip", "netns", "exec", wire.netns("peer"), PROGRAM, "--interface", "eth0",
                   "--address", f"{PEER[family]}/{PREFIX[family]}", "--bytes", str(bytes_),
                   "--listen", f"sink:{SINK}", "--listen", f"source:{SOURCE}",
                   "--listen", f"echo:{ECHO}", "--connections", str(connections)]
        if wire.mtu > 2000:
            command += ["--device", "framesz=9216,blocksz=36864,framecnt=512"]
        else:
            command += ["--device", "framecnt=4096"]
        if impair:
            command += ["--impair", impair]
        self.process = subprocess.Popen([*command, *map(str, arguments)], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wire.peers.append(self)
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise AssertionError(f"tcp-peer: {line}{self.process.communicate()[1]}")

    def report(self, wait=None):
        """Its JSON: at once, or when it ends by itself within `wait` seconds."""
        if wait is None:
            self.process.send_signal(signal.SIGTERM)
        out, error = self.process.communicate(timeout=wait or 20)
        assert self.process.returncode == 0, f"tcp-peer: {self.process.returncode}\n{error}"
        return json.loads(out)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


# What the kernel's end does. Each returns (longest time without progress, KernelInfo).

def upload(sock, data, timeout=90):
    """Sends all of it, shuts down, waits for the peer's end."""
    info, sent, deadline = KernelInfo(sock), 0, time.monotonic() + timeout
    view = memoryview(data)
    sock.setblocking(False)
    while sent < len(data):
        assert time.monotonic() < deadline, f"{sent} of {len(data)} bytes sent in {timeout} s"
        info.sample()
        if select.select([], [sock], [], 0.005)[1]:
            sent += sock.send(view[sent:sent + 65536])
    sock.shutdown(socket.SHUT_WR)
    while not select.select([sock], [], [], 0.005)[0]:
        assert time.monotonic() < deadline, f"no end within {timeout} s"
        info.sample()
    assert sock.recv(1) == b""
    return info


def download(sock, expected, timeout=90):
    """Reads until the peer's end and compares. Returns the longest time without a byte."""
    at, stall, deadline = 0, 0.0, time.monotonic() + timeout
    progress = time.monotonic()
    view = memoryview(expected)
    sock.settimeout(timeout)
    while True:
        chunk = sock.recv(1 << 18)
        now = time.monotonic()
        stall, progress = max(stall, now - progress), now
        if not chunk:
            break
        assert chunk == bytes(view[at:at + len(chunk)]), f"wrong bytes after {at}"
        at += len(chunk)
        assert now < deadline, f"{at} of {len(expected)} bytes in {timeout} s"
    assert at == len(expected), f"{at} of {len(expected)} bytes"
    return stall
