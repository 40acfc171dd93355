# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Probes: whether a PUBLISH was let through, and whom mosquitto considered for it."""

import marker
import mqttraw
import pytest


def readers(told):
    return sorted(told.readers)


@pytest.fixture
def publisher(broker, stream):
    return broker.client("p").join(stream)


@pytest.mark.parametrize("qos", (0, 1, 2))
def test_each_subscription_counts_once(broker, stream, publisher, qos):
    one = broker.client("one").join(stream)
    two = broker.client("two", 5).join(stream)
    one.subscribe("a/#")
    two.subscribe("a/b", "+/b")
    told = publisher.probe(stream, "a/b", qos=qos)
    assert told.written and not told.cut
    assert (told.key, told.client_id, told.topic) == (publisher.key, "p", "a/b")
    assert readers(told) == sorted([one.key, two.key, two.key])


def test_nobody_is_a_proof_where_the_message_was_routed_for_sure(stream, publisher):
    for qos in (0, 1):
        told = publisher.probe(stream, "a", qos=qos)
        assert told.written and not told.cut and not told.readers
    # Of QoS 2, and of 1 while there are some of 2 under way, mosquitto may drop it afterwards.
    assert publisher.probe(stream, "a", qos=2).cut
    assert publisher.probe(stream, "a", qos=1).cut
    assert not publisher.probe(stream, "a", qos=0).cut


def test_offline_sessions_are_readers(broker, stream, publisher):
    for version in (4, 5):
        client = broker.client(f"away{version}", version, clean=False,
                               props=[("session_expiry", 600)]).join(stream)
        client.subscribe("a", options=1)
        client.send(mqttraw.disconnect())
        client.wait_closed()
        stream.wait("session", key=client.key)
    for qos in (0, 1):
        told = publisher.probe(stream, "a", qos=qos)
        assert len(told.readers) == 2
        assert not set(told.readers) & {joined.key for joined in stream.all("client_joined")}


def test_strangers_are_readers_under_a_key_of_their_own(broker, stream, publisher):
    stranger = broker.client("stranger")
    stranger.subscribe("a")
    first, second = (publisher.probe(stream, "a") for _ in range(2))
    assert len(first.readers) == 1 and readers(first) == readers(second)
    assert first.readers[0] not in (0, publisher.key)
    stranger.join(stream)
    assert readers(publisher.probe(stream, "a")) == [stranger.key]


def test_no_local_is_left_out(broker, stream):
    publisher = broker.client("p", 5).join(stream)
    publisher.subscribe("a", options=4)
    publisher.subscribe("+")
    assert readers(publisher.probe(stream, "a")) == [publisher.key]


def test_one_of_a_share_is_asked(broker, stream, publisher):
    clients = [broker.client(f"c{number}", 5).join(stream) for number in range(3)]
    for client in clients:
        client.subscribe("$share/g/a")
    seen = {readers(publisher.probe(stream, "a"))[0] for _ in range(3)}
    assert seen == {client.key for client in clients}


def test_a_topic_alias_is_resolved(broker, stream):
    publisher = broker.client("p", 5).join(stream)
    subscriber = broker.client("s").join(stream)
    subscriber.subscribe("long/topic")
    publisher.publish("long/topic", b"x", props=[("topic_alias", 1)])
    told = publisher.probe(stream, "", props=[("topic_alias", 1)])
    assert told.topic == "long/topic" and readers(told) == [subscriber.key]


def test_only_the_next_message_is_meant(broker, stream, publisher):
    subscriber = broker.client("s").join(stream)
    subscriber.subscribe("#")
    publisher.send(publisher.marker(stream, marker.ASK, 7), mqttraw.publish("a"),
                   mqttraw.publish("b"), mqttraw.publish("a"),
                   publisher.marker(stream, marker.END, 7))
    told = stream.wait("published", token=7)
    assert told.topic == "a" and readers(told) == [subscriber.key]
    stream.settle()
    assert len(stream.all("published")) == 1


def test_a_marker_without_a_message_says_nothing_was_written(stream, publisher):
    publisher.send(publisher.marker(stream, marker.ASK, 7), publisher.marker(stream, marker.END, 7))
    told = stream.wait("published", token=7)
    assert not told.written and told.client_id == "p" and told.topic == ""


def test_an_end_without_a_beginning_says_nothing(stream, publisher):
    publisher.send(publisher.marker(stream, marker.END, 7))
    publisher.ping()
    stream.settle()
    assert not stream.all("published")


@pytest.mark.reuse
def test_what_others_publish_in_between_is_not_mixed_up(broker, stream, publisher):
    """The memory of a message that nobody keeps is that of the next one."""
    others = [broker.client(f"o{number}", 5).join(stream) for number in range(3)]
    for other in others:
        other.subscribe("a", options=4)  # No Local: who publishes is left out
    for number in range(20):
        publisher.send(publisher.marker(stream, marker.ASK, number), mqttraw.publish("a"))
        for other in others:
            other.publish("a")
            other.ping(kept=[])
        publisher.send(publisher.marker(stream, marker.END, number))
        told = stream.wait("published", token=number)
        assert readers(told) == sorted(other.key for other in others) and not told.cut


