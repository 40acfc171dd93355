# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Peers of the TCP engine that attack, misbehave or vanish: segments by hand beside a kernel's.

RFC 5961 (blind resets, SYNs, data), RFC 4987 (SYN floods), RFC 9293 3.8.6 (windows).
"""

import random
import socket
import threading
import time

import pytest

from rawtcp import ACK, FIN, PSH, RST, SYN, Connection, Raw, Segment
from tcppeer import ECHO, PREFIX, SINK, SOURCE, Wire, pattern

HAND = {4: "198.18.0.77", 6: "2001:db8::77"}  # only segments by hand come from it
LATER = {4: "198.18.0.99", 6: "2001:db8::99"}  # where the kernel has not been seen before
CLOSED = 9009  # a port of the peer's where nobody listens


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request):
    return request.param


@pytest.fixture
def wire(family):
    with Wire(family=family) as wire_:
        yield wire_


@pytest.fixture
def raw(wire):
    with Raw(wire) as raw_:
        yield raw_


def say(sock, message, timeout=5):
    """The echo answers."""
    sock.settimeout(timeout)
    sock.sendall(message)
    data = b""
    while len(data) < len(message):
        chunk = sock.recv(len(message) - len(data))
        assert chunk, "the connection was ended"
        data += chunk
    assert data == message


def dropped(report):
    return {key: value for key, value in report["tcp"]["packets_dropped_total"].items() if value}


# --- floods --------------------------------------------------------------------------------------

SERVED = 3  # s that a flood lasts
AT_ONCE = 0.5  # s: nothing had to be sent again more than once


class Flood:
    """Segments from spoofed addresses, ten thousand a second at most, while it is entered."""

    def __init__(self, raw, near, make):
        self.raw, self.near, self.make = raw, near, make
        self.random = random.Random(1)
        self.sent = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def address(self):
        """On the link (answers wait for neighbours that do not exist), or beyond a router."""
        low, high = self.random.randrange(1, 250), self.random.randrange(1, 250)
        if self.raw.wire.family == 6:
            return f"2001:db8::{low:x}:{high:x}" if self.near else f"2001:db8:{low:x}::{high:x}"
        return f"198.18.{low}.{high}" if self.near else f"203.{low}.113.{high}"

    def run(self):
        while not self.ended.wait(0.01):
            for _ in range(100):
                values = {"seq": self.random.randrange(1 << 32), "dport": ECHO,
                          **self.make(self.random)}
                self.raw.send(Segment(self.address(), self.random.randrange(1024, 65535),
                                      self.raw.wire.peer_address, **values))
            self.sent += 100

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def serve(clients, seconds):
    """The slowest answer that they get."""
    slowest, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        for client in clients:
            asked = time.monotonic()
            say(client, b"served" * 20)
            slowest = max(slowest, time.monotonic() - asked)
    return slowest


def join(wire, source=None):
    """A client that comes while there is a flood. Returns how long it takes."""
    asked = time.monotonic()
    newcomer = wire.connect(ECHO, source)
    say(newcomer, b"welcome")
    newcomer.close()
    return time.monotonic() - asked


@pytest.mark.parametrize("near,cookies", [(True, True), (False, True), (False, False)],
                         ids=["neighbours", "strangers", "no cookies"])
def test_syn_flood_past_the_backlog(wire, raw, near, cookies):
    """Clients that are there are served all the while; with SYN cookies new ones come in too."""
    peer = wire.peer("--gateway", wire.kernel_address, "--tcp", "backlog=64",
                     "--connections-max", 256, *([] if cookies else ["--no-syn-cookies"]))
    clients = [wire.connect(ECHO) for _ in range(5)]
    with Flood(raw, near, lambda source: {"flags": SYN}) as flood:
        slowest = serve(clients, SERVED)
        if cookies:
            join(wire)
    report = peer.report()
    print(f"{flood.sent} SYNs, slowest answer {slowest:.3f} s")
    assert slowest < AT_ONCE + report["pause"]
    report = report["tcp"]
    assert report["tcp_connections"]["SYN_RECEIVED"] <= 64
    if cookies:
        assert report["tcp_syn_cookies_accepted_total"] == 1
    else:
        assert report["tcp_syn_dropped_total"]["backlog"] > 1000
    for client in clients:
        client.close()


def any_segment(source):
    """To an open port or a closed one, of any kind, with text or without."""
    return {"dport": source.choice([ECHO, SINK, CLOSED]),
            "flags": source.choice([ACK, RST, SYN, SYN | ACK, FIN | ACK, PSH | ACK]),
            "ack": source.randrange(1 << 32), "data": b"x" * source.randrange(2)}


def test_a_flood_of_segments_from_spoofed_neighbours(wire, raw):
    """Each would have an answer, to a neighbour that does not exist: more of them than the table of
    neighbours has room for. Who is there is served, who comes is let in, from a new address too.
    """
    peer = wire.peer("--tcp", "backlog=64", "--connections-max", 256)
    clients = [wire.connect(ECHO) for _ in range(5)]
    wire.ip("kernel", "address", "add", f"{LATER[wire.family]}/{PREFIX[wire.family]}",
            "dev", "eth0", *(["nodad"] if wire.family == 6 else []))
    with Flood(raw, True, any_segment) as flood:
        slowest = serve(clients, SERVED)
        known, new = join(wire), join(wire, LATER[wire.family])
        late = serve(clients, 0)
    report = peer.report()
    asked = report["net"]["arp_requests_total" if wire.family == 4 else "nd_solicitations_total"]
    drops = {**report["net"]["packets_dropped_total"], **report["tcp"]["packets_dropped_total"]}
    print(f"{flood.sent} segments; slowest answer {slowest:.3f} s, {late:.3f} s; newcomers "
          f"{known:.3f} s, {new:.3f} s; {asked['sent']} neighbours asked for;",
          report["net"]["neighbours"], {key: value for key, value in drops.items() if value},
          report["tcp"]["tcp_resets_sent_total"], report["tcp"]["tcp_resets_suppressed_total"])
    assert max(slowest, late) < AT_ONCE + report["pause"]
    assert max(known, new) < 1 + AT_ONCE + report["pause"]  # a lost SYN costs a second
    assert sum(report["net"]["neighbours"].values()) <= 4096
    assert report["outcomes"]["done"] >= 2
    for client in clients:
        client.close()


# --- blind attacks on a connection of the kernel's -----------------------------------------------

class Victim:
    """A kernel's connection, and segments that claim to be from it."""

    def __init__(self, wire, raw):
        self.raw = raw
        self.sock = wire.connect(ECHO)
        self.sport = self.sock.getsockname()[1]
        self.watch = wire.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.watch.bind(("eth0", 3))
        self.ends = (wire.kernel_address, self.sport, wire.peer_address, ECHO)
        self.look()

    def look(self):
        """Sends a byte and learns where the stream stands."""
        self.watch.settimeout(5)
        self.sock.sendall(b"?")
        while True:
            segment = Segment.parse(self.watch.recv(65536))
            if segment and segment.data == b"?" and segment.sport == self.sport:
                break
        assert self.sock.recv(1) == b"?"
        self.snd_nxt = segment.seq + 1
        self.rcv_nxt = segment.ack + 1

    def forge(self, flags, seq=0, ack=0, **fields):
        self.raw.send(Segment(*self.ends, self.snd_nxt + seq,
                              self.rcv_nxt + ack if flags & ACK else 0, flags, **fields))

    def challenged(self, timeout):
        return self.raw.wait(lambda segment: segment.dport == self.sport and
                             segment.is_only(ACK) and not segment.data, timeout)


