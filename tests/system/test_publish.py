# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What a client sees of its PUBLISHes, and which of them the broker sees.

Every expectation holds with the broker alone (`direct`); only the broker's own count of PUBLISHes
and Offramp's counters tell the modes apart.
"""

import itertools
import os
import threading
import time

import paho.mqtt.client as paho
import pytest

import mqttraw as mqtt
from bed import eventually

VERSIONS = (4, 5)
OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "small-capture.yaml")
_names = itertools.count()


def up_options(mode):
    """Messages above 16 KiB pass: see MIXES."""
    return ("--config", OVERLAY)


@pytest.fixture
def topic():
    """A topic that no other test uses: paths and verdicts of other tests do not matter."""
    return f"test/{next(_names)}"


@pytest.fixture
def versions(bed):
    """Those of VERSIONS that the broker has."""
    return [version for version in VERSIONS if version in bed.broker.versions]


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


def texts(count, start=0):
    return [b"m%d" % number for number in range(start, start + count)]


# Clients from elsewhere

@pytest.mark.parametrize("version,qos", [("mqttv31", 1), ("mqttv311", 0), ("mqttv311", 1),
                                         ("mqttv311", 2), ("mqttv5", 0), ("mqttv5", 1),
                                         ("mqttv5", 2)])
def test_mosquitto_clients(bed, make, topic, version, qos):
    if qos > bed.broker.max_qos:
        pytest.skip("mosquitto_pub takes a PUBACK of a message at QoS 2 for an error")
    common = ["-V", version, "-h", bed.host, "-p", bed.port, "-q", qos, *bed.login_options()]
    subscriber = bed.popen("mosquitto_sub", *common, "-t", f"{topic}/#", "-v", "-W",
                           bed.seconds(50))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(subscriber.stdout), daemon=True)
    reader.start()
    probe = make()  # mosquitto_sub does not say when it has subscribed: it is asked
    assert eventually(lambda: probe.publish(f"{topic}/ready", "?") or
                      any("ready" in line for line in lines), bed.seconds(20), 0.2)
    probe.ping()
    with bed.watch() as watch:
        for number in range(3):
            done = bed.run("mosquitto_pub", *common, "-t", f"{topic}/one", "-m", f"m {number}")
            assert done.returncode == 0, done.stderr
        done = bed.run("mosquitto_pub", *common, "-t", f"{topic}/lines", "-l", input="a\nb\n\nc\n")
        assert done.returncode == 0, done.stderr
        expected = [f"{topic}/one m {number}\n" for number in range(3)]
        expected += [f"{topic}/lines {text}\n" for text in ("a", "b", "(null)", "c")]
        got = eventually(lambda: [line for line in lines if "ready" not in line][6:] and lines,
                         bed.seconds(20))
        got = [line for line in got or lines if "ready" not in line]
        if bed.is_impaired and qos == 0:  # a program each, and none waits until it has come
            got.sort(key=lambda line: line if "/one" in line else f"{topic}/two")
        assert got == expected
        watch.broker_received((7 if qos < 2 else 0, 12), behind=(0, 0))
        if bed.is_stack:
            assert (watch.captured(qos), watch.passed()) == (7, 0)
    subscriber.kill()
    subscriber.wait(10)


@pytest.mark.core
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", VERSIONS)
def test_paho_clients(bed, topic, version, qos):
    got, subscribed, sent = [], threading.Event(), []
    subscriber = paho.Client(f"sub{next(_names)}", protocol=version)
    subscriber.on_message = lambda _c, _u, message: got.append((message.payload, message.qos))
    subscriber.on_subscribe = lambda *_: subscribed.set()
    publisher = paho.Client(f"pub{next(_names)}", protocol=version)
    try:
        for client in (subscriber, publisher):
            client._create_socket_connection = bed.connect  # on the clients' host
            if bed.broker.login:
                client.username_pw_set(*bed.broker.login)
            client.connect(bed.host, bed.port)
            client.loop_start()
        # paho sends a SUBSCRIBE at once, before the CONNACK.
        subscriber.subscribe(topic, qos)
        assert subscribed.wait(bed.seconds(20))
        for text in texts(200):
            sent.append(publisher.publish(topic, text, qos))
        for info in sent:
            info.wait_for_publish(bed.seconds(30))
        assert eventually(lambda: len(got) >= 200, bed.seconds(30))
        assert got == [(text, min(qos, bed.broker.max_qos)) for text in texts(200)]
    finally:
        for client in (subscriber, publisher):
            client.disconnect()
            client.loop_stop()


# Which path

@pytest.mark.core
def test_versions_and_qos_mix(bed, make, topic):
    """Every publisher's version and QoS to every subscriber's; delivery at the lower QoS."""
    subscribers = []
    levels = range(bed.broker.max_qos + 1)
    for version in bed.broker.versions:
        for granted in levels:
            subscribers.append((make(version), granted))
            subscribers[-1][0].subscribe(topic, options=granted)
    publishers = [(make(version), qos) for version in bed.broker.versions for qos in levels]
    with bed.watch() as watch:
        for number, (publisher, qos) in enumerate(publishers):
            publisher.publish(topic, b"m%d" % number, qos)
            for subscriber, granted in subscribers:
                message = subscriber.expect(mqtt.PUBLISH)
                assert (message.topic, message.payload) == (topic, b"m%d" % number)
                assert message.qos == min(qos, granted)
                assert not message.retain and not message.dup
        for subscriber, _ in subscribers:
            assert all(packet.kind == mqtt.PUBREL for packet in subscriber.rest(0.1))
        # The broker's count of messages leaves out those of QoS 2.
        count = len(bed.broker.versions)
        watch.broker_received((2 * count, 2 * len(publishers)), behind=(0, 0))
        if bed.is_stack:
            assert [watch.captured(qos) for qos in levels] == [count for _ in levels]
            assert watch.passed() == 0


def test_captured_messages_do_not_reach_the_broker(bed, make, topic, versions):
    with bed.watch() as watch:
        for version in versions:
            subscriber, publisher = make(version), make(version)
            subscriber.subscribe(topic, options=1)
            for qos in (0, 1):
                for text in texts(100):
                    publisher.publish(topic, text, qos)
                assert subscriber.payloads(100) == texts(100)
            subscriber.unsubscribe(topic)
        count = 100 * len(versions)
        watch.broker_received((2 * count, 580 * len(versions)), behind=(0, 0))
        if bed.is_stack:
            assert (watch.captured(0), watch.captured(1), watch.passed()) == (count, count, 0)


def test_messages_for_nobody_do_not_reach_the_broker(bed, make, topic):
    publisher = make()
    with bed.watch() as watch:
        for qos in (0, 1):
            for text in texts(10):
                publisher.publish(topic, text, qos)
        publisher.ping()
        watch.broker_received((20, 40), behind=(0, 0))
        if bed.is_stack:
            assert (watch.captured(0), watch.captured(1), watch.passed()) == (10, 10, 0)


@pytest.mark.parametrize("what", [
    pytest.param("retained", marks=pytest.mark.needs("retained_once")),
    pytest.param("share", marks=pytest.mark.needs("shares")),
    pytest.param("dollar", marks=pytest.mark.needs("dollar_topics"))])
def test_what_passes_reaches_the_broker(bed, make, topic, versions, what):
    with bed.watch() as watch:
        for version in versions:
            publisher, subscriber = make(version), make(version)
            name = f"${topic}" if what == "dollar" else topic
            subscriber.subscribe(f"$share/g/{topic}" if what == "share" else name, options=2)
            for text in texts(10):
                publisher.publish(name, text, 1, retain=what == "retained")
            assert subscriber.payloads(10) == texts(10)
            publisher.publish(name, b"", 1, retain=True)  # leaves nothing retained behind
            subscriber.leave()
        turns = len(versions)
        # The broker's count of messages has only these.
        counted = 10 * turns if what in ("share", "dollar") else None
        watch.broker_received((counted, 20 * turns))
        if bed.is_stack:
            assert (watch.captured(), watch.passed()) == (0, 11 * turns)


@pytest.mark.stack_only
@pytest.mark.needs("shares")
def test_pass_reasons_are_counted_apart(bed, make, topic):
    publisher, shared = make(), make()
    shared.subscribe(f"$share/g/{topic}/share")
    with bed.watch() as watch:
        publisher.publish(f"{topic}/retain", b"x", retain=True)
        publisher.publish(f"{topic}/share", b"x")
        publisher.publish("$SYS/x", b"x")
        publisher.ping()
        assert watch.passed_by_reason() == {"retain": 1, "share": 1, "dollar_topic": 1}
    publisher.publish(f"{topic}/retain", b"", retain=True)
    publisher.ping()


@pytest.mark.needs("v5")
def test_a_write_to_sys_is_refused_by_the_broker(bed, make):
    publisher, subscriber = make(5), make()
    subscriber.subscribe("$SYS/fake")
    answer = publisher.publish("$SYS/fake", b"x", 1)
    assert answer.reason == bed.broker.sys_refusal
    assert not subscriber.rest()


# Right after SUBSCRIBE

@pytest.mark.core
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_own_message_right_after_subscribe_in_one_segment(bed, make, topic, version, qos):
    client = make(version)
    client.send(mqtt.subscribe(1, [(topic, 1)], version),
                mqtt.publish(topic, b"own", qos, pid=2, version=version))
    kinds, payload = [], None
    for _ in range(3 if qos else 2):
        found = client.receive()
        kinds.append(found.kind)
        payload = found.payload if found.kind == mqtt.PUBLISH else payload
    assert payload == b"own" and kinds.index(mqtt.SUBACK) < kinds.index(mqtt.PUBLISH)
    assert sorted(kinds) == sorted([mqtt.SUBACK, mqtt.PUBLISH] + [mqtt.PUBACK] * qos)
    assert not client.rest(0.2)


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_from_connect_on_in_one_segment(bed, topic, version):
    client = bed.stranger(f"c{next(_names)}", version)
    client.send(client.connect_packet(), mqtt.subscribe(1, [(topic, 0)], version),
                *[mqtt.publish(topic, text, version=version) for text in texts(20)])
    assert client.expect(mqtt.CONNACK).reason == 0
    assert client.expect(mqtt.SUBACK).pid == 1
    assert client.payloads(20) == texts(20)
    assert not client.rest(0.2)
    client.leave()


def test_a_message_of_another_right_after_the_suback(bed, make, topic):
    publisher = make()
    for number in range(50):
        subscriber = make()
        subscriber.subscribe(f"{topic}/+")
        publisher.publish(f"{topic}/{number}", b"now")
        assert subscriber.payloads(1) == [b"now"]
        subscriber.leave()


def test_nothing_after_the_unsuback(bed, make, topic):
    publisher, subscriber, witness = make(), make(), make()
    witness.subscribe(topic)
    for number in range(20):
        subscriber.subscribe(topic)
        publisher.publish(topic, b"in")
        assert subscriber.payloads(1) == [b"in"]
        subscriber.unsubscribe(topic)
        publisher.publish(topic, b"out")
        assert witness.payloads(2) == [b"in", b"out"], number
        subscriber.ping()  # a PUBLISH before the PINGRESP would fail this
    assert not subscriber.rest(0.2)


@pytest.mark.needs("resubscribing_replaces")
def test_resubscribing_changes_the_qos(bed, make, topic):
    publisher, subscriber = make(), make()
    for options in (0, 1, 0):
        subscriber.subscribe(topic, options=options)
        publisher.publish(topic, b"x", 1)
        assert subscriber.messages(1)[0].qos == options
    assert not subscriber.rest(0.2)


def test_a_publisher_with_nagle_is_not_held_up(bed, make, topic):
    """Its next small write waits for the ACK of the last: a delayed one costs 40 ms a message."""
    publisher, subscriber = make(), make()
    subscriber.subscribe(topic)
    started = time.monotonic()
    for text in texts(50):
        publisher.publish(topic, text)
        assert subscriber.payloads(1) == [text]
    assert time.monotonic() - started < bed.seconds(1)


# Acknowledgements

@pytest.mark.core
@pytest.mark.parametrize("version", VERSIONS)
def test_pubacks_come_in_the_order_of_publishes(bed, make, topic, version):
    """Captured and passed ones together."""
    publisher, subscriber = make(version), make(version)
    subscriber.subscribe(f"{topic}/+", options=1)
    pids = list(range(1, 301))
    publisher.send(*[mqtt.publish(f"{topic}/{pid % 7}", b"%d" % pid, 1, pid=pid, version=version,
                                  retain=pid % 5 == 0) for pid in pids])
    assert [publisher.expect(mqtt.PUBACK).pid for _ in pids] == pids
    got = [int(payload) for payload in subscriber.payloads(len(pids))]
    for part in range(7):
        assert [pid for pid in got if pid % 7 == part] == [pid for pid in pids if pid % 7 == part]
    for part in range(7):
        publisher.publish(f"{topic}/{part}", b"", 1, retain=True)


@pytest.mark.needs("v5")
def test_puback_says_when_nobody_listens(bed, make, topic):
    publisher, subscriber = make(5), make(5)
    assert publisher.publish(topic, b"x", 1).reason == 0x10
    subscriber.subscribe(topic)
    assert publisher.publish(topic, b"x", 1).reason == 0
    assert subscriber.payloads(1) == [b"x"]


def test_deliveries_wait_for_acknowledgements_and_are_not_lost(bed, make, topic):
    """Far more than any in-flight window; identifiers in flight are distinct."""
    publisher, subscriber = make(), make()
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    for text in texts(200):
        publisher.publish(topic, text, 1)
    flying, got = [], []
    while len(got) < 200:
        try:
            message = subscriber.expect(mqtt.PUBLISH, 0.5 if flying else 20)
            assert message.pid not in [other.pid for other in flying]
            flying.append(message)
            got.append(message.payload)
        except mqtt.Timeout:
            assert flying, f"nothing in flight, {len(got)} arrived"
            subscriber.send(*[mqtt.ack(mqtt.PUBACK, message.pid) for message in flying])
            flying.clear()
    assert got == texts(200)


@pytest.mark.parametrize("maximum,mixed", [(1, False), (1, True), (3, False)])
@pytest.mark.needs("v5")
def test_receive_maximum_is_one_budget(bed, make, topic, maximum, mixed):
    """Of the broker's (retained) and the captured messages together."""
    publisher = make()
    subscriber = make(5, props=[("receive_maximum", maximum)])
    subscriber.subscribe(topic, options=1)
    subscriber.auto_ack = False
    for number, text in enumerate(texts(30)):
        publisher.publish(topic, text, 1, retain=mixed and number % 4 == 3)
    flying, got = [], []
    while len(got) < 30:
        try:
            message = subscriber.expect(mqtt.PUBLISH, 0.1 if flying else 20)
            flying.append(message)
            got.append(message.payload)
            # mosquitto 2.0.11 itself goes beyond what was agreed, once something was acknowledged.
            assert len(flying) <= maximum or (maximum > 1 and not bed.is_stack)
        except mqtt.Timeout:
            assert flying, f"nothing in flight, {len(got)} arrived"
            subscriber.send(mqtt.ack(mqtt.PUBACK, flying.pop(0).pid))
    assert got == texts(30)
    publisher.publish(topic, b"", 1, retain=True)


