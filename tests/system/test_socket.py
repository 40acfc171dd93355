# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The broker's sockets live in the daemon: what says something of socket mode only.

What clients may expect is in the other modules, which run in mode `socket`, too. Here: deaths of
either side, whoever comes to the daemon's door, and servers that are no MQTT brokers.
"""

import array
import contextlib
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import time

import pytest

import mqttraw as mqtt
from bed import BUILD, eventually

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

REDIS_PORT, WEB_PORT = 6379, 8080


def up_options(_mode):
    return ["--config", os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers.yaml")]


def channel(bed):
    return os.path.join(bed.status()["directory"], "channel.sock")


def speaks(bed):
    """A message goes through, captured or not."""
    try:
        subscriber, publisher = bed.client("s"), bed.client("p")
        subscriber.subscribe("speaks")
        publisher.publish("speaks", b"hello", 1)
        return subscriber.payloads(1, 5) == [b"hello"]
    except (OSError, mqtt.Closed, mqtt.Timeout):
        return False


# --- deaths --------------------------------------------------------------------------------------

ROUNDS = [2, pytest.param(50, marks=pytest.mark.full)]



@pytest.mark.parametrize("rounds", ROUNDS)
def test_a_broker_killed_attaches_anew(module_bed, rounds):
    bed = module_bed
    daemon = bed.pid("daemon")
    for _ in range(rounds):
        clients = [bed.client(f"c{number}") for number in range(10)]
        for client in clients:
            client.subscribe("socket/#")
        bed.tool("stop", "broker", "--signal", "KILL")
        for client in clients:  # as the kernel ends what a dead process had open
            with pytest.raises((mqtt.Closed, ConnectionResetError)):
                client.receive(5)
        bed.tool("start", "broker")
        assert eventually(lambda: speaks(bed), 10)
    assert bed.pid("daemon") == daemon and bed.is_alive("daemon")
    counters = bed.counters()
    assert counters["processes"] == 1 and counters["processes_broken_total"] == 0
    assert eventually(lambda: bed.counters()["pool_in_use"]["flows"] <= 2)


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
        began = time.monotonic()
        assert eventually(lambda: speaks(bed), 10)
        assert time.monotonic() - began < bed.seconds(5)
    assert bed.pid("broker") == broker and bed.is_alive("broker")


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
    sock.connect(channel(bed))
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
    assert speaks(bed)


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
    assert speaks(bed)


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
    message = struct.pack("<II QQQQ", 0, 4, 0x0001000100000000, 1 | 6 << 32, 0x0000000100000000, 0)
    slots, = struct.unpack_from("<I", memory, 16)
    notices = 1 << slots.bit_length()  # a power of two above the number of slots
    messages_ring, notices_ring = 4096 + 65536, 4096 + 2 * 65536 + max(4 * notices, 4096)
    struct.pack_into(f"<II {len(message)}s", memory, messages_ring, len(message), 0, message)
    struct.pack_into("<I", memory, notices_ring, 2**32 - 1)
    struct.pack_into("<I", memory, 192, 1)  # sleeping
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
        assert speaks(bed)
        for fd in fds:
            os.close(fd)


# --- other servers -------------------------------------------------------------------------------


@contextlib.contextmanager
def server(bed, *command):
    """A server on the daemon's sockets."""
    process = bed.popen(os.path.join(BUILD, "offramp"), "run", "--channel", channel(bed), "--",
                        *command, host="broker")
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)
        process.kill()
        process.communicate()


def test_redis_and_its_own_benchmark(bed, tmp_path):
    with server(bed, "redis-server", "--port", REDIS_PORT, "--bind", "0.0.0.0", "--save", "",
                "--protected-mode", "no", "--dir", tmp_path, "--logfile", tmp_path / "log"):
        assert eventually(lambda: bed.counters()["processes"] == 2)
        done = bed.run("redis-benchmark", "-h", bed.host, "-p", REDIS_PORT, "-n", 100, "--csv")
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 15, done.stdout
        done = bed.run("redis-benchmark", "-h", bed.host, "-p", REDIS_PORT, "-n", 2000, "-P", 16,
                       "-c", 100, "-t", "set,get", "--csv")
        assert done.returncode == 0 and done.stdout.count("\n") == 3, done.stdout + done.stderr
    assert eventually(lambda: bed.counters()["processes"] == 1)


def test_nginx_whose_children_accept(bed, tmp_path):
    """The master listens, its children accept; files go out by sendfile()."""
    blob = tmp_path / "blob"
    blob.write_bytes(os.urandom(3_000_000))
    config = tmp_path / "nginx.conf"
    config.write_text(f"""\
user root; daemon off; worker_processes 2; pid {tmp_path}/pid; error_log {tmp_path}/log;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; server {{ listen {WEB_PORT}; root {tmp_path}; }} }}
""")
    url = f"http://{bed.host}:{WEB_PORT}/blob"
    with server(bed, "nginx", "-c", config):
        assert eventually(lambda: bed.counters()["processes"] == 4)
        for _ in range(5):
            fetched = tmp_path / "fetched"
            done = bed.run("curl", "-s", "-m", 20, "-o", fetched, url)
            assert done.returncode == 0 and fetched.read_bytes() == blob.read_bytes()
        done = bed.run("wrk", "-t1", "-c20", "-d1", f"http://{bed.host}:{WEB_PORT}/none")
        assert done.returncode == 0 and "requests in" in done.stdout
        assert "Socket errors" not in done.stdout, done.stdout
    assert eventually(lambda: bed.counters()["processes"] == 1)


BUSY_S, BUSY = 10, 20  # longer than any answer takes; so many threads

# A thread for each connection; each but the last answers once and then naps, and calls nothing meanwhile.
THREADS = """
import socket, sys, threading, time
port, seconds, busy = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
listener = socket.create_server(("", port))
def serve(sock, nap):
    while data := sock.recv(100):
        sock.sendall(data)
        if nap:
            time.sleep(seconds)
            sock.sendall(b"late")
for number in range(busy + 1):
    threading.Thread(target=serve, args=(listener.accept()[0], number < busy), daemon=True).start()
time.sleep(60)
"""


def test_threads_that_are_busy_keep_no_other_asleep(bed):
    with contextlib.ExitStack() as stack:
        stack.enter_context(server(bed, "/usr/bin/python3", "-c", THREADS, WEB_PORT, BUSY_S, BUSY))
        assert eventually(lambda: bed.counters()["processes"] == 2)
        socks = [stack.enter_context(bed.connect(port=WEB_PORT)) for _ in range(BUSY + 1)]
        for sock in socks[:-1]:
            for each in (sock, socks[-1]):
                each.sendall(b"x")
                assert each.recv(100) == b"x"
        for sock in socks[:-1]:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(100)
