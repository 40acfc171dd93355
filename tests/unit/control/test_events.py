# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Broker/Events: what a broker's side may say, and what becomes of it.

usage: test_events.py FAKE_DAEMON OFFRAMP PROTO_FOLDER
"""

import queue
import signal
import subprocess
import sys
import threading
import time
import unittest

import grpc

from fake import Daemon, messages

admin = messages("offramp/v1/admin")
broker = messages("offramp/v1/broker")

LEASE_S = 0.5
PATIENCE_S = 30
FLOOD = 5000

TWO_BROKERS = """
mode: stack
ports: [{{name: clients, device: a, addresses: [198.18.0.1/16, 198.19.0.1/24]}}]
brokers:
  - {{name: first, listen: "198.18.0.1:1883", address: "198.19.0.2:1883"}}
  - {{name: second, listen: "198.18.0.1:1884", address: "198.19.0.3:1883", proof: {{lease: 50ms}}}}
control: {{socket: {socket}}}
"""


class Stream:
    """A broker's side, by hand."""

    def __init__(self, daemon, **hello):
        self.channel = daemon.channel()
        self.outgoing = queue.Queue()
        self.call = self.channel.stream_stream(
            "/offramp.v1.Broker/Events",
            request_serializer=broker.BrokerMessage.SerializeToString,
            response_deserializer=broker.OfframpMessage.FromString,
        )(iter(self.outgoing.get, None))
        self.acknowledged = queue.Queue()
        self.sequence = hello.get("latest_sequence", 0)
        if hello:
            self.say(hello={"software": "test 1.0", "markers": True, **hello})

    def say(self, sequence=0, **message):
        self.outgoing.put(broker.BrokerMessage(sequence=sequence, **message))

    def event(self, **message):
        self.sequence += 1
        self.say(self.sequence, **message)

    def beat(self, echo_us=0):
        self.say(heartbeat={"latest_sequence": self.sequence, "echo_us": echo_us})

    def hear(self):
        return next(self.call)

    def welcome(self):
        return self.hear().welcome

    def begin(self):
        """Up to the point where workers know of it."""
        welcome = self.welcome()
        if welcome.replay_from == 0:
            self.say(snapshot_end={})
        self.beat()
        self.acknowledge()
        return welcome

    def acknowledge(self):
        return self.hear().acknowledge

    def until_acknowledged(self, sequence):
        while self.acknowledge().sequence < sequence:
            pass

    def end(self):
        self.outgoing.put(None)

    def status(self):
        """How it ended."""
        try:
            for _ in self.call:
                pass
            return grpc.StatusCode.OK, ""
        except grpc.RpcError as error:
            return error.code(), error.details()

    def close(self):
        self.call.cancel()
        self.end()
        self.channel.close()


