# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""MQTT as bytes: packets built and read by hand, over any socket.

Client libraries hide what these tests are about: which packet came when, with which identifier, in
one segment or two. Versions: 3 (MQIsdp), 4 (3.1.1), 5. Properties are lists of (name, value).
"""

import collections
import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)
NAMES = ("?", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
         "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH")

PROPERTIES = {
    "payload_format": (1, "u8"), "message_expiry": (2, "u32"), "content_type": (3, "text"),
    "response_topic": (8, "text"), "correlation_data": (9, "data"),
    "subscription_id": (11, "varint"), "session_expiry": (17, "u32"),
    "assigned_client_id": (18, "text"), "server_keep_alive": (19, "u16"),
    "authentication_method": (21, "text"), "authentication_data": (22, "data"),
    "request_problem": (23, "u8"), "will_delay": (24, "u32"), "request_response": (25, "u8"),
    "response_information": (26, "text"), "server_reference": (28, "text"),
    "reason_string": (31, "text"), "receive_maximum": (33, "u16"),
    "topic_alias_maximum": (34, "u16"), "topic_alias": (35, "u16"), "maximum_qos": (36, "u8"),
    "retain_available": (37, "u8"), "user_property": (38, "pair"), "maximum_packet": (39, "u32"),
    "wildcard_available": (40, "u8"), "subscription_id_available": (41, "u8"),
    "shared_available": (42, "u8"),
}
_BY_ID = {number: (name, kind) for name, (number, kind) in PROPERTIES.items()}
_NUMBERS = {"u8": ">B", "u16": ">H", "u32": ">I"}


class Closed(Exception):
    """The peer closed or reset the connection."""


class Timeout(Exception):
    """What was waited for did not come in time."""


# Encoding

def varint(number):
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def data(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(value)) + value


def properties(items):
    out = b""
    for name, value in items or ():
        number, kind = PROPERTIES[name]
        out += varint(number)
        if kind in _NUMBERS:
            out += struct.pack(_NUMBERS[kind], value)
        elif kind == "varint":
            out += varint(value)
        elif kind == "pair":
            out += data(value[0]) + data(value[1])
        else:
            out += data(value)
    return varint(len(out)) + out


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


Will = collections.namedtuple("Will", "topic payload qos retain props", defaults=(0, False, ()))


def connect(client_id="", version=4, clean=True, keep_alive=60, will=None, props=(),
            user=None, password=None):
    flags = (2 if clean else 0) | (0x80 if user is not None else 0)
    flags |= 0x40 if password is not None else 0
    if will:
        flags |= 4 | will.qos << 3 | (0x20 if will.retain else 0)
    body = data("MQIsdp" if version == 3 else "MQTT")
    body += struct.pack(">BBH", version, flags, keep_alive)
    if version == 5:
        body += properties(props)
    body += data(client_id)
    if will:
        body += properties(will.props) if version == 5 else b""
        body += data(will.topic) + data(will.payload)
    for field in (user, password):
        body += data(field) if field is not None else b""
    return packet(CONNECT, 0, body)


def publish(topic, payload=b"", qos=0, retain=False, dup=False, pid=None, version=4, props=()):
    payload = payload.encode() if isinstance(payload, str) else payload
    body = data(topic)
    if qos:
        body += struct.pack(">H", pid)
    if version == 5:
        body += properties(props)
    return packet(PUBLISH, (8 if dup else 0) | qos << 1 | bool(retain), body + payload)


def subscribe(pid, filters, version=4, props=()):
    """filters: (filter, options byte) each; the options are the QoS unless version 5 says more."""
    body = struct.pack(">H", pid)
    if version == 5:
        body += properties(props)
    for name, options in filters:
        body += data(name) + bytes([options])
    return packet(SUBSCRIBE, 2, body)


def unsubscribe(pid, filters, version=4):
    body = struct.pack(">H", pid) + (properties(()) if version == 5 else b"")
    return packet(UNSUBSCRIBE, 2, body + b"".join(data(name) for name in filters))


def ack(kind, pid):
    return packet(kind, 2 if kind == PUBREL else 0, struct.pack(">H", pid))


def pingreq():
    return packet(PINGREQ, 0, b"")


def disconnect(reason=0, props=()):
    """Version 5 has reasons and properties; without them it is the DISCONNECT of every version."""
    body = bytes([reason]) + properties(props) if reason or props else b""
    return packet(DISCONNECT, 0, body)


# Decoding

class Reader:
    """A cursor over bytes."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, count):
        if self.at + count > len(self.raw):
            raise ValueError("packet ends early")
        self.at += count
        return self.raw[self.at - count:self.at]

    def number(self, kind):
        return struct.unpack(_NUMBERS[kind], self.take(struct.calcsize(_NUMBERS[kind])))[0]

    def data(self):
        return self.take(self.number("u16"))

    def varint(self):
        value = shift = 0
        while True:
            byte = self.number("u8")
            value |= (byte & 0x7f) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def properties(self):
        end = self.varint() + self.at
        items = []
        while self.at < end:
            name, kind = _BY_ID[self.varint()]
            if kind in _NUMBERS:
                value = self.number(kind)
            elif kind == "varint":
                value = self.varint()
            elif kind == "pair":
                value = (self.data().decode(), self.data().decode())
            else:
                value = self.data().decode() if kind == "text" else self.data()
            items.append((name, value))
        return items

    def rest(self):
        return self.take(len(self.raw) - self.at)


