# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The stream itself: replay, gaps, peers that misbehave, are slow, or are not there."""

import os
import signal
import subprocess
import sys
import time

import marker
import mqttraw
import pytest
from offrampd import pb

HERE = os.path.dirname(os.path.abspath(__file__))


def test_what_came_meanwhile_is_told_afterwards(servers, socket_path, broker):
    first = servers(socket_path)
    stream = first.stream().welcome()
    client = broker.client("c").join(stream)
    stream.acknowledge()
    first.stop()
    for number in range(50):
        client.subscribe(f"a/{number}")
    second = servers(socket_path)
    hello = second.stream().wait("hello")
    assert hello.instance == stream.wait("hello").instance
    assert (hello.oldest_sequence, hello.latest_sequence) == (2, 51)
    again = second.stream().welcome(replay_from=2)
    assert [s.filter for s in again.wait("subscribed", 50)] == [f"a/{n}" for n in range(50)]
    assert again.sequences() == list(range(2, 52))
    assert not again.all("snapshot_end")
    assert again.wait("heartbeat").latest_sequence == 51


def test_what_is_not_acknowledged_is_told_again(servers, socket_path, broker):
    first = servers(socket_path)
    stream = first.stream().welcome()
    broker.client("c").join(stream).subscribe("a", "b", "c")
    stream.wait("subscribed", 3)
    stream.acknowledge(2)
    stream.settle()
    first.stop()
    second = servers(socket_path)
    assert second.stream().wait("hello").oldest_sequence == 3
    assert [s.filter for s in second.stream().welcome(replay_from=3).wait("subscribed", 2)] == [
        "b", "c"]


def test_who_knows_nothing_starts_from_here(servers, socket_path, broker):
    first = servers(socket_path)
    stream = first.stream().welcome()
    client = broker.client("c").join(stream)
    client.subscribe("a", "b")
    stream.wait("subscribed", 2)
    first.stop()
    second = servers(socket_path)
    again = second.stream().welcome()
    again.wait("snapshot_end")
    again.wait("heartbeat")
    client.subscribe("c")
    assert again.wait("subscribed").filter == "c"
    assert again.sequences() == [4]


def test_an_older_key_is_worth_nothing(broker, stream, offrampd):
    client = broker.client("c").join(stream)
    stream.end()
    offrampd.stream(1).welcome()
    client.send(client.marker(stream, marker.JOIN, 1))
    client.ping()
    offrampd.stream(1).settle()
    assert not offrampd.stream(1).all("client_joined")
    assert client.join(offrampd.stream(1)).key == stream.all("client_joined")[0].key


def test_lost_events_start_over(brokers, servers, socket_path):
    broker = brokers({"address": socket_path, "acl": "allow", "queue_events": "64"}).start()
    first = servers(socket_path)
    stream = first.stream().welcome()
    client = broker.client("c").join(stream)
    instance = stream.wait("hello").instance
    # Nothing is acknowledged: what finds no room is lost.
    client.subscribe(*(f"a/{number}" for number in range(200)))
    hello = first.stream(1).wait("hello")
    assert hello.instance == instance
    assert hello.latest_sequence >= 65 and hello.oldest_sequence > 65
    again = first.stream(1).welcome()
    again.wait("snapshot_end")
    # It is in step: all that comes now comes without a gap.
    for number in range(10):
        client.subscribe(f"b/{number}")
        again.acknowledge()
    again.wait("subscribed", filter="b/9")
    sequences = [s for s in again.sequences()]
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    broker.wait_for_line("events were lost")


def test_events_lost_while_nobody_listens_are_no_secret(brokers, servers, socket_path):
    broker = brokers({"address": socket_path, "acl": "allow", "queue_events": "64"}).start()
    client = broker.client("c")
    client.subscribe(*(f"a/{number}" for number in range(200)))
    time.sleep(0.3)
    stream = servers(socket_path).stream()
    hello = stream.wait("hello")
    assert hello.latest_sequence == 200 and hello.oldest_sequence == 201
    stream.welcome()
    client.subscribe("b")
    assert stream.wait("subscribed").filter == "b" and stream.sequences() == [201]


def test_large_events_fill_the_queue_by_bytes(brokers, servers, socket_path):
    broker = brokers({"address": socket_path, "acl": "allow", "queue_bytes": "1048576"}).start()
    client = broker.client("c")
    long = "x" * 60000
    for number in range(40):
        client.subscribe(f"{long}{number}")
    time.sleep(0.3)
    hello = servers(socket_path).stream().wait("hello")
    assert hello.latest_sequence == 40 and hello.oldest_sequence > 10


