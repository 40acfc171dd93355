# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What a bump in the wire says to each end, captured at that end: two conversations in which all is right.

dumpcap captures on the interfaces of the clients' and the broker's host, tshark takes the captures
apart. Of each connection, in each direction: nothing is beyond what the receiver has allowed, nothing is
acknowledged that was not sent, nothing is missing, and every segment that Offramp has sent twice is one
that it has counted.
"""

import collections
import signal
import subprocess

import pytest

from bed import eventually

pytestmark = [pytest.mark.stack_only, pytest.mark.monitor_only, pytest.mark.full,
              pytest.mark.good_wires("counts what good wires do not need")]

MESSAGES, SUBSCRIBERS = 5000, 20  # 100,000 deliveries
FIELDS = ("tcp.stream", "tcp.srcport", "tcp.flags.syn", "tcp.flags.reset", "tcp.flags.fin",
          "tcp.seq", "tcp.len", "tcp.ack", "tcp.window_size", "tcp.analysis.ack_lost_segment",
          "tcp.analysis.lost_segment", "tcp.analysis.keep_alive")


class Capture:
    """Of a host's interface, until the block ends."""

    def __init__(self, bed, host, path):
        self.bed, self.host, self.path = bed, host, path

    def __enter__(self):
        self.process = self.bed.popen("dumpcap", "-q", "-i", "eth0", "-f", f"tcp port {self.bed.port}",
                                      "-s", "120", "-B", "256", "-w", self.path, host=self.host)
        assert eventually(lambda: self.path.exists() and self.path.stat().st_size)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        _, said = self.process.communicate(timeout=30)
        assert "dropped on interface 'eth0': " in said and "/0 (" in said, said

    def segments(self):
        """One after the other, as dicts of numbers; what is not said of one is 0."""
        command = ["tshark", "-n", "-r", str(self.path), "-T", "fields", "-E", "separator=,", "-o",
                   "tcp.relative_sequence_numbers:TRUE"]
        for field in FIELDS:
            command += ["-e", field]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as shark:
            for line in shark.stdout:
                words = line.rstrip("\n").split(",")
                yield {field: number(word) for field, word in zip(FIELDS, words)}
        assert shark.returncode == 0


def number(word):
    return 0 if not word else int(word) if word.isdigit() else 1  # a note is there or is not


class Direction:
    """What one end has sent."""

    def __init__(self):
        self.next = 0  # number of the first octet that it has never sent
        self.acked = 0  # to here it has acknowledged
        self.allowed = None  # to here it takes


def judge(segments, broker_port):
    """(what is wrong: kind → how often, segments sent again: by broker's side or clients' side → how often)."""
    ends = collections.defaultdict(lambda: (Direction(), Direction()))
    wrong, again, count = collections.Counter(), collections.Counter(), 0
    for seg in segments:
        from_broker = seg["tcp.srcport"] == broker_port
        own, other = ends[seg["tcp.stream"]][::1 if from_broker else -1]
        length = seg["tcp.len"] + seg["tcp.flags.syn"] + seg["tcp.flags.fin"]
        end = seg["tcp.seq"] + length
        count += 1
        if seg["tcp.flags.reset"]:
            continue
        if length and seg["tcp.seq"] < own.next and not seg["tcp.flags.syn"]:
            again["broker" if from_broker else "clients"] += 1
        if seg["tcp.len"] and other.allowed is not None and end > other.allowed + seg["tcp.flags.fin"]:
            wrong["out of window"] += 1
        if seg["tcp.ack"] > other.next:
            wrong["acknowledges what was not sent"] += 1
        if length and own.next and seg["tcp.seq"] > own.next:
            wrong["something is missing before it"] += 1
        edge = seg["tcp.ack"] + seg["tcp.window_size"]
        if own.allowed is not None and edge < own.allowed and seg["tcp.ack"] >= own.acked:
            wrong["takes its window back"] += 1
        for note in ("tcp.analysis.ack_lost_segment", "tcp.analysis.lost_segment"):
            wrong[note] += seg[note]
        own.next = max(own.next, end)
        own.acked = max(own.acked, seg["tcp.ack"])
        own.allowed = max(own.allowed or 0, edge)
    return +wrong, again, count


def all_ended(bed):
    states = bed.counters()["tcp_connections"]
    return not any(count for state, count in states.items() if state != "TIME_WAIT")


@pytest.mark.parametrize("load", [("-q", 0, "-r", 100), ("-q", 1, "--closed=16")],
                         ids=["paced", "saturated"])
def test_both_captures_are_in_order(bed, tmp_path, load):
    before = bed.counters()["tcp_retransmits_total"]
    with Capture(bed, "clients", tmp_path / "clients.pcapng") as at_clients, \
            Capture(bed, "broker", tmp_path / "broker.pcapng") as at_broker:
        report = bed.bench("-P", 5, "-S", SUBSCRIBERS, "-t", "one-to-many", *load, "-n",
                           MESSAGES // 5, "--warmup", 0, "--quiet")
        assert eventually(lambda: all_ended(bed))
    assert report["lost"] == 0 and report["delivered"] == MESSAGES * SUBSCRIBERS
    counted = bed.counters()["tcp_retransmits_total"] - before
    seen = 0
    for capture, offramp in ((at_clients, "broker"), (at_broker, "clients")):
        wrong, again, count = judge(capture.segments(), bed.port)
        print(f"{capture.host}: {count} segments, sent again by Offramp {again[offramp]}, by the host "
              f"{again.total() - again[offramp]}; wrong: {dict(wrong)}")
        assert not wrong
        seen += again[offramp]
    print(f"counted by Offramp: {counted}")
    assert seen == counted