class Packet:
    """One packet as it came; the fields that its type has are attributes."""

    topic = payload = pid = reason = None
    qos, retain, dup, props, reasons, session_present = 0, False, False, (), (), False

    def __init__(self, first, body, version, length):
        self.kind, self.flags, self.body = first >> 4, first & 15, body
        self.length = length  # as Maximum Packet Size counts it
        reader = Reader(body)
        if self.kind == PUBLISH:
            self.qos, self.retain, self.dup = self.flags >> 1 & 3, bool(self.flags & 1), bool(
                self.flags & 8)
            self.topic = reader.data().decode()
            self.pid = reader.number("u16") if self.qos else None
            self.props = reader.properties() if version == 5 else ()
            self.payload = reader.rest()
        elif self.kind == CONNACK:
            self.session_present = bool(reader.number("u8"))
            self.reason = reader.number("u8")
            self.props = reader.properties() if version == 5 else ()
        elif self.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            self.pid = reader.number("u16")
            self.reason = reader.number("u8") if len(body) > 2 else 0
        elif self.kind in (SUBACK, UNSUBACK):
            self.pid = reader.number("u16")
            self.props = reader.properties() if version == 5 else ()
            self.reasons = tuple(reader.rest())
        elif self.kind == DISCONNECT and body:
            self.reason = reader.number("u8")

    def __repr__(self):
        if self.kind == PUBLISH:
            flags = f"q{self.qos}{' retain' if self.retain else ''}{' dup' if self.dup else ''}"
            return f"<PUBLISH {self.topic} {flags} {len(self.payload)} B {self.payload[:24]!r}>"
        return f"<{NAMES[self.kind]} pid={self.pid} reason={self.reason or self.reasons}>"


class Framer:
    """Bytes in, packets out."""

    def __init__(self, version):
        self.version, self.buffer = version, bytearray()

    def next(self):
        length = shift = 0
        for at in range(1, len(self.buffer)):
            length |= (self.buffer[at] & 0x7f) << shift
            shift += 7
            if self.buffer[at] & 0x80:
                continue
            end = at + 1 + length
            if len(self.buffer) < end:
                return None
            first, body = self.buffer[0], bytes(self.buffer[at + 1:end])
            del self.buffer[:end]
            return Packet(first, body, self.version, end)
        return None


