# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Many subscribers, many messages, every size: nothing lost, duplicated, reordered or corrupted.

A QoS 0 PUBLISH of a v3.1.1 client reaches a v3.1.1 subscriber as the very same bytes. So what a
subscriber's connection carries must equal what the publishers' connections carried, byte for byte:
that is compared here, without looking at MQTT at all. Nagle is on, and writes end anywhere, so
messages are coalesced and split at any byte.
"""

import os
import random
import resource
import selectors
import time

import pytest

import mqttraw as mqtt
from bed import BUILD

MESSAGES_AHEAD = 500  # of the slowest subscriber: below every broker's and client's bound
BYTES_AHEAD = 4 << 20
STALL = 30  # seconds without a byte anywhere: something is lost


@pytest.fixture(autouse=True, scope="module")
def enough_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Stream:
    """What one publisher sends, and how far it has got."""

    def __init__(self, client, packets):
        self.sock = client.sock
        self.raw = memoryview(b"".join(packets))
        self.ends = []  # of each message
        for packet in packets:
            self.ends.append((self.ends[-1] if self.ends else 0) + len(packet))
        self.sent = self.allowed = 0

    def allow(self, messages_done):
        """Not more than so far ahead of what every subscriber has."""
        done = self.ends[messages_done - 1] if messages_done else 0
        last = min(messages_done + MESSAGES_AHEAD, len(self.ends)) - 1
        self.allowed = max(self.allowed, min(self.ends[last], done + BYTES_AHEAD))

    def write(self, source):
        if self.sent < self.allowed:
            part = self.raw[self.sent:min(self.allowed, self.sent + source.randrange(1, 100000))]
            try:
                self.sent += self.sock.send(part)
            except BlockingIOError:
                pass


class Sink:
    """What one subscriber has read of a single publisher's stream."""

    def __init__(self, client, stream):
        self.client, self.sock, self.stream = client, client.sock, stream
        self.at = self.messages = 0

    def take(self, chunk):
        expected = self.stream.raw[self.at:self.at + len(chunk)]
        if chunk != bytes(expected):  # compares at once; a view does so item by item
            raise AssertionError(f"{self.client.client_id}: {self.describe(chunk, expected)}")
        self.at += len(chunk)
        ends = self.stream.ends
        while self.messages < len(ends) and ends[self.messages] <= self.at:
            self.messages += 1

    def describe(self, chunk, expected):
        if len(expected) < len(chunk):
            return f"{len(chunk) - len(expected)} bytes more than were published"
        first = next(at for at in range(len(chunk)) if chunk[at] != expected[at])
        return (f"byte {self.at + first} of the stream (in message {self.messages}) is "
                f"{bytes(chunk[first:first + 16])!r}, not {bytes(expected[first:first + 16])!r}")

    @property
    def is_done(self):
        return self.at == len(self.stream.raw)


def distribute(stream, sinks):
    """Runs one stream to all its subscribers. Returns the seconds it took."""
    source = random.Random(len(stream.raw))
    poll = selectors.DefaultSelector()
    for sink in sinks:
        sink.sock.setblocking(False)
        poll.register(sink.sock, selectors.EVENT_READ, sink)
    stream.sock.setblocking(False)
    started = progress = time.monotonic()
    waiting = len(sinks)
    slowest = 0
    stream.allow(0)
    while waiting:
        stream.write(source)
        for key, _ in poll.select(0 if stream.sent < stream.allowed else 0.2):
            chunk = key.fileobj.recv(1 << 20)
            if not chunk:
                raise AssertionError(f"{key.data.client.client_id} was let go")
            key.data.take(chunk)
            waiting -= key.data.is_done
            progress = time.monotonic()
        slowest = min(sink.messages for sink in sinks)
        stream.allow(slowest)
        if time.monotonic() - progress > STALL:
            late = [sink.client.client_id for sink in sinks if not sink.is_done]
            raise AssertionError(f"lost: {len(late)} subscribers wait, {late[:3]} for message "
                                 f"{slowest} of {len(stream.ends)}")
    assert not poll.select(0.5), "more bytes than were published"
    return time.monotonic() - started


def one_to_many(bed, subscribers, packets, topic):
    publisher = bed.client("volume-p", keep_alive=0)
    clients = [bed.client(f"volume-s{number}", keep_alive=0) for number in range(subscribers)]
    try:
        for client in clients:
            client.send(mqtt.subscribe(1, [(topic, 0)]))
        for client in clients:
            client.expect(mqtt.SUBACK)
        stream = Stream(publisher, packets)
        seconds = distribute(stream, [Sink(client, stream) for client in clients])
        print(f"{bed.mode}: {len(packets) * subscribers} deliveries in {seconds:.1f} s")
    finally:
        for client in [publisher, *clients]:
            client.close()


