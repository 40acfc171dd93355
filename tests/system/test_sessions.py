# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Persistent sessions: what a client is owed when its connection ends, and what it gets when it
comes back. All of it holds with the broker alone.
"""

import itertools
import os
import signal
import threading
import time

import pytest

import mqttraw as mqtt
from bed import eventually

VERSIONS = (4, 5)
_names = itertools.count()


@pytest.fixture
def topic():
    return f"session/{next(_names)}"


@pytest.fixture
def make(bed):
    """Connects clients that are gone at the end."""
    made = []

    def make_(version=4, client_id=None, **options):
        client = bed.client(client_id or f"c{next(_names)}", version, **options)
        made.append(client)
        return client

    yield make_
    for client in made:
        client.leave()


@pytest.fixture
def stay(bed, make):
    """Connects to a session that stays; it is gone at the end."""
    names = set()

    def stay_(name, version=4, expiry=300, props=(), **options):
        names.add(name)
        if version == 5:
            options["props"] = [("session_expiry", expiry), *props]
        return make(version, name, clean=False, **options)

    yield stay_
    for name in names:
        bed.client(name).leave()


def texts(count, start=0):
    return [b"m%d" % number for number in range(start, start + count)]


def captured(bed):
    return bed.counters()["publish_captured_total"]["1"] if bed.is_stack else 0


def captures(bed, topic, make):
    """Waits until a QoS 1 message of a new publisher is captured."""
    def try_():
        before = captured(bed)
        publisher = make()
        publisher.publish(topic, b"?", 1)
        publisher.leave()
        return captured(bed) == before + 1

    return not bed.is_stack or eventually(try_, 20, 0.3)


@pytest.mark.parametrize("version", VERSIONS)
def test_unacknowledged_messages_come_again(bed, make, stay, topic, version):
    publisher = make(version)
    subscriber = stay(topic, version)
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    with bed.watch() as watch:
        for text in texts(5):
            publisher.publish(topic, text, 1)
        first = subscriber.messages(5)
        if bed.is_stack:
            assert (watch.captured(1), watch.passed()) == (5, 0)
    assert [(m.payload, m.dup) for m in first] == [(text, False) for text in texts(5)]
    subscriber.send(mqtt.ack(mqtt.PUBACK, first[0].pid), mqtt.ack(mqtt.PUBACK, first[1].pid))
    time.sleep(0.2)
    subscriber.reset()
    for _ in range(2):
        subscriber = stay(topic, version)
        assert subscriber.connack.session_present
        subscriber.auto_ack = False
        again = subscriber.messages(3)
        assert [(m.payload, m.pid, m.dup) for m in again] == [
            (m.payload, m.pid, True) for m in first[2:]]
        subscriber.reset()
    subscriber = stay(topic, version)
    assert subscriber.payloads(3) == texts(3, 2)
    assert not subscriber.rest(0.2)
    subscriber.leave()
    subscriber = stay(topic, version)
    assert subscriber.connack.session_present
    assert not subscriber.rest(0.2)


@pytest.mark.parametrize("first,second", [(4, 5), (5, 4)])
def test_the_version_may_change(bed, make, stay, topic, first, second):
    publisher = make(5)
    subscriber = stay(topic, first)
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    for text in texts(3):
        publisher.publish(topic, text, 1, props=[("user_property", ("a", "b")),
                                                 ("message_expiry", 200)])
    subscriber.messages(3)
    subscriber.reset()
    subscriber = stay(topic, second)
    assert subscriber.payloads(3) == texts(3)
    assert not subscriber.rest(0.2)


def test_one_at_a_time(bed, make, stay, topic):
    """Receive Maximum 1: what was sent, what waited, what came meanwhile."""
    publisher = make(5)
    subscriber = stay(topic, 5, props=[("receive_maximum", 1)])
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    for text in texts(5):
        publisher.publish(topic, text, 1)
    assert subscriber.payloads(1) == texts(1)
    assert not subscriber.rest(0.2)
    subscriber.reset()
    time.sleep(0.3)
    for text in texts(5, 5):
        publisher.publish(topic, text, 1)
    subscriber = stay(topic, 5, props=[("receive_maximum", 1)])
    subscriber.auto_ack = False
    for number, text in enumerate(texts(10)):
        message = subscriber.expect(mqtt.PUBLISH)
        assert (message.payload, message.dup) == (text, number == 0)
        if number < 2:
            assert not subscriber.rest(0.1)
        subscriber.send(mqtt.ack(mqtt.PUBACK, message.pid))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_takeover_takes_everything_along(bed, make, stay, topic, version):
    publisher = make(version)
    old = stay(topic, version)
    old.subscribe(topic, options=1)
    old.auto_ack = False
    for text in texts(3):
        publisher.publish(topic, text, 1)
    first = old.messages(3)
    new = stay(topic, version)
    assert new.connack.session_present
    again = new.messages(3)
    assert [(m.payload, m.pid, m.dup) for m in again] == [
        (m.payload, m.pid, True) for m in first]
    publisher.publish(topic, b"new", 1)
    assert new.payloads(1) == [b"new"]
    assert not [m for m in old.wait_closed() if m.kind == mqtt.PUBLISH]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clean_start_wipes(bed, make, stay, topic, version):
    publisher = make(version)
    subscriber = stay(topic, version)
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    for text in texts(3):
        publisher.publish(topic, text, 1)
    subscriber.messages(3)
    subscriber.reset()
    time.sleep(0.2)
    clean = make(version, topic)
    assert not clean.connack.session_present
    assert not clean.rest(0.3)
    clean.leave()
    subscriber = stay(topic, version)
    assert not subscriber.connack.session_present
    assert not subscriber.rest(0.3)


def test_a_session_ends_in_time(bed, make, stay, topic):
    publisher = make(5)
    subscriber = stay(topic, 5, expiry=1)
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    publisher.publish(topic, b"m", 1)
    subscriber.messages(1)
    subscriber.reset()
    time.sleep(4)
    subscriber = stay(topic, 5)
    assert not subscriber.connack.session_present
    assert not subscriber.rest(0.3)


class Stream:
    """A publisher that goes on and on."""

    def __init__(self, make, topic, pause, version=4):
        self.client, self.topic, self.pause = make(version), topic, pause
        self.count, self.stopped = 0, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopped.is_set():
            self.client.publish(self.topic, b"m%d" % self.count, 1)
            self.count += 1
            time.sleep(self.pause)

    def stop(self):
        self.stopped.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.count


def collect(client, seen, until, timeout=40):
    """New messages in order, until so many have been seen; only what comes with DUP may be old."""
    deadline = time.monotonic() + timeout
    while seen[0] < until() and time.monotonic() < deadline:
        try:
            message = client.expect(mqtt.PUBLISH, 0.5)
        except mqtt.Timeout:
            continue
        number = int(message.payload[1:])
        assert number == seen[0] or message.dup and number < seen[0], (number, seen)
        seen[0] += number == seen[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_queued_comes_first(bed, make, stay, topic, version):
    """500 messages wait in the broker; the publisher goes on while the client comes back."""
    subscriber = stay(topic, version)
    subscriber.subscribe(topic, options=1)
    subscriber.leave()
    time.sleep(0.2)
    stream = Stream(make, topic, 0)
    assert eventually(lambda: stream.count >= 500)
    stream.pause = 0.002
    seen = [0]
    subscriber = stay(topic, version)
    assert subscriber.connack.session_present
    collect(subscriber, seen, lambda: 1500)
    assert seen[0] >= 1500
    if bed.is_stack:  # and goes back to the short way
        stream.pause = 0.01
        before = captured(bed)
        until = time.monotonic() + 40
        while captured(bed) <= before + 10 and time.monotonic() < until:
            collect(subscriber, seen, lambda: stream.count)
        assert captured(bed) > before + 10
    count = stream.stop()
    collect(subscriber, seen, lambda: count)
    assert seen[0] == count
    assert not subscriber.rest(0.3)


@pytest.mark.parametrize("end", ["leave", "close", "reset"])
def test_coming_and_going_loses_nothing(bed, make, stay, topic, end):
    """The client leaves again and again, in the middle of the stream."""
    subscriber = stay(topic)
    subscriber.subscribe(topic, options=1)
    stream = Stream(make, topic, 0.001)
    seen = [0]
    for _ in range(8):
        until = time.monotonic() + 0.7
        collect(subscriber, seen, lambda: (
            seen[0] + 1 if time.monotonic() < until else seen[0]))  # pylint: disable=W0640
        getattr(subscriber, end)()
        time.sleep(0.2)
        subscriber = stay(topic)
        assert subscriber.connack.session_present
    count = stream.stop()
    collect(subscriber, seen, lambda: count)
    assert seen[0] == count
    assert not [m for m in subscriber.rest(0.3) if not m.dup]


def test_a_publisher_that_comes_back_does_not_overtake_itself(bed, make, stay, topic):
    """What it sent before lies in the broker, which hands it out 20 at a time."""
    subscriber = stay(topic)
    subscriber.subscribe(topic, options=1)
    subscriber.leave()
    time.sleep(0.2)
    with make(4, f"{topic}-p") as publisher:
        for text in texts(100):
            publisher.publish(topic, text, 1)
        publisher.leave()
    subscriber = stay(topic)
    publisher = make(4, f"{topic}-p")
    for text in texts(50, 100):
        publisher.publish(topic, text, 1)
    assert subscriber.payloads(150) == texts(150)


def test_it_is_served_without_the_broker(bed, make, stay, topic):
    """Also after it came back."""
    subscriber = stay(topic)
    subscriber.subscribe(topic, options=1)
    for _ in range(2):
        assert captures(bed, topic, make)
        subscriber.rest(0.2)
        publisher = make()
        with bed.watch() as watch:
            for text in texts(100):
                publisher.publish(topic, text, 1)
            assert subscriber.payloads(100) == texts(100)
            watch.broker_received((100, 290), behind=(0, 0))
        subscriber.leave()
        time.sleep(0.2)
        subscriber = stay(topic)


# --- an orderly stop ---

@pytest.fixture
def own(open_bed, mode):
    """A testbed of the test's own, for stopping the daemon and starting it again."""
    bed = open_bed(mode)
    yield bed
    bed.down()


