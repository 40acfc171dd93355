# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""How long anybody may wait for anything: the rules of RFC 6298, held against what was measured.

A writer that has something under way is never silent for longer than its retransmission timer, and
the timer is what the round trips say, doubled once for each expiry since the last of them. A reader
that gets nothing waits for silences of its writer, one after the other; how many can follow each
other is a matter of how much the wire loses.
"""

import math
import time
from dataclasses import dataclass

LEAST = {"bytes": 0.1, "advance": 0.02}  # s: shorter waits are not looked at
SLACK = 0.1  # s: of this machine, beside the pauses that its programs have noticed
RTO_MIN, RTO_MAX = 0.2, 60.0  # of the engine
KERNEL_LATE = 1 / 8  # of their length, Linux's timers: what its timer wheel rounds them up by
LUCK = 1e-6  # what is less likely than this, in a whole transfer, is taken for a fault
LOSS_LEAST = 0.001  # even a good wire is a veth, between processes that sleep now and then


@dataclass
class Wait:
    kind: str  # "bytes": of a reader; "advance": of a writer
    begin: float
    end: float
    rto: float = 0.0
    srtt: float = 0.0
    rttvar: float = 0.0
    backoff: int = 0
    port: int = 0
    late: float = 0.0  # how much of its length a timer may be late

    @property
    def length(self):
        return self.end - self.begin

    @property
    def timer(self):
        return self.rto * (1 + self.late)

    def overlaps(self, other):
        return self.begin < other.end and other.begin < self.end


class Clock:
    """Notices waits of one thing, and pauses of the process that looks."""

    def __init__(self):
        self.begin = self.seen = time.monotonic()
        self.pause = 0.0

    def look(self):
        now = time.monotonic()
        self.pause = max(self.pause, now - self.seen)
        self.seen = now
        return now


def waits_of(report, kind):
    """The waits that the peer reports."""
    assert report["waits_total"] == len(report["waits"]), "more than are listed"
    return [Wait(**wait) for wait in report["waits"] if wait["kind"] == kind]


def loss_rate(report):
    """The part of all frames, either way, that the wire took."""
    port = report["port"]
    frames = sum(sum(port[f"port_{way}_packets_total"].values()) for way in ("rx", "tx"))
    impaired = port.get("packets_impaired_total", {})
    taken = sum(impaired.get(kind, 0) for kind in ("lost", "corrupted", "overflowed"))
    taken += sum(port["packets_dropped_total"].values())
    return max(LOSS_LEAST, taken / max(1, frames))


def failures_in_a_row(loss, tries):
    """How many, at most, retransmissions of one segment fail: it is lost, or its ACK is."""
    return math.ceil(math.log(LUCK / max(1, tries)) / math.log(1 - (1 - loss) ** 2))


def check_timers(silences):
    """RFC 6298 2.3, 2.4, 5.5: the engine's timers are those that its measurements ask for."""
    for silence in silences:
        if silence.srtt > 0:
            rto = (silence.srtt + max(RTO_MIN, 4 * silence.rttvar)) * 2 ** silence.backoff
            assert abs(silence.rto - min(rto, RTO_MAX)) <= 0.001 + 0.01 * rto, silence


def check_silences(silences, slack):
    """RFC 6298 5.1 to 5.6: a timer that has been set goes off."""
    for silence in silences:
        assert silence.length <= silence.timer + slack, f"{silence}, {slack:.3f} s of slack"


@dataclass
class Explanation:
    wait: float = 0.0  # of a reader
    bound: float = 0.0  # for it
    silences: tuple = ()  # of the writer, meanwhile

    def __str__(self):
        timers = ", ".join(f"{silence.length:.3f} of {silence.rto:.3f}"
                           for silence in self.silences)
        return f"longest wait {self.wait:.3f} s of {self.bound:.3f} s (silences {timers or 'none'})"


def explain(waits, silences, rto, failures, slack):
    """Holds each wait of a reader against its writer's timers. Returns the longest.

    What the silences do not cover is time in which the writer was at work: repairing, with a round
    trip or two for that, or sending on, as duplicate ACKs allow, while the timer of a
    repair that was lost runs; after it there is nothing else to send.
    """
    round_trip = max((silence.srtt for silence in silences), default=0)
    longest = Explanation()
    for wait in waits:
        during = [silence for silence in silences if silence.overlaps(wait)]
        expiries = sum(silence.length > 0.9 * silence.rto for silence in during)
        assert expiries <= failures + 1, f"{expiries} expiries, {failures} to be expected: {wait}"
        bound = (sum(min(silence.length, silence.timer) for silence in during) +
                 rto + 2 * round_trip + slack * (1 + len(during)))
        assert wait.length <= bound, f"{wait}, {bound:.3f} s explained by {during}"
        if wait.length > longest.wait:
            longest = Explanation(wait.length, bound, during)
    return longest
