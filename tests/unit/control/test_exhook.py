# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""HookProvider as EMQX calls it, in both versions: what workers learn, what EMQX is answered.

usage: test_exhook.py FAKE_DAEMON OFFRAMP PROTO_FOLDER
"""

import socket
import sys
import threading
import time
import unittest

import grpc

from emqx import Emqx
from fake import Daemon, messages

ADMIN = messages("offramp/v1/admin")
PROTOS = {version: messages(f"emqx/exhook/{version}/exhook") for version in ("v2", "v3")}
ANSWER_MAX_S = 0.1  # to a call whose message the workers do not take
SLACK_S = 2  # of a busy machine
MESSAGE_HOOKS = ("message.publish", "message.delivered", "message.dropped", "message.acked")

CONFIG = """
mode: stack
ports: [{{name: clients, device: a, addresses: [198.18.0.1/16, 198.19.0.1/24]}}]
brokers:
  - {{name: emqx, listen: "198.18.0.1:1883", address: "198.19.0.2:1883"}}
control: {{socket: {socket}, listen: [{listen}]}}
"""
TWO = CONFIG.replace("control:", """\
  - {{name: plant, listen: "198.18.0.1:1884", address: "198.19.0.3:1883",
      authorization: open}}
  - {{name: quiet, listen: "198.18.0.1:1885", address: "198.19.0.4:1883",
      knowledge: wire, authorization: open}}
