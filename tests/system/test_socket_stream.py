# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Socket mode with a broker that shares no memory with the daemon: a TCP connection between their
hosts carries the lane.

What clients may expect is in the other modules (--modes=socket-tcp); what a lane may expect, in
tests/unit/channel. Here: that messages cross, deaths of either side, a side that falls silent, and
whoever comes to the daemon's door.
"""

import contextlib
import os
import random
import signal
import socket
import struct
import time

import pytest

import mqttraw as mqtt
import test_udp
from bed import eventually
from servers import speaks
from testbed import configs, hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stream-channel.yaml")
SILENCE_S = 2
DATA, BEAT, KINDS = 2, 7, 9


def up_options(_mode):
    return ["--channel", "tcp", "--config", OVERLAY]


def attached(bed):
    return bed.counters()["processes"]


# --- messages ------------------------------------------------------------------------------------


def test_messages_are_captured_and_pass(bed):
    subscriber, publisher = bed.client("s"), bed.client("p")
    subscriber.subscribe("stream/#")
    small = [b"%d" % number for number in range(100)]
    big = os.urandom(700_000)  # many times what a lane takes at once, each way
    before = sum(bed.counters()["publish_captured_total"].values())
    for payload in small:
        publisher.publish("stream/small", payload, 1)
    assert subscriber.payloads(100) == small
    publisher.publish("stream/big", big, 1, retain=True)
    assert subscriber.payloads(1) == [big]
    late = bed.client("late")
    late.subscribe("stream/big")
    assert late.payloads(1) == [big]
    publisher.publish("stream/big", b"", 1, retain=True)
    assert sum(bed.counters()["publish_captured_total"].values()) > before


def test_a_slow_reader_delays_nobody_else(bed):
    """It wants what passes, and reads none of it; the broker's other connections go on."""
    slow, publisher = bed.client("slow", receive_buffer=4096), bed.client("p")
    publisher.publish("stream/kept", bytes(2_000_000), 1, retain=True)
    slow.send(mqtt.subscribe(1, [("stream/kept", 0)]))
    for number in range(20):
        other = bed.client(f"other{number}")
        other.subscribe("stream/kept")
        assert [len(payload) for payload in other.payloads(1)] == [2_000_000]
        other.close()
    slow.expect(mqtt.SUBACK)
    assert [len(payload) for payload in slow.payloads(1)] == [2_000_000]
    publisher.publish("stream/kept", b"", 1, retain=True)


def test_a_udp_server_answers(bed):
    with test_udp.echo(bed, "0.0.0.0"), test_udp.peer(bed, test_udp.DAEMON[4]) as sock:
        assert test_udp.answers(sock)
        assert test_udp.answers(sock, b"x" * 1400)
    assert bed.counters()["udp_datagrams_total"]["sent"] >= 2


# --- silence -------------------------------------------------------------------------------------


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_broker_that_is_stopped_for_a_moment_loses_nothing(bed):
    subscriber, publisher = bed.client("s"), bed.client("p")
    subscriber.subscribe("stream/#")
    began = time.monotonic()
    with stopped(bed.pid("broker")):
        for number in range(50):
            publisher.send(mqtt.publish("stream/kept", b"%d" % number + bytes(2000), 0, True))
        time.sleep(SILENCE_S / 4)
    if time.monotonic() - began > SILENCE_S * 0.8:
        pytest.skip("this machine took a moment that was too long")
    got = subscriber.payloads(50)
    assert [int(payload.rstrip(b"\0")) for payload in got] == list(range(50))
    assert attached(bed) == 1


def test_who_is_silent_for_long_is_gone_and_comes_back(bed):
    client = bed.client("c")
    with stopped(bed.pid("broker")):
        assert eventually(lambda: attached(bed) == 0)
        with pytest.raises((mqtt.Closed, ConnectionResetError)):
            client.receive(10)
    assert eventually(lambda: attached(bed) == 1 and speaks(bed))
    with stopped(bed.pid("daemon")):  # the broker notices, and serves on the kernel's sockets
        time.sleep(SILENCE_S * 1.5)
    assert eventually(lambda: attached(bed) == 1 and speaks(bed))


# --- deaths --------------------------------------------------------------------------------------

ROUNDS = [1, pytest.param(50, marks=pytest.mark.full)]


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_broker_killed_attaches_anew(module_bed, rounds):
    bed = module_bed
    broken = bed.counters()["processes_broken_total"]
    for _ in range(rounds):
        clients = [bed.client(f"c{number}") for number in range(5)]
        bed.tool("stop", "broker", "--signal", "KILL")
        for client in clients:
            with pytest.raises((mqtt.Closed, ConnectionResetError)):
                client.receive(5)
        bed.tool("start", "broker")
        assert eventually(lambda: speaks(bed), 10)
    counters = bed.counters()
    assert counters["processes"] == 1 and counters["processes_broken_total"] == broken


