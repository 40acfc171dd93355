# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Split delivery: a message that the broker keeps for some and does not hand to others."""

import marker
import mqttraw
import pytest


@pytest.fixture(params=(4, 5), ids=("v3.1.1", "v5"))
def version(request):
    return request.param


@pytest.fixture
def publisher(broker, stream, version):
    return broker.client("p", version).join(stream)


def away(broker, stream, name, version, topic="a"):
    """A session whose client has left."""
    options = {"clean": False, "props": [("session_expiry", 600)]}
    client = broker.client(name, version, **options).join(stream)
    client.subscribe(topic, options=1)
    client.send(mqttraw.disconnect())
    client.wait_closed()
    return lambda: broker.client(name, version, **options)


def latest(stream):
    return max(stream.sequences())


def skip(client, stream, topic, payload, qos=0, skip_except=(), **options):
    pid = client.next_pid() if qos else None
    client.send(client.marker(stream, marker.SKIP, latest(stream), skip_except),
                mqttraw.publish(topic, payload, qos, pid=pid, version=client.version, **options))
    if qos:
        client._await(mqttraw.PUBACK, pid, 10, None)


@pytest.mark.parametrize("payload", (b"x", b""))
def test_online_clients_get_nothing_and_offline_ones_once(broker, stream, publisher, version,
                                                          payload):
    online = broker.client("online", version).join(stream)
    online.subscribe("a", "+", options=1)
    back = away(broker, stream, "away", version)
    skip(publisher, stream, "a", payload, qos=1)
    publisher.publish("a", b"last", qos=1)
    assert online.messages(1)[0].payload == b"last"
    assert [m.payload for m in back().messages(2)] == [payload, b"last"]


def test_strangers_get_it_from_the_broker(broker, stream, publisher, version):
    stranger = broker.client("stranger", version)
    stranger.subscribe("a")
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    skip(publisher, stream, "a", b"x")
    assert stranger.payloads(1) == [b"x"]
    assert online.rest(0.2) == []


def test_whom_the_marker_names_gets_it(broker, stream, publisher, version):
    clients = [broker.client(f"c{number}", version).join(stream) for number in range(4)]
    for client in clients:
        client.subscribe("a")
    skip(publisher, stream, "a", b"x", skip_except=[clients[1].key, clients[3].key])
    publisher.publish("a", b"end")
    assert [[m.payload for m in client.rest(0.2)] for client in clients] == [
        [b"end"], [b"x", b"end"], [b"end"], [b"x", b"end"]]


def test_it_counts_once(broker, stream, publisher, version):
    online = broker.client("online", version).join(stream)
    online.subscribe("#")
    skip(publisher, stream, "a", b"1")
    publisher.publish("b", b"2")
    publisher.publish("a", b"3")
    assert online.payloads(2) == [b"2", b"3"]


@pytest.mark.reuse
def test_what_others_publish_meanwhile_arrives(broker, stream, publisher, version):
    other = broker.client("other", version).join(stream)
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    for number in range(20):
        publisher.send(publisher.marker(stream, marker.SKIP, latest(stream)))
        other.publish("a", b"other")
        other.ping()
        publisher.publish("a", b"skip")
        publisher.ping()
        other.publish("a", b"other")
        other.ping()
    assert online.payloads(40) == [b"other"] * 40
    assert online.rest(0.2) == []


def test_a_publisher_that_left_leaves_nothing_behind(broker, stream, publisher, version):
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    publisher.send(publisher.marker(stream, marker.SKIP, latest(stream)))
    publisher.ping()
    publisher.close()
    broker.client("p", version).join(stream).publish("a", b"x")
    assert online.payloads(1) == [b"x"]


def test_messages_of_qos_2_are_the_brokers(broker, stream, publisher, version):
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    publisher.send(publisher.marker(stream, marker.SKIP, latest(stream)))
    publisher.publish("a", b"x", qos=2)
    publisher.publish("a", b"y")
    assert online.payloads(2) == [b"x", b"y"]


def test_it_goes_together_with_a_probe(broker, stream, publisher, version):
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    back = away(broker, stream, "away", version)
    told = publisher.probe(stream, "a", b"x", qos=1, skip_except=())
    assert told.written and len(told.readers) == 2 and online.key in told.readers
    assert online.rest(0.2) == []
    assert back().payloads(1) == [b"x"]


def test_the_key_before_is_still_good_for_what_is_on_the_wire(broker, stream, offrampd, publisher,
                                                              version):
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    stream.end()
    offrampd.stream(1).welcome()
    skip(publisher, stream, "a", b"1")  # under the older key
    publisher.ping()
    late = broker.client("late", version).join(offrampd.stream(1))
    late.subscribe("a")
    skip(publisher, stream, "a", b"2")  # when it was made, `late` was nobody's
    publisher.publish("a", b"3")
    assert online.payloads(1) == [b"3"]
    assert late.payloads(2) == [b"2", b"3"]


def test_a_new_key_knows_nobody_before_they_join(broker, stream, offrampd, publisher, version):
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    stream.end()
    second = offrampd.stream(1).welcome()
    publisher.join(second)
    skip(publisher, second, "a", b"1")
    online.join(second)  # mosquitto may hear of this first, and yet it was not known
    skip(publisher, second, "a", b"2")
    publisher.publish("a", b"3")
    assert online.payloads(2) == [b"1", b"3"]


def test_who_joins_meanwhile_is_not_meant(broker, stream, publisher, version):
    known = latest(stream)
    online = broker.client("online", version).join(stream)
    online.subscribe("a")
    publisher.send(publisher.marker(stream, marker.SKIP, known),
                   mqttraw.publish("a", b"1", version=version),
                   publisher.marker(stream, marker.SKIP, latest(stream)),
                   mqttraw.publish("a", b"2", version=version))
    publisher.publish("a", b"3")
    assert online.payloads(2) == [b"1", b"3"]
