# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""`ack: end-to-end`: what a kernel is told has arrived is in the other one.

Both kernels count what they have sent and what was acknowledged (`ss -i`). Retained messages pass, so
nothing is put into these connections and nothing taken out: the counts can be compared.
"""

import os
import re
import signal
import socket

import pytest

import mqttraw as mqtt
from bed import eventually

pytestmark = [pytest.mark.stack_only, pytest.mark.monitor_only]

OVERLAY = os.path.join(os.path.dirname(__file__), "end-to-end.yaml")


def up_options(mode):
    return ("--config", OVERLAY)


@pytest.fixture
def own(open_bed, mode):
    """A testbed that the test may break."""
    bed = open_bed(mode, "--config", OVERLAY)
    yield bed
    bed.down()


class Kernel:
    """What one host's kernel says of the connection of a client."""

    def __init__(self, bed, client, host):
        self.bed, self.host = bed, host
        self.port = client.sock.getsockname()[1]

    def counts(self):
        side = "sport" if self.host == "clients" else "dport"
        text = self.bed.run("ss", "-tnHi", side, "=", f":{self.port}", host=self.host).stdout
        counts = {name: int(value) for name, value in re.findall(r"(bytes_\w+):(\d+)", text)}
        counts["unacknowledged"] = int(text.split()[2])  # Send-Q
        return counts

    def received(self):
        return self.counts().get("bytes_received", 0)

    def acknowledged(self):
        return self.counts().get("bytes_acked", 0)


def numbered(number, topic="end-to-end"):
    """A message that passes."""
    return mqtt.publish(topic, b"%06d" % number + b"x" * 1000, retain=True)


def test_the_broker_sees_that_a_client_does_not_read(bed):
    slow, publisher = bed.client("slow", receive_buffer=4096), bed.client("publisher")
    here, there = Kernel(bed, slow, "clients"), Kernel(bed, slow, "broker")
    slow.subscribe("end-to-end")
    for number in range(200):
        publisher.send(numbered(number))
    publisher.ping()
    size = len(numbered(0))
    # Its kernel keeps as much as it may, as it would without Offramp.
    assert eventually(lambda: there.counts()["unacknowledged"] > 10 * size, bed.seconds(5))
    # The SYN counts, and so may a beginning of a packet of which the rest had not come.
    assert there.acknowledged() <= here.received() + 1 + size
    assert [int(payload[:6]) for payload in slow.payloads(200)] == list(range(200))
    assert eventually(lambda: there.counts()["unacknowledged"] == 0, bed.seconds(5))
    assert there.acknowledged() <= here.received() + 1


def test_nagle_s_algorithm_waits_for_nothing_that_waits_for_it(bed):
    """Of a packet that comes in parts, the sender waits for the ACK of each."""
    publisher, subscriber = bed.client("parts"), bed.client("subscriber")
    publisher.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    subscriber.subscribe("parts")
    for number in range(20):
        for packet in (numbered(number, "parts"), mqtt.publish("parts", b"%06d" % number)):
            for part in (packet[:1], packet[1:7], packet[7:]):
                publisher.sock.sendall(part)
    # Those that pass and those that are captured: each path in its order.
    numbers = [int(payload[:6]) for payload in subscriber.payloads(40)]
    assert sorted(numbers) == sorted(2 * list(range(20)))
    assert numbers == sorted(numbers)
    publisher.leave()
    subscriber.leave()


def test_after_a_crash_what_was_acknowledged_has_arrived(own):
    """kill -9, while the broker does not read and so leaves much on the way."""
    client = own.client("client")
    here, there = Kernel(own, client, "clients"), Kernel(own, client, "broker")
    client.ping()
    already = here.acknowledged()
    os.kill(own.pid("broker"), signal.SIGSTOP)
    try:
        data, sent = b"".join(numbered(number) for number in range(10000)), 0
        client.sock.settimeout(own.seconds(1))
        with pytest.raises(TimeoutError):
            while sent < len(data):
                sent += client.sock.send(data[sent:])
        own.tool("stop", "daemon", "--signal", "KILL")
        # A beginning of which the rest has not come is acknowledged, but is no message yet.
        arrived = (here.acknowledged() - already) // len(numbered(0))
        assert already + arrived * len(numbered(0)) <= there.received() + 1
        assert here.counts()["unacknowledged"] > 0
    finally:
        os.kill(own.pid("broker"), signal.SIGCONT)
    assert 0 < arrived < sent // len(numbered(0))
    own.tool("start", "daemon")
    client.sock.settimeout(20)
    client.wait_closed(own.seconds(5))
    with own.client("witness") as witness:
        witness.subscribe("end-to-end")
        assert int(witness.payloads(1)[0][:6]) >= arrived - 1
