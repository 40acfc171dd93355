# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What is left to a port's device: checksums, chains, frames of many segments that it cuts (TSO).

One device is net_tap, whose driver does all of that in software; the other end is a kernel, which
verifies every checksum. The driver cuts only where the port's MTU leaves room for the Ethernet
header, and only IPv4. The other is virtio, which cuts both families; at its other end is the engine
again, behind net_vhost, and takes the frames whole, as a guest on the same host would.
"""

import contextlib
import json
import os
import random
import socket
import subprocess
import tempfile
import time

import pytest
import yaml

import mqttraw as mqtt
from bed import BUILD, eventually, hosts
from tcppeer import (KERNEL, MEGABYTE, PEER, PREFIX, PROGRAM, SINK, SOURCE, TAP_MAC, TapWire,
                     download, pattern, tap_address, upload)
from testbed import brokers, configs, ready

CUTS, CUTS_NOT = 1486, 1500  # the port's MTU; the interface's is 1500
FRAME = 14 + 1500
DEVICE_DOES = ("rx_checksum", "tx_ip_checksum", "tx_tcp_checksum", "multi_segment")


@pytest.fixture(autouse=True, scope="module")
def program():
    if not os.access(PROGRAM, os.X_OK):
        pytest.fail(f"{PROGRAM} is not there")
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("this kernel has no taps")


def transfer(family, mtu, size, segment=None):
    """Both ways over one tap. Returns the reports of the peer's as reader and as writer."""
    data, reports = pattern(size), []
    with TapWire(mtu, family) as wire:
        for port, move in ((SINK, upload), (SOURCE, download)):
            peer = wire.peer(connections=1, bytes_=size)
            with wire.socket() as sock:
                if segment:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
                sock.settimeout(20)
                sock.connect((wire.peer_address, port))
                move(sock, data)
            reports.append(peer.report(wait=20))
        assert wire.checksum_errors() == 0
    for report, direction in zip(reports, ("received", "sent")):
        (connection,) = report["connections"]
        assert connection["outcome"] == "done" and connection["wrong_at"] is None, connection
        assert connection[direction] == size
        assert all(report["caps"][what] for what in DEVICE_DOES), report["caps"]
        assert not any(report["port"]["packets_dropped_total"].values()), report["port"]
        assert not any(report["net"]["packets_dropped_total"][reason] for reason in
                       ("ip_checksum", "tcp_checksum", "ip_length")), report["net"]
        # What the device put on its wire.
        port = report["port"]
        assert port["port_tx_bytes_total"]["peer"] <= FRAME * port["port_tx_packets_total"]["peer"]
    return reports


def describe(what, size, report):
    frames = report["net"]["ip_packets_total"]["sent"]
    packets = report["port"]["port_tx_packets_total"]["peer"]
    seconds = report["connections"][0]["seconds"]
    print(f"{what}: {size / 1e6 / seconds:.0f} MB/s; a MB is {1e6 * frames / size:.0f} frames for "
          f"the device, {1e6 * packets / size:.0f} packets on the wire")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("mtu", [CUTS, CUTS_NOT])
def test_bulk_both_ways(family, mtu):
    size = 16 * MEGABYTE
    cut = family == 4 and mtu == CUTS
    for report, what in zip(transfer(family, mtu, size), ("to the peer", "from the peer")):
        describe(what, size, report)
    tcp = report["tcp"]
    frames = report["net"]["ip_packets_total"]["sent"]
    assert report["caps"]["tso"] == (mtu == CUTS) and not report["caps"]["tso_ipv6"]
    if cut:
        assert tcp["tcp_tso_frames_total"] > 0
        assert frames < tcp["tcp_segments_out_total"] / 10
    else:
        assert tcp["tcp_tso_frames_total"] == 0
        assert frames == tcp["tcp_segments_out_total"]
    # Every segment left the device as a packet of its own; the rest is ARP and the like.
    packets = report["port"]["port_tx_packets_total"]["peer"]
    assert 0 <= packets - tcp["tcp_segments_out_total"] < 50
    assert tcp["tcp_timeouts_total"] == 0


def test_a_device_is_not_asked_for_more_segments_than_it_cuts_at_once():
    """64 KiB would be 120 of these segments: the driver refuses more than 64."""
    _, report = transfer(4, CUTS, 4 * MEGABYTE, segment=536)
    tcp = report["tcp"]
    assert report["connections"][0]["mss"] < 536
    assert tcp["tcp_tso_frames_total"] > 0
    assert tcp["tcp_retransmits_total"] == 0


