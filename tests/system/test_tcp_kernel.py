# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The TCP engine against the Linux kernel, over wires that lose, double, reorder and corrupt.

Bytes must be right, and whoever waits must be able to say why: no time without progress is longer
than the retransmission timers of the sender explain (RFC 6298: each expiry doubles the next).
"""

import itertools
import os
import socket
import time

import pytest

from tcppeer import ECHO, PEER, PROGRAM, SINK, SOURCE, KernelInfo, Wire, download, pattern, upload

MEGABYTE = 1 << 20
SLACK = 0.6  # s: this machine's own pauses

# What the wire does, and how many segments travel each way.
WIRES = {
    "good": (None, 8000),
    "loss2": ("loss=2%,seed=1", 4000),
    "loss5": ("loss=5%,reorder=5%,duplicate=1%,corrupt=0.5%,seed=2", 1000),
    "loss10": ("loss=10%,seed=3", 200),
    "slow": ("delay=5000,rate=1e8,loss=0.5%,reorder=1%,seed=4", 2000),
}
AXES = {
    "wire": ["good", "loss2", "loss5", "loss10", "slow"],
    "sack": [True, False],
    "timestamps": [True, False],
    "mtu": [576, 1280, 1500, 9000],
    "family": [4, 6],
}


@pytest.fixture(autouse=True, scope="module")
def program():
    if not os.access(PROGRAM, os.X_OK):
        pytest.fail(f"{PROGRAM} is not there")


def is_possible(case):
    return case["family"] == 4 or case["mtu"] >= 1280  # RFC 8200 5


def all_cases():
    cases = [dict(zip(AXES, values)) for values in itertools.product(*AXES.values())]
    return [case for case in cases if is_possible(case)]


def pairs_of(case):
    return set(itertools.combinations(sorted(case.items()), 2))


def pairwise(cases):
    """A few of the cases in which any two values that go together still meet."""
    missing, kept = set().union(*map(pairs_of, cases)), []
    while missing:
        kept.append(max(cases, key=lambda case: len(pairs_of(case) & missing)))
        missing -= pairs_of(kept[-1])
    return kept


def describe(case):
    return "-".join([case["wire"], "sack" if case["sack"] else "nosack",
                     "ts" if case["timestamps"] else "nots", str(case["mtu"]),
                     f"v{case['family']}"])


def parameters():
    few = pairwise(all_cases())
    return [pytest.param(case, id=describe(case), marks=[] if case in few else pytest.mark.full)
            for case in all_cases()]


def explain(what, stall, rto_max, report):
    """Backoffs of 1, 2, 4 … times the timer last less than twice the longest of them."""
    print(f"{what}: stall {stall:.3f} s, longest RTO {rto_max:.3f} s, "
          f"{report['connections'][0]['seconds']} s, "
          f"{report['connections'][0]['retransmits']} retransmitted")
    assert stall <= 2 * rto_max + SLACK, f"{what}: {stall} s without progress, RTO {rto_max} s"


def only(report):
    (connection,) = report["connections"]
    assert connection["outcome"] == "done", connection
    assert connection["wrong_at"] is None, connection
    return connection


def start(wire, case, **options):
    try:
        return wire.peer(impair=WIRES[case["wire"]][0], family=case["family"], **options)
    except AssertionError as error:
        if case["family"] == 6:
            pytest.skip(f"no IPv6: {error}")
        raise


@pytest.mark.parametrize("case", parameters())
def test_bulk_both_ways(case):
    size = min(16 * MEGABYTE, WIRES[case["wire"]][1] * case["mtu"])
    data = pattern(size)
    family = case["family"]
    with Wire(case["mtu"], case["sack"], case["timestamps"]) as wire:
        peer = start(wire, case, connections=1)
        with wire.connect(SINK, family) as sock:
            agreed = KernelInfo(sock).options
            info = upload(sock, data)
        report = peer.report(wait=20)
        assert only(report)["received"] == size
        explain("kernel to peer", report["stall"], info.rto_max, report)
        peer = start(wire, case, connections=1, bytes_=size)
        with wire.connect(SOURCE, family) as sock:
            stall = download(sock, data)
        report = peer.report(wait=20)
        assert only(report)["sent"] == size
        explain("peer to kernel", stall, report["rto_max"], report)
    assert ("timestamps" in agreed) == case["timestamps"]
    assert "wscale" in agreed


@pytest.mark.parametrize("wire_name", ["good", "loss5"])
def test_the_peer_connects(wire_name):
    """Connect-out, in both roles, while the kernel listens."""
    impair, segments = WIRES[wire_name]
    data = pattern(segments * 500)
    with Wire() as wire, wire.socket() as listener:
        listener.bind(("", 7000))
        listener.listen()
        listener.settimeout(20)
        for role in ("sink", "source"):
            peer = wire.peer("--connect", f"{role}:198.18.0.2:7000", impair=impair,
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
            sock.connect_ex((PEER[4], ECHO))
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
        assert report["stall"] <= 2 * report["rto_max"] + SLACK


def receive(sock, length):
    data = b""
    while len(data) < length:
        chunk = sock.recv(length - len(data))
        assert chunk, f"the end after {len(data)} bytes of {length}"
        data += chunk
    return data


@pytest.mark.parametrize("count", [2000, pytest.param(10000, marks=pytest.mark.full)])
def test_connection_storm(count):
    """Opened and closed, a few hundred at once, each carrying some bytes; within a minute."""
    data = pattern(100)
    begun = time.monotonic()
    with Wire(**{"net.ipv4.tcp_tw_reuse": 1, "net.ipv4.ip_local_port_range": "10000 65000"}) as wire:
        peer = wire.peer("--connections-max", 2000, "--tcp", "time_wait_us=1000000",
                         "--tcp", "backlog=1024")
        left = count
        while left > 0:
            batch = min(200, left)
            socks = []
            for _ in range(batch):
                sock = wire.socket()
                sock.setblocking(False)
                sock.connect_ex((PEER[4], ECHO))
                socks.append(sock)
            for sock in socks:
                sock.settimeout(20)
                sock.sendall(data)
            for sock in socks:
                assert receive(sock, len(data)) == data
                sock.close()
            left -= batch
        seconds = time.monotonic() - begun
        time.sleep(1)
        report = peer.report()
    assert report["outcomes"]["done"] == report["ended"] == count, report["outcomes"]
    assert report["tcp"]["tcp_connections"]["ESTABLISHED"] == 0
    assert seconds < 60 * max(1, count / 10000)
    print(f"{count} connections in {seconds:.1f} s")
