# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Mosquitto dressed as EMQX: a relay before it that makes EMQX's hook calls.

    clients ── Offramp ── relay ── mosquitto
                  ▲         │
                  └── gRPC ─┘

For each connection the relay does what the process of a client does in EMQX: one packet after the
other, and the calls about it are answered before anything follows from it. Rights are the relay's:
a PUBLISH that is refused goes no further.
"""

import contextlib
import os
import socket
import sys
import threading
import time

import mqttraw
from bed import REPOSITORY
from testbed import hosts

sys.path.insert(0, os.path.join(REPOSITORY, "tests", "unit", "control"))
import protos  # noqa: E402
from emqx import Emqx  # noqa: E402

PORT = 1893  # of the relay, beside mosquitto
HOOKS_PORT = 7884  # of the daemon, on its host's loopback
OVERLAY = {
    "brokers": [{"address": f"{hosts.BROKER['stack']}:{PORT}", "knowledge": "broker",
                 "authorization": "broker"}],
    "control": {"listen": [{"address": f"127.0.0.1:{HOOKS_PORT}", "services": ["exhook"]}]},
}
WAIT_S = 20


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + mqttraw.varint(len(body)) + body


def close(*socks):
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


class Tunnel:
    """From the tests' own host to the daemon's loopback: there gRPC cannot be made to run."""

    def __init__(self, bed_name):
        self.bed_name, self.socks = bed_name, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = hosts.open_socket(self.bed_name, "offramp", socket.AF_INET,
                                        socket.SOCK_STREAM)
                far.connect(("127.0.0.1", HOOKS_PORT))
                self.socks += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        close(source, sink)

    def cut(self):
        """Every connection ends."""
        while self.socks:
            close(self.socks.pop())

    def close(self):
        close(self.listener)
        self.cut()


class Connection:
    """One client's process."""

    def __init__(self, side, client, peer):
        self.side, self.client, self.peer = side, client, peer
        self.version, self.id = 4, ""
        self.lock = threading.Lock()  # the process does one thing at a time
        self.acknowledged = threading.Event()  # what is answered by the broker has been
        self.asked = {}  # by packet identifier: [(filter, options)]
        self.present = False
        self.broker = hosts.open_socket(side.name, "broker", socket.AF_INET, socket.SOCK_STREAM)
        self.broker.connect((hosts.BROKER["stack"], side.broker_port))
        for work in (self._upstream, self._downstream):
            threading.Thread(target=work, daemon=True).start()

    def info(self):
        return {"peerhost": self.peer[0], "peerport": self.peer[1]}

    def _packets(self, sock):
        """The version is known from the first packet on."""
        framer = mqttraw.Framer(4)
        while data := sock.recv(65536):
            framer.buffer += data
            while True:
                framer.version = self.version
                found = framer.next()
                if not found:
                    break
                yield found

    def _upstream(self):
        with contextlib.suppress(OSError):
            for found in self._packets(self.client):
                if not self._take(found):
                    continue
                waits = found.kind in (mqttraw.CONNECT, mqttraw.SUBSCRIBE, mqttraw.UNSUBSCRIBE)
                self.acknowledged.clear()
                self.broker.sendall(packet(found.kind, found.flags, found.body))
                if waits:
                    self.acknowledged.wait(WAIT_S)
        close(self.client, self.broker)
        self.side.ended(self)

    def _take(self, found):
        """True: it goes on."""
        reader = mqttraw.Reader(found.body)
        if found.kind == mqttraw.CONNECT:
            reader.data()
            self.version = reader.number("u8")
            reader.take(3)
            if self.version == 5:
                reader.properties()
            self.id = reader.data().decode()
        elif found.kind in (mqttraw.SUBSCRIBE, mqttraw.UNSUBSCRIBE):
            pid = reader.number("u16")
            if self.version == 5:
                reader.properties()
            self.asked[pid] = filters = []
            while reader.at < len(found.body):
                name = reader.data().decode()
                options = reader.number("u8") if found.kind == mqttraw.SUBSCRIBE else 0
                filters.append((name, options))
        elif found.kind == mqttraw.PUBLISH:
            return self._publish(found)
        return True

    def _publish(self, found):
        if not self.side.may_write(self.id, found.topic):
            if found.qos:
                kind = mqttraw.PUBACK if found.qos == 1 else mqttraw.PUBREC
                self.client.sendall(packet(kind, 0, found.pid.to_bytes(2, "big")))
            return False
        with self.lock:
            self.side.call("publish", self.id, found.topic, qos=found.qos)
        return True

    def _downstream(self):
        with contextlib.suppress(OSError):
            for found in self._packets(self.broker):
                if found.kind in (mqttraw.CONNACK, mqttraw.SUBACK, mqttraw.UNSUBACK):
                    with self.lock:
                        self._answered(found)
                    self.acknowledged.set()
                self.client.sendall(packet(found.kind, found.flags, found.body))
        close(self.client, self.broker)

    def _answered(self, found):
        if found.kind == mqttraw.CONNACK:
            if found.reason == 0:
                self.id = (dict(found.props).get("assigned_client_id", self.id)
                           or f"auto-{id(self)}")
                self.side.begun(self, found.session_present)
            return
        for at, (name, options) in enumerate(self.asked.pop(found.pid, ())):
            if found.kind == mqttraw.UNSUBACK:
                self.side.call("unsubscribe", self.id, name)
            elif found.reasons[at] < 0x80:
                self.side.call("subscribe", self.id, name, qos=found.reasons[at],
                               nl=options >> 2 & 1)