BAD_ANSWERS = {
    "no message of ours": lambda s: s.garbage(b"\xff\xff\xff"),
    "an empty message": lambda s: s.garbage(b""),
    "an unknown message": lambda s: s.garbage(b"\x5a\x00"),
    "a key that is too short": lambda s: s.say(welcome=pb.Welcome(
        marker_key=b"x" * 15, heartbeat_us=50000)),
    "no heartbeat": lambda s: s.say(welcome=pb.Welcome(marker_key=b"x" * 16)),
    "a heartbeat once a year": lambda s: s.say(welcome=pb.Welcome(
        marker_key=b"x" * 16, heartbeat_us=10**13)),
    "events that there are not": lambda s: s.say(welcome=pb.Welcome(
        marker_key=b"x" * 16, heartbeat_us=50000, replay_from=77)),
    "an acknowledgement before Welcome": lambda s: s.say(acknowledge=pb.Acknowledge(sequence=0)),
    "a message that is too long": lambda s: s.garbage(b"\x0a\x80\x80\x01" + b"x" * 16384),
    "the end": lambda s: s.end(),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
def test_a_bad_answer_starts_over(offrampd, broker, what):
    stream = offrampd.stream()
    stream.wait("hello")
    BAD_ANSWERS[what](stream)
    again = offrampd.stream(1).welcome()
    broker.client("c").join(again)


@pytest.mark.parametrize("what", ("a second Welcome", "too much acknowledged", "no message of ours"))
def test_a_bad_message_later_starts_over(broker, stream, offrampd, what):
    client = broker.client("c").join(stream)
    if what == "a second Welcome":
        stream.say(welcome=pb.Welcome(marker_key=os.urandom(16), heartbeat_us=50000))
    elif what == "too much acknowledged":
        stream.acknowledge(1000)
    else:
        stream.garbage(os.urandom(100))
    again = offrampd.stream(1).welcome()
    client.join(again)
    broker.wait_for_line("starts over")


def test_strange_servers_are_borne(brokers, tmp_path):
    """Whoever listens there speaks no gRPC."""
    import socket
    path = f"{tmp_path}/s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(10)
        server.settimeout(5)
        broker = brokers({"address": f"unix:{path}", "acl": "allow"}).start()
        for number in range(3):
            peer, _ = server.accept()
            peer.sendall(os.urandom(3000) if number else b"HTTP/1.1 200 OK\r\n\r\n")
            peer.close()
        client = broker.client("c")
        client.subscribe("a")
        client.publish("a", b"x")
        assert client.payloads(1) == [b"x"]


def test_no_daemon_is_said_once(brokers, socket_path):
    broker = brokers({"address": socket_path, "acl": "allow"}).start()
    broker.wait_for_line("no answer from offrampd")
    time.sleep(1)
    assert broker.lines().count("no answer from offrampd") == 1


def test_many_streams_leave_nothing_behind(broker, offrampd):
    def files():
        return len(os.listdir(f"/proc/{broker.process.pid}/fd"))
    for number in range(30):
        stream = offrampd.stream(number).welcome()
        if number == 5:
            before = files()
        stream.end()
    assert files() <= before + 2


# --- slow, stopped, gone -------------------------------------------------------------------------

class Peer:
    """Offramp's side in a process of its own, which can be stopped."""

    def __init__(self, address):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "offrampd.py"), address],
                                        stdout=subprocess.PIPE, text=True)

    def line(self):
        return self.process.stdout.readline().strip()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def peer(socket_path):
    one = Peer(socket_path)
    yield one
    one.stop()


def worst_ms(client, count=600):
    """Of a SUBSCRIBE, a PUBLISH and its delivery, one after the other: the 90th in a hundred.

    Of a machine that does other things as well nothing more is to be learned.
    """
    times = []
    for number in range(count):
        begin = time.monotonic()
        client.subscribe(f"a/{number}")
        client.publish(f"a/{number}", b"x")
        client.messages(1)
        times.append((time.monotonic() - begin) * 1000)
    return sorted(times)[int(count * 0.9)]


@pytest.mark.parametrize("how", ("stopped", "killed"))
def test_mosquitto_is_not_delayed_by_a_peer_that_is(brokers, socket_path, peer, how):
    broker = brokers({"address": socket_path, "acl": "allow", "queue_events": "256"}).start()
    assert peer.line() == "welcomed"
    client = broker.client("c")
    before = worst_ms(client)
    peer.signal(signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
    during = worst_ms(client)
    assert during < max(50, 3 * before), (before, during)
    if how == "stopped":  # 600 events and room for 256: they are told as lost, or not at all
        peer.signal(signal.SIGCONT)
        assert peer.line() == "welcomed"


def test_who_does_not_read_loses_the_stream_not_mosquitto(brokers, socket_path, peer):
    """More than the socket's buffers hold, for a peer that is stopped."""
    broker = brokers({"address": socket_path, "acl": "allow", "queue_bytes": "1048576"}).start()
    assert peer.line() == "welcomed"
    peer.signal(signal.SIGSTOP)
    client = broker.client("c")
    for number in range(200):
        client.subscribe("x" * 50000 + str(number))
    peer.signal(signal.SIGCONT)
    assert peer.line() == "welcomed"


def test_a_message_of_mqtt_that_breaks_off_matters_to_nobody(broker, stream):
    client = broker.client("c").join(stream)
    client.send(client.marker(stream, marker.ASK, 1) + mqttraw.publish("a", b"x" * 100)[:-50])
    client.close()
    stream.wait("session", key=client.key)
    assert not stream.all("published")
