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
from waits import KERNEL_LATE, LEAST, Clock, Wait

PROGRAM = os.path.join(BUILD, "tests", "peer", "tcp-peer")
KERNEL = {4: "198.18.0.2", 6: "2001:db8::2"}
PEER = {4: "198.18.0.1", 6: "2001:db8::1"}
PREFIX = {4: 16, 6: 64}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
SINK, SOURCE, ECHO = 9001, 9002, 9003  # where the peer listens
PERIOD = 65521
MEGABYTE = 1 << 20
TAP_MAC = "02:00:00:00:00:02"
SO_SNDBUFFORCE = 32  # of <asm-generic/socket.h>

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


class TcpInfo:
    """What getsockopt(TCP_INFO) says."""

    def __init__(self, sock):
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        self.backoff = raw[4]
        names = ("timestamps", "sack", "wscale")
        self.options = {name for bit, name in enumerate(names) if raw[5] & 1 << bit}
        self.rto, _, self.snd_mss = struct.unpack_from("III", raw, 8)
        self.unacked, = struct.unpack_from("I", raw, 24)
        self.srtt, self.rttvar = struct.unpack_from("II", raw, 68)
        self.retransmits, = struct.unpack_from("I", raw, 100)
        self.bytes_acked, = struct.unpack_from("Q", raw, 120)
        self.segments_out, = struct.unpack_from("I", raw, 136)


class KernelWriter(Clock):
    """Watches a kernel's socket write: the silences while something is under way."""

    def __init__(self, sock):
        super().__init__()
        self.sock = sock
        self.waits = []
        self.info = TcpInfo(sock)
        self.timer = ()

    def sample(self, at_once=False):
        before, last = self.seen, self.info
        if time.monotonic() - before < 0.001 and not at_once:
            return
        now = self.look()
        self.info = info = TcpInfo(self.sock)
        if info.unacked and (info.segments_out, info.bytes_acked) == (last.segments_out,
                                                                      last.bytes_acked):
            return
        if self.timer and before - self.begin > LEAST["advance"]:
            self.waits.append(Wait("advance", self.begin, before, *self.timer, late=KERNEL_LATE))
        self.begin = now
        self.timer = (info.rto / 1e6, info.srtt / 1e6, info.rttvar / 1e6, info.backoff)


class KernelReader(Clock):
    """Watches a kernel's socket being read: the times without a byte."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def read(self):
        if self.seen - self.begin > LEAST["bytes"]:
            self.waits.append(Wait("bytes", self.begin, self.seen))
        self.begin = self.seen


class Wire:
    """Two namespaces and a veth pair; the kernel's TCP as asked for."""

    def __init__(self, mtu=1500, sack=True, timestamps=True, family=4, **sysctls):
        self.name = f"w{os.getpid()}-{next(_numbers)}"
        self.mtu = mtu
        self.family = family  # of those who speak, unless they say otherwise
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
        self.kernel_mac, self.peer_mac = map(self.mac, ("kernel", "peer"))
        for family in (4, 6) if self.mtu >= 1280 else (4,):
            self.ip("kernel", "neighbour", "replace", PEER[family], "lladdr", self.peer_mac,
                    "dev", "eth0", "nud", "permanent")

    def device(self):
        """The peer's, as DPDK names it."""
        ring = "framesz=9216,blocksz=36864,framecnt=512" if self.mtu > 2000 else "framecnt=4096"
        return f"net_af_packet0,iface=eth0,{ring}"

    def mac(self, role):
        links = hosts.run("ip", "-n", self.netns(role), "-j", "link", "show", "eth0")
        return json.loads(links)[0]["address"]

    def __exit__(self, *_):
        for peer in self.peers:
            peer.kill()
        for role in ("kernel", "peer"):
            with contextlib.suppress(hosts.HostError):
                hosts.run("ip", "netns", "delete", self.netns(role))

    @property
    def kernel_address(self):
        return KERNEL[self.family]

    @property
    def peer_address(self):
        return PEER[self.family]

    def socket(self, family=None, kind=socket.SOCK_STREAM, protocol=0):
        return hosts.open_socket(self.name, "kernel", family or FAMILY[self.family], kind, protocol)

    def connect(self, port, source=None, timeout=30):
        sock = self.socket()
        if source:
            sock.bind((source, 0))
        sock.settimeout(timeout)
        sock.connect((self.peer_address, port))
        return sock

    def peer(self, *arguments, **options):
        return Peer(self, *arguments, **options)


