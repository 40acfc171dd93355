# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Each event, and what brings it about."""

import marker
import mqttraw


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


def test_a_client_joins_by_its_marker(broker, stream):
    for version in (3, 4, 5):
        client = broker.client(f"c{version}", version).join(stream)
        joined = stream.all("client_joined")[-1]
        assert (joined.client_id, joined.key) == (f"c{version}", client.key) and client.key
    assert len({joined.key for joined in stream.all("client_joined")}) == 3


def test_a_probe_names_the_readers(broker, stream):
    one = broker.client("one").join(stream)
    two = broker.client("two", 5).join(stream)
    one.subscribe("a/#")
    two.subscribe("a/b", "+/b")
    publisher = broker.client("p").join(stream)
    for qos in (0, 1, 2):
        told = publisher.probe(stream, "a/b", qos=qos)
        assert told.written and not told.cut
        assert (told.key, told.client_id, told.topic) == (publisher.key, "p", "a/b")
        assert sorted(told.readers) == sorted([one.key, two.key, two.key])