# What messages carry

PROPERTIES = [
    ("payload_format", 1), ("content_type", "text/plain; charset=utf-8"),
    ("response_topic", "answers/here"), ("correlation_data", b"\0\1\2\xff"),
    ("user_property", ("a", "1")), ("user_property", ("a", "2")), ("user_property", ("é", "ü")),
]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.needs("v5")
def test_properties_are_carried_to_v5_and_stripped_for_v3(bed, make, topic, qos):
    publisher, new, old = make(5), make(5), make(4)
    new.subscribe(topic, options=1)
    old.subscribe(topic, options=1)
    publisher.publish(topic, "text", qos, props=PROPERTIES)
    message = new.expect(mqtt.PUBLISH)
    assert sorted(message.props, key=repr) == sorted(PROPERTIES, key=repr)
    # Of the user properties the order counts.
    assert ([pair for pair in message.props if pair[0] == "user_property"]
            == [pair for pair in PROPERTIES if pair[0] == "user_property"])
    assert message.payload == b"text"
    assert old.payloads(1) == [b"text"]
    # And from an old publisher to a new subscriber: an empty property list.
    make(4).publish(topic, "plain", qos)
    message = new.expect(mqtt.PUBLISH)
    assert (message.payload, list(message.props)) == (b"plain", [])
    assert old.payloads(1) == [b"plain"]