class TapWire(Wire):
    """The peer's device is a tap, made by it, and the kernel's end is that interface itself.

    It leaves checksums and, where the port's MTU lets it, segmentation to the device.
    """

    def __init__(self, port_mtu, family=4):
        super().__init__(family=family)
        self.port_mtu = port_mtu

    def netns(self, role):
        return super().netns("kernel")

    def _create(self):
        hosts.run("ip", "netns", "add", self.netns("kernel"))
        self.ip("kernel", "link", "set", "lo", "up")

    def device(self):
        return "net_tap0,iface=eth0"

    def peer(self, *arguments, **options):
        peer = super().peer("--mtu", self.port_mtu, *arguments, **options)
        tap_address(self.netns("kernel"), "eth0", *(f"{KERNEL[f]}/{PREFIX[f]}" for f in (4, 6)))
        return peer

    def checksum_errors(self):
        """Of TCP segments, as the kernel's end counts them."""
        lines = hosts.run("ip", "netns", "exec", self.netns("kernel"), "cat", "/proc/net/snmp")
        names, values = (line.split() for line in lines.splitlines() if line.startswith("Tcp:"))
        return int(values[names.index("InCsumErrors")])


def tap_address(netns, interface, *prefixes):
    """Makes a host of the kernel's side of a tap. Its driver gave it the MAC that the port has."""
    hosts.run("ip", "-n", netns, "link", "set", interface, "address", TAP_MAC)
    for prefix in prefixes:
        hosts.run("ip", "-n", netns, "address", "add", prefix, "dev", interface,
                  *(["nodad"] if hosts.is_ipv6(prefix.partition("/")[0]) else []))


class Peer:
    """A running tcp-peer."""

    def __init__(self, wire, *arguments, bytes_=1 << 20, impair=None, connections=0):
        command = ["ip", "netns", "exec", wire.netns("peer"), PROGRAM, "--device", wire.device(),
                   "--address", f"{wire.peer_address}/{PREFIX[wire.family]}",
                   "--bytes", str(bytes_), "--listen", f"sink:{SINK}", "--listen", f"source:{SOURCE}",
                   "--listen", f"echo:{ECHO}", "--connections", str(connections)]
        if impair:
            # As above, at the other end.
            command += ["--impair", impair,
                        "--neighbour", f"{wire.kernel_address}={wire.kernel_mac}"]
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


# What the kernel's end does.

def upload(sock, data, timeout=90):
    """Sends all of it, shuts down, waits for the peer's end. Returns the KernelWriter."""
    writer, sent, deadline = KernelWriter(sock), 0, time.monotonic() + timeout
    view = memoryview(data)
    # All of it goes to the kernel at once: this process may not get the time to refill a small one.
    sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 * len(data))
    sock.setblocking(False)
    while sent < len(data):
        assert time.monotonic() < deadline, f"{sent} of {len(data)} bytes sent in {timeout} s"
        writer.sample()
        if select.select([], [sock], [], 0.002)[1]:
            sent += sock.send(view[sent:sent + MEGABYTE])
    sock.shutdown(socket.SHUT_WR)
    while not select.select([sock], [], [], 0.002)[0]:
        assert time.monotonic() < deadline, f"no end within {timeout} s"
        writer.sample()
    writer.sample(at_once=True)
    assert sock.recv(1) == b""
    return writer


def download(sock, expected, timeout=90):
    """Reads until the peer's end and compares. Returns the KernelReader."""
    reader, at, deadline = KernelReader(), 0, time.monotonic() + timeout
    view = memoryview(expected)
    while True:
        ready = select.select([sock], [], [], 0.002)[0]
        assert reader.look() < deadline, f"{at} of {len(expected)} bytes in {timeout} s"
        if not ready:
            continue
        reader.read()
        chunk = sock.recv(1 << 18)
        if not chunk:
            break
        assert chunk == bytes(view[at:at + len(chunk)]), f"wrong bytes after {at}"
        at += len(chunk)
    assert at == len(expected), f"{at} of {len(expected)} bytes"
    return reader