def come(bed, name, version=4, *props):
    """Connects to a session that stays, and acknowledges nothing."""
    options = {"props": [("session_expiry", 300), *props]} if version == 5 else {}
    client = bed.client(name, version, clean=False, **options)
    client.auto_ack = False
    return client


def come_back(bed, name, version=4, *props):
    client = come(bed, name, version, *props)
    assert client.connack.session_present
    return client


def owed(bed):
    return bed.counters()["deliveries_kept"]


def restart(bed):
    bed.tool("stop", "daemon")
    bed.tool("start", "daemon")


def publish(bed, topic, messages, **options):
    """All are captured, if they are at all."""
    publisher = bed.client("publisher", 5)
    with bed.watch() as watch:
        for text in messages:
            publisher.publish(topic, text, 1, **options)
        assert watch.captured(1) == len(messages)
    publisher.leave()


def acknowledge(client, messages):
    client.send(*(mqtt.ack(mqtt.PUBACK, message.pid) for message in messages))


@pytest.mark.stack_only
@pytest.mark.parametrize("version", VERSIONS)
def test_an_orderly_stop_loses_nothing(own, topic, version):
    """Not to who is away, nor to who is connected; the broker's follow."""
    names = ("away", "partly", "here")
    clients = [come(own, name, version) for name in names]
    for client in clients:
        client.subscribe(topic, options=1)
    publish(own, topic, texts(50))
    first = [client.messages(50) for client in clients]
    away, partly, here = clients
    acknowledge(partly, first[1][:20])
    eventually(lambda: owed(own) == 130)
    away.reset()
    partly.leave()
    restart(own)
    here.wait_closed()
    assert owed(own) == 0  # nobody has come yet
    publisher = own.client("publisher", version)
    for text in texts(10, 50):
        publisher.publish(topic, text, 1)
    for name, sent, start in zip(names, first, (0, 20, 0)):
        client = come_back(own, name, version)
        again = client.messages(60 - start)
        assert [m.payload for m in again] == texts(60 - start, start)
        assert [(m.pid, m.dup) for m in again[:50 - start]] == [
            (m.pid, True) for m in sent[start:]]
        assert len({m.pid for m in again}) == 60 - start
        acknowledge(client, again)
        assert not client.rest(0.3)
        client.reset()
        client = come_back(own, name, version)
        assert not client.rest(0.2)
        client.leave()
    assert own.counters()["deliveries_resent_total"] == 130
    assert owed(own) == 0