@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_daemon_killed_is_found_again(module_bed, rounds):
    bed = module_bed
    broker = bed.pid("broker")
    for _ in range(rounds):
        client = bed.client("c")
        bed.tool("stop", "daemon", "--signal", "KILL")
        client.close()
        assert bed.is_alive("broker")
        bed.tool("start", "daemon")
        assert eventually(lambda: speaks(bed), 20)
    assert bed.pid("broker") == broker and bed.is_alive("broker")


# --- the door ------------------------------------------------------------------------------------


@contextlib.contextmanager
def knock(bed, host="broker"):
    sock = hosts.open_socket(bed.name, host, socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.closing(sock):
        sock.settimeout(10)
        sock.connect((hosts.CHANNEL[0], configs.CHANNEL_PORT))
        yield sock


def hello(secret, version=1):
    octets = secret + bytes(-len(secret) % 8)
    body = struct.pack("<HHI", version, 0, 1) + bytes(8)  # no name
    body += struct.pack("<II", 1, len(secret) << 3 | 2) + octets
    message = struct.pack("<QQ", 0x0001000100000000, 0) + struct.pack("<IHH", 0, 1, 2) + body
    return struct.pack("<II", 0, len(message) // 8) + message


def join(ticket, lane):
    body = struct.pack("<HHI", lane, 0, 0) + struct.pack("<II", 1, len(ticket) << 3 | 2) + ticket
    message = struct.pack("<QQ", 0x0001000100000000, 9 << 32) + struct.pack("<IHH", 0, 1, 1) + body
    return struct.pack("<II", 0, len(message) // 8) + message


def receive_message(sock):
    """Its words; b"" at the end of the stream."""
    head = sock.recv(8, socket.MSG_WAITALL)
    return head and sock.recv(struct.unpack("<II", head)[1] * 8, socket.MSG_WAITALL)


def secret_of(bed):
    with open(configs.secret(bed.status()["directory"]), "rb") as file:
        return file.read().strip()


def is_closed(sock):
    try:
        return sock.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_who_does_not_belong_is_shown_out(bed):
    secret = secret_of(bed)
    for garbage in (b"x" * 16, bytes(64), os.urandom(3000), hello(secret)[:-8] + b"!" * 8,
                    join(bytes(16), 0), hello(b""), hello(secret[:-1])):
        with knock(bed) as sock:
            sock.send(garbage)
            while not is_closed(sock):
                pass
    with knock(bed) as sock:
        sock.send(hello(b"?" * len(secret)))
        assert b"secret" in receive_message(sock) and is_closed(sock)
    with knock(bed, "offramp") as sock:  # whose address is not in the list
        with contextlib.suppress(ConnectionError):
            sock.send(hello(secret))
        assert is_closed(sock)
    assert attached(bed) == 1 and speaks(bed)


@contextlib.contextmanager
def lane(bed):
    """A process that has attached, and does as the test pleases."""
    with knock(bed) as door, knock(bed) as sock:
        door.send(hello(secret_of(bed)))
        welcome = receive_message(door)
        ticket = welcome[welcome_ticket(welcome):][:16]
        sock.send(join(ticket, 0))
        assert receive_message(door)  # done
        yield sock


def welcome_ticket(words):
    """Where the octets are: the second pointer of the member, which has five words of data."""
    member = 3 * 8
    pointer = member + (5 + 1) * 8
    return pointer + 8 + (struct.unpack_from("<i", words, pointer)[0] >> 2) * 8


def test_a_process_that_writes_nonsense_is_cut_off(bed):
    dice = random.Random(7)
    broken = bed.counters()["processes_broken_total"]
    for kind, slot, generation, value in ((KINDS, 0, 0, 0), (DATA, 2**31, 1, 5), (DATA, 0, 1, 5),
                                          (DATA, 0, 7, 2**32 - 1), (0, 0, 0, 2**32 - 1)):
        with lane(bed) as sock:
            sock.send(struct.pack("<BBHIII", kind, 0, 0, slot, generation, value))
            with contextlib.suppress(ConnectionError):
                sock.send(dice.randbytes(1000))
            while not is_closed(sock):
                pass
    assert eventually(lambda: bed.counters()["processes_broken_total"] == broken + 5)
    assert eventually(lambda: attached(bed) == 1)
    assert speaks(bed)
