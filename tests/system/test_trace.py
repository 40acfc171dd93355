# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""offramp trace: what it shows of each port is one conversation in which nothing is missing.

tshark is the judge: it follows every connection and says when a segment is acknowledged that was
never seen, or when one is missing before another.
"""

import collections
import itertools
import json
import os
import signal
import subprocess
import time

import pytest

from bed import BUILD, eventually

pytestmark = pytest.mark.stack_only

OFFRAMP = os.path.join(BUILD, "offramp")
MESSAGES = 400
_names = itertools.count()
FIELDS = ("frame.interface_name", "frame.packet_flags_direction")
IN, OUT = "0x00000001", "0x00000002"


class Trace:
    """A capture that runs while the block does."""

    def __init__(self, bed, path, *options):
        self.path = str(path)
        self.process = bed.popen(OFFRAMP, "trace", "--pcapng", self.path, *options, host="offramp")
        # The file's head comes when the workers copy.
        assert eventually(lambda: os.path.exists(self.path) and os.path.getsize(self.path), 20)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGKILL if kind else signal.SIGINT)
        _, said = self.process.communicate(timeout=60)
        if not kind:
            assert self.process.returncode == 0, said
            assert said.endswith(" 0 lost\n"), said


def packets(path, display_filter=""):
    options = [word for field in FIELDS for word in ("-e", field)]
    done = subprocess.run(["tshark", "-n", "-r", str(path), "-T", "json", "-Y", display_filter,
                           *options], capture_output=True, text=True, timeout=120, check=True)
    return [{key: value[0] for key, value in packet["_source"]["layers"].items()}
            for packet in json.loads(done.stdout or "[]")]


@pytest.fixture
def converse(bed):
    """A subscriber gets what a publisher sends, and both leave. Returns their TCP ports."""
    def converse_(messages=MESSAGES):
        name = f"trace{next(_names)}"
        subscriber, publisher = bed.client(f"{name}s"), bed.client(f"{name}p")
        subscriber.subscribe(f"{name}/#", options=1)
        for number in range(messages):
            publisher.publish(f"{name}/{number % 7}", b"m%d " % number * (1 + number % 300), 1,
                              timeout=bed.seconds(20))
        got = subscriber.payloads(messages, bed.seconds(30))
        assert len(got) == messages
        ports = [client.sock.getsockname()[1] for client in (subscriber, publisher)]
        subscriber.leave()
        publisher.leave()
        return ports

    return converse_


def ends(bed, path, ports):
    """Both clients' connections have been seen to their ends, on the clients' side."""
    def closed():
        wanted = " || ".join(f"(tcp.port == {port} && tcp.flags.fin == 1)" for port in ports)
        seen = collections.Counter(packet["frame.packet_flags_direction"]
                                   for packet in packets(path, wanted))
        return len(seen) == 2 and min(seen.values()) >= len(ports)
    return eventually(closed, bed.seconds(10), 0.3)


@pytest.mark.core
def test_each_port_shows_whole_conversations(bed, converse, tmp_path):
    path = tmp_path / "whole.pcapng"
    with Trace(bed, path):
        ports = converse()
        assert ends(bed, path, ports)
    assert not packets(path, "tcp.analysis.ack_lost_segment")
    seen = collections.Counter()
    for packet in packets(path, "tcp.flags.syn == 1 && tcp.flags.ack == 0"):
        seen[packet["frame.interface_name"], packet["frame.packet_flags_direction"]] += 1
    # Clients' connections come in there and go out here, if there is a wire to the broker at all.
    crossed = {("clients", IN): True, ("broker", OUT): True}
    if bed.mode.startswith("socket"):
        del crossed["broker", OUT]
    assert {key: count >= 2 for key, count in seen.items()} == crossed
    if bed.is_impaired:  # what the bad wire took from what is sent was never on the real one
        assert packets(path, "tcp.analysis.retransmission")
    else:
        assert not packets(path, "tcp.analysis.lost_segment")
    done = subprocess.run(["capinfos", "-M", str(path)], capture_output=True, text=True,
                          timeout=60, check=True)
    assert f"Number of interfaces in file: {len(crossed)}" in done.stdout
    assert "nanoseconds (9)" in done.stdout


def test_a_pipe_shows_messages_as_they_come(bed, converse):
    trace = bed.popen(OFFRAMP, "trace", "--pcapng", "-", "--port", "clients", f"tcp port {bed.port}",
                      host="offramp")
    shark = subprocess.Popen(
        ["tshark", "-n", "-l", "-i", "-", "-Y", "mqtt.msgtype == 3", "-T", "fields", "-e",
         "frame.interface_name", "-e", "mqtt.topic"],
        stdin=trace.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    trace.stdout.close()  # tshark's now
    try:
        time.sleep(bed.seconds(3))  # it does not say when it looks
        converse(3)
        assert shark.stdout.readline().startswith("clients\ttrace")
    finally:
        trace.send_signal(signal.SIGINT)
        said = trace.stderr.read()
        assert trace.wait(20) == 0, said
        shark.communicate(timeout=20)


def test_a_filter_and_a_port(bed, converse, tmp_path):
    path, other = tmp_path / "some.pcapng", tmp_path / "none.pcapng"
    port = "clients" if bed.shape == "socket" else "broker"  # in socket mode there is but one
    with Trace(bed, path, "--port", port, "tcp[tcpflags] & tcp-syn != 0"):
        with Trace(bed, other, "udp"):
            converse(5)
            time.sleep(0.5)
    found = packets(path)
    assert len(found) >= 4
    assert {packet["frame.interface_name"] for packet in found} == {port}
    assert len(packets(path, "tcp.flags.syn == 1")) == len(found)
    assert not packets(other, "not udp")


def test_a_killed_command_ends_its_trace(bed, converse, tmp_path):
    for number in range(6):  # more than may run at once
        path = tmp_path / f"killed{number}.pcapng"
        with pytest.raises(InterruptedError), Trace(bed, path):
            converse(2)
            raise InterruptedError
    path = tmp_path / "after.pcapng"
    with Trace(bed, path):
        converse(2)
    assert packets(path, "mqtt")


@pytest.mark.good_wires("counts frames while a flood passes")
def test_a_reader_that_stops_loses_frames_and_slows_nobody(bed, tmp_path):
    path = tmp_path / "slow.pcapng"
    trace = bed.popen(OFFRAMP, "trace", "--pcapng", str(path), "--buffer", "1024", host="offramp")
    assert eventually(lambda: path.exists() and path.stat().st_size, 20)
    trace.send_signal(signal.SIGSTOP)
    try:
        report = bed.bench("--publishers", 1, "--subscribers", 20, "--messages", 3000, "--size", 1000,
                           "--closed", "--quiet")
        assert report["delivered"] == 20 * 3000
    finally:
        trace.send_signal(signal.SIGCONT)
    trace.send_signal(signal.SIGINT)
    _, said = trace.communicate(timeout=60)
    assert trace.returncode == 0, said
    assert "frames are being lost" in said
    lost = int(said.split()[-2])
    assert lost > 1000
    assert len(packets(path)) == int(said.splitlines()[-1].split()[0])