control:""")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def until(what, patience_s=10):
    deadline = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("it has not come about")
        time.sleep(0.01)


class WithDaemon(unittest.TestCase):
    config = CONFIG

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        listen = f'{{address: "127.0.0.1:{cls.port}", services: [exhook, health]}}'
        cls.daemon = Daemon(cls.__name__, listen=listen, config=cls.config)
        assert cls.daemon.ready

    @classmethod
    def tearDownClass(cls):
        _, err, code = cls.daemon.stop()
        assert code == 0 and "Sanitizer" not in err, err

    def setUp(self):
        self.nodes = []
        self.before = [len(self.daemon.told(worker)) for worker in (0, 1)]

    def tearDown(self):
        for node in self.nodes:
            node.close()
        # What ends with these connections ends before the next test.
        for worker in (0, 1):
            until(lambda: self.is_down(worker))

    def is_down(self, worker):
        turns = [line.split()[:2] for line in self.daemon.told(worker)
                 if line.startswith(("up ", "down "))]
        return all([turn for turn in turns if turn[1] == broker][-1][0] == "down"
                   for broker in {turn[1] for turn in turns})

    def emqx(self, *args, **options):
        self.nodes.append(Emqx(PROTOS, self.port, *args, **options))
        return self.nodes[-1]

    def told(self, worker=0):
        """In this test, without marker keys."""
        return [line if not line.startswith("up ") else "up " + line.split()[1]
                for line in self.daemon.told(worker)[self.before[worker]:]]

    def expect(self, *lines):
        """Both workers have been told just this, in this order."""
        for worker in (0, 1):
            until(lambda: len(self.told(worker)) >= len(lines))
            self.assertEqual(self.told(worker), list(lines))

    def expect_down(self, why):
        until(lambda: self.told() and self.told()[-1].startswith("down 0 "))
        self.assertIn(why, self.told()[-1])

    def expect_status(self, why):
        with self.daemon.channel() as channel:
            answer = channel.unary_unary("/offramp.v1.Admin/Status")(b"", timeout=5)
        self.assertIn(why, ADMIN.StatusResponse.FromString(answer).brokers[0].stream.ended)


class Told(WithDaemon):
    def test_both_versions_tell_the_same(self):
        for version in ("v2", "v3"):
            with self.subTest(version):
                self.tearDown()
                self.setUp()
                emqx = self.emqx(version).load()
                self.assertEqual(set(emqx.hooks), {
                    "session.created", "session.resumed", "session.subscribed",
                    "session.unsubscribed", "session.discarded", "session.terminated",
                    "message.publish"})
                self.assertEqual(emqx.hooks["message.publish"], [])
                emqx.connect("a")
                emqx.subscribe("a", "plant/+/t")
                emqx.subscribe("a", "$share/g/s", nl=0)
                answer = emqx.publish("a", "plant/1/t")
                self.assertEqual(answer.type, emqx.pb.ValuedResponse.IGNORE)
                self.assertIsNone(answer.WhichOneof("value"))
                emqx.unsubscribe("a", "plant/+/t")
                emqx.end("a")
                self.expect("up 0", "snapshot_end 0", "session 0 0 a 0",
                            "subscribed 0 0 a plant/+/t 1", "subscribed 0 0 a $share/g/s 1",
                            "published 0 0 0 a plant/1/t 1 0 0 0",
                            "unsubscribed 0 0 a plant/+/t", "session 0 0 a 3")

    def test_from_where_clients_come_and_what_they_ask_for(self):
        emqx = self.emqx().load()
        emqx.connect("a", peerport=40000)
        emqx.subscribe("a", "t", nl=1)
        emqx.subscribe("a", "u", qos=2)
        emqx.publish("a", "t")
        emqx.connect("b", peerhost="2001:db8::1", peerport=40001)
        emqx.connect("c", peerhost="not an address", peerport=40002)
        emqx.connect("d", peerport=70000)
        self.expect("up 0", "snapshot_end 0", "session 0 0 a 0 198.19.0.1:40000",
                    "subscribed 0 0 a t 1 no-local", "subscribed 0 0 a u 2",
                    "published 0 0 0 a t 1 0 0 0", "session 0 0 b 0 [2001:db8::1]:40001",
                    "session 0 0 c 0", "session 0 0 d 0")

    def test_clients_of_gateways_have_names_of_their_own(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        emqx.connect("a", protocol="coap")
        emqx.end("a")
        until(lambda: len(self.told()) == 5)
        lines = [line.split() for line in self.told()[2:]]
        self.assertEqual([[line[0], line[3], line[4]] for line in lines],
                         [["session", "a", "0"], ["session", "a", "0"], ["session", "a", "3"]])
        self.assertEqual([line[2] == "0" for line in lines], [True, False, True])

    def test_a_session_that_is_taken_over_lives_on(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        emqx.subscribe("a", "t")
        emqx.connect("a", resumes=True)
        emqx.end("a", "takenover")
        emqx.publish("a", "t")
        self.expect("up 0", "snapshot_end 0", "session 0 0 a 0", "subscribed 0 0 a t 1",
                    "session 0 0 a 1", "published 0 0 0 a t 1 0 0 0")

    def test_a_clean_start_replaces_a_session_in_either_order(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        emqx.end("a", "discarded")
        emqx.connect("a")
        emqx.connect("a")  # the next one is told before the end of the last
        emqx.subscribe("a", "t")
        emqx.end("a", "discarded")
        emqx.end("a")
        self.expect("up 0", "snapshot_end 0", "session 0 0 a 0", "session 0 0 a 3",
                    "session 0 0 a 0", "session 0 0 a 0", "subscribed 0 0 a t 1",
                    "session 0 0 a 3")

    def test_what_no_client_published_proves_nothing(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        emqx.publish("a", "t", protocol="http")
        emqx.publish("a", "t", protocol="mqtt", allow_publish="false")
        emqx.publish("gone", "t")
        emqx.publish("a", "u")
        self.expect("up 0", "snapshot_end 0", "session 0 0 a 0", "published 0 0 0 a u 1 0 0 0")

    def test_workers_know_before_emqx_is_answered(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        for number in range(300):
            emqx.subscribe("a", f"t/{number}")
            for worker in (0, 1):
                self.assertEqual(self.told(worker)[-1], f"subscribed 0 0 a t/{number} 1")

    def test_nothing_is_ever_decided(self):
        emqx = self.emqx()
        info = emqx.info("a")
        for allowed in (True, False):
            for loaded in (False, True):
                if loaded:
                    emqx.load()
                for answer in (
                    emqx.call("OnClientAuthenticate", "ValuedResponse", clientinfo=info,
                              result=allowed),
                    emqx.call("OnClientAuthorize", "ValuedResponse", clientinfo=info,
                              topic="t", result=allowed),
                    emqx.call("OnMessagePublish", "ValuedResponse",
                              message=emqx.message("a", "t")),
                ):
                    self.assertEqual(answer.type, emqx.pb.ValuedResponse.IGNORE)
                    self.assertIsNone(answer.WhichOneof("value"))

    def test_calls_come_by_many_connections_at_once(self):
        nodes = [self.emqx().load()]
        for _ in range(7):
            nodes.append(self.emqx())
            nodes[-1].hooks = nodes[0].hooks

        def clients(number):
            for at in range(40):
                client = f"c{number}-{at}"
                nodes[number].connect(client)
                nodes[number].subscribe(client, f"t/{client}")
                nodes[number].end(client)

        threads = [threading.Thread(target=clients, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(self.told()) == 2 + 3 * 8 * 40)
        self.assertEqual(self.told(0), self.told(1))


class First(WithDaemon):
    def test_hooks_of_an_emqx_that_was_there_before(self):
        emqx = self.emqx()
        emqx.hooks = {"session.created": []}
        emqx.connect("a")
        self.expect_down("had loaded its hooks before Offramp started")
        self.expect_status("had loaded its hooks before Offramp started")


class Complete(WithDaemon):
    def test_hooks_that_are_loaded_late(self):
        self.emqx().load(uptime_ms=300000)
        self.expect_down("long after its own start")
        self.expect_status("long after its own start")
        self.assertEqual(len(self.told()), 1)

    def test_unloaded_hooks(self):
        emqx = self.emqx().load()
        emqx.unload()
        self.expect_down("has unloaded its hooks")
        self.expect_status("has unloaded its hooks")

    def test_a_connection_that_ends(self):
        self.emqx().load().close()
        self.expect_down("a connection of EMQX's hooks has ended")

    def test_emqx_restarts(self):
        first = self.emqx().load()
        first.connect("a")
        first.close()
        self.expect_down("a connection of EMQX's hooks has ended")
        self.emqx().load(uptime_ms=5000).connect("b")
        until(lambda: self.told()[-1] == "session 0 0 b 0")
        self.assertEqual(self.told()[-3:], ["up 0", "snapshot_end 0", "session 0 0 b 0"])

    def test_loaded_again_without_a_break(self):
        self.emqx().load()
        self.emqx().load(uptime_ms=100)
        until(lambda: self.told().count("snapshot_end 0") == 2)

    def test_a_second_node(self):
        self.emqx().load()
        self.emqx(node="emqx@198.19.0.9").load(uptime_ms=100)
        self.expect_down("several EMQX nodes")

    def test_a_mountpoint(self):
        self.emqx().load().connect("a", mountpoint="tenant/")
        self.expect_down("mountpoint")

    def test_shares_of_old_versions(self):
        emqx = self.emqx("v2").load()
        emqx.connect("a")
        emqx.subscribe("a", "t", share="g")
        self.expect_down("does not tell shared subscriptions apart")

    def test_durable_sessions(self):
        self.emqx().load().connect("a", resumes=True)
        self.expect_down("was there before its hooks")


class Brokers(WithDaemon):
    config = TWO

    def test_a_broker_is_named_as_its_cluster_or_node_is(self):
        emqx = self.emqx(cluster="plant").load()
        self.assertNotIn("message.publish", emqx.hooks)  # authorization: open
        emqx.connect("a")
        self.emqx(node="emqx").load().connect("b")
        until(lambda: len(self.told()) == 6)
        self.assertEqual([line for line in self.told() if line.startswith("session")],
                         ["session 1 0 a 0", "session 0 0 b 0"])

    def test_one_that_is_not_told_wants_no_hooks(self):
        self.assertEqual(self.emqx(cluster="quiet").load().hooks, {})
        self.assertEqual(self.told(), [])

    def test_another_cluster_is_refused(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.emqx().load()
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("has the name of this cluster", caught.exception.details())
        emqx = self.emqx()
        emqx.hooks = {"session.created": [], "message.publish": []}
        emqx.connect("a")  # is answered, and nothing follows
        self.assertEqual(emqx.publish("a", "t").type, emqx.pb.ValuedResponse.IGNORE)
        self.assertEqual(self.told(), [])


class Slow(WithDaemon):
    def test_emqx_does_not_wait_for_workers_that_hang(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        self.daemon.say("hang")
        for number in range(5):
            began = time.monotonic()
            emqx.subscribe("a", f"t/{number}")
            took = time.monotonic() - began
            self.assertGreater(took, 0.9 * ANSWER_MAX_S)
            self.assertLess(took, ANSWER_MAX_S + SLACK_S)
        self.daemon.say("go")
        self.expect("up 0", "snapshot_end 0", "session 0 0 a 0",
                    *[f"subscribed 0 0 a t/{number} 1" for number in range(5)])
        began = time.monotonic()
        emqx.subscribe("a", "fast")
        self.assertLess(time.monotonic() - began, ANSWER_MAX_S)

    def test_what_does_not_fit_is_not_forgotten_silently(self):
        emqx = self.emqx().load()
        emqx.connect("a")
        self.daemon.say("hang")
        call = emqx.channel.unary_unary("/emqx.exhook.v3.HookProvider/OnSessionSubscribed")
        calls = []
        for number in range(6000):
            request = emqx.request("OnSessionSubscribed", clientinfo=emqx.info("a"),
                                   topic=f"t/{number}", subopts=emqx.pb.SubOpts(qos=1))
            calls.append(call.future(request.SerializeToString(), timeout=30))
        for one in calls:
            one.exception(timeout=60)
        self.daemon.say("go")
        self.expect_down("did not reach all workers")


class Hostile(WithDaemon):
    METHODS = {
        method.name: method for method in
        PROTOS["v3"].DESCRIPTOR.services_by_name["HookProvider"].methods}

    def test_there_are_21_methods_and_all_answer_to_nothing(self):
        self.assertEqual(len(self.METHODS), 21)
        for version in ("v2", "v3"):
            emqx = self.emqx(version)
            for name, method in self.METHODS.items():
                answer = getattr(emqx.pb, method.output_type.name)
                answer.FromString(emqx.raw(name, b""))  # no field at all
                self.assertIsNotNone(answer)

    def test_garbage_is_refused_and_hurts_nobody(self):
        emqx = self.emqx().load()
        for name in self.METHODS:
            for garbage in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", bytes(range(256))):
                try:
                    emqx.raw(name, garbage)
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        emqx.connect("a")
        until(lambda: self.told()[-1] == "session 0 0 a 0")

    def test_long_texts(self):
        emqx = self.emqx().load()
        for length in (65535, 65536, 1000000):
            emqx.connect("c" * length)
            emqx.subscribe("c" * length, "t/" * (length // 2))
            emqx.publish("c" * length, "t" * length, bytes(10 * length))
            emqx.end("c" * length)
        with self.assertRaises(grpc.RpcError) as caught:
            emqx.publish("a", "t", bytes(17 << 20))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        emqx.connect("a")
        until(lambda: self.told()[-1] == "session 0 0 a 0")

    def test_wrong_order(self):
        emqx = self.emqx()
        emqx.hooks = dict.fromkeys(
            ("session.created", "session.resumed", "session.subscribed", "session.unsubscribed",
             "session.discarded", "session.terminated", "message.publish"), [])
        emqx.unload = lambda: emqx.call("OnProviderUnloaded")
        emqx.end("a")
        emqx.unload()
        emqx.unsubscribe("a", "t")
        emqx.load()
        emqx.end("a")
        emqx.end("a", "discarded")
        emqx.publish("a", "t")
        emqx.unsubscribe("a", "t")
        emqx.load()
        emqx.load()
        emqx.unload()
        emqx.unload()
        emqx.subscribe("a", "t")
        emqx.load()
        emqx.connect("z")
        until(lambda: self.told()[-1] == "session 0 0 z 0")

    def test_the_service_is_where_it_is_configured(self):
        with self.daemon.channel() as channel:
            channel.unary_unary("/emqx.exhook.v3.HookProvider/OnClientConnect")(b"", timeout=5)
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary("/offramp.v1.Admin/Drain")(b"", timeout=5)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