def numbered(topic, count, size):
    return [mqtt.publish(topic, (b"%08d" % number).ljust(size, b"%c" % (97 + number % 26)))
            for number in range(count)]


@pytest.mark.parametrize("count", [1000, pytest.param(10000, marks=pytest.mark.full)])
def test_one_publisher_to_a_thousand_subscribers(bed, count):
    one_to_many(bed, 1000, numbered("volume/fan", count, 64), "volume/fan")


# Around the lengths where a field, a segment, a buffer or an encoding ends.
SIZES = sorted({0, 1, 3, 64, 100, 1 << 20} | {
    (1 << power) + more for power in range(4, 20) for more in (-1, 0, 1)
} | {1400, 1433, 1434, 1448, 1460, 1500, 2034, 3000, 9000})


@pytest.mark.parametrize("count", [3, pytest.param(50, marks=[
    pytest.mark.full, pytest.mark.good_wires("the same, in bulk: hours")])])
def test_every_size_to_twenty_subscribers(bed, count):
    """Sizes one after the other, and then mixed."""
    packets = []
    source = random.Random(1)
    for size in SIZES:
        payload = source.randbytes(size)
        packets += [mqtt.publish("volume/size", payload[turn:] + payload[:turn])
                    for turn in range(count)]
    mixed = packets[:]
    source.shuffle(mixed)
    one_to_many(bed, 20, packets, "volume/size")
    one_to_many(bed, 20, mixed, "volume/size")


def test_a_hundred_publishers_to_a_hundred_subscribers(bed):
    """A million deliveries. Every message is told by its bytes; each publisher's are in order."""
    count = 100
    size = len(message_of(0, 0))
    publishers = [bed.client(f"volume-p{number}", keep_alive=0) for number in range(100)]
    subscribers = [bed.client(f"volume-s{number}", keep_alive=0) for number in range(100)]
    received = {client.sock: bytearray() for client in subscribers}
    checked = {client.sock: 0 for client in subscribers}
    following = {client.sock: [0] * 100 for client in subscribers}
    poll = selectors.DefaultSelector()
    for client in subscribers:
        client.subscribe("volume/all/+")
        client.sock.setblocking(False)
        poll.register(client.sock, selectors.EVENT_READ)

    def read(wait):
        for key, _ in poll.select(wait):
            received[key.fileobj] += key.fileobj.recv(1 << 20)
            check(key.fileobj)

    def check(sock):
        raw, order = received[sock], following[sock]
        while checked[sock] + size <= len(raw):
            message = raw[checked[sock]:checked[sock] + size]
            publisher = int(message[15:18])
            assert message == message_of(publisher, order[publisher])
            order[publisher] += 1
            checked[sock] += size

    started = progress = time.monotonic()
    for turn in range(0, count, 5):
        for number, client in enumerate(publishers):
            client.send(*[message_of(number, turn + more) for more in range(5)])
            read(0)
        before = -1
        while sum(checked.values()) < (turn + 5) * 100 * 100 * size:
            read(0.2)
            if sum(checked.values()) != before:
                before, progress = sum(checked.values()), time.monotonic()
            assert time.monotonic() - progress < STALL, "lost"
    print(f"{bed.mode}: {count * 10000} deliveries in {time.monotonic() - started:.1f} s")
    read(0.5)
    assert all(order == [count] * 100 for order in following.values())
    assert all(len(raw) == checked[sock] for sock, raw in received.items())
    for client in publishers + subscribers:
        client.close()


def message_of(publisher, number):
    return mqtt.publish(f"volume/all/{publisher:03d}", b"%06d" % number + b"m" * 50)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1])
def test_bench_sees_nothing_wrong(bed, version, qos):
    """offramp-bench stamps every message and counts what is wrong with any.

    Never more than 20 QoS 1 messages are on their way to one subscriber: what had to queue beyond
    its in-flight window, mosquitto 2.0.11 counts for the life of a client, and drops from 1,000 on.
    """
    if not os.access(os.path.join(BUILD, "offramp-bench"), os.X_OK):
        pytest.fail(f"{BUILD}/offramp-bench is not there")
    for shape in (["-P", 1, "-S", 100, "-t", "one-to-many", "-n", 300],
                  ["-P", 15, "-S", 1, "-t", "many-to-one", "-n", 40],
                  ["-P", 20, "-S", 20, "-t", "pairs", "-n", 100],
                  ["-P", 10, "-S", 10, "-t", "all-to-all", "-n", 50]):
        result = bed.bench(*shape, "-q", qos, "-V", version, "--nagle", "--closed", "--warmup", 0,
                           "--quiet")
        wrong = {key: result[key] for key in ("lost", "duplicated", "reordered", "corrupted",
                                              "unexpected", "connections_lost", "refused")}
        assert not any(wrong.values()), (shape, wrong)
        assert result["delivered"] == result["expected"] > 0
