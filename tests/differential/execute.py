# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Runs a program on a testbed and returns its trace: {client number: [record, …]}.

After each step everybody pings until nothing new comes. A broker has routed what was published
before a publisher's PINGREQ when it answers, and has sent it when it answers a subscriber's later
one. So a step's effects are over before the next begins, without a clock.
"""

import asyncio
import random
import socket
import time

import client as clients
import program as programs
import rights
from client import mqtt
from excuse import late

LIMIT_S = 20  # for a script, a round of pings
IMPAIRED_LIMIT_S = 90
SETTLE_S = 0.03  # a RST is on its way to the broker; a copy too many comes late
WINDOW = 15  # unacknowledged messages; mosquitto takes 20
ROUNDS_MAX = 300  # a queue goes out one message a round where Receive Maximum is 1
PULSE_S = 0.5
SPLITS = 6

ILLEGAL = {
    "reserved": bytes([0x01, 0x00]),  # mosquitto forgets a first octet of 0 that comes alone
    "length": bytes([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    "qos3": bytes([0x36, 0x07]) + b"\0\1t\0\1xx",
    "flags": bytes([0x83, 0x00]),  # SUBSCRIBE with wrong flags
    "wildcard": bytes([0x30, 0x06]) + b"\0\3a/#" + b"\0",
    "second_connect": mqtt.connect("again"),
    "nul": bytes([0x30, 0x06]) + b"\0\3a\0b" + b"\0",
}


class Endpoint:
    """Where clients connect, and from where."""

    def __init__(self, name, host, port, impaired=False, ask=None):
        from testbed import hosts
        self.name, self.host, self.port, self.impaired = name, host, port, impaired
        self.ask = ask  # how many messages of whom were captured and passed; None: nobody knows
        self._open = lambda: hosts.open_socket(name, "clients", hosts.family(host),
                                               socket.SOCK_STREAM)

    async def connect(self, protocol):
        loop = asyncio.get_running_loop()
        sock = self._open()
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, (self.host, self.port))
            _, made = await loop.create_connection(lambda: protocol, sock=sock)
        except BaseException:
            sock.close()
            raise
        return made


class Run:
    """One program on one testbed."""

    def __init__(self, program, endpoint, prefix):
        self.program, self.endpoint, self.prefix = program, endpoint, prefix
        self.limit_s = IMPAIRED_LIMIT_S if endpoint.impaired else LIMIT_S
        self.payloads = {message["id"]: programs.payload(message)
                         for _, _, _, message in programs.messages(program)}
        self.payloads.update({will["id"]: programs.payload(will)
                              for _, _, will in programs.wills(program)})
        self.payloads[None] = b""
        self.step = 0
        # (when, {client identifier: (captured, passed)}) before and after what counts.
        self.counts = []
        self.sessions, self.current, self.trace = {}, {}, {}
        for slot, made in enumerate(program["clients"]):
            name = "" if made.get("assigned") else f"{prefix}c{slot}"
            self.sessions[slot] = clients.Session(made["version"], name,
                                                  self._random("identifiers", slot))
            self.trace[slot] = []

    def _random(self, *what):
        return random.Random(f"{self.program['seed']} {what}")

    async def run(self):
        pulse = asyncio.get_running_loop().create_task(self._pulse())
        try:
            for self.step, step in enumerate(self.program["steps"]):
                await self._steady(self.step)
                await self._step(self.step, step)
            await self._steady(len(self.program["steps"]))
            await asyncio.sleep(SETTLE_S)
            await self._quiet()
        except (asyncio.TimeoutError, OSError) as error:
            for connection in self.current.values():
                text = (f"stuck in step {self.step}: {error or 'time is over'}, "
                        f"{connection.awaits()}")
                connection.anomaly(late(text) if isinstance(error, TimeoutError) else text)
        finally:
            pulse.cancel()
            for connection in self.current.values():
                connection.leaving = connection.may_end = True
                if connection.transport:
                    connection.transport.abort()
        return self.trace

    async def _steady(self, step):
        """The rounds of steady traffic are some time apart, and the last ones are counted."""
        begin, counted = self.program.get("steady", (None, None))
        if begin is None or step <= begin:
            return
        await asyncio.sleep(rights.STEADY_S)
        if self.endpoint.ask and step in (counted, len(self.program["steps"])):
            self.counts.append((time.monotonic(), await self.endpoint.ask(self.prefix)))

    async def _pulse(self):
        """Keeps those with a short keep alive while a step takes its time."""
        while True:
            await asyncio.sleep(PULSE_S)
            for connection in self.current.values():
                if connection.must_pulse and connection.is_open and not connection.silent:
                    connection.wait("ping")
                    connection.write(mqtt.pingreq())

    async def _step(self, number, step):
        parts = [Part(self, number, int(slot), script) for slot, script in step.items()]
        await asyncio.wait_for(asyncio.gather(*[part.run() for part in parts]), self.limit_s)
        if any(part.resets for part in parts):
            await asyncio.sleep(SETTLE_S)
        for connection in self.current.values():
            connection.release()
        await self._quiet()

    async def _quiet(self):
        """Pings until a round has brought nothing new; the first settles the publishers."""
        news = None
        for _ in range(ROUNDS_MAX):
            alive = [c for c in self.current.values() if c.is_open and not c.silent]
            before, news = news, sum(c.news for c in alive)
            if before == news:
                return
            waits = [c.wait("ping") for c in alive]
            for connection in alive:
                connection.write(mqtt.pingreq())
            if waits:
                await asyncio.wait_for(asyncio.gather(*waits), self.limit_s)
        for connection in alive:
            connection.anomaly("never quiet")

    async def clean(self):
        """Takes away what the broker would keep: sessions and retained messages."""
        retained = {message["topic"] for _, _, _, message in programs.messages(self.program)
                    if message["retain"]}
        retained |= {will["topic"] for _, _, will in programs.wills(self.program)
                     if will["retain"]}
        names = [session.client_id for session in self.sessions.values() if session.client_id]
        await asyncio.gather(self._visit(f"{self.prefix}clean", retained),
                             *[self._visit(name) for name in names])

    def _owner(self):
        """Where there are rights, who has all of them."""
        if not any("user" in client for client in self.program["clients"]):
            return {}
        return {"user": rights.OWNER, "password": rights.password(rights.OWNER)}

    async def _visit(self, name, topics=()):
        visitor = clients.Session(4, name, random.Random(name))
        connection = await self.endpoint.connect(clients.Connection(visitor, self, 0, {}))
        answered = connection.wait("CONNACK")
        connection.leaving = connection.may_end = True
        connection.write(mqtt.connect(name, **self._owner()))
        await asyncio.wait_for(answered, self.limit_s)
        connection.write(b"".join(
            mqtt.publish(programs.prefixed(topic, self.prefix), retain=True) for topic in topics))
        connection.write(mqtt.disconnect())
        await asyncio.wait_for(connection.closed, self.limit_s)


class Part:
    """One client's part in a step."""

    def __init__(self, run, step, slot, script):
        self.run_, self.step, self.slot, self.script = run, step, slot, script
        self.session = run.sessions[slot]
        self.version = self.session.version
        self.connection = run.current.get(slot)
        self.write_mode = script["write"]
        self.random = run._random("splits", step, slot)
        self.out, self.waits, self.unanswered = [], [], 0
        self.leaves = programs.leave_of(script)
        self.resets = self.leaves == "rst"

    async def run(self):
        if self.connection:
            self.connection.hold = self.script["hold"]
        for number, op in enumerate(self.script["ops"]):
            if op[0] != "connect" and not (self.connection and self.connection.is_open):
                continue  # left over when a program was made smaller, or closed by the broker
            await getattr(self, f"_{op[0]}")(f"{self.step}.{number}", *op[1:])
            if self.write_mode == "each" or self.unanswered >= WINDOW:
                await self._answered()
        await self._flush()
        if not programs.is_cut(self.script):
            await self._answered()

    def _send(self, data, wait=None, counts=False):
        self.out.append(data)
        if wait:
            self.waits.append(wait)
        self.unanswered += counts

    async def _flush(self):
        data, self.out = b"".join(self.out), []
        if self.connection is None or not data:
            return
        if self.write_mode != "split":
            self.connection.write(data)
            return
        cuts = sorted(self.random.randint(0, len(data)) for _ in range(SPLITS - 1))
        await self.connection.write_split(
            [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)])],
            self.random.choices((0, 0, 0.001, 0.003), k=SPLITS))

    async def _answered(self):
        """Sends what waits, and waits for all answers."""
        await self._flush()
        waits, self.waits, self.unanswered = self.waits, [], 0
        if waits:
            await asyncio.gather(*waits)

    # Operations

    async def _connect(self, _name, options):
        before = self.connection
        if before and before.is_open:
            before.leaving = before.may_end = True  # taken over
        protocol = clients.Connection(self.session, self.run_, self.step, options)
        self.connection = await self.run_.endpoint.connect(protocol)
        self.connection.hold = self.script["hold"]
        self.run_.current[self.slot] = self.connection
        self.run_.trace[self.slot].append(self.connection.record)
        will = options.get("will")
        self._send(mqtt.connect(
            self.session.client_id, self.version, clean=options["clean"],
            keep_alive=options["keep_alive"], props=self._connect_props(options),
            will=will and mqtt.Will(programs.prefixed(will["topic"], self.run_.prefix),
                                    programs.payload(will), will["qos"], will["retain"],
                                    self._props(will["props"])),
            **self._credentials()),
                   self.connection.wait("CONNACK"))
        if self.session.unfinished:  # what is sent next depends on the answer
            await self._answered()
            self._send_again()
        if before:
            self.waits.append(before.closed)

    def _credentials(self):
        user = self.run_.program["clients"][self.slot].get("user")
        return {"user": user, "password": rights.password(user)} if user else {}

    def _connect_props(self, options):
        names = {"expiry": "session_expiry", "receive_maximum": "receive_maximum",
                 "maximum_packet": "maximum_packet", "alias_maximum": "topic_alias_maximum"}
        return [(prop, options[name]) for name, prop in names.items() if options.get(name)]

    def _send_again(self):
        """What the last connection left unfinished, with its identifiers (4.4)."""
        for pid, (message, stage) in list(self.session.unfinished.items()):
            wait = self.connection.wait("message", message["id"])
            if stage == "pubrel":
                self._send(mqtt.ack(mqtt.PUBREL, pid), wait, True)
            else:
                self._send(self._encode(dict(message, alias=None), pid, True), wait, True)

    def _pid(self):
        return self.session.new_pid({what[1] for what in self.connection.waiting
                                     if what[0] in ("SUBACK", "UNSUBACK")})

    async def _subscribe(self, name, filters, number):
        pid = self._pid()
        named = [(programs.prefixed(pattern, self.run_.prefix), options)
                 for pattern, options in filters]
        props = [("subscription_id", number)] if number else []
        self._send(mqtt.subscribe(pid, named, self.version, props),
                   self.connection.wait("SUBACK", pid, name))

    async def _unsubscribe(self, name, filters):
        pid = self._pid()
        named = [programs.prefixed(pattern, self.run_.prefix) for pattern in filters]
        self._send(mqtt.unsubscribe(pid, named, self.version),
                   self.connection.wait("UNSUBACK", pid, name))

    async def _publish(self, _name, message):
        pid = None
        if message["qos"]:
            pid = self._pid()
            self.session.unfinished[pid] = [message, "publish"]
        self._send(self._encode(message, pid, False),
                   self.connection.wait("message", message["id"]) if pid else None, bool(pid))

    def _encode(self, message, pid, dup):
        topic, props = programs.prefixed(message["topic"], self.run_.prefix), []
        if self.version == 5:
            props = self._props(message["props"])
            if message["alias"]:
                props.append(("topic_alias", message["alias"][0]))
                topic = topic if message["alias"][1] else ""
        return mqtt.publish(topic, self.run_.payloads[message["id"]], message["qos"],
                            message["retain"], dup, pid, self.version, props)

    @staticmethod
    def _props(props):
        return [(name, bytes.fromhex(value) if name == "correlation_data" else value)
                for name, value in props]

    async def _ping(self, _name):
        self._send(mqtt.pingreq(), self.connection.wait("ping"))

    async def _leave(self, _name, how):
        connection = self.connection
        if how == "silence" or not programs.is_cut(self.script):
            self._send(mqtt.pingreq(), connection.wait("ping"))
            await self._answered()
        self.waits = []  # from now on answers are a matter of luck
        connection.may_end = True
        connection.has_left = how != "silence" and not how.startswith("illegal:")
        if how.startswith("illegal:"):
            self._send(ILLEGAL[how.partition(":")[2]])
        elif how == "disconnect_expire":
            self._send(mqtt.disconnect(0, [("session_expiry", 0)]))
        elif how.startswith("disconnect"):
            self._send(mqtt.disconnect(4 if how == "disconnect_will" else 0))
        await self._flush()
        if how == "rst" and not self.run_.endpoint.impaired:
            connection.reset()
            return
        connection.leaving = how != "silence"
        connection.silent = True
        if how in ("fin", "rst") and not connection.closed.done():
            connection.transport.write_eof()
        connection.leaving = True
        await connection.closed