def run_peer(device, family, *arguments):
    return subprocess.Popen(
        [PROGRAM, "--device", device, *arguments, "--address",
         f"{(PEER if device.startswith('net_vhost') else KERNEL)[family]}/{PREFIX[family]}"],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("family", [4, 6])
def test_virtio_takes_long_frames_of_both_families(family):
    size = 16 * MEGABYTE
    listener = f"[{PEER[6]}]:{SINK}" if family == 6 else f"{PEER[4]}:{SINK}"
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        path, peers = os.path.join(directory, "vhost"), []
        for command in ((f"net_vhost0,iface={path},tso=1", family, "--listen", f"sink:{SINK}"),
                        (f"net_virtio_user0,path={path},mac={TAP_MAC}", family, "--bytes",
                         str(size), "--connect", f"source:{listener}", "--connections", "1")):
            peers.append(stack.enter_context(run_peer(*command)))
            stack.callback(peers[-1].kill)
            assert peers[-1].stdout.readline() == "ready\n", peers[-1].communicate()[1]
        outputs = [peers[1].communicate(timeout=30)]
        peers[0].terminate()  # not before: the other one's driver has to say goodbye to it
        outputs += [peers[0].communicate(timeout=20)]
    assert not any(peer.returncode for peer in peers), outputs
    writer, reader = (json.loads(output) for output, _ in outputs)
    for report in (writer, reader):
        (connection,) = report["connections"]
        assert connection["outcome"] == "done" and connection["wrong_at"] is None, connection
    assert reader["connections"][0]["received"] == size
    assert writer["caps"]["tx_tcp_checksum"] and not writer["caps"]["tx_ip_checksum"]
    assert writer["caps"]["tso"] and writer["caps"]["tso_ipv6"]
    assert reader["net"]["packets_dropped_total"]["tcp_checksum"] == 0
    assert reader["net"]["packets_dropped_total"]["ip_checksum"] == 0
    assert writer["tcp"]["tcp_tso_frames_total"] > 0
    assert writer["net"]["ip_packets_total"]["sent"] < writer["tcp"]["tcp_segments_out_total"] / 10
    describe("virtio", size, {**writer, "connections": reader["connections"]})


class Daemon:
    """offrampd between two taps, a broker at one of them and clients at the other: one namespace,
    whose kernel is both hosts. The ports' addresses are the testbed's."""

    def __init__(self, directory):
        self.name, self.directory = f"o{os.getpid()}", str(directory)
        self.netns = hosts.netns(self.name, "clients")
        self.socket = os.path.join(self.directory, "control.sock")
        self.processes = []

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()
        with contextlib.suppress(hosts.HostError):
            hosts.run("ip", "netns", "delete", self.netns)

    def _start(self):
        hosts.run("ip", "netns", "add", self.netns)
        hosts.run("ip", "-n", self.netns, "link", "set", "lo", "up")
        recipe = brokers.prepare("mosquitto", brokers.Place(self.directory, 1883))
        overlay = os.path.join(self.directory, "overlay.yaml")
        with open(overlay, "w", encoding="ascii") as file:
            yaml.safe_dump({"ports": [{"name": name, "mtu": CUTS}
                                      for name in ("clients", "broker")]}, file)
        config = configs.daemon(self.directory, "stack", "tap", 1883, self.socket,
                                {"name": recipe.name, **recipe.keys}, overlay)
        self._spawn(*recipe.command())
        self._spawn(os.path.join(BUILD, "offrampd"), "-c", config)
        assert eventually(lambda: os.path.exists(self.socket)), self.log()
        tap_address(self.netns, "clients", hosts.prefixed(hosts.CLIENT))
        tap_address(self.netns, "broker", hosts.prefixed(hosts.BROKER["stack"]))
        why = ready.wait(lambda: ready.answers_mqtt(self.name, "clients", hosts.LISTEN, 1883),
                         lambda: self.processes[-1].poll() is None, time.monotonic() + 30)
        assert why is None, self.log()

    def _spawn(self, *command):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.processes.append(subprocess.Popen(
                ["ip", "netns", "exec", self.netns, *command], stdout=log, stderr=log))

    def log(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8") as file:
            return file.read()

    def counters(self):
        return json.loads(hosts.run(os.path.join(BUILD, "offramp"), "--socket", self.socket,
                                    "counters", "--json"))

    def client(self, client_id):
        sock = hosts.open_socket(self.name, "clients", socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(20)
        sock.connect((hosts.LISTEN, 1883))
        client = mqtt.Client(sock, 4, client_id)
        client.connect()
        return client


def kept(daemon, idle):
    """What is taken from pools, now and when nobody had been there yet, where that differs."""
    now, then = daemon.counters()["pool_in_use"], idle["pool_in_use"]
    return {pool: (then[pool], now[pool]) for pool in now
            if pool != "pcbs" and then[pool] != now[pool]}  # they are in TIME-WAIT


def test_a_publish_to_many_leaves_as_frames_that_the_device_cuts(tmp_path):
    """One payload is in the frames of all subscribers at once, by reference."""
    source = random.Random(1)
    payloads = [source.randbytes(size) for size in (1, 1400, 3000, 40000, 250000, 700000) * 2]
    with Daemon(tmp_path) as daemon:
        idle = eventually(lambda: daemon.counters())
        subscribers = [daemon.client(f"s{number}") for number in range(6)]
        for number, subscriber in enumerate(subscribers):
            subscriber.subscribe("big", options=number % 3)
        publisher = daemon.client("p")
        for number, payload in enumerate(payloads):
            publisher.publish("big", payload, qos=number % 3)
        for subscriber in subscribers:
            assert subscriber.payloads(len(payloads), timeout=60) == payloads
        for client in (*subscribers, publisher):
            client.leave()
        busy = daemon.counters()
        assert eventually(lambda: not kept(daemon, idle)), kept(daemon, idle)
        assert "IPv4 only" in daemon.log()
    assert sum(busy["publish_captured_total"].values()) == len(payloads)
    assert busy["tcp_tso_frames_total"] > 0
    assert busy["tcp_timeouts_total"] == 0
    assert not any(busy["packets_dropped_total"][reason] for reason in
                   ("tx_full", "tx_invalid", "tx_error", "tcp_checksum", "ip_checksum"))
    print(f"{busy['tcp_tso_frames_total']} frames, {busy['tcp_segments_out_total']} segments")