def until(what, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it has not come about")
        time.sleep(0.01)


def broker_status(daemon, index=0):
    with daemon.channel() as channel:
        answer = channel.unary_unary("/offramp.v1.Admin/Status")(b"", timeout=5)
    return admin.StatusResponse.FromString(answer).brokers[index].stream


class WithDaemon(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon("events")
        self.assertTrue(self.daemon.ready)
        self.streams = []

    def tearDown(self):
        for stream in self.streams:
            stream.close()
        _, err, code = self.daemon.stop()
        self.assertEqual(code, 0, err)
        self.err = err

    def stream(self, **hello):
        stream = Stream(self.daemon, **hello)
        self.streams.append(stream)
        return stream

    def told(self, worker=0):
        return self.daemon.told(worker)

    def expect_told(self, *lines):
        for worker in (0, 1):
            until(lambda: len(self.told(worker)) >= len(lines))
            told = ["up" if line.startswith("up") else line for line in self.told(worker)]
            self.assertEqual(told, list(lines))


class Told(WithDaemon):
    def test_every_worker_is_told_everything_in_order(self):
        stream = self.stream(instance=1, split=True)
        welcome = stream.welcome()
        self.assertEqual(welcome.replay_from, 0)
        self.assertEqual(len(welcome.marker_key), 16)
        self.assertEqual((welcome.lease_us, welcome.heartbeat_us), (500000, 100000))
        stream.say(snapshot_end={})
        stream.event(client_joined={"nonce": 5, "key": 6, "client_id": "c"})
        stream.event(session={"key": 6, "client_id": "c", "state": 3})
        stream.event(subscribed={"key": 6, "client_id": "c", "filter": "a/+"})
        stream.event(unsubscribed={"key": 6, "client_id": "c", "filter": "$share/g/é"})
        stream.event(published={"token": 7, "key": 6, "client_id": "c", "topic": "a/b",
                                "written": True, "readers": [8, 9], "cut": True})
        stream.event(revoked={"why": "reload"})
        stream.beat()
        stream.until_acknowledged(6)
        self.expect_told(
            "up", "snapshot_end 0", "joined 0 5 6", "session 0 6 c 2", "subscribed 0 6 c a/+ 0",
            "unsubscribed 0 6 c $share/g/é", "published 0 7 6 c a/b 1 2 9 1", "revoked 0")
        key = welcome.marker_key
        self.assertEqual(self.told()[0], f"up 0 {key[0]:02x}{key[15]:02x} markers split")
        stream.end()
        self.assertEqual(stream.status(), (grpc.StatusCode.OK, ""))
        until(lambda: self.told()[-1] == "down 0 the broker's stream has ended")
        counters = self.daemon.json("counters")
        self.assertEqual(counters["broker_events_total"]["published"], 1)
        self.assertEqual(counters["broker_events_total"]["heartbeat"], 1)
        self.assertEqual(counters["broker_streams_begun_total"], {"new": 1, "resumed": 0})
        self.assertEqual(counters["broker_streams_ended_total"]["closed"], 1)
        self.assertEqual(counters["broker_streams"], 0)

    def test_workers_hear_of_a_stream_when_it_has_the_key(self):
        stream = self.stream(instance=1)
        stream.welcome()
        time.sleep(0.1)
        self.assertEqual(self.told(), [])
        stream.say(snapshot_end={})
        until(lambda: len(self.told()) == 2)

    def test_a_crowd_of_events_is_acknowledged_without_a_heartbeat(self):
        stream = self.stream(instance=1)
        stream.begin()
        for nonce in range(600):
            stream.event(client_joined={"nonce": nonce, "key": nonce + 1})
        stream.until_acknowledged(512)
        until(lambda: len(self.told(1)) == 602)


class Lease(WithDaemon):
    def lease_s(self):
        return broker_status(self.daemon).lease_us / 1e6

    def test_heartbeats_keep_it_and_silence_ends_it(self):
        stream = self.stream(instance=1)
        stream.begin()
        for _ in range(8):
            time.sleep(LEASE_S / 5)
            stream.beat()
            stream.acknowledge()
        until(lambda: self.lease_s() > LEASE_S / 2, 1)
        until(lambda: self.lease_s() == 0, 2 * LEASE_S)
        self.assertTrue(broker_status(self.daemon).connected)
        stream.beat()
        until(lambda: self.lease_s() > 0, 1)

    def test_it_counts_from_the_time_that_a_heartbeat_echoes(self):
        stream = self.stream(instance=1)
        then_us = stream.welcome().time_us
        stream.say(snapshot_end={})
        time.sleep(0.3)
        stream.beat(echo_us=then_us)
        stream.acknowledge()
        self.assertLess(self.lease_s(), LEASE_S - 0.3)
        stream.beat(echo_us=2**63)  # nobody can promise the future
        now_us = stream.acknowledge().time_us
        self.assertLess(self.lease_s(), LEASE_S)
        stream.beat(echo_us=now_us)
        stream.acknowledge()
        self.assertGreater(self.lease_s(), LEASE_S - 0.3)

    def test_a_worker_that_is_behind_does_not_rely_on_what_it_has_not_taken_in(self):
        stream = self.stream(instance=1)
        stream.begin()
        self.daemon.say("hang")
        for _ in range(8):
            time.sleep(LEASE_S / 5)
            stream.beat()
            stream.acknowledge()
        self.daemon.say("go")
        stream.beat()
        until(lambda: self.lease_s() > 0, 1)


class Sequence(WithDaemon):
    def expect_end(self, stream, code, words, reason):
        got, details = stream.status()
        self.assertEqual(got, code, details)
        self.assertIn(words, details)
        ended = self.daemon.json("counters")["broker_streams_ended_total"]
        self.assertEqual(ended[reason], 1)

    def test_the_same_instance_goes_on_where_it_was(self):
        stream = self.stream(instance=1)
        first = stream.begin()
        stream.event(client_joined={"nonce": 1, "key": 1})
        stream.event(client_joined={"nonce": 2, "key": 2})
        stream.beat()
        stream.until_acknowledged(2)
        stream.close()
        until(lambda: not broker_status(self.daemon).connected)
        again = self.stream(instance=1, oldest_sequence=3, latest_sequence=4)
        welcome = again.welcome()
        self.assertEqual(welcome.replay_from, 3)
        self.assertNotEqual(welcome.marker_key, first.marker_key)
        again.sequence = 2
        again.event(client_joined={"nonce": 3, "key": 3})
        again.event(client_joined={"nonce": 4, "key": 4})
        again.beat()
        again.until_acknowledged(4)
        self.expect_told("up", "snapshot_end 0", "joined 0 1 1", "joined 0 2 2",
                         "down 0 the broker's stream has ended", "up", "joined 0 3 3",
                         "joined 0 4 4")
        begun = self.daemon.json("counters")["broker_streams_begun_total"]
        self.assertEqual(begun, {"new": 1, "resumed": 1})

    def test_nothing_new_is_kept_and_nothing_is_missing(self):
        stream = self.stream(instance=1, latest_sequence=9)
        stream.begin()
        stream.close()
        until(lambda: not broker_status(self.daemon).connected)
        self.assertEqual(self.stream(instance=1, latest_sequence=9).welcome().replay_from, 10)

    def test_what_cannot_be_sent_again_is_forgotten(self):
        for change in ({"instance": 2}, {"oldest_sequence": 11}, {"oldest_sequence": 0},
                       {"latest_sequence": 8}, {"complete": True}):
            with self.subTest(**change):
                stream = self.stream(instance=1, latest_sequence=9)
                stream.begin()
                stream.close()
                until(lambda: not broker_status(self.daemon).connected)
                hello = {"instance": 1, "oldest_sequence": 5, "latest_sequence": 10, **change}
                if hello["oldest_sequence"] > hello["latest_sequence"]:
                    hello["oldest_sequence"] = 0
                again = self.stream(**hello)
                self.assertEqual(again.welcome().replay_from, 0)
                again.close()
                until(lambda: not broker_status(self.daemon).connected)

    def test_a_snapshot_that_was_cut_off_is_told_again(self):
        stream = self.stream(instance=1)
        stream.welcome()
        stream.event(subscribed={"client_id": "c", "filter": "a"})
        stream.beat()
        stream.until_acknowledged(1)
        stream.close()
        until(lambda: not broker_status(self.daemon).connected)
        again = self.stream(instance=1, oldest_sequence=2, latest_sequence=1)
        self.assertEqual(again.welcome().replay_from, 0)

    def test_a_gap_ends_it_and_all_that_was_known(self):
        stream = self.stream(instance=1)
        stream.begin()
        stream.event(client_joined={"nonce": 1, "key": 1})
        stream.sequence += 1
        stream.event(client_joined={"nonce": 3, "key": 3})
        self.expect_end(stream, grpc.StatusCode.DATA_LOSS, "event 3 after 1", "gap")
        self.expect_told("up", "snapshot_end 0", "joined 0 1 1",
                         "down 0 an event is missing in the broker's stream")
        again = self.stream(instance=1, oldest_sequence=1, latest_sequence=3)
        self.assertEqual(again.welcome().replay_from, 0)

    def test_a_heartbeat_tells_of_a_gap_too(self):
        stream = self.stream(instance=1)
        stream.begin()
        stream.sequence = 2
        stream.beat()
        self.expect_end(stream, grpc.StatusCode.DATA_LOSS, "event 2 after 0", "gap")

    def test_what_is_not_due(self):
        before_hello = {
            "no Hello": lambda s: s.beat(),
            "a numbered Hello": lambda s: s.say(1, hello={"instance": 1}),
        }
        after = {
            "a second Hello": lambda s: s.say(hello={"instance": 1}),
            "without a number": lambda s: s.say(revoked={}),
            "told already": lambda s: (s.event(revoked={}), s.say(1, revoked={})),
            "SnapshotEnd without": lambda s: s.say(snapshot_end={}),
            "a number for what is no event": lambda s: s.say(1, heartbeat={}),
        }
        count = 0
        for hello, cases in ((False, before_hello), (True, after)):
            for words, act in cases.items():
                with self.subTest(words):
                    stream = self.stream(**({"instance": 1} if hello else {}))
                    if hello:
                        stream.begin()
                    act(stream)
                    code, details = stream.status()
                    self.assertEqual(code, grpc.StatusCode.FAILED_PRECONDITION, details)
                    self.assertIn(words, details)
                    count += 1
                    ended = self.daemon.json("counters")["broker_streams_ended_total"]
                    self.assertEqual(ended["order"], count)

    def test_what_makes_no_sense(self):
        long = "x" * 65536
        cases = {
            "kind that this version": {},
            "client_id is no MQTT string": {"session": {"client_id": long, "state": 1}},
            "state is not known": {"session": {"client_id": "c", "state": 0}},
            "is no topic filter": {"subscribed": {"filter": "a/#/b"}},
            "Published.topic is no topic": {"published": {"topic": "a/+"}},
            "key is 0": {"client_joined": {"nonce": 1}},
        }
        for words, message in cases.items():
            with self.subTest(words):
                stream = self.stream(instance=1)
                stream.begin()
                stream.event(**message)
                code, details = stream.status()
                self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT, details)
                self.assertIn(words, details)
        for hello, words in (({"instance": 0}, "instance is 0"),
                             ({"instance": 1, "oldest_sequence": 9}, "beyond the latest")):
            with self.subTest(words):
                code, details = self.stream(**hello).status()
                self.assertEqual(code, grpc.StatusCode.INVALID_ARGUMENT, details)
                self.assertIn(words, details)
        code, details = self.stream(instance=1, broker="nobody").status()
        self.assertEqual((code, self.told(0)[-1]), (
            grpc.StatusCode.NOT_FOUND, "down 0 the broker's stream holds what makes no sense"))
        self.assertIn("no name of brokers[]", details)

    def raw(self, *parts):
        with self.daemon.channel() as channel:
            call = channel.stream_stream("/offramp.v1.Broker/Events")(iter(parts))
            with self.assertRaises(grpc.RpcError) as caught:
                list(call)
        return caught.exception.code()

    def test_bytes_that_are_no_message(self):
        hello = broker.BrokerMessage(hello={"instance": 1}).SerializeToString()
        bad_utf8 = b"\x08\x01\x3a\x03\x1a\x01\xff"  # Subscribed.filter
        for part in (b"\xff\xff\xff", b"\x12\x7f", b"", bad_utf8):
            with self.subTest(part):
                self.assertEqual(self.raw(hello, part), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(self.raw(b"\xff"), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(self.raw(hello, bytes(2 << 20)), grpc.StatusCode.RESOURCE_EXHAUSTED)


class Peers(WithDaemon):
    def test_the_later_stream_counts(self):
        first = self.stream(instance=1)
        first.begin()
        second = self.stream(instance=2)
        second.begin()
        code, details = first.status()
        self.assertEqual(code, grpc.StatusCode.ABORTED, details)
        self.expect_told("up", "snapshot_end 0",
                         "down 0 another stream of the broker has taken its place", "up",
                         "snapshot_end 0")
        second.event(revoked={})
        second.beat()
        second.until_acknowledged(1)
        third = self.stream(instance=1)
        third.begin()
        self.assertEqual(second.status()[0], grpc.StatusCode.ABORTED)
        third.close()
        _, err, code = self.daemon.stop()
        self.assertEqual(err.count("two brokers say that they are it"), 1)
        self.daemon = Daemon("events")

    def test_the_same_instance_may_come_again_before_its_end_is_seen(self):
        first = self.stream(instance=1)
        first.begin()
        second = self.stream(instance=1)
        self.assertEqual(second.begin().replay_from, 1)
        self.assertEqual(first.status()[0], grpc.StatusCode.ABORTED)

    def test_status_says_what_the_stream_is(self):
        status = broker_status(self.daemon)
        self.assertEqual((status.connected, status.for_us, status.ended), (False, 0, ""))
        stream = self.stream(instance=1, software="mosquitto\x1b[31m " + "é" * 40)
        stream.begin()
        stream.event(revoked={})
        stream.beat()
        stream.until_acknowledged(1)
        status = broker_status(self.daemon)
        self.assertTrue(status.connected)
        self.assertEqual(status.software, "mosquitto?[31m " + "é" * 24)
        self.assertEqual(status.sequence, 1)
        self.assertGreater(status.for_us, 0)
        self.assertRegex(
            self.daemon.run("status").stdout,
            r"\nmosquitto: mosquitto\?\[31m é+ has told what happens for 00:00:\d\d, up to event 1")
        self.assertTrue(self.daemon.json("status")["brokers"][0]["stream"]["connected"])
        stream.end()
        until(lambda: not broker_status(self.daemon).connected)
        status = broker_status(self.daemon)
        self.assertEqual(status.ended, "the broker's stream has ended")
        self.assertEqual(status.lease_us, 0)
        self.assertIn("ago: the broker's stream has ended\n", self.daemon.run("status").stdout)

    def test_a_peer_that_is_killed_is_missed_at_once(self):
        script = (
            "import grpc, sys, time; sys.argv[1:] = []\n"
            f"c = grpc.insecure_channel('unix:{self.daemon.socket}')\n"
            "def talk():\n"
            "    yield b'\\x12\\x02\\x10\\x01'\n"  # Hello.instance 1
            "    yield b'\\x22\\x00'\n"            # SnapshotEnd
            "    time.sleep(60)\n"
            "s = c.stream_stream('/offramp.v1.Broker/Events')(talk())\n"
            "next(s); print('ready', flush=True); next(s)\n")
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) as peer:
            self.assertEqual(peer.stdout.readline(), "ready\n")
            until(lambda: len(self.told()) == 2)
            peer.send_signal(signal.SIGKILL)
            until(lambda: len(self.told()) == 3, 1)
        self.assertEqual(self.told()[-1], "down 0 the broker's stream has ended")

    def test_a_stop_ends_streams_at_once(self):
        stream = self.stream(instance=1)
        stream.begin()
        started = time.monotonic()
        _, err, code = self.daemon.stop()
        self.assertEqual(code, 0, err)
        self.assertLess(time.monotonic() - started, 2)
        self.assertEqual(stream.status()[0], grpc.StatusCode.UNAVAILABLE)
        self.daemon = Daemon("events")


class Flood(WithDaemon):
    def resident_kib(self):
        with open(f"/proc/{self.daemon.process.pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("VmRSS")).split()[1])

    def waits(self):
        return self.daemon.json("counters")["broker_stream_waits_total"]

    def test_what_workers_have_no_room_for_waits_with_the_broker(self):
        stream = self.stream(instance=1)
        stream.begin()
        before = self.resident_kib()
        self.daemon.say("hang")
        for number in range(FLOOD):
            stream.event(subscribed={"key": number, "client_id": "c" * 500, "filter": "a/b"})
        stream.beat()
        until(lambda: self.waits() == 1)
        time.sleep(0.5)
        events = self.daemon.json("counters")["broker_events_total"]
        self.assertLess(events["subscribed"], 2000)
        self.assertEqual(self.waits(), 1)
        self.assertLess(self.resident_kib() - before, 16384)
        self.daemon.say("go")
        stream.until_acknowledged(FLOOD)
        for worker in (0, 1):
            until(lambda: len(self.told(worker)) == FLOOD + 2)
            keys = [int(line.split()[2]) for line in self.told(worker)[2:]]
            self.assertEqual(keys, list(range(FLOOD)))

    def test_long_messages_are_bounded_by_their_bytes(self):
        stream = self.stream(instance=1)
        stream.begin()
        before = self.resident_kib()
        self.daemon.say("hang")
        readers = list(range(60000))
        for _ in range(100):
            stream.event(published={"token": 1, "topic": "a", "readers": readers})
        until(lambda: self.waits() == 1)
        time.sleep(0.5)
        self.assertLess(self.resident_kib() - before, 32768)
        self.daemon.say("go")
        stream.beat()
        stream.until_acknowledged(100)
        until(lambda: len(self.told(1)) == 102)
        self.assertIn(" 60000 59999 ", self.told(1)[-1])

    def test_a_crowd_of_streams_is_refused_beyond_the_limit(self):
        calls = [self.stream() for _ in range(70)]
        codes = []
        for call in calls:
            threading.Timer(1, call.call.cancel).start()
        for call in calls:
            codes.append(call.status()[0])
        self.assertEqual(codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED), 70 - 64)
        self.stream(instance=1).begin()


class TwoBrokers(unittest.TestCase):
    def test_each_has_its_stream(self):
        daemon = Daemon("two", config=TWO_BROKERS)
        self.assertTrue(daemon.ready)
        streams = [Stream(daemon, instance=1, broker=name) for name in ("first", "second")]
        self.assertEqual([stream.begin().lease_us for stream in streams], [500000, 50000])
        nameless = Stream(daemon, instance=1, broker="")
        self.assertEqual(nameless.status()[0], grpc.StatusCode.NOT_FOUND)
        streams[1].event(revoked={})
        streams[1].beat()
        streams[1].until_acknowledged(1)
        until(lambda: "revoked 1" in daemon.told())
        self.assertNotIn("revoked 0", daemon.told())
        for stream in [*streams, nameless]:
            stream.close()
        _, err, code = daemon.stop()
        self.assertEqual(code, 0, err)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:])
