# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""QoS 2, both halves: what a publisher, a subscriber and the broker see of it."""

import threading

import pytest

import mqttraw as mqtt
from test_publish import VERSIONS, make, texts, topic  # noqa: F401


@pytest.mark.parametrize("version", VERSIONS)
def test_once_on_both_legs(bed, make, topic, version):
    publisher, subscribers = make(version), [make(4), make(5)]
    for subscriber in subscribers:
        subscriber.subscribe(topic, options=2)
    with bed.watch() as watch:
        for text in texts(50):
            publisher.publish(topic, text, 2)
        for subscriber in subscribers:
            got = subscriber.messages(50)
            assert [message.payload for message in got] == texts(50)
            assert {message.qos for message in got} == {2} and not any(m.dup for m in got)
            subscriber.ping()
        if bed.is_stack:
            assert (watch.captured(2), watch.passed()) == (50, 0)
            watch.broker_received((0, 0))


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_arrives_before_its_release(bed, make, topic, version):
    publisher, subscriber = make(version), make(version)
    subscriber.subscribe(topic, options=2)
    for number in (1, 2, 3):
        publisher.send(mqtt.publish(topic, b"%d" % number, 2, pid=number, version=version))
    for number in (1, 2, 3):
        assert publisher.expect(mqtt.PUBREC).pid == number
    kept = []
    subscriber.ping(kept=kept)
    assert not kept
    # Sent again before it is released it is acknowledged again, and remains one message.
    publisher.send(mqtt.publish(topic, b"1", 2, pid=1, dup=True, version=version))
    assert publisher.expect(mqtt.PUBREC).pid == 1
    for number in (1, 2, 3):
        publisher.send(mqtt.ack(mqtt.PUBREL, number))
        assert publisher.expect(mqtt.PUBCOMP).pid == number
    assert subscriber.payloads(3) == [b"1", b"2", b"3"]
    subscriber.ping(kept=kept)
    assert not kept


def test_a_publisher_that_goes_has_published_nothing(bed, make, topic):
    publisher, subscriber = make(), make()
    subscriber.subscribe(topic, options=2)
    publisher.send(mqtt.publish(topic, b"lost", 2, pid=1))
    publisher.expect(mqtt.PUBREC)
    publisher.leave()
    other = make()
    other.publish(topic, b"kept", 2)
    assert subscriber.payloads(1) == [b"kept"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_subscriber_gets_it_again_only_as_a_release(bed, make, topic, version):
    publisher, subscriber = make(version), make(version)
    subscriber.auto_ack = False
    subscriber.subscribe(topic, options=2)
    publisher.publish(topic, b"x", 2)
    message = subscriber.expect(mqtt.PUBLISH)
    subscriber.send(mqtt.ack(mqtt.PUBREC, message.pid))
    assert subscriber.expect(mqtt.PUBREL).pid == message.pid
    subscriber.send(mqtt.ack(mqtt.PUBCOMP, message.pid))
    subscriber.ping()


def test_order_where_the_path_changes(bed, make, topic):
    """Retained messages pass; those between them are captured as soon as a fence allows."""
    publisher, subscriber = make(), make()
    subscriber.subscribe(topic, options=2)
    wanted = texts(400)

    def publish():
        for number, text in enumerate(wanted):
            publisher.publish(topic, text, 2, retain=number % 97 == 0)

    sender = threading.Thread(target=publish)
    sender.start()
    try:
        assert [message.payload for message in subscriber.messages(400)] == wanted
    finally:
        sender.join()
        publisher.publish(topic, b"", 2, retain=True)