class EmqxLike:
    """Before the testbed `name` is up: its relay is what the daemon connects to."""

    def __init__(self, name, folder, broker_port):
        self.name, self.broker_port = name, broker_port
        self.protos = {"v3": protos.messages(f"{REPOSITORY}/proto", folder,
                                             "emqx/exhook/v3/exhook")}
        self.refused = set()  # (client, topic)
        self.sessions = {}  # by client: the connection that has it; None: none, and it stays
        self.lock = threading.Lock()
        self.over = False
        self.tunnel = self.emqx = self.listener = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _listen(self):
        listener = hosts.open_socket(self.name, "broker", socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.bind((hosts.BROKER["stack"], PORT))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        return listener

    def _serve(self):
        while not self.over and not self.listener:
            with contextlib.suppress(OSError):  # the host is not there yet, or has no address
                self.listener = self._listen()
            time.sleep(0.02)
        with contextlib.suppress(OSError):
            while True:
                client, peer = self.listener.accept()
                with contextlib.suppress(OSError):
                    Connection(self, client, peer)

    # The hooks

    def load(self):
        """As an EMQX that has just started. Nobody may be connected."""
        self.tunnel = Tunnel(self.name)
        self.emqx = Emqx(self.protos, self.tunnel.port).load()

    def call(self, what, *arguments, **options):
        """EMQX goes on, whatever becomes of a call (failed_action: ignore)."""
        if self.emqx:
            with contextlib.suppress(Exception):
                getattr(self.emqx, what)(*arguments, **options)

    def may_write(self, client, topic):
        return (client, topic) not in self.refused

    def begun(self, connection, present):
        with self.lock:
            before = self.sessions.get(connection.id)
            self.sessions[connection.id] = connection
        if before and not present:
            self.call("end", connection.id, "discarded")
        self.call("connect", connection.id, resumes=present, **connection.info())

    def ended(self, connection):
        with self.lock:
            if self.sessions.get(connection.id) is not connection:
                return  # it has been taken over, or has not begun
            del self.sessions[connection.id]
        self.call("end", connection.id)

    def close(self):
        self.over = True
        if self.listener:
            close(self.listener)
        if self.emqx:
            self.emqx.close()
            self.tunnel.close()
