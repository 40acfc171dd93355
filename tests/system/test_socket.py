# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The broker's sockets live in the daemon: what says something of socket mode only.

What clients may expect is in the other modules, which run in mode `socket`, too. Deaths, the ways of
mosquitto and servers of other protocols have modules of their own (test_socket_*.py).
"""

import array
import contextlib
import mmap
import os
import random
import signal
import socket
import struct
import time

import pytest

import mqttraw as mqtt
import servers
from bed import eventually

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]


def test_a_stopped_broker_delays_nobody_else(bed):
    """Its streams fill; the daemon serves the rest, and nothing is lost when it goes on."""
    subscriber, publisher = bed.client("s"), bed.client("p")
    subscriber.subscribe("socket/#")
    publisher.publish("socket/1", b"0", 1)
    os.kill(bed.pid("broker"), signal.SIGSTOP)
    try:
        for number in range(1, 200):  # captured: the broker is not asked
            publisher.publish("socket/1", b"%d" % number, 1)
        for number in range(100):
            publisher.send(mqtt.publish("socket/2", b"%d" % number + bytes(2000), 0, True))
    finally:
        os.kill(bed.pid("broker"), signal.SIGCONT)
    got = subscriber.payloads(300, 20)
    assert got[:200] == [b"%d" % number for number in range(200)]
    assert [int(payload.rstrip(b"\0")) for payload in got[200:]] == list(range(100))


# --- the door ------------------------------------------------------------------------------------


def knock(bed):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.settimeout(10)
    sock.connect(servers.channel(bed))
    return sock


def hello(version=1):
    """Message{hello: {version, pid 1, name ""}}, as Cap'n Proto."""
    return struct.pack("<II QQQ HHI Q", 0, 5, 0x0001000100000000, 0, 0x0001000100000000,
                       version, 0, 1, 0)


def attach(sock):
    """Says hello. Returns the memory and the descriptors."""
    sock.send(hello())
    _, ancillary, _, _ = sock.recvmsg(4096, 1024)
    fds = array.array("i")
    fds.frombytes(ancillary[0][2])
    memory = mmap.mmap(fds[0], os.fstat(fds[0]).st_size)
    for fd in fds:
        os.close(fd)
    return memory


def test_garbage_at_the_door_is_shown_out(bed):
    for garbage in (b"x", bytes(8), bytes(64), hello()[:-8], os.urandom(2000), hello(99)):
        with contextlib.closing(knock(bed)) as sock:
            sock.send(garbage)
            answer = sock.recv(4096)
            assert answer == b"" or b"version" in answer
    assert servers.speaks(bed)


def test_a_process_that_scribbles_is_cut_off(bed):
    dice = random.Random(7)
    broken = bed.counters()["processes_broken_total"]
    for _ in range(5):
        with contextlib.closing(knock(bed)) as sock:
            memory = attach(sock)
            for _ in range(200):  # the header, then the rings
                struct.pack_into("<I", memory, dice.randrange(0, dice.choice((320, 140 * 1024)), 4),
                                 dice.choice((0, 1, 2**31, 2**32 - 1, dice.getrandbits(32))))
            time.sleep(0.5)
            memory.close()
    assert bed.counters()["processes_broken_total"] > broken
    assert servers.speaks(bed)


def test_the_memory_cannot_be_taken_away(bed):
    with contextlib.closing(knock(bed)) as sock:
        sock.send(hello())
        _, ancillary, _, _ = sock.recvmsg(4096, 1024)
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        with pytest.raises(PermissionError):
            os.ftruncate(fds[0], 0)
        for fd in fds:
            os.close(fd)


def ask_and_sleep(memory):
    """As a shim that asks for a connection's TCP_INFO, and sleeps until the answer wakes it."""
    struct.pack_into("<I", memory, 192, 1)  # sleeping
    say(memory, struct.pack("<II QQQQ", 0, 4, 0x0001000100000000, 1 | 6 << 32, 0x0000000100000000, 0))


def say(memory, message):
    """As a shim that has said nothing yet."""
    slots, = struct.unpack_from("<I", memory, 16)
    notices = 1 << slots.bit_length()  # a power of two above the number of slots
    messages_ring, notices_ring = 4096 + 65536, 4096 + 2 * 65536 + max(4 * notices, 4096)
    struct.pack_into(f"<II {len(message)}s", memory, messages_ring, len(message), 0, message)
    struct.pack_into("<I", memory, notices_ring, 2**32 - 1)
    struct.pack_into("<I", memory, 256, 8 + len(message))  # the head of the messages
    struct.pack_into("<I", memory, 68, 1)  # the daemon is notified
    struct.pack_into("<I", memory, 264, 1)  # the head of the notices


def test_what_wakes_a_process_cannot_stop_the_daemon(bed):
    """A process may do to its wake descriptor what it likes: a write of the daemon's never waits."""
    with contextlib.closing(knock(bed)) as sock:
        sock.send(hello())
        _, ancillary, _, _ = sock.recvmsg(4096, 1024)
        fds = array.array("i")
        fds.frombytes(ancillary[0][2])
        memory = mmap.mmap(fds[0], os.fstat(fds[0]).st_size)
        os.set_blocking(fds[1], False)
        with contextlib.suppress(OSError):
            os.write(fds[1], struct.pack("<Q", 2**64 - 2))  # a counter that is full
        os.set_blocking(fds[1], True)
        woken = bed.counters()["process_wakes_total"]
        ask_and_sleep(memory)
        assert eventually(lambda: struct.unpack_from("<I", memory, 128) != (0,))  # the answer
        assert eventually(lambda: bed.counters()["process_wakes_total"] > woken)
        assert servers.speaks(bed)
        for fd in fds:
            os.close(fd)
