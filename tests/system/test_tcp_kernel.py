# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The TCP engine against the Linux kernel, over wires that lose, double, reorder and corrupt.

Bytes must be right, and whoever waits must be able to say why (waits.py): no time without progress
is longer than the retransmission timers of the sender explain.
"""

import contextlib
import itertools
import os
import select
import socket
import threading
import time

import pytest

from rawtcp import Segment
from tcppeer import (ECHO, MEGABYTE, PROGRAM, SINK, SOURCE, TcpInfo, Wire, download, pattern,
                     upload)
from waits import (SLACK, check_silences, check_timers, explain, failures_in_a_row,
                   loss_rate, waits_of)

# What the wire does, and how many segments travel each way.
WIRES = {
    "good": (None, 8000),
    "loss2": ("loss=2%,seed=1", 4000),
    "loss5": ("loss=5%,reorder=5%,duplicate=1%,corrupt=0.5%,seed=2", 1000),
    "loss10": ("loss=10%,reorder=5%,seed=3", 100),
    "slow": ("delay=5000,rate=1e8,loss=0.5%,reorder=1%,seed=4", 2000),
}
AXES = {
    "wire": ["good", "loss2", "loss5", "loss10", "slow"],
    "sack": [True, False],
    "timestamps": [True, False],
    # The smallest that the family allows (RFC 791 3.1, RFC 8200 5), the usual, the jumbo.
    "link": [(4, 576), (4, 1500), (4, 9000), (6, 1280), (6, 1500), (6, 9000)],
}
# s. Without timestamps nothing tells how long a round trip is while all that is under way was sent
# twice (RFC 6298 3): at 10 % loss a kernel's timer doubles from 3 s (its SYN was lost) to 48 s.
PATIENCE = 300
HEADERS = {4: 40, 6: 60}  # of IP and TCP, without options


@pytest.fixture(autouse=True, scope="module")
def program():
    if not os.access(PROGRAM, os.X_OK):
        pytest.fail(f"{PROGRAM} is not there")


def all_cases():
    return [dict(zip(AXES, values)) for values in itertools.product(*AXES.values())]


def covering(cases):
    """A few of the cases in which each value of each axis still occurs."""
    missing, kept = {value for case in cases for value in case.items()}, []
    while missing:
        kept.append(max(cases, key=lambda case: len(set(case.items()) & missing)))
        missing -= set(kept[-1].items())
    return kept


def describe(case):
    return "-".join([case["wire"], "sack" if case["sack"] else "nosack",
                     "ts" if case["timestamps"] else "nots", "v{}-{}".format(*case["link"])])


def parameters():
    few = covering(all_cases())
    return [pytest.param(case, id=describe(case), marks=[] if case in few else pytest.mark.full)
            for case in all_cases()]


def only(report):
    (connection,) = report["connections"]
    assert connection["outcome"] == "done", connection
    assert connection["wrong_at"] is None, connection
    return connection


def account(what, size, report, waits, silences, rto, pauses):
    """Every wait is explained; says what was seen."""
    connection = only(report)
    failures = failures_in_a_row(loss_rate(report), size // connection["mss"])
    slack = SLACK + pauses + report["pause"]
    check_silences(silences, slack)
    explanation = explain(waits, silences, rto, failures, slack)
    seconds = connection["seconds"]
    print(f"{what}: {explanation}; {size / 1e6:.2f} MB in {seconds:.2f} s, "
          f"{size / 1e6 / seconds:.2f} MB/s, loss {loss_rate(report):.2%}, "
          f"pauses {pauses:.3f} and {report['pause']:.3f} s")


def check_the_wire(wire_name, report):
    """What was asked for did happen."""
    impaired = report["port"].get("packets_impaired_total", {})
    for kind, name in (("loss", "lost"), ("reorder", "reordered"), ("duplicate", "duplicated"),
                       ("corrupt", "corrupted")):
        if kind + "=" in (WIRES[wire_name][0] or ""):
            assert impaired[name] > 0, impaired


@pytest.mark.parametrize("case", parameters())
def test_bulk_both_ways(case):
    family, mtu = case["link"]
    impair, segments = WIRES[case["wire"]]
    size = min(16 * MEGABYTE, segments * mtu)
    data = pattern(size)
    with Wire(mtu, case["sack"], case["timestamps"], family) as wire:
        peer = wire.peer(impair=impair, connections=1)
        with wire.connect(SINK) as sock:
            agreed = TcpInfo(sock)
            writer = upload(sock, data, PATIENCE)
        report = peer.report(wait=20)
        assert only(report)["received"] == size
        check_the_wire(case["wire"], report)
        account("kernel to peer", size, report, waits_of(report, "bytes"), writer.waits,
                writer.info.rto / 1e6 / 2 ** writer.info.backoff, writer.pause)
        peer = wire.peer(impair=impair, connections=1, bytes_=size)
        with wire.connect(SOURCE) as sock:
            reader = download(sock, data, PATIENCE)
        report = peer.report(wait=20)
        assert only(report)["sent"] == size
        silences = waits_of(report, "advance")
        check_timers(silences)
        rto = only(report)["rto"] / 2 ** only(report)["backoff"]
        account("peer to kernel", size, report, reader.waits, silences, rto, reader.pause)
    assert agreed.options == {"wscale"} | {name for name in ("sack", "timestamps") if case[name]}
    mss = mtu - HEADERS[family] - (12 if case["timestamps"] else 0)
    assert agreed.snd_mss == only(report)["mss"] == mss


@pytest.mark.parametrize("family", [4, 6])
def test_jumbo_frames_are_on_the_wire(family):
    """A link of 9000 bytes is used to its last byte, both ways."""
    data = pattern(4 * MEGABYTE)
    sizes = {socket.PACKET_HOST: [], socket.PACKET_OUTGOING: []}
    with Wire(9000, family=family) as wire, wire.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                                                        socket.htons(3)) as sniffer:
        sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
        done = threading.Event()

        def sniff():
            while select.select([sniffer], [], [], 0.5)[0] or not done.is_set():
                with contextlib.suppress(BlockingIOError):
                    packet, address = sniffer.recvfrom(65536, socket.MSG_DONTWAIT)
                    if (segment := Segment.parse(packet)) and segment.data:
                        sizes[address[2]].append((len(packet), len(segment.data)))

        thread = threading.Thread(target=sniff)
        thread.start()
        for port, transfer in ((SINK, upload), (SOURCE, download)):
            peer = wire.peer(connections=1, bytes_=len(data))
            with wire.connect(port) as sock:
                transfer(sock, data)
            only(peer.report(wait=20))
        done.set()
        thread.join()
    for seen in sizes.values():
        large = sum(length for packet, length in seen if packet == 9000)
        assert max(seen)[0] == 9000
        assert large > sum(length for _, length in seen) * 0.9
        print(f"{len(seen)} segments, {large} bytes of {len(data)} in packets of 9000")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("wire_name", ["good", "loss5"])
def test_the_peer_connects(wire_name, family):
    """Connect-out, in both roles, while the kernel listens."""
    impair, segments = WIRES[wire_name]
    data = pattern(segments * 500)
    with Wire(family=family) as wire, wire.socket() as listener:
        listener.bind(("", 7000))
        listener.listen()
        listener.settimeout(20)
        host = wire.kernel_address if family == 4 else f"[{wire.kernel_address}]"
        for role in ("sink", "source"):
            peer = wire.peer("--connect", f"{role}:{host}:7000", impair=impair,
                             bytes_=len(data), connections=1)
            sock = listener.accept()[0]
            with sock:
                if role == "sink":
                    upload(sock, data)
                else:
                    download(sock, data)
            connection = only(peer.report(wait=20))
            assert len(data) in (connection["received"], connection["sent"])


# A SYN-ACK that is lost costs the kernel a second, and makes its timer three for a while.
@pytest.mark.parametrize("wire_name,turns", [("good", 50), ("loss2", 20), ("loss5", 6)])
def test_many_echoes_at_once(wire_name, turns):
    """Small writes, each waiting for its answer: thin flows, where only timers and probes help."""
    impair = WIRES[wire_name][0]
    with Wire() as wire:
        peer = wire.peer(impair=impair)
        socks = [wire.socket() for _ in range(20)]
        for sock in socks:  # all at once: a lost SYN costs a second
            sock.setblocking(False)
            sock.connect_ex((wire.peer_address, ECHO))
        for sock in socks:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(60)
        for turn in range(turns):
            message = b"%06d" % turn * 50
            for sock in socks:
                sock.sendall(message)
            for sock in socks:
                assert receive(sock, len(message)) == message
        for sock in socks:
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
            sock.close()
        report = peer.report()
    assert report["outcomes"]["done"] == 20
    silences = waits_of(report, "advance")
    check_timers(silences)
    check_silences(silences, SLACK + report["pause"])


def receive(sock, length):
    data = b""
    while len(data) < length:
        chunk = sock.recv(length - len(data))
        assert chunk, f"the end after {len(data)} bytes of {length}"
        data += chunk
    return data


STORMS = [(4, 2000), pytest.param(4, 10000, marks=pytest.mark.full),
          pytest.param(6, 10000, marks=pytest.mark.full)]


@pytest.mark.parametrize("family,count", STORMS)
def test_connection_storm(family, count):
    """Opened and closed, a few hundred at once, each carrying some bytes; within a minute.

    Either end is in turn the one that closes first. Nothing of them is kept.
    """
    data = pattern(100)
    with Wire(family=family, **{"net.ipv4.tcp_tw_reuse": 1,
                                "net.ipv4.ip_local_port_range": "10000 65000"}) as wire:
        peer = wire.peer("--connections-max", 2000, "--tcp", "time_wait_us=1000000",
                         "--tcp", "backlog=1024", bytes_=len(data))
        begun = time.monotonic()
        for port, batch in zip(itertools.cycle([ECHO, SOURCE]), range(0, count, 200)):
            storm(wire, port, min(200, count - batch), data)
        seconds = time.monotonic() - begun
        time.sleep(1.5)  # TIME-WAIT
        report = peer.report()
    print(f"{count} connections in {seconds:.1f} s")
    assert report["outcomes"]["done"] == report["ended"] == count, report["outcomes"]
    assert report["wrong"] == 0
    assert set(report["kept"].values()) == {0}, report["kept"]
    assert not any(report["tcp"]["tcp_connections"][state] for state in
                   report["tcp"]["tcp_connections"] if state != "LISTEN")
    assert seconds < 60 * max(0.5, count / 10000)


def storm(wire, port, count, data):
    """So many at once."""
    socks = []
    for _ in range(count):
        sock = wire.socket()
        sock.setblocking(False)
        sock.connect_ex((wire.peer_address, port))
        socks.append(sock)
    for sock in socks:
        sock.settimeout(20)
        if port == ECHO:
            sock.sendall(data)
    for sock in socks:
        assert receive(sock, len(data)) == data
        if port == SOURCE:
            assert sock.recv(1) == b""  # the peer has closed
        sock.close()
