# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The gRPC server and offramp(1), against a daemon without a data path.

usage: test_server.py FAKE_DAEMON OFFRAMP PROTO_FOLDER

Two clients that know nothing of each other: our own, on C-core, and Debian's
python3-grpcio with messages made by protoc.
"""

import os
import stat
import subprocess
import sys
import threading
import time
import unittest

import grpc

from fake import FOLDER, OFFRAMP, Daemon, messages

pb = messages("offramp/v1/admin")


def unary(channel, name, request=b"", timeout=10):
    call = channel.unary_unary(f"/offramp.v1.Admin/{name}")
    return call(request, timeout=timeout)


def stream(channel, name, timeout=30):
    return channel.unary_stream(f"/offramp.v1.Admin/{name}")(b"", timeout=timeout)


class WithDaemon(unittest.TestCase):
    connections, subscriptions = 130, 64

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(connections=cls.connections, subscriptions=cls.subscriptions)
        assert cls.daemon.ready

    @classmethod
    def tearDownClass(cls):
        out, err, code = cls.daemon.stop()
        assert code == 0, err
        assert out.endswith("stopped\n")
        assert not os.path.exists(cls.daemon.socket)


class Commands(WithDaemon):
    def test_status(self):
        status = self.daemon.json("status")
        self.assertEqual(status["mode"], "stack")
        self.assertEqual(status["workers"], 2)
        self.assertEqual(status["process_id"], self.daemon.process.pid)
        self.assertGreater(status["uptime_s"], 0)
        self.assertEqual(
            status["ports"],
            [
                {
                    "name": "clients",
                    "device": "a",
                    "mac": "02:00:00:00:00:ab",
                    "mtu": 1500,
                    "link_up": True,
                    "addresses": ["198.18.0.1/16", "198.19.0.1/24"],
                }
            ],
        )
        self.assertEqual(
            status["brokers"],
            [
                {
                    "name": "mosquitto",
                    "listen": "198.18.0.1:1883",
                    "address": "198.19.0.2:1883",
                    "knowledge": "wire",
                    "authorization": "open",
                    "map_complete": False,
                    "map_reason": "a connection was there before",
                    "reachable": True,
                    "connections": 20,
                    "subscriptions": 40,
                    "sessions": 2,
                    "stream": {
                        "connected": False,
                        "software": None,
                        "for_s": 0,
                        "ended": None,
                        "sequence": 0,
                        "lease_s": 0,
                    },
                }
            ],
        )
        workers = status["worker_status"]
        self.assertEqual([worker["worker"] for worker in workers], [0, 1])
        self.assertEqual([worker["captured"] for worker in workers], [110, 111])
        self.assertEqual([worker["connections"] for worker in workers], [5, 5])
        self.assertEqual([worker["busy"] for worker in workers], [0.25, 0.5])
        text = self.daemon.run("status").stdout
        self.assertRegex(text, r"WORKER +CORE +BUSY +CONNECTIONS")
        self.assertRegex(text, r"\n +1 +\d+ +50 % +5 +0 +0 +111\n")
        self.assertIn("publishes pass to the broker: a connection was there before", text)
        self.assertRegex(text, r"clients +up +02:00:00:00:00:ab +1500 +198.18.0.1/16,198.19.0.1/24")

    def test_counters_are_summed_over_workers_and_ports_are_asked(self):
        counters = self.daemon.json("counters")
        self.assertEqual(counters["publish_captured_total"], {"0": 201, "1": 20})
        self.assertEqual(counters["connections"], 10)
        self.assertEqual(counters["port_rx_packets_total"], {"clients": 77})
        self.assertIn('publish_captured_total{qos="0"}', self.daemon.run("counters").stdout)

    def test_connections(self):
        rows = self.daemon.json("connections")
        self.assertEqual(len(rows), 2 * self.connections)
        self.assertEqual(rows[0]["client_id"], "")
        self.assertIsNone(rows[0]["mqtt_version"])
        self.assertEqual(rows[1]["client_id"], 'esc\x1b[31m"\\é')
        self.assertEqual(rows[2]["client_id"], "bad?")
        self.assertEqual(
            rows[129] | {"subscriptions": 0},
            {
                "broker": "mosquitto",
                "client_id": "w0-129",
                "client": "198.18.1.129:1282",
                "broker_local": "198.19.0.1:1234",
                "mqtt_version": "3.1",
                "accepted": True,
                "persistent": False,
                "keep_alive_s": 60,
                "subscriptions": 0,
                "client_state": "ESTABLISHED",
                "broker_state": "CLOSE-WAIT",
                "client_queued": 0,
                "broker_queued": 0,
                "queued_messages": 0,
                "inflight": 0,
                "retransmits": 0,
                "captured": 1 << 40,
                "passed": 0,
                "delivered": 0,
            },
        )
        self.assertEqual(len({r["client_id"] for r in rows}), 2 * self.connections - 3)

    def test_tables_are_aligned_and_do_not_speak_to_the_terminal(self):
        text = self.daemon.run("connections").stdout
        lines = text.splitlines()
        self.assertEqual(len(lines), 1 + 2 * self.connections)
        self.assertNotIn("\x1b", text)
        column = lines[0].index("STATE")
        self.assertTrue(all(line[column:].startswith("ESTABLISHED") for line in lines[1:]))
        self.assertRegex(lines[1], r"^mosquitto +198.18.1.0:1024 +- +- +ESTABLISHED")

    def test_subscriptions(self):
        rows = self.daemon.json("subscriptions")
        self.assertEqual(len(rows), 2 * self.subscriptions)
        self.assertEqual(
            rows[1],
            {
                "broker": "mosquitto",
                "client_id": "w0",
                "filter": "a/1/#",
                "qos": 1,
                "no_local": False,
                "online": True,
                "pending": False,
                "persistent": False,
                "subscription_id": 1,
            },
        )
        self.assertIsNone(rows[4]["subscription_id"])
        text = self.daemon.run("subscriptions").stdout
        self.assertRegex(text, r"(?m)^mosquitto +w0 +a/1/# +1 +1 +online +-$")

    def test_topics(self):
        rows = self.daemon.json("topics")
        self.assertEqual(len(rows), 2 * 3)
        self.assertEqual(
            rows[0],
            {
                "broker": "mosquitto",
                "topic": "plant/1",
                "worker": 0,
                "verdict": "captured",
                "verdict_qos1": "captured",
                "verdict_qos2": "persistent_session",
                "targets": 3,
                "denied": 1,
                "pending": 0,
                "elsewhere": True,
                "known": True,
                "shown": True,
                "shown_s": 12.345678,
                "asks_s": 9.0,
            },
        )
        self.assertEqual(rows[1]["topic"], 'esc\x1b[31m"?')
        self.assertIsNone(rows[2]["shown_s"])
        self.assertEqual([row["worker"] for row in rows], [0, 0, 0, 1, 1, 1])
        text = self.daemon.run("topics").stdout
        self.assertNotIn("\x1b", text)
        self.assertRegex(text, r"(?m)^mosquitto +plant/1 +0 +captured +captured "
                               r"+persistent_session +3 +1 +0 +12.3 s$")
        self.assertRegex(text, r"(?m)^mosquitto +open +1 .* yes$")
        self.assertRegex(text, r"(?m)^mosquitto +esc\?\[31m\"\? +0 +unread .* no$")

    def test_a_hanging_worker_is_told(self):
        self.daemon.say("hang")
        result = self.daemon.run("connections", "--json")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("worker 0 does not answer", result.stderr)
        self.daemon.say("go")
        self.assertEqual(self.daemon.run("connections").returncode, 0)

    def test_usage(self):
        for args in ([], ["nonsense"], ["status", "counters"], ["--nonsense"]):
            result = self.daemon.run(*args)
            self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(
            "valid choices: status, connections, subscriptions, topics, counters, filters, trace",
            self.daemon.run("nonsense").stderr,
        )
        for args in (["status", "--add", "a"], ["counters", "--broker", "mosquitto"],
                     ["filters", "--capture", "maybe"], ["filters", "--add"]):
            self.assertEqual(self.daemon.run(*args).returncode, 2)

    def test_the_socket_may_come_from_the_environment(self):
        result = subprocess.run(
            [OFFRAMP, "status"],
            env={**os.environ, "OFFRAMP_SOCKET": self.daemon.socket},
            capture_output=True,
            check=False,
        )
        self.assertEqual(result.returncode, 0)


class Filters(WithDaemon):
    def given(self):
        """The sum of what the two workers have: 1000 for capture, 1 for each filter."""
        return self.daemon.json("counters")["filters"]

    def test_filters_are_listed_changed_and_handed_to_every_worker(self):
        expect = {"broker": "mosquitto", "capture": True, "pass": ["bridge/#", "cfg"]}
        self.assertEqual(self.daemon.json("filters"), [expect])
        result = self.daemon.json("filters", "--add", "a/+", "--add", "a/+", "--remove", "cfg",
                                  "--remove", "never", "--broker", "mosquitto")
        self.assertEqual(result, [expect | {"pass": ["bridge/#", "a/+"]}])
        self.assertEqual(self.given(), 2 * 1002)
        result = self.daemon.json("filters", "--capture", "off", "--add", "b")
        self.assertEqual(result, [expect | {"capture": False, "pass": ["bridge/#", "a/+", "b"]}])
        self.assertEqual(self.given(), 2 * 3)
        text = self.daemon.run("filters").stdout
        self.assertRegex(text, r"(?m)^mosquitto +off +a/\+$")
        result = self.daemon.json("filters", "--capture", "on", "--add", "cfg", "--remove", "a/+",
                                  "--remove", "b")
        self.assertEqual(result, [expect])
        self.assertEqual(self.given(), 2 * 1002)

    def test_what_is_wrong_changes_nothing(self):
        before = self.daemon.json("filters")
        for add, message in (
            ("a/#/b", "'a/#/b' is not a topic filter"),
            ("", "'' is not a topic filter"),
            ("$share/g/t", "'$share/g/t' is not a topic filter"),
        ):
            result = self.daemon.run("filters", "--add", "good", "--add", add)
            self.assertEqual(result.returncode, 1)
            self.assertIn(message, result.stderr)
        result = self.daemon.run("filters", "--add", "a", "--broker", "nobody")
        self.assertIn("no broker is named 'nobody'", result.stderr)
        self.assertEqual(self.daemon.json("filters"), before)

    def test_their_number_is_bounded(self):
        with self.daemon.channel() as channel:
            request = pb.ChangeFiltersRequest(add=[f"many/{i}" for i in range(255)])
            with self.assertRaises(grpc.RpcError) as caught:
                unary(channel, "ChangeFilters", request.SerializeToString())
            self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            full = pb.ChangeFiltersRequest(add=[f"many/{i}" for i in range(254)])
            answer = unary(channel, "ChangeFilters", full.SerializeToString())
            broker = pb.FiltersResponse.FromString(answer).brokers[0]
            self.assertEqual(len(getattr(broker, "pass")), 256)
            back = pb.ChangeFiltersRequest(remove=full.add)
            unary(channel, "ChangeFilters", back.SerializeToString())

    def test_a_hanging_worker_is_told_and_the_change_can_be_repeated(self):
        self.daemon.say("hang")
        result = self.daemon.run("filters", "--add", "later")
        self.assertEqual(result.returncode, 1)
        self.assertIn("worker 0 does not answer", result.stderr)
        self.daemon.say("go")
        self.daemon.json("filters", "--add", "later")
        self.assertEqual(self.given(), 2 * 1003)
        self.daemon.json("filters", "--remove", "later")


class WithoutDaemon(unittest.TestCase):
    def test_nobody_there(self):
        result = subprocess.run(
            [OFFRAMP, "status", "--socket", f"{FOLDER.name}/none"],
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, 1)
        self.assertEqual(
            result.stderr,
            f"offramp: cannot reach the daemon at {FOLDER.name}/none: "
            "No such file or directory; is offrampd running?\n",
        )


class OtherClient(WithDaemon):
    def test_status_and_lists(self):
        with self.daemon.channel() as channel:
            status = pb.StatusResponse.FromString(unary(channel, "Status"))
            self.assertEqual(status.brokers[0].connections, 20)
            parts = [
                pb.SubscriptionsResponse.FromString(m) for m in stream(channel, "Subscriptions")
            ]
            self.assertEqual(sum(len(p.subscriptions) for p in parts), 2 * self.subscriptions)
            families = pb.CountersResponse.FromString(unary(channel, "Counters")).families
            self.assertEqual(families[0].kind, pb.COUNTER_KIND_MONOTONIC)
            self.assertEqual(families[1].kind, pb.COUNTER_KIND_GAUGE)
            self.assertEqual(families[0].help, "Captured.")

    def expect(self, code, channel, name, request=b""):
        with self.assertRaises(grpc.RpcError) as caught:
            unary(channel, name, request)
        self.assertEqual(caught.exception.code(), code)

    def test_errors(self):
        with self.daemon.channel() as channel:
            self.expect(grpc.StatusCode.UNIMPLEMENTED, channel, "Nonsense")
            self.expect(grpc.StatusCode.INVALID_ARGUMENT, channel, "Status", b"\xff\xff")
            self.expect(grpc.StatusCode.RESOURCE_EXHAUSTED, channel, "Status", bytes(100000))
            unary(channel, "Status")

    def test_drain(self):
        with self.daemon.channel() as channel:
            pb.DrainResponse.FromString(unary(channel, "Drain"))
        self.assertEqual(self.daemon.process.stdout.readline(), "drain\n")

    def test_many_clients_at_once(self):
        failures = []

        def client():
            try:
                with self.daemon.channel() as channel:
                    for _ in range(50):
                        unary(channel, "Status")
                        next(iter(stream(channel, "Connections")))  # dropped: cancelled
            except grpc.RpcError as error:
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class LongLists(WithDaemon):
    connections, subscriptions = 0, 300000

    def slices(self):
        return self.daemon.json("counters")["slices_total"]

    def test_a_reader_that_stops_costs_nothing_more(self):
        first = self.slices()
        with self.daemon.channel() as channel:
            call = stream(channel, "Subscriptions")
            next(call)
            time.sleep(0.5)
            before = self.slices()
            time.sleep(0.5)
            self.assertEqual(self.slices(), before)
            self.assertLess(before - first, 200)
            call.cancel()

    def test_a_crowd_is_refused_and_then_served(self):
        channels = [self.daemon.channel() for _ in range(3)]
        calls = [stream(channel, "Subscriptions") for channel in channels for _ in range(9)]
        refused = 0
        for call in calls:
            try:
                next(call)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                refused += 1
        self.assertEqual(refused, 27 - 24)
        for call in calls:
            call.cancel()
        time.sleep(0.2)
        self.assertEqual(unary(channels[0], "Status")[:1], b"\n")
        for channel in channels:
            channel.close()

    def test_deadlines_hold(self):
        with self.daemon.channel() as channel:
            call = stream(channel, "Subscriptions", timeout=0.5)
            next(call)
            time.sleep(1)
            with self.assertRaises(grpc.RpcError) as caught:
                list(call)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            before = self.slices()
            self.assertEqual(self.slices(), before)


class Sockets(unittest.TestCase):
    def test_stopping_does_not_wait_for_readers(self):
        daemon = Daemon("busy", subscriptions=300000)
        with daemon.channel() as channel:
            call = stream(channel, "Subscriptions")
            next(call)
            started = time.monotonic()
            _, err, code = daemon.stop()
            self.assertEqual(code, 0, err)
            self.assertLess(time.monotonic() - started, 5)

    def test_mode(self):
        daemon = Daemon("mode")
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket).st_mode), 0o660)
        daemon.stop()

    def test_a_dead_predecessors_socket_is_replaced(self):
        dead = Daemon("dead")
        dead.kill()
        self.assertTrue(os.path.exists(dead.socket))
        daemon = Daemon("dead")
        self.assertTrue(daemon.ready)
        self.assertEqual(daemon.run("status").returncode, 0)
        daemon.stop()

    def test_a_live_one_is_refused(self):
        first = Daemon("live")
        second = Daemon("live")
        self.assertFalse(second.ready)
        _, err, code = second.stop()
        self.assertEqual(code, 1)
        self.assertIn("another offrampd serves it", err)
        self.assertEqual(first.run("status").returncode, 0)
        first.stop()

    def test_a_file_is_not_removed(self):
        os.makedirs(f"{FOLDER.name}/file")
        with open(f"{FOLDER.name}/file/offramp.sock", "w", encoding="utf-8") as out:
            out.write("precious")
        daemon = Daemon("file")
        self.assertFalse(daemon.ready)
        self.assertIn("something else than a socket", daemon.stop()[1])
        self.assertTrue(os.path.exists(f"{FOLDER.name}/file/offramp.sock"))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:])
