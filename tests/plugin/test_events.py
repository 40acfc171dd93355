# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Each event, and what brings it about."""

import os
import signal

import mqttraw
import pytest
from offrampd import pb


def test_hello_says_who_and_what(offrampd, broker):
    hello = offrampd.stream().wait("hello")
    assert hello.broker == "test"
    assert hello.instance != 0
    assert hello.software.startswith("mosquitto_offramp ")
    assert (hello.oldest_sequence, hello.latest_sequence) == (0, 0)
    assert hello.markers and hello.split and not hello.complete


def test_a_snapshot_is_empty_and_ends(stream):
    stream.wait("heartbeat")
    kinds = [m.WhichOneof("kind") for _, m in stream.messages]
    assert kinds[:3] == ["hello", "snapshot_end", "heartbeat"]


def test_heartbeats_come_as_often_as_asked(stream):
    stream.wait("heartbeat", 20, seconds=5)
    times = [at for at, m in stream.messages if m.WhichOneof("kind") == "heartbeat"]
    mean = (times[-1] - times[5]) / (len(times) - 6)
    assert 0.03 < mean < 0.1, mean


def test_heartbeats_say_when_they_were_not_made_yet(offrampd, broker):
    stream = offrampd.stream().welcome(time_us=1000)
    assert stream.wait("heartbeat").echo_us == 1000
    stream.acknowledge(time_us=2000)
    stream.wait("heartbeat", echo_us=2000)
    assert {beat.echo_us for beat in stream.all("heartbeat")} == {1000, 2000}


def test_a_client_joins_by_its_marker(broker, stream):
    for version in (3, 4, 5):
        client = broker.client(f"c{version}", version).join(stream)
        joined = stream.all("client_joined")[-1]
        assert (joined.client_id, joined.key) == (f"c{version}", client.key) and client.key
    assert len({joined.key for joined in stream.all("client_joined")}) == 3


def test_a_client_without_a_name_joins_by_the_one_mosquitto_gave_it(broker, stream):
    broker.client("").join(stream)
    assert len(stream.all("client_joined")[-1].client_id) >= 36


def test_a_user_joins_by_name(brokers, socket_path, offrampd):
    broker = brokers({"address": socket_path, "acl": "allow"}).start()
    stream = offrampd.stream().welcome()
    broker.client("c", user="ann").join(stream)
    assert stream.all("client_joined")[-1].username == "ann"


def test_the_same_connection_keeps_its_key_when_it_joins_again(broker, stream):
    client = broker.client("c").join(stream)
    key = client.key
    assert client.join(stream).key == key


@pytest.mark.reuse
def test_no_key_is_ever_used_again(broker, stream):
    keys = []
    for turn in range(100):  # mosquitto's memory of the one before is free again, and taken
        client = broker.client("same" if turn % 2 else f"c{turn}", 4 + turn % 2).join(stream)
        keys.append(client.key)
        client.send(mqttraw.disconnect())
        client.wait_closed()
    assert len(set(keys)) == len(keys)


def test_subscriptions_of_everybody_are_told(broker, stream):
    joined = broker.client("joined", 5).join(stream)
    stranger = broker.client("stranger")
    joined.subscribe("a/+", "$share/g/b/#", options=1)
    stranger.subscribe("c")
    first = stream.wait("subscribed", 3)
    assert [(s.client_id, s.filter, s.qos) for s in first] == [
        ("joined", "a/+", 1), ("joined", "$share/g/b/#", 1), ("stranger", "c", 0)]
    assert [s.key for s in first[:2]] == [joined.key] * 2
    assert first[2].key not in (0, joined.key)
    joined.unsubscribe("a/+")
    stranger.unsubscribe("c", "never")
    gone = stream.wait("unsubscribed", 3)
    assert [(s.key, s.client_id, s.filter) for s in gone] == [
        (joined.key, "joined", "a/+"), (first[2].key, "stranger", "c"),
        (first[2].key, "stranger", "never")]


def test_an_end_of_a_connection_is_told_once(broker, stream):
    for version, orderly in ((4, True), (4, False), (5, True), (5, False)):
        client = broker.client("c", version, clean=False).join(stream)
        if orderly:
            client.send(mqttraw.disconnect())
            client.wait_closed()
        else:
            client.close()
        told = stream.wait("session", key=client.key)
        assert told.client_id == "c" and told.state == pb.SESSION_STATE_DISCONNECTED
    stream.settle()
    assert len(stream.all("session")) == 4


def test_who_is_unknown_leaves_without_a_word(broker, stream):
    client = broker.client("stranger")
    client.publish("a", b"x", qos=1)
    client.close()
    stream.settle()
    assert not stream.all("session") and not stream.all("published")


def test_a_takeover_ends_the_older_connection(broker, stream):
    older = broker.client("c", clean=False).join(stream)
    older.subscribe("a", options=1)
    younger = broker.client("c", clean=False).join(stream)
    assert younger.connack.session_present
    older.wait_closed()
    assert stream.wait("session").key == older.key != younger.key
    publisher = broker.client("p").join(stream)
    assert list(publisher.probe(stream, "a").readers) == [younger.key]


def test_a_reload_revokes(broker, stream):
    for count in (1, 2):
        os.kill(broker.process.pid, signal.SIGHUP)
        revoked = stream.wait("revoked", count)
        # mosquitto forgets a signal that comes while it still reloads; then it answers nobody.
        broker.client("c").close()
    assert "reloaded" in revoked[0].why


def test_a_command_to_another_plugin_revokes(broker, stream):
    broker.client("c", 5).publish("$CONTROL/dynamic-security/v1", b"{}", qos=1)
    assert "$CONTROL/" in stream.wait("revoked").why


def test_events_are_numbered_without_gaps(broker, stream):
    client = broker.client("c").join(stream)
    for number in range(300):
        client.subscribe(f"a/{number}")
    stream.wait("subscribed", 300)
    assert stream.sequences() == list(range(1, 302))
    stream.settle()
    assert stream.all("heartbeat")[-1].latest_sequence == 301