# What is forged, and whether RFC 5961 wants a challenge ACK for it.
BLIND = [
    (RST, {"seq": 1}, True),
    (RST, {"seq": 30000}, True),
    (RST, {"seq": 1 << 30}, False),
    (RST, {"seq": -5000}, False),
    (RST | ACK, {"seq": 100}, True),
    (SYN, {"seq": 0}, True),
    (SYN, {"seq": 1000}, True),
    (SYN, {"seq": 1 << 30}, True),
    (SYN | ACK, {"seq": 10}, True),
    (ACK, {"ack": 1000000}, True),
    (ACK, {"ack": -(1 << 30)}, True),
    (ACK | PSH, {"ack": -(1 << 30), "data": b"injected"}, True),
    (ACK | PSH, {"seq": 1 << 30, "data": b"injected"}, True),
    (ACK | FIN, {"ack": 1000000}, True),
]


@pytest.mark.parametrize("timestamps", [True, False], ids=["timestamps", "none"])
def test_blind_segments_do_no_harm(timestamps, family):
    """A challenge ACK where there is to be one, and the connection goes on.

    On a connection with timestamps what has none is dropped before (RFC 7323 3.2), but for SYN
    and RST.
    """
    with Wire(timestamps=timestamps, family=family) as wire, Raw(wire) as raw:
        peer = wire.peer("--connections", 1)
        victim = Victim(wire, raw)
        for flags, fields, challenge in BLIND:
            challenge = challenge and (not timestamps or bool(flags & (SYN | RST)))
            time.sleep(0.12)  # ten challenge ACKs of one connection in a second, no more
            raw.drain()
            victim.forge(flags, **fields)
            challenged = victim.challenged(2 if challenge else 0.1) is not None
            assert challenged == challenge, (flags, fields)
            say(victim.sock, b"still here")
            victim.look()
        victim.sock.close()
        report = peer.report(wait=10)
    assert report["outcomes"]["done"] == 1


def test_a_reset_at_the_exact_number_counts(wire, raw):
    peer = wire.peer("--connections", 1)
    victim = Victim(wire, raw)
    victim.forge(RST)
    report = peer.report(wait=10)
    assert report["outcomes"]["reset"] == 1
    victim.sock.close()