def test_several_may_be_under_way_of_qos_2(broker, stream, publisher):
    subscriber = broker.client("s").join(stream)
    subscriber.subscribe("#", options=2)
    for number in (1, 2):
        publisher.send(publisher.marker(stream, marker.ASK, number),
                       mqttraw.publish(f"t{number}", b"", 2, pid=number))
        publisher.expect(mqttraw.PUBREC)
    told = publisher.probe(stream, "t1")  # of QoS 0, between
    assert readers(told) == [subscriber.key]
    for number in (2, 1):
        assert not [p for p in stream.all("published") if p.token == number]
        publisher.send(mqttraw.ack(mqttraw.PUBREL, number))
        publisher.expect(mqttraw.PUBCOMP)
        told = stream.wait("published", token=number)
        assert told.written and told.topic == f"t{number}" and readers(told) == [subscriber.key]


def test_what_is_not_released_ends_with_its_client(broker, stream, publisher):
    publisher.send(publisher.marker(stream, marker.ASK, 1), mqttraw.publish("a", b"", 2, pid=1))
    publisher.expect(mqttraw.PUBREC)
    publisher.close()
    stream.wait("session", key=publisher.key)
    again = broker.client("p").join(stream)
    again.send(again.marker(stream, marker.END, 1))
    again.ping()
    stream.settle()
    assert not stream.all("published")


def test_a_will_is_no_answer_to_anybody(broker, stream, publisher):
    subscriber = broker.client("s").join(stream)
    subscriber.subscribe("#")
    for version in (4, 5):
        dying = broker.client("dying", version, will=mqttraw.Will("will", b"x", 0)).join(stream)
        dying.send(dying.marker(stream, marker.ASK, version))
        dying.ping()
        dying.close()
        assert subscriber.messages(1)[0].topic == "will"
    stream.settle()
    assert not stream.all("published")


def test_a_crowd_is_cut(brokers, socket_path, offrampd):
    broker = brokers({"address": socket_path, "acl": "allow", "readers_max": "10"}).start()
    stream = offrampd.stream().welcome()
    crowd = [broker.client(f"c{number}").join(stream) for number in range(11)]
    publisher = broker.client("p").join(stream)
    for number, client in enumerate(crowd):
        client.subscribe("a")
        told = publisher.probe(stream, "a")
        assert len(told.readers) == min(number + 1, 10) and told.cut == (number == 10)


def test_retained_messages_on_subscribe_are_nobodys_answer(broker, stream, publisher):
    publisher.publish("a", b"kept", qos=1, retain=True)
    publisher.send(publisher.marker(stream, marker.ASK, 1), mqttraw.publish("b"))
    subscriber = broker.client("s").join(stream)
    subscriber.subscribe("a", kept=[])
    publisher.send(publisher.marker(stream, marker.END, 1))
    told = stream.wait("published", token=1)
    assert told.written and not told.readers


def test_strangers_cannot_ask(broker, stream):
    stranger = broker.client("stranger")  # with the key, but it has not joined
    stranger.send(stranger.marker(stream, marker.ASK, 1), mqttraw.publish("a"),
                  stranger.marker(stream, marker.END, 1))
    stranger.ping()
    stream.settle()
    assert not stream.all("published")


@pytest.mark.parametrize("qos", (0, 1))
def test_a_message_that_is_too_large_was_not_written(brokers, offrampd, socket_path, qos):
    broker = brokers({"address": socket_path, "acl": "allow"},
                     settings="message_size_limit 1000").start()
    stream = offrampd.stream().welcome()
    publisher = broker.client("p").join(stream)
    assert not publisher.probe(stream, "a", b"x" * 1001, qos=qos).written
    assert publisher.probe(stream, "a", b"x" * 1000, qos=qos).written


@pytest.mark.reuse
@pytest.mark.parametrize("qos", (0, 1, 2))
def test_probes_under_load_are_right_or_cut(broker, stream, publisher, qos):
    """Twenty others publish to the same topic as fast as they can."""
    subscribers = [broker.client(f"s{number}").join(stream) for number in range(5)]
    for subscriber in subscribers:
        subscriber.subscribe("a")
    others = [broker.client(f"o{number}", 5) for number in range(20)]
    for other in others:
        other.subscribe("a", options=4)  # strangers, No Local
    wanted = sorted(s.key for s in subscribers)
    for _ in range(10):
        for other in others:
            other.send(mqttraw.publish("a", b"x", version=5) * 20)
        for _ in range(5):
            told = publisher.probe(stream, "a", qos=qos)
            known = sorted(key for key in told.readers if key in wanted)
            assert told.written and (told.cut or (known == wanted and len(told.readers) == 25))
        for client in subscribers + others:
            client.rest(0.001)
