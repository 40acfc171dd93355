# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""ports[].filter: Offramp and its host on one interface.

    namespace HOST                                     namespace NET
    ┌──────────────────────────────────────┐           ┌───────────────────────────┐
    │ kernel    10.9.0.1                   │           │ client  10.9.0.9          │
    │           fd09::1            host0 ──┼───────────┼── net0  fd09::9           │
    │ offrampd  10.9.0.2 (af_xdp)          │   veth    │ broker  the same, :1884   │
    │           fd09::2                    │           │                           │
    └──────────────────────────────────────┘           └───────────────────────────┘
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import mqttraw
from bed import BUILD, eventually

LISTEN = {4: "10.9.0.2", 6: "fd09::2"}
KERNEL = {4: "10.9.0.1", 6: "fd09::1"}
NET = {4: "10.9.0.9", 6: "fd09::9"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
PORT, BROKER_PORT, ECHO_PORT = 1883, 1884, 7
CLONE_NEWNET = 0x40000000

CONFIG = """
mode: stack
ports:
  - name: shared
    device: "net_af_xdp0,iface=host0"
    filter: {filter}
    addresses: [10.9.0.2/24, "fd09::2/64", "fe80::2/64"]
brokers:
  - name: mosquitto
    listen: "{listen}"
    address: "{broker}"
    sources: ["{source}"]
    knowledge: wire
    authorization: open
workers: {{cores: [{worker}], control_core: {control}}}
control: {{socket: {socket}}}
"""


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, text=True,
                          capture_output=True, timeout=30, **options).stdout


def endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@contextlib.contextmanager
def inside(namespace):
    """Sockets that this thread makes are of that namespace, for good."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as before, \
            open(f"/run/netns/{namespace}", "rb") as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(before.fileno(), CLONE_NEWNET) == 0


class Wire:
    """The two namespaces, and what runs there."""

    def __init__(self, folder):
        self.folder, self.processes, self.sockets = folder, [], []
        self.host, self.net = (f"of{os.getpid()}-{name}" for name in ("host", "net"))
        self.control = str(folder / "control.sock")

    def up(self):
        for namespace in (self.host, self.net):
            run("ip", "netns", "add", namespace)
        run("ip", "link", "add", "host0", "netns", self.host, "type", "veth", "peer", "name", "net0",
            "netns", self.net)
        for namespace, link, addresses in ((self.host, "host0", KERNEL), (self.net, "net0", NET)):
            run("ip", "-n", namespace, "addr", "add", f"{addresses[4]}/24", "dev", link)
            run("ip", "-n", namespace, "addr", "add", f"{addresses[6]}/64", "dev", link, "nodad")
            run("ip", "-n", namespace, "link", "set", "lo", "up")
            run("ip", "-n", namespace, "link", "set", link, "up")
            run("ip", "netns", "exec", namespace, "ethtool", "-K", link, "tx", "off", "tso", "off",
                "gso", "off", "gro", "off")
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {BROKER_PORT}\nallow_anonymous true\n")
        self.start(self.net, "mosquitto", "-c", config)
        with inside(self.host):
            for family in (4, 6):
                self.echo(FAMILY[family], KERNEL[family])
        return self

    def echo(self, family, address):
        """The kernel's own service: answers what comes by UDP."""
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((address, ECHO_PORT))
        self.sockets.append(sock)

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    data, peer = sock.recvfrom(2000)
                    sock.sendto(data, peer)

        threading.Thread(target=answer, daemon=True).start()

    def start(self, namespace, *command):
        log = open(self.folder / f"log{len(self.processes)}", "w+", encoding="utf-8")
        process = subprocess.Popen(["ip", "netns", "exec", namespace, *map(str, command)],
                                   stdout=log, stderr=log)
        process.log = log
        self.processes.append(process)
        return process

    def offrampd(self, filter_="auto", family=4, name="offrampd.yaml"):
        cores = sorted(os.sched_getaffinity(0))
        path = self.folder / name
        path.write_text(CONFIG.format(
            filter=filter_, listen=endpoint(LISTEN[family], PORT), source=LISTEN[family],
            broker=endpoint(NET[family], BROKER_PORT), worker=cores[-1], control=cores[0],
            socket=self.control))
        return self.start(self.host, os.path.join(BUILD, "offrampd"), "-c", path)

    def ready(self, process):
        assert eventually(lambda: "daemon: ready" in self.said(process) or process.poll(), 30)
        assert process.poll() is None, self.said(process)
        # An IPv6 address is used when nobody has objected for a second.
        assert eventually(lambda: self.greets(4 if "10.9.0.2:1883" in self.said(process) else 6), 20)
        return process

    def said(self, process):
        process.log.flush()
        with open(process.log.name, encoding="utf-8") as log:
            return log.read()

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, self.said(process)

    def has_program(self):
        return "offramp_filter" in run("ip", "-n", self.host, "-d", "link", "show", "host0")

    def counters(self):
        return json.loads(run(os.path.join(BUILD, "offramp"), "--socket", self.control, "counters",
                              "--json"))

    def socket(self, family, kind):
        with inside(self.net):
            return socket.socket(FAMILY[family], kind)

    def asks_kernel(self, family, data=b"?", tries=20):
        """Does the host's own address answer?"""
        with self.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.5)
            for _ in range(tries):
                sock.sendto(data, (KERNEL[family], ECHO_PORT))
                with contextlib.suppress(TimeoutError):
                    return sock.recv(65000) == data
        return False

    def client(self, family, client_id):
        sock = self.socket(family, socket.SOCK_STREAM)
        sock.settimeout(10)
        try:
            sock.connect((LISTEN[family], PORT))
        except OSError:
            sock.close()
            raise
        client = mqttraw.Client(sock, 4, client_id)
        client.connect()
        return client

    def greets(self, family):
        try:
            self.client(family, "greets").leave()
        except (OSError, mqttraw.Closed):
            return False
        return True

    def down(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait(10)
            process.log.close()
        for sock in self.sockets:
            sock.close()
        for namespace in (self.host, self.net):
            subprocess.run(["ip", "netns", "del", namespace], check=False, timeout=30)


@pytest.fixture
def wire(tmp_path):
    made = Wire(tmp_path)
    try:
        yield made.up()
    finally:
        made.down()


@pytest.mark.parametrize("family", (4, 6))
def test_the_host_keeps_its_address_while_offramp_serves_its_own(wire, family):
    process = wire.ready(wire.offrampd(family=family))
    assert wire.has_program()
    with contextlib.closing(wire.client(family, "s")) as subscriber, \
            contextlib.closing(wire.client(family, "p")) as publisher:
        subscriber.subscribe("shared/#")
        publisher.publish("shared/one", b"hello")
        assert subscriber.payloads(1) == [b"hello"]
        assert wire.counters()["publish_captured_total"]["0"] == 1
        # What is the host's does not come to Offramp, whatever it is; fragments neither.
        before = wire.counters()["port_rx_packets_total"]["shared"]
        for other in (4, 6):
            assert wire.asks_kernel(other)
            assert wire.asks_kernel(other, b"x" * 1900)
        with wire.socket(family, socket.SOCK_DGRAM) as flood:
            for _ in range(2000):
                flood.sendto(b"?", (KERNEL[family], ECHO_PORT))
        after = wire.counters()["port_rx_packets_total"]["shared"]
        assert after - before < 100
        publisher.publish("shared/two", b"again")
        assert subscriber.payloads(1) == [b"again"]
    wire.stop(process)
    assert not wire.has_program()
    assert wire.asks_kernel(family)


def test_fragments_for_offramp_come_to_it(wire):
    """An echo request in fragments, of which only the first says what it is, is answered."""
    wire.ready(wire.offrampd())
    with inside(wire.net):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        body = struct.pack(">BBHHH", 8, 0, 0, 7, 1) + b"o" * 2600
        total = sum(struct.unpack(f">{len(body) // 2}H", body))
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        body = body[:2] + struct.pack(">H", ~total & 0xFFFF) + body[4:]
        sock.settimeout(10)
        sock.sendto(body, (LISTEN[4], 0))
        answer = sock.recv(65000)
    assert answer[20] == 0 and answer[28:] == body[8:]


def test_without_a_filter_offramp_takes_the_interface(wire):
    """What the filter is good for: the expectation above fails without it."""
    wire.ready(wire.offrampd(filter_="none"))
    assert not wire.has_program()
    assert not wire.asks_kernel(4, tries=3)


def test_a_killed_daemon_leaves_the_host_alone_and_the_next_one_takes_over(wire):
    process = wire.ready(wire.offrampd())
    process.kill()
    process.wait(10)
    assert wire.asks_kernel(4)
    process = wire.ready(wire.offrampd())
    assert "removing the XDP program that an earlier run left" in wire.said(process)
    assert wire.asks_kernel(4)
    # A second one does not take it away from the first.
    second = wire.offrampd(name="second.yaml")
    assert second.wait(20) == 1
    assert "another offrampd filters this interface" in wire.said(second)
    assert wire.has_program() and wire.greets(4)


def test_what_cannot_be_filtered_comes_whole_and_that_is_said(wire, tmp_path):
    process = wire.offrampd(name="packet.yaml")
    process.kill()
    process.wait(10)
    path = tmp_path / "packet.yaml"
    path.write_text(path.read_text().replace("net_af_xdp0", "net_af_packet0"))
    process = wire.ready(wire.start(wire.host, os.path.join(BUILD, "offrampd"), "-c", path))
    assert "cannot be told what is for Offramp: everything comes" in wire.said(process)
    time.sleep(0.1)
    assert wire.asks_kernel(4)