def test_a_storm_of_blind_segments(wire, raw):
    """Random numbers, thousands of them: challenge ACKs are limited, the bytes are right."""
    source = random.Random(2)
    peer = wire.peer("--connections", 1)
    victim = Victim(wire, raw)
    for turn in range(40):
        for _ in range(100):
            # Not so near that one could hit: that is the attack which must succeed.
            seq = source.randrange(1 << 20, (1 << 32) - (1 << 20))
            victim.forge(source.choice([RST, SYN, ACK, ACK | FIN, ACK | PSH]), seq=seq,
                         ack=source.randrange(1 << 32), data=b"x" * source.randrange(2))
        say(victim.sock, b"%06d" % turn * 100)
    victim.sock.close()
    report = peer.report(wait=10)
    assert report["outcomes"]["done"] == 1
    print(dropped(report), report["tcp"]["tcp_challenge_acks_total"],
          report["tcp"]["tcp_challenge_acks_suppressed_total"])


# --- windows -------------------------------------------------------------------------------------

def test_a_window_that_shrinks(wire, raw):
    """What was sent into the old window is sent again as the new one allows (RFC 9293 3.8.6)."""
    size = 60000
    peer = wire.peer("--connections", 1, bytes_=size)
    connection = Connection(raw, HAND[wire.family], 40000, SOURCE, window=20000, mss=1000)
    data = b""
    windows = [20000, 15000, 5000, 1000, 300, 0, 700, 20000, 3000, 65535]
    for window in windows:
        connection.window = window
        connection.send(ACK)
        if window == 0:
            probe = connection.wait(lambda segment: segment.seq != connection.rcv_nxt or
                                    len(segment.data) <= 1, 5)
            assert probe, "a closed window is not probed"
            continue
        data += connection.read(min(window, 1000) // 2 + 1, timeout=15)
    data += connection.read(size - len(data), timeout=30)
    assert data == pattern(size)
    assert connection.wait(lambda segment: segment.flags & FIN, 5)
    connection.rcv_nxt += 1
    connection.send(ACK | FIN)
    report = peer.report(wait=20)
    assert report["outcomes"]["done"] == 1


def test_a_window_that_stays_shut(wire, raw):
    """Probed for as long as the peer answers; bytes queued do not grow without end."""
    peer = wire.peer("--connections", 1, "--tcp", "rto_max_us=500000", "--tcp", "retries=5",
                     bytes_=10000)
    connection = Connection(raw, HAND[wire.family], 40001, SOURCE, window=1000, mss=1000)
    connection.read(1000)
    connection.window = 0
    connection.send(ACK)
    probes = 0
    deadline = time.monotonic() + 6  # past five retransmissions at half a second
    while time.monotonic() < deadline:
        if connection.wait(timeout=1):
            probes += 1
            connection.send(ACK)
    assert probes >= 6
    connection.window = 65535
    connection.send(ACK)
    connection.read(9000)
    connection.rcv_nxt += 1
    connection.send(ACK | FIN)
    report = peer.report(wait=20)
    assert report["outcomes"]["done"] == 1


# --- silence -------------------------------------------------------------------------------------

PATIENCE = ["--tcp", "rto_max_us=400000", "--tcp", "retries=5"]


def test_a_peer_that_goes_silent_times_out(wire, raw):
    peer = wire.peer("--connections", 1, *PATIENCE, bytes_=100000)
    connection = Connection(raw, HAND[wire.family], 40002, SOURCE)
    connection.read(5000)
    begun = time.monotonic()
    report = peer.report(wait=15)
    assert report["outcomes"]["timeout"] == 1
    assert report["tcp"]["tcp_timeouts_total"] >= 5
    print(f"given up after {time.monotonic() - begun:.1f} s")


def test_a_wire_that_is_cut_times_out(wire):
    peer = wire.peer("--connections", 1, *PATIENCE, bytes_=1 << 30)
    sock = wire.connect(SOURCE)
    sock.recv(1000)
    wire.ip("kernel", "link", "set", "eth0", "down")
    report = peer.report(wait=15)
    assert report["outcomes"]["timeout"] == 1
    sock.close()


def test_a_half_open_connection_is_found_out(wire, raw):
    """The peer has forgotten: its new SYN draws a challenge ACK, its RST ends what was left."""
    peer = wire.peer("--connections", 2)
    old = Connection(raw, HAND[wire.family], 40003, SINK)
    old.write(pattern(100))
    assert old.wait(lambda segment: segment.ack == old.snd_nxt)
    raw.send(Segment(*old.ends, 77777, flags=SYN))
    challenge = old.wait(lambda segment: segment.is_only(ACK), 3)
    assert challenge and challenge.ack == old.snd_nxt
    old.send(RST, seq=challenge.ack)
    time.sleep(0.1)
    new = Connection(raw, HAND[wire.family], 40003, SINK)
    new.write(pattern(50))
    assert new.wait(lambda segment: segment.ack == new.snd_nxt)
    new.send(FIN | ACK)
    new.snd_nxt += 1
    fin = new.wait(lambda segment: segment.flags & FIN, 3)
    assert fin
    new.rcv_nxt = fin.seq + 1
    new.send(ACK)
    report = peer.report(wait=10)
    assert report["outcomes"]["reset"] == 1 and report["outcomes"]["done"] == 1
