# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A client as the specification wants it, that writes down what it sees.

A Session is what lives as long as the client: its identifier, what of its own QoS 1 and 2 is not
finished, which QoS 2 messages it has already taken. A Connection is one TCP connection of it; its
`record` (plain data) is what the comparison is about:

    connack     [session present, reason, properties]
    acks        [type, message, reason, properties] in the order they came
    granted     {operation: reasons} of SUBACK and UNSUBACK
    deliveries  [topic, QoS, RETAIN, DUP, message, "" or what is wrong with its payload, properties,
                 step]
    told        reason of the broker's DISCONNECT
    anomalies   what no broker may do
"""

import asyncio
import hashlib
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import mqttraw as mqtt  # noqa: E402
import program as programs  # noqa: E402
from excuse import late  # noqa: E402
from window import Window  # noqa: E402

NO_LIMIT = 65535


class Session:
    def __init__(self, version, client_id, rng):
        self.version, self.client_id, self.rng = version, client_id, rng
        self.unfinished = {}  # packet identifier → [message, "publish" or "pubrel"], in order
        self.taken = set()  # identifiers of QoS 2 messages that are not released yet

    def forget(self, unfinished):
        """The broker has a new session: of no use are these identifiers any more."""
        for pid in unfinished:
            self.unfinished.pop(pid, None)
        self.taken.clear()

    def new_pid(self, used=()):
        while True:
            pid = self.rng.randint(1, 65535)
            if pid not in self.unfinished and pid not in used:
                return pid


class Connection(asyncio.Protocol):
    def __init__(self, session, run, step, options):
        self.session, self.run = session, run
        self.framer = mqtt.Framer(session.version)
        self.receive_maximum = options.get("receive_maximum") or NO_LIMIT
        self.maximum_packet = options.get("maximum_packet") or NO_LIMIT
        self.keep_alive = options.get("keep_alive", 0)
        self.hold = self.silent = self.leaving = self.may_end = False
        self.has_left = False  # it has said goodbye
        # Of the session; what is sent behind the CONNECT without waiting is not among it.
        self.older = list(session.unfinished)
        self.held = []  # acknowledgements that wait, in order
        self.is_halfway, self.behind = False, []
        self.window = Window(self.receive_maximum, max(map(len, run.payloads.values())))
        self.aliases = {}  # the broker's
        self.waiting = {}  # what is awaited → future
        self.pings = []
        self.news = 0  # packets that say something was not yet quiet
        self.closed = asyncio.get_running_loop().create_future()
        self.transport = None
        self.record = {"step": step, "connack": None, "acks": [], "granted": {}, "deliveries": [],
                       "told": None, "reset": False, "anomalies": []}

    # The connection

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error):
        self.record["reset"] = error is not None
        if not self.may_end:
            closed = "the broker closed, unasked"
            self.anomaly(late(closed) if self.must_pulse else closed)
        for future in [*self.waiting.values(), *self.pings]:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()
        self.pings.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def must_pulse(self):
        return 0 < self.keep_alive < 10 and self.record["connack"] is not None

    @property
    def is_open(self):
        return not self.closed.done() and not self.leaving

    def anomaly(self, text):
        self.record["anomalies"].append(text)

    def write(self, data):
        """Whole packets. What comes while another one is half written waits."""
        if self.is_halfway:
            self.behind.append(data)
        elif not self.closed.done() and data:
            self.transport.write(data)

    async def write_split(self, pieces, pauses):
        self.is_halfway = True
        for piece, pause in zip(pieces, pauses):
            if not self.closed.done():
                self.transport.write(piece)
                await asyncio.sleep(pause)
        self.is_halfway = False
        behind, self.behind = self.behind, []
        self.write(b"".join(behind))

    def reset(self):
        """RST instead of FIN."""
        self.leaving = self.may_end = True
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    # Waiting

    def wait(self, *what):
        """A future of the answer to `what`; it ends with the connection, too."""
        future = asyncio.get_running_loop().create_future()
        if self.closed.done():
            future.set_result(None)
        elif what == ("ping",):
            self.pings.append(future)
        else:
            self.waiting[what] = future
        return future

    def awaits(self):
        """For people."""
        if self.closed.done():
            return "closed"
        end = ["the end"] if self.may_end else []
        return ", ".join([f"{what[0]} {what[-1]}" for what in self.waiting]
                         + ["PINGRESP"] * len(self.pings) + end) or "nothing"

    def _done(self, *what):
        future = self.waiting.pop(what, None)
        if future and not future.done():
            future.set_result(None)
        return future is not None

    # What comes

    def data_received(self, data):
        self.framer.buffer += data
        answers = []
        try:
            while True:
                packet = self.framer.next()
                if packet is None:
                    break
                answers += self._take(packet)
        except (ValueError, KeyError, IndexError, struct.error) as error:
            self.anomaly(f"not MQTT: {error!r}")
            self.leaving = self.may_end = True
            self.transport.abort()
            return
        self.write(b"".join(answers))

    def _take(self, packet):
        if packet.kind not in (mqtt.PUBLISH, mqtt.DISCONNECT):
            self._check_window(self.window.goes_on())
        handler = {
            mqtt.CONNACK: self._connack, mqtt.PUBLISH: self._publish, mqtt.PUBREL: self._pubrel,
            mqtt.PUBACK: self._ack, mqtt.PUBREC: self._ack, mqtt.PUBCOMP: self._ack,
            mqtt.SUBACK: self._granted, mqtt.UNSUBACK: self._granted,
            mqtt.PINGRESP: self._pingresp, mqtt.DISCONNECT: self._disconnect,
        }.get(packet.kind)
        if handler is None:
            self.anomaly(f"a broker's {mqtt.NAMES[packet.kind]}")
            return []
        return handler(packet) or []

    def _connack(self, packet):
        props = [list(prop) for prop in packet.props]
        for prop in props:
            if prop[0] == "assigned_client_id":
                self.session.client_id, prop[1] = prop[1], "*"
        if self.record["connack"]:
            self.anomaly("a second CONNACK")
        self.record["connack"] = [packet.session_present, packet.reason, sorted(props)]
        if not packet.session_present:
            self.session.forget(self.older)
        self._done("CONNACK")

    def _publish(self, packet):
        self.news += 1
        props = [list(prop) for prop in packet.props if prop[0] != "topic_alias"]
        topic = self._resolve(packet)
        # mosquitto 2.0.11 leaves the first octet out of its sum.
        if packet.qos == 0 and packet.length == self.maximum_packet + 1:
            return None
        repeated = packet.qos == 2 and packet.pid in self.session.taken
        if not repeated:
            number = programs.number_of(packet.payload)
            props = [[name, value.hex() if isinstance(value, bytes) else value]
                     for name, value in props]
            self.record["deliveries"].append([
                topic.replace(self.run.prefix, programs.PLACE), packet.qos, packet.retain,
                packet.dup, number, self._judge(packet.payload, number), props, self.run.step])
        if not packet.qos:
            return None
        self._check_window(self.window.came(packet.pid, packet.dup))
        if self.has_left:
            self._check_window(self.window.goes_on())
        if packet.qos == 2:
            self.session.taken.add(packet.pid)
        return self._answer(mqtt.PUBACK if packet.qos == 1 else mqtt.PUBREC, packet.pid)

    def _check_window(self, wrong):
        if wrong:
            self.anomaly(wrong)

    def _resolve(self, packet):
        alias = next((value for name, value in packet.props if name == "topic_alias"), None)
        if alias is None:
            return packet.topic
        if packet.topic:
            self.aliases[alias] = packet.topic
        return self.aliases[alias]

    def _judge(self, payload, number):
        """Is it the payload that was published? Else what it is."""
        if payload == self.run.payloads.get(number, b""):
            return ""
        return f"{len(payload)} B {hashlib.sha1(payload).hexdigest()[:8]}"

    def _pubrel(self, packet):
        self.news += 1
        self.session.taken.discard(packet.pid)
        return self._answer(mqtt.PUBCOMP, packet.pid)

    def _answer(self, kind, pid):
        if self.silent or self.leaving:
            return None
        if self.hold:
            self.held.append((kind, pid))
            return None
        if kind != mqtt.PUBREC:
            self.window.ended(pid)
        return [mqtt.ack(kind, pid)]

    def release(self):
        """Acknowledges what was held back."""
        self.hold = False
        held, self.held = self.held, []
        self.write(b"".join(data for kind, pid in held for data in self._answer(kind, pid) or ()))

    def _ack(self, packet):
        name = mqtt.NAMES[packet.kind]
        entry = self.session.unfinished.get(packet.pid)
        if entry is None:
            self.anomaly(f"{name} of nothing")
            return None
        message = entry[0]
        self.record["acks"].append([name, message["id"], packet.reason, packet.body[3:].hex()])
        if (message["qos"] == 1) != (packet.kind == mqtt.PUBACK):
            self.anomaly(f"{name} of a message at QoS {message['qos']}")
        if packet.kind == mqtt.PUBREC and packet.reason < 0x80:
            entry[1] = "pubrel"
            # Who is leaving or pretends to be dead says no more.
            return None if self.leaving or self.silent else [mqtt.ack(mqtt.PUBREL, packet.pid)]
        del self.session.unfinished[packet.pid]
        self._done("message", message["id"])
        return None

    def _granted(self, packet):
        what = next((what for what in self.waiting
                     if what[0] == mqtt.NAMES[packet.kind] and what[1] == packet.pid), None)
        if what is None:
            self.anomaly(f"{mqtt.NAMES[packet.kind]} of nothing")
            return
        self.record["granted"][what[2]] = list(packet.reasons)
        self._done(*what)

    def _pingresp(self, _packet):
        if not self.pings:
            self.anomaly("PINGRESP of nothing")
            return
        future = self.pings.pop(0)
        if not future.done():
            future.set_result(None)

    def _disconnect(self, packet):
        self.record["told"] = packet.reason or 0
