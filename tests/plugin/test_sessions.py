# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Sessions that outlive connections, mosquitto or the plugin; other listeners; bridges."""

import time

import mqttraw
import pytest

PERSIST = "persistence true\npersistence_location {folder}/\nautosave_interval 0"


def leave(client, stream=None):
    client.send(mqttraw.disconnect())
    client.wait_closed()
    if stream:
        stream.wait("session", key=client.key)


def kept(broker, name, version=4):
    return broker.client(name, version, clean=False, props=[("session_expiry", 600)])


def test_restored_sessions_are_readers(brokers, servers, socket_path, tmp_path):
    settings = PERSIST.format(folder=tmp_path)
    options = {"address": socket_path, "acl": "allow"}
    server = servers(socket_path)
    first = brokers(options, settings=settings).start()
    stream = server.stream().welcome()
    for version in (4, 5):
        client = kept(first, f"c{version}", version).join(stream)
        client.subscribe("a", options=1)
        leave(client, stream)
    assert first.stop() == 0
    second = brokers(options, settings=settings).start()
    again = server.stream(1).welcome()
    assert again.wait("hello").instance != stream.wait("hello").instance
    assert again.wait("hello").latest_sequence == 0
    publisher = second.client("p").join(again)
    told = publisher.probe(again, "a", b"1", qos=1)
    assert len(told.readers) == 2 and told.written and publisher.key not in told.readers
    back = kept(second, "c4").join(again)
    assert back.connack.session_present and back.payloads(1) == [b"1"]
    told = publisher.probe(again, "a", b"2", qos=1)
    assert len(told.readers) == 2 and back.key in told.readers


@pytest.mark.reuse
def test_a_session_that_expired_leaves_no_key_to_others(broker, stream):
    """mosquitto frees it without a word, and its memory may become another client's."""
    publisher = broker.client("p").join(stream)
    keys = set()
    for number in range(5):
        client = broker.client("c", 5, clean=True, props=[("session_expiry", 1)]).join(stream)
        client.subscribe("a", options=1)
        assert client.key not in keys
        keys.add(client.key)
        leave(client, stream)
        offline = publisher.probe(stream, "a").readers
        assert len(offline) == 1 and not set(offline) & keys
        deadline = time.monotonic() + 10
        while publisher.probe(stream, "a").readers:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_session_taken_over_under_another_version(broker, stream):
    publisher = broker.client("p").join(stream)
    first = kept(broker, "c", 4).join(stream)
    first.subscribe("a", options=1)
    second = kept(broker, "c", 5).join(stream)
    first.wait_closed()
    assert list(publisher.probe(stream, "a").readers) == [second.key]
    leave(second, stream)
    assert publisher.probe(stream, "a").readers[0] not in (first.key, second.key)
    third = kept(broker, "c", 4).join(stream)
    assert list(publisher.probe(stream, "a").readers) == [third.key]


def test_per_listener_settings_keep_it_out(brokers, offrampd, socket_path):
    broker = brokers({"address": socket_path, "acl": "allow"},
                     settings="per_listener_settings true").start()
    broker.client("a").subscribe("x")
    time.sleep(6)
    broker.client("c").subscribe("x")
    broker.wait_for_line("per_listener_settings")
    assert not offrampd.streams


def test_bridges_are_no_readers(brokers, offrampd, socket_path):
    """What a bridge takes away nobody is asked for: its topics are for capture.pass."""
    far = brokers(None).start()
    near = brokers({"address": socket_path, "acl": "allow"},
                   after=f"connection far\naddress 127.0.0.1:{far.port}\ntopic a both 0\n").start()
    stream = offrampd.stream().welcome()
    subscriber = far.client("s")
    subscriber.subscribe("a")
    publisher = near.client("p").join(stream)
    deadline = time.monotonic() + 10
    while True:
        assert not publisher.probe(stream, "a", b"x").readers
        if subscriber.rest(0.1):
            break
        assert time.monotonic() < deadline
    # And what it brings is nobody's answer.
    publisher.send(publisher.marker(stream, 2, 1))
    reader = near.client("r").join(stream)
    reader.subscribe("a")
    far.client("q").publish("a", b"y")
    assert reader.payloads(1) == [b"y"]
    stream.settle()
    assert not [p for p in stream.all("published") if p.token == 1]


@pytest.mark.parametrize("version", (3, 4, 5))
def test_mosquitto_stops_orderly_with_clients(brokers, offrampd, socket_path, version):
    broker = brokers({"address": socket_path, "acl": "allow"}).start()
    stream = offrampd.stream().welcome()
    client = broker.client("c", version).join(stream)
    client.subscribe("a")
    begin = time.monotonic()
    assert broker.stop() == 0
    assert time.monotonic() - begin < 3
    stream.wait_for(lambda: stream.ended, "the end of the stream")