@pytest.mark.needs("v5")
def test_message_expiry_is_carried(bed, make, topic):
    publisher, subscriber = make(5), make(5)
    subscriber.subscribe(topic)
    publisher.publish(topic, b"x", props=[("message_expiry", 100)])
    props = dict(subscriber.expect(mqtt.PUBLISH).props)
    assert 98 <= props["message_expiry"] <= 100


@pytest.mark.needs("v5")
def test_topic_alias_of_a_publisher(bed, make, topic):
    """Defined by one message, used by others; then the aliased message has to pass."""
    publisher, new, old = make(5), make(5), make(4)
    assert dict(publisher.connack.props).get("topic_alias_maximum", 0) >= 2
    for subscriber in (new, old):
        subscriber.subscribe(f"{topic}/+", options=1)
    alias = [("topic_alias", 2)]
    publisher.publish(f"{topic}/a", b"1", props=alias)
    publisher.publish("", b"2", props=alias)
    publisher.publish("", b"3", 1, props=alias)
    publisher.publish("", b"4", retain=True, props=alias)
    publisher.publish(f"{topic}/b", b"5", props=alias)
    publisher.publish("", b"6", 1, props=alias)
    for subscriber in (new, old):
        got = [(message.topic, message.payload) for message in subscriber.messages(6)]
        assert sorted(got, key=lambda pair: pair[1]) == [
            (f"{topic}/{'a' if number < 5 else 'b'}", b"%d" % number) for number in range(1, 7)]
        assert [pair for pair in got if pair[0].endswith("a")] == got[:4]
    publisher.publish(f"{topic}/a", b"", 1, retain=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_sizes_around_every_length_boundary(bed, make, topic, version):
    publisher, subscriber = make(version), make(version)
    subscriber.subscribe(topic, options=1)
    overhead = 2 + len(topic) + (1 if version == 5 else 0)
    sizes = [0, 1] + [edge - overhead + more for edge in (128, 16384, 1460, 2048, 4096, 65536)
                      for more in (-3, -2, -1, 0, 1, 2)] + [200000, 1048576]
    for qos in (0, 1):
        for number, size in enumerate(sizes):
            payload = bytes([number + 1]) * size
            publisher.publish(topic, payload, qos)
            assert subscriber.messages(1)[0].payload == payload, size


@pytest.mark.needs("v5")
@pytest.mark.needs("obeys_maximum_packet")
def test_a_subscribers_maximum_packet_size(bed, make, topic):
    publisher, subscriber = make(5), make(5, props=[("maximum_packet", 100)])
    subscriber.subscribe(topic, options=1)
    for qos in (0, 1):
        for size in (10, 200, 20):
            publisher.publish(topic, b"x" * size, qos)
        assert [len(payload) for payload in subscriber.payloads(2)] == [10, 20]
        assert not subscriber.rest(0.2)


def test_odd_topics(bed, make, topic):
    publisher, subscriber = make(), make()
    subscriber.subscribe(f"{topic}/#")
    names = [topic, f"{topic}/", f"{topic}//", f"{topic}//x/", f"{topic}/ü/日本", f"{topic}/ ",
             f"{topic}/{'l' * 60000}", f"{topic}/" + "/".join("abcdefgh") * 20, f"{topic}/$x"]
    names = [name for name in names if name.count("/") < bed.broker.topic_levels]
    for name in names:
        publisher.publish(name, b"x")
        assert subscriber.messages(1)[0].topic == name


@pytest.mark.parametrize("pattern,name,matches", [
    ("{}/+", "{}/a", True), ("{}/+", "{}/a/b", False), ("{}/+", "{}", False),
    ("{}/+", "{}/", True), ("{}/#", "{}", True), ("{}/#", "{}/a/b/c", True),
    ("{}/+/b", "{}/a/b", True),
    ("{}/+/b", "{}//b", True), ("{}/+/#", "{}/a", True), ("{}/+/#", "{}", False),
    ("#", "{}/x", True), ("+/+/x", "{}/x", True), ("#", "${}", False), ("+/#", "${}/x", False),
])
def test_wildcards(bed, make, topic, pattern, name, matches):
    publisher, subscriber = make(), make()
    spared = name.startswith("$")
    subscriber.subscribe(pattern.format(topic))
    for _ in subscriber.rest(0.2):
        pass  # retained messages of others
    publisher.publish(name.format(topic), b"found")
    publisher.ping()
    got = [found for found in subscriber.rest(0.5) if found.payload == b"found"]
    assert len(got) == (matches or spared and not bed.broker.wildcards_spare_dollar)


def delivered_as(bed, name):
    return name.replace(".", "/").replace("*", "+") if bed.broker.amqp_topics else name


@pytest.mark.parametrize("pattern,name,in_mqtt,in_amqp", [
    ("{}/a.b", "{}/a.b", True, True), ("{}/a.b", "{}/a/b", False, True),
    ("{}/a/b", "{}/a.b", False, True), ("{}/+", "{}/a.b", True, False),
    ("{}/*", "{}/*", True, True), ("{}/*", "{}/a", False, True),
    ("{}/*.b", "{}/a/b", False, True), ("{}/*.b", "{}/b", False, False),
    ("{}/a*", "{}/a*", True, True), ("{}/a*", "{}/ab", False, False),
])
def test_characters_of_amqp(bed, make, topic, pattern, name, in_mqtt, in_amqp):
    """Characters like others; or the broker takes '.' for '/', and a level '*' for '+'."""
    publisher, subscriber = make(), make()
    subscriber.subscribe(pattern.format(topic), options=1)
    name = name.format(topic)
    publisher.publish(name, b"x", 1)
    got = [found.topic for found in subscriber.rest(0.5)]
    assert got == [delivered_as(bed, name)] * (in_amqp if bed.broker.amqp_topics else in_mqtt)


@pytest.mark.parametrize("qos", [0, 1])
def test_topics_that_are_one_in_amqp_are_in_order(bed, make, topic, qos):
    publisher, subscriber = make(), make()
    subscriber.subscribe(f"{topic}/a", options=qos)
    count = 20
    with bed.watch() as watch:
        for number, text in enumerate(texts(count)):
            publisher.publish(f"{topic}{'/.'[number % 2]}a", text, qos)
        if bed.broker.amqp_topics:
            assert subscriber.payloads(count) == texts(count)
        else:
            assert subscriber.payloads(count // 2) == texts(count)[::2]
        assert not subscriber.rest(0.3)
        if bed.is_stack and bed.broker.amqp_topics:
            assert watch.passed_by_reason() == {"amqp_topic": count // 2, "fence": count // 2 - 1}


# Subscriptions

@pytest.mark.parametrize("filters,first", [
    (("a/+", "a/#", "a/b"), "a/b"), (("a/#", "a/+"), "a/+"), (("+/b", "a/#"), "a/#"),
    (("#", "+/+"), "+/+"), (("+/+", "+/b"), "+/b"),
])
@pytest.mark.parametrize("low", [True, False])
def test_overlapping_subscriptions_of_v3(bed, make, topic, filters, first, low):
    """What mosquitto 2.0.11 finds first: a name before + before #."""
    publisher, subscriber = make(), make()
    granted = [int((name == first) != low) for name in filters]
    for name, qos in zip(filters, granted):
        subscriber.subscribe(f"{topic}/{name}", options=qos)
    publisher.publish(f"{topic}/a/b", b"x", 1)
    got = sorted(message.qos for message in subscriber.rest(0.5))
    assert got in {"first": [[0 if low else 1]], "each": [sorted(granted)], "qos": [[0, 1]],
                   "any": [[0], [1]]}[bed.broker.overlap]


@pytest.mark.needs("v5")
def test_overlapping_subscriptions_give_v5_one_copy_each_with_its_identifier(bed, make, topic):
    publisher, subscriber = make(5), make(5)
    for number, name in ((1, f"{topic}/+"), (20000, f"{topic}/#"), (300, f"{topic}/a")):
        subscriber.subscribe(name, options=number == 300, props=[("subscription_id", number)])
    publisher.publish(f"{topic}/a", b"x", 1)
    got = [(dict(message.props)["subscription_id"], message.qos)
           for message in subscriber.messages(3)]
    assert sorted(got) == [(1, 0), (300, 1), (20000, 0)]
    assert not subscriber.rest(0.3)


@pytest.mark.needs("v5")
def test_subscription_identifiers(bed, make, topic):
    publisher, subscriber = make(4), make(5)
    subscriber.subscribe(topic, props=[("subscription_id", 268435455)])
    publisher.publish(topic, b"x")
    assert dict(subscriber.expect(mqtt.PUBLISH).props) == {"subscription_id": 268435455}
    subscriber.subscribe(topic)  # a new subscription to the same filter has none
    publisher.publish(topic, b"y")
    assert list(subscriber.expect(mqtt.PUBLISH).props) == []


@pytest.mark.needs("v5")
def test_no_local(bed, make, topic):
    client, other = make(5), make(5)
    client.subscribe(topic, options=4 | 1)
    other.subscribe(topic, options=1)
    client.publish(topic, b"mine", 1)
    other.publish(topic, b"theirs", 1, kept=(before := []))
    assert client.payloads(1) == [b"theirs"]
    assert not client.rest(0.2)
    assert [found.payload for found in before] + other.payloads(2 - len(before)) == [b"mine",
                                                                                     b"theirs"]


@pytest.mark.needs("v5")
def test_retained_messages(bed, make, topic):
    publisher, early, late = make(5), make(5), make(4)
    early.subscribe(topic, options=1)
    publisher.publish(topic, b"old", 1, retain=True)
    publisher.publish(topic, b"kept", 1, retain=True)
    publisher.publish(topic, b"normal", 1)
    got = early.messages(3)
    assert [message.payload for message in got] == [b"old", b"kept", b"normal"]
    assert not any(message.retain for message in got)
    late.subscribe(topic, options=1)
    message = late.expect(mqtt.PUBLISH)
    assert (message.payload, message.retain) == (b"kept", True)
    publisher.publish(topic, b"later", 1)
    assert late.payloads(1) == [b"later"]
    publisher.publish(topic, b"", 1, retain=True)


@pytest.mark.needs("v5")
def test_retain_as_published(bed, make, topic):
    publisher, subscriber = make(5), make(5)
    subscriber.subscribe(topic, options=8)
    publisher.publish(topic, b"1", retain=True)
    publisher.publish(topic, b"2")
    assert [message.retain for message in subscriber.messages(2)] == [True, False]
    publisher.publish(topic, b"", retain=True)


# Order

MIXES = {
    "retain": lambda number: (number % 7 == 3, 16),
    "size": lambda number: (False, 20000 if number % 11 == 5 else 16),
    "both": lambda number: (number % 13 == 1, 20000 if number % 5 == 0 else 16),
    "bursts": lambda number: ((number // 40) % 3 == 1, 16),
}


@pytest.mark.core
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("mix", MIXES)
def test_order_is_kept_where_the_path_changes(bed, make, topic, versions, mix, qos):
    """Retained and (in stack mode) large messages go through the broker, the others do not."""
    publisher, subscribers = make(), [make(version) for version in versions]
    for subscriber in subscribers:
        subscriber.subscribe(topic, options=1)
    packets = []
    for number in range(400):
        retain, size = MIXES[mix](number)
        payload = (b"%06d" % number).ljust(size, b".")
        packets.append(mqtt.publish(topic, payload, qos, retain, pid=number + 1))
    sender = threading.Thread(target=lambda: publisher.send(*packets))
    sender.start()
    for subscriber in subscribers:
        assert [int(payload[:6]) for payload in subscriber.payloads(400, 40)] == list(range(400))
    sender.join(bed.seconds(20))
    publisher.publish(topic, b"", qos, retain=True)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.needs("shares")
def test_order_is_kept_while_a_share_comes_and_goes(bed, make, topic, qos):
    publisher, subscriber = make(), make()
    subscriber.subscribe(topic, options=1)
    stop, sent, got = threading.Event(), [], []

    def receive():
        while not got or got[-1] != -1:
            got.append(int(subscriber.payloads(1, 30)[0]))

    def send():
        while not stop.is_set() and len(sent) < 20000:
            publisher.publish(topic, b"%d" % len(sent), qos)
            sent.append(len(sent))
            stop.wait(0.002)

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        sharer = make()
        sharer.subscribe(f"$share/g/{topic}")
        sharer.rest(0.001)
        stop.wait(0.3)
        sharer.leave()
        stop.wait(1.2)
    stop.set()
    threads[0].join(bed.seconds(30))
    publisher.publish(topic, b"-1", qos)
    threads[1].join(bed.seconds(40))
    assert got == sent + [-1]


# Keep alive, wills, the end of a connection

def test_keep_alive_of_a_publisher_whose_traffic_is_captured(bed, make, topic):
    """The broker hears nothing of it, and must not close; a silent client it must close."""
    watcher = make()
    watcher.subscribe(f"{topic}/will", topic)
    publisher = make(keep_alive=2, will=mqtt.Will(f"{topic}/will", "gone"))
    for text in texts(24):
        publisher.publish(topic, text)
        time.sleep(0.3)
    publisher.ping()
    assert watcher.payloads(24) == texts(24)
    assert not publisher.rest(0.1)  # no PINGRESP that it did not ask for
    publisher.wait_closed(10)
    assert watcher.payloads(1) == [b"gone"]


def test_keep_alive_of_a_subscriber_that_only_acknowledges(bed, make, topic):
    subscriber, publisher = make(keep_alive=2), make()
    subscriber.subscribe(topic, options=1)
    for text in texts(16):
        publisher.publish(topic, text, 1)
        assert subscriber.payloads(1) == [text]
        time.sleep(0.3)
    subscriber.ping()


@pytest.mark.needs("orderly_will")
@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_will_comes_after_what_was_published_before(bed, make, topic, version, qos):
    subscriber = make()
    subscriber.subscribe(topic, options=1)
    for turn in range(5):
        publisher = make(version, will=mqtt.Will(topic, b"will", qos))
        publisher.send(*[mqtt.publish(topic, text, qos, pid=number + 1, version=version)
                         for number, text in enumerate(texts(50))])
        publisher.sock.shutdown(1)  # a FIN, and no DISCONNECT
        assert subscriber.payloads(51) == texts(50) + [b"will"], turn
        publisher.close()


def test_no_will_after_a_disconnect(bed, make, topic):
    subscriber = make()
    subscriber.subscribe(topic)
    publisher = make(will=mqtt.Will(topic, b"will"))
    publisher.send(*[mqtt.publish(topic, text) for text in texts(50)], mqtt.disconnect())
    assert not publisher.wait_closed()
    assert subscriber.payloads(50) == texts(50)
    assert not subscriber.rest(0.5)


@pytest.mark.good_wires("a RST is not sent again, nor is what it has overtaken")
def test_a_disconnect_counts_though_a_reset_follows(bed, make, topic):
    """Who closes with something unread resets the connection: the broker still reads what came."""
    witness = make()
    witness.subscribe(topic)
    for turn in range(20):
        client = make(will=mqtt.Will(topic, b"will"))
        client.subscribe(f"{topic}/own")
        client.send(mqtt.publish(f"{topic}/own", b"x"), mqtt.pingreq())
        time.sleep(0.02)  # the answers are there, unread
        client.send(mqtt.publish(topic, b"%d" % turn), mqtt.disconnect())
        client.close()
        assert witness.payloads(1) == [b"%d" % turn]
    assert not witness.rest(0.5)


@pytest.mark.good_wires("TCP keeps no order between connections: a FIN may be late")
@pytest.mark.needs("shares")
def test_a_close_reaches_the_broker_before_later_connections(bed, make, topic):
    """A share's member that has left gets nothing of what is published on a new connection."""
    for turn in range(20):
        publisher, member = make(), make()
        member.subscribe(f"$share/g/{topic}", options=1)
        for text in texts(4):
            publisher.publish(topic, text, 1)
        assert member.payloads(4, 5) == texts(4), turn
        publisher.publish(topic, b"", 1, retain=True)  # is not read any more
        member.leave()


def test_publish_close_and_look(bed, topic):
    """One program publishes and is gone; another was connected later and sees it."""
    for number in range(20):
        with bed.client(f"look{number}") as looker:
            looker.subscribe(topic)
            with bed.client(f"once{number}") as once:
                once.send(mqtt.publish(topic, b"%d" % number), mqtt.disconnect())
            assert looker.payloads(1) == [b"%d" % number]
            looker.send(mqtt.disconnect())


def test_takeover_of_a_client_id(bed, make, topic):
    publisher = make()
    old = make(client_id=f"{topic}-same")
    old.subscribe(topic, options=1)
    new = make(client_id=f"{topic}-same")
    old.wait_closed()
    publisher.publish(topic, b"nobody", 1)
    assert not new.rest(0.3)  # clean session: the old one's subscription is gone
    new.subscribe(topic, options=1)
    publisher.publish(topic, b"somebody", 1)
    assert new.payloads(1) == [b"somebody"]


# Sessions that stay

@pytest.mark.parametrize("version", VERSIONS)
def test_a_persistent_session_gets_what_came_meanwhile(bed, make, topic, version):
    options = {"clean": False, "props": [("session_expiry", 300)]} if version == 5 else {
        "clean": False}
    name = f"{topic}-stays"
    publisher, witness = make(version), make()
    witness.subscribe(topic, options=1)
    subscriber = make(version, name, **options)
    assert not subscriber.connack.session_present
    subscriber.subscribe(topic, options=1)
    publisher.publish(topic, b"online", 1)
    assert subscriber.payloads(1) == [b"online"]
    subscriber.ping()  # the PUBACK is through
    subscriber.close()
    time.sleep(bed.seconds(0.3))
    with bed.watch() as watch:
        for text in texts(10):
            publisher.publish(topic, text, 1)
        assert witness.payloads(11) == [b"online"] + texts(10)
        watch.broker_received((10, 20))  # it queues for the absent
        if bed.is_stack:
            assert (watch.captured(), watch.passed()) == (0, 10)
    subscriber = make(version, name, **options)
    assert subscriber.connack.session_present
    assert subscriber.payloads(10) == texts(10)
    publisher.publish(topic, b"again", 1)
    assert subscriber.payloads(1) == [b"again"]
    subscriber.leave()
    make(version, name).leave()  # clean: forgets it


@pytest.mark.needs("keeps_qos0_session")
def test_a_persistent_session_with_qos_0_loses_what_came_meanwhile(bed, make, topic):
    name = f"{topic}-stays"
    publisher = make()
    subscriber = make(4, name, clean=False)
    subscriber.subscribe(topic, options=0)
    subscriber.leave()
    time.sleep(bed.seconds(0.3))
    publisher.publish(topic, b"lost", 1)
    subscriber = make(4, name, clean=False)
    assert subscriber.connack.session_present
    publisher.publish(topic, b"seen", 1)
    assert subscriber.payloads(1) == [b"seen"]
    subscriber.leave()
    make(4, name).leave()


# What the broker refuses

@pytest.mark.parametrize("name,raw", [
    ("wildcard in the topic", mqtt.publish("a/+/b", b"x")),
    ("hash in the topic", mqtt.publish("a/#", b"x")),
    ("empty topic", mqtt.publish("", b"x")),
    ("U+0000 in the topic", mqtt.publish("a\0b", b"x")),
    ("broken UTF-8", mqtt.packet(mqtt.PUBLISH, 0, mqtt.data(b"a\xff") + b"x")),
    ("QoS 3", mqtt.packet(mqtt.PUBLISH, 6, mqtt.data("a") + b"\0\1x")),
    ("topic longer than the packet", mqtt.packet(mqtt.PUBLISH, 0, b"\0\x10abc")),
    ("identifier 0", mqtt.publish("a", b"x", 1, pid=0)),
    ("a second CONNECT", mqtt.connect("again")),
    ("flags of SUBSCRIBE", mqtt.packet(mqtt.SUBSCRIBE, 0, b"\0\1" + mqtt.data("a") + b"\0")),
    ("a CONNACK", mqtt.packet(mqtt.CONNACK, 0, b"\0\0")),
    ("remaining length of five bytes", b"\x30\xff\xff\xff\xff\x01"),
    ("packet type 0", b"\x00\x00"),
])
def test_the_broker_answers_what_is_malformed(bed, make, name, raw):
    """With a close, after what was right before it has been delivered. Or it does not mind."""
    if name in bed.broker.answers_late:
        pytest.skip(f"{bed.broker.name} answers in no certain way")
    witness, client = make(), make()
    witness.subscribe("a", "a/#", "good")
    client.send(mqtt.publish("good", b"before"), raw, mqtt.publish("good", b"after"))
    if name in bed.broker.tolerates:
        client.ping(kept=[])
        got = [found.payload for found in witness.rest(0.5) if found.topic == "good"]
        assert got == [b"before", b"after"]
        return
    client.wait_reset()
    assert witness.payloads(1) == [b"before"]
    assert not witness.rest(0.2)


def test_nothing_is_captured_before_the_connack(bed, make, topic):
    witness = make()
    witness.subscribe(topic)
    client = bed.stranger()
    client.send(mqtt.publish(topic, b"x"))
    client.wait_closed()
    client = bed.stranger("refused", version=6)
    client.send(client.connect_packet(), mqtt.publish(topic, b"x"))
    client.wait_reset()
    assert not witness.rest(0.3)