@pytest.mark.stack_only
def test_what_waited_at_an_orderly_stop_is_sent_for_the_first_time(own, topic):
    """Receive Maximum 3: of who is away, and of who is there and acknowledges nothing."""
    maximum = ("receive_maximum", 3)
    clients = {name: come(own, name, 5, maximum) for name in ("away", "here")}
    for number, client in enumerate(clients.values()):
        client.subscribe(topic, options=1, props=[("subscription_id", number + 1)])
    properties = [("message_expiry", 600), ("user_property", ("a", "b"))]
    publish(own, topic, texts(10), props=properties)
    first = {name: client.messages(3) for name, client in clients.items()}
    clients["away"].reset()
    # It waits for who is there; the second signal makes an end of that.
    pid = own.pid("daemon")
    os.kill(pid, signal.SIGTERM)
    assert not eventually(lambda: not own.is_alive("daemon"), 1)
    os.kill(pid, signal.SIGTERM)
    assert eventually(lambda: not own.is_alive("daemon"), own.seconds(5))
    own.tool("start", "daemon")
    for number, (name, sent) in enumerate(first.items()):
        client = come_back(own, name, 5, maximum)
        again = client.messages(3)
        assert [(m.payload, m.pid, m.dup) for m in again] == [
            (m.payload, m.pid, True) for m in sent]
        assert not client.rest(0.2)
        acknowledge(client, again)
        client.auto_ack = True
        rest = client.messages(7)
        assert [(m.payload, m.dup) for m in rest] == [(text, False) for text in texts(7, 3)]
        for message in rest:
            found = dict(message.props)
            assert 0 < found.pop("message_expiry") <= 600
            assert found == {"user_property": ("a", "b"), "subscription_id": number + 1}
        assert not client.rest(0.2)
        client.leave()


@pytest.mark.stack_only
def test_what_is_owed_survives_more_than_one_stop(own, topic):
    """Whoever comes late, with another version; a session that is wiped is owed nothing."""
    large = b"x" * 300000
    clients = [come(own, "late", 4), come(own, "wiped", 5)]
    for client in clients:
        client.subscribe(topic, options=1)
    publish(own, topic, [b"m0", large, b"m2"])
    sent = clients[0].messages(3)
    clients[1].messages(3)
    for client in clients:
        client.reset()
    restart(own)
    restart(own)
    client = own.client("wiped", 5, clean=True)
    assert not client.rest(0.3)
    client.leave()
    assert own.counters()["deliveries_dropped_total"]["session_ended"] == 3
    restart(own)
    client = come_back(own, "late", 5)
    again = client.messages(3)
    assert [(m.payload, m.pid, m.dup) for m in again] == [
        (text, m.pid, True) for text, m in zip((b"m0", large, b"m2"), sent)]
    acknowledge(client, again)
    assert eventually(lambda: owed(own) == 0)
    client.leave()
    restart(own)
    client = come_back(own, "late", 4)
    assert not client.rest(0.3)
    client.leave()