class Client:
    """A connection with MQTT on it. Nothing happens that is not asked for.

    With auto_ack, QoS 1 and 2 PUBLISHes are acknowledged as they are read. Every wait for something
    is `patience` times as long as is asked for.
    """

    def __init__(self, sock, version=4, client_id="", patience=1, credentials=None):
        self.sock, self.version, self.client_id = sock, version, client_id
        self.patience, self.credentials = patience, credentials or {}
        self.framer = Framer(version)
        self.auto_ack = True
        self.max_qos = 2  # of the broker: QoS 2 above it is answered as QoS 1
        self._pid = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def next_pid(self):
        self._pid = self._pid % 65535 + 1
        return self._pid

    # Sending

    def send(self, *packets):
        """All of it in one write: one segment where it fits."""
        self.sock.settimeout(60)
        try:
            self.sock.sendall(b"".join(packets))
        except (ConnectionResetError, BrokenPipeError) as error:
            raise Closed(str(error)) from None

    def connect_packet(self, **options):
        return connect(self.client_id, self.version, **{**self.credentials, **options})

    def connect(self, timeout=20, **options):
        self.send(self.connect_packet(**options))
        answer = self.expect(CONNACK, timeout)
        if answer.reason:
            raise Closed(f"CONNACK {answer.reason}")
        return answer

    def subscribe(self, *filters, options=0, props=(), timeout=20, kept=None):
        """Subscribes and waits for the SUBACK. PUBLISHes that come before it are added to kept."""
        pid = self.next_pid()
        self.send(subscribe(pid, [(name, options) for name in filters], self.version, props))
        return self._await(SUBACK, pid, timeout, kept)

    def unsubscribe(self, *filters, timeout=20, kept=None):
        pid = self.next_pid()
        self.send(unsubscribe(pid, filters, self.version))
        return self._await(UNSUBACK, pid, timeout, kept)

    def publish(self, topic, payload=b"", qos=0, wait=True, timeout=20, kept=None, **options):
        """Publishes; waits for the last acknowledgement of QoS 1 and 2. Returns it."""
        pid = self.next_pid() if qos else None
        self.send(publish(topic, payload, qos, pid=pid, version=self.version, **options))
        if not wait or not qos:
            return None
        qos = min(qos, self.max_qos)
        if qos == 2:
            self._await(PUBREC, pid, timeout, kept)
            self.send(ack(PUBREL, pid))
        return self._await(PUBACK if qos == 1 else PUBCOMP, pid, timeout, kept)

    def ping(self, timeout=20, kept=None):
        self.send(pingreq())
        return self._await(PINGRESP, None, timeout, kept)

    # Receiving

    def _deadline(self, timeout):
        return time.monotonic() + timeout * self.patience

    def receive(self, timeout=20):
        """The next packet. Raises Timeout, or Closed at the end of the stream."""
        return self._receive(self._deadline(timeout))

    def _receive(self, deadline):
        started = time.monotonic()
        while True:
            found = self.framer.next()
            if found:
                return self._acknowledge(found)
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f"{self.client_id}: nothing within {deadline - started:.3g} s")
            self.sock.settimeout(left)
            try:
                chunk = self.sock.recv(262144)
            except socket.timeout:
                continue
            except OSError as error:
                raise Closed(str(error)) from None
            if not chunk:
                raise Closed("end of stream")
            self.framer.buffer += chunk

    def _acknowledge(self, found):
        answer = {PUBREL: PUBCOMP}.get(found.kind)
        if found.kind == PUBLISH:
            answer = (None, PUBACK, PUBREC)[found.qos]
        if self.auto_ack and answer:
            try:
                self.send(ack(answer, found.pid))
            except Closed:
                pass  # what came before the end is still to be read
        return found

    def expect(self, kind, timeout=20):
        """The next packet, which must be of that kind; PUBRELs are dealt with by the way."""
        return self._expect(kind, self._deadline(timeout))

    def _expect(self, kind, deadline):
        while True:
            found = self._receive(deadline)
            if found.kind == PUBREL and kind != PUBREL and self.auto_ack:
                continue
            assert found.kind == kind, f"{self.client_id}: {NAMES[kind]} expected, got {found}"
            return found

    def _await(self, kind, pid, timeout, kept):
        deadline = self._deadline(timeout)
        while True:
            found = self._receive(deadline)
            if found.kind == kind and (pid is None or found.pid == pid):
                return found
            if kept is not None and found.kind == PUBLISH:
                kept.append(found)

    def messages(self, count, timeout=20):
        """The next `count` PUBLISHes; other packets between them are an error."""
        deadline = self._deadline(timeout)
        found = []
        while len(found) < count:
            try:
                found.append(self._expect(PUBLISH, deadline))
            except Timeout:
                raise Timeout(f"{self.client_id}: {len(found)} of {count} messages within "
                              f"{timeout * self.patience} s, the last {found[-1:]}") from None
        return found

    def payloads(self, count, timeout=20):
        return [message.payload for message in self.messages(count, timeout)]

    def rest(self, seconds=0.4):
        """Every packet that comes while the line is not quiet for that long."""
        found = []
        while True:
            try:
                found.append(self.receive(seconds))
            except Timeout:
                return found

    def wait_closed(self, timeout=20):
        """Reads until the peer closes. Returns what came before."""
        deadline = self._deadline(timeout)
        found = []
        while True:
            try:
                found.append(self._receive(deadline))
            except Closed:
                return found

    def wait_reset(self, timeout=20):
        """As wait_closed(), of a peer that may close with bytes unread, and so with a RST.

        That is sent once. Where it may be lost something is written now and then: the answer to
        that is another.
        """
        deadline = self._deadline(timeout)
        found = []
        while True:
            silent = deadline if self.patience == 1 else min(deadline, time.monotonic() + 3)
            try:
                try:
                    found.append(self._receive(silent))
                except Timeout:
                    if silent == deadline:
                        raise
                    self.send(b"\0")
            except Closed:
                return found

    # Leaving

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a RST instead of a FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def leave(self):
        """DISCONNECT, then close."""
        try:
            self.send(disconnect())
        except (Closed, OSError):
            pass  # it has left before, one way or the other
        self.sock.close()
