# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Deaths in socket mode, kill -9 always: of processes whose sockets live in the daemon, and of the
daemon; at every call that one makes of the other, and under load.

Nobody hangs, nothing is held afterwards, and whoever else is attached does not notice.
"""

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest

import mqttraw as mqtt
import servers
from bed import BUILD, eventually, hosts
from victim import CALLS

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

PEER_PORT, SECOND = 7000, 1884
FURTHER = "198.18.1.1"  # an address of the clients'
CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deaths.yaml")
PEER = os.path.join(BUILD, "tests", "peer", "channel-peer")
VICTIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "victim.py")
PYTHON = "/usr/bin/python3"
# Before there is a client, and with one.
EARLY = ("knocked", "hello", "welcome", "attached", "connect", "connecting", "stands", "route",
         "routed", "udp", "bound", "icmp", "echoes", "listen", "listening", "accepts")
LATE = ("opened", "option", "info", "informed", "data", "hungry", "taken", "end", "close",
        "unlisten")


def up_options(_mode):
    return ["--config", CONFIG, "--clients", 1]


@pytest.fixture(scope="module", autouse=True)
def forgetful_sanitizer():
    """Keeps so little of what was freed that a leak is seen."""
    before = os.environ.get("ASAN_OPTIONS")
    os.environ["ASAN_OPTIONS"] = ":".join(filter(None, (before, "quarantine_size_mb=1")))
    yield
    if before is None:
        del os.environ["ASAN_OPTIONS"]
    else:
        os.environ["ASAN_OPTIONS"] = before


@pytest.fixture
def restored(module_bed):
    """A testbed whose programs may end; what a failure leaves of it is taken down."""
    if module_bed.is_spoilt:
        module_bed.up()
    return module_bed


def some(few, everything):
    """A few always, the rest when all is asked for."""
    return [one if one in few else pytest.param(one, marks=pytest.mark.full) for one in everything]


def caller(bed, port, data=b"octets"):
    """A client that has said something."""
    sock = hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect((bed.host, port))
    sock.sendall(data)
    return sock


def ends(sock):
    """Its connection does, one way or the other. What came before."""
    came = b""
    with sock:
        with contextlib.suppress(ConnectionResetError):
            while chunk := sock.recv(65536):
                came += chunk
    return came


def is_refused(bed, port):
    try:
        caller(bed, port).close()
        return False
    except ConnectionRefusedError:
        return True


def held(bed):
    """What the daemon holds for others."""
    counters, pid = bed.counters(), bed.pid("daemon")
    return (counters["processes"], counters["pool_in_use"]["flows"],
            counters["pool_in_use"]["clients"], *counters["outgoing_connections"].values(),
            servers.descriptors(pid))


def held_at_rest(bed):
    """Once who came before is gone."""
    assert eventually(lambda: held(bed)[1:3] == (0, 0)), held(bed)
    return held(bed)


@pytest.fixture
def kernels_end(restored):
    """Somebody on the clients' host takes connections."""
    with hosts.open_socket(restored.name, "clients", socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((FURTHER, PEER_PORT))
        sock.listen(100)
        yield


# --- a process dies ------------------------------------------------------------------------------


def peer(bed, step, then):
    return subprocess.Popen(
        ["ip", "netns", "exec", hosts.netns(bed.name, "broker"), PEER, servers.channel(bed),
         bed.host, FURTHER, str(PEER_PORT), step, then], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)


def play(bed, process, step):
    """Until it has reached the step. Its client, if it has one then."""
    sock = None
    for line in process.stdout:
        if line == "serves\n":
            sock = caller(bed, PEER_PORT)
        if line.rstrip() == step:
            return sock
    raise AssertionError(f"{step}: {process.communicate()}")


@pytest.mark.usefixtures("kernels_end")
def test_a_process_dies_at_every_call(bed):
    with bed.client("witness") as witness:
        witness.subscribe("witness")
        assert eventually(lambda: held(bed)[1:3] == (1, 1))
        before = held(bed)
        for step in EARLY + LATE:
            process = peer(bed, step, "die")
            sock = play(bed, process, step)
            assert process.wait(10) == -signal.SIGKILL, process.communicate()
            process.communicate()
            assert (sock is not None) == (step in LATE)
            if sock:
                said = ends(sock)
                assert said in (b"", b"hello"), step
                # What it wrote goes out, as long as nothing was left unread.
                if step in ("taken", "end", "close", "unlisten"):
                    assert said == b"hello", step
            assert eventually(lambda: held(bed) == before), (step, held(bed), before)
            assert eventually(lambda: is_refused(bed, PEER_PORT)), step
            kept = []
            witness.publish("witness", step.encode(), 1, kept=kept)
            assert [message.payload for message in kept or witness.messages(1)] == [step.encode()]
        assert bed.counters()["processes_broken_total"] == 0


@pytest.mark.full
@pytest.mark.usefixtures("kernels_end")
def test_many_processes_die_with_many_connections(bed):
    """Attached at once, each with listeners and clients; and no memory is kept."""
    before, kept = held_at_rest(bed), []
    for _ in range(6):
        processes = [peer(bed, "taken", "stay") for _ in range(8)]
        # Connections go round among those that accept.
        for process in processes:
            assert process.stdout.readline() == "serves\n"
        socks = [caller(bed, PEER_PORT) for _ in processes]
        for process in processes:
            assert process.stdout.readline() == "taken\n"
        for process in processes:
            process.kill()
            process.communicate()
        for sock in socks:
            assert ends(sock) in (b"", b"hello")
        assert eventually(lambda: held(bed) == before)
        kept.append(servers.own_memory_kb(bed.pid("daemon")))
    # The first rounds touch what the later ones use again.
    assert kept[-1] - kept[1] < 8192, kept
    assert servers.speaks(bed)


# --- the daemon dies -----------------------------------------------------------------------------


@contextlib.contextmanager
def daemon_dies(bed):
    """It has been stopped, does what is done, dies, and is there again."""
    os.kill(bed.pid("daemon"), signal.SIGSTOP)
    yield
    bed.tool("stop", "daemon", "--signal", "KILL")


@pytest.mark.usefixtures("kernels_end")
@pytest.mark.parametrize("step", some(("info",), EARLY + LATE))
def test_the_daemon_dies_at_every_call(restored, step):
    """What is attached hears of it at once, and the broker is attached anew."""
    bed = restored
    process = peer(bed, step, "stay")
    sock = play(bed, process, step)
    broker = bed.pid("broker")
    bed.tool("stop", "daemon", "--signal", "KILL")
    if sock:
        sock.close()
    assert process.stdout.readline() == "alone\n"
    assert process.wait(10) == 0
    process.communicate()
    bed.tool("start", "daemon")
    assert servers.speaks(bed) and bed.pid("broker") == broker
    assert bed.counters()["processes"] == 1


@contextlib.contextmanager
def victim(bed, call):
    process = subprocess.Popen(
        ["ip", "netns", "exec", hosts.netns(bed.name, "broker"),
         *servers.attached(bed, PYTHON, VICTIM, call, bed.host, FURTHER, str(PEER_PORT))], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        said = process.communicate()[1]
        assert "Traceback" not in said, said


def is_echoed(bed):
    try:
        with caller(bed, PEER_PORT) as sock:
            return sock.recv(100) == b"octets"
    except OSError:
        return False


@pytest.mark.usefixtures("kernels_end")
@pytest.mark.parametrize("call", some(("recv",), CALLS))
def test_the_daemon_dies_during_every_call(restored, call):
    """It has stopped, so that it answers nothing; then it dies. The call ends, the program goes on,
    and is served by the next daemon."""
    bed, sock = restored, None
    with victim(bed, call) as process:
        for line in process.stdout:
            if line == "listening\n":
                sock = caller(bed, PEER_PORT)
            if line == "ready\n":
                break
        with daemon_dies(bed):
            process.stdin.write("go\n")
            process.stdin.flush()
            time.sleep(0.3)  # it is in its call, or through
        if sock:
            sock.close()
        if call not in ("accept", "epoll_wait for clients", "poll for clients"):
            answer = json.loads(process.stdout.readline())
            assert answer["seconds"] < 10, answer
            if call in ("recv", "send"):
                assert answer["result"] == "ConnectionResetError"
        bed.tool("start", "daemon")
        assert eventually(lambda: is_echoed(bed), 40)
        assert servers.speaks(bed)
    assert eventually(lambda: bed.counters()["processes"] == 1)


@pytest.mark.full
def test_a_daemon_that_answers_late_is_heard(bed):
    """A listen() that got no answer in time is the kernel's, and the daemon's as soon as it can be."""
    with victim(bed, "listen") as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(bed.pid("daemon"), signal.SIGSTOP)
        try:
            process.stdin.write("go\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["result"] == "None"
        finally:
            os.kill(bed.pid("daemon"), signal.SIGCONT)
        assert eventually(lambda: is_echoed(bed), 20)


# --- under load ----------------------------------------------------------------------------------


EVERY_TRANSPORT = pytest.mark.in_modes("socket", "socket-unix", "socket-tcp")


class Load:
    """Clients that publish without end and connect again when they are cut off, by either family."""

    def __init__(self, bed, port, count=4):
        self.bed, self.port = bed, port
        self.stopped = threading.Event()
        self.connected, self.heard = 0, [0, 0]  # by family
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=[number], daemon=True)
                        for number in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, number):
        while not self.stopped.is_set():
            try:
                with servers.client(self.bed, self.port, f"load{number}",
                                    both_hosts(self.bed)[number % 2]) as client:
                    with self.lock:
                        self.connected += 1
                    self._publish(client, number)
            # Who waits for an answer when a host dies hears nothing of it, ever.
            except (OSError, mqtt.Closed, mqtt.Timeout):
                self.stopped.wait(0.02)

    def _publish(self, client, number):
        client.subscribe(f"load/{number}", options=1)
        while not self.stopped.is_set():
            kept = []
            for qos in (0, 1, 0, 1):  # captured; and one that is retained passes
                client.publish(f"load/{number}", bytes(300), qos, kept=kept, timeout=5)
            client.publish(f"load/{number}", bytes(3000), 1, retain=True, kept=kept)
            heard = len(kept) + len(client.messages(5 - len(kept)) if len(kept) < 5 else ())
            with self.lock:
                self.heard[number % 2] += heard

    def goes_on(self):
        """Somebody has heard something that was published after now, by either family."""
        before = list(self.heard)
        return eventually(lambda: all(now > then + 20 for now, then in zip(self.heard, before)),
                          self.bed.seconds(20), 0.01)


def both_hosts(bed):
    return bed.host, hosts.LISTEN6


def broker(bed, path):
    """One of the test's own, started without detours: what it takes is its own doing."""
    config = servers.write(os.path.join(path, "conf"), f"listener {SECOND}", "user root",
                           "allow_anonymous true", "log_type none")
    return subprocess.Popen(["ip", "netns", "exec", hosts.netns(bed.name, "broker"),
                             *servers.attached(bed, "mosquitto", "-c", config)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def served_after(bed, began):
    """Seconds until a client has its CONNACK. By IPv4: an address of IPv6 is first asked for, for a
    second, whether another has it (RFC 4862 5.4)."""
    def is_served():
        try:
            servers.client(bed, SECOND, "asks").leave()
            return True
        except (OSError, mqtt.Closed):
            return False
    assert eventually(is_served, 20, 0.01)
    return time.monotonic() - began


def is_soon(seconds, rounds):
    """A second, but for what a busy machine adds now and then."""
    print(f"{rounds} times: median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f}")
    assert statistics.median(seconds) < 1 or rounds < 10, seconds
    assert max(seconds) < 10, seconds


FIFTY = pytest.param(50, marks=pytest.mark.full)


@EVERY_TRANSPORT
@pytest.mark.parametrize("rounds", [2, FIFTY])
def test_a_broker_killed_under_load_attaches_anew(bed, rounds):
    before, took, kept = held_at_rest(bed), [], []
    with servers.folder() as path, Load(bed, SECOND) as load:
        for _ in range(rounds):
            began = time.monotonic()
            process = broker(bed, path)
            took.append(served_after(bed, began))
            assert load.goes_on()
            process.kill()
            process.wait()
            assert eventually(lambda: bed.counters()["processes"] == 1)
            kept.append(servers.own_memory_kb(bed.pid("daemon")))
    assert load.connected >= 4 * rounds
    is_soon(took, rounds)
    assert eventually(lambda: held(bed) == before), (held(bed), before)
    assert bed.counters()["processes_broken_total"] == 0
    print("kept:", kept)
    assert rounds < 10 or kept[-1] - kept[9] < 16384, kept
    assert servers.speaks(bed)


@EVERY_TRANSPORT
@pytest.mark.parametrize("rounds", [1, FIFTY])
def test_a_daemon_killed_under_load_is_found_again(restored, rounds):
    bed, took, kept = restored, [], []
    with servers.folder() as path, Load(bed, SECOND) as load:
        process = broker(bed, path)
        try:
            served_after(bed, time.monotonic())
            for _ in range(rounds):
                assert load.goes_on()
                bed.tool("stop", "daemon", "--signal", "KILL")
                assert process.poll() is None
                took.append(restarted(bed))
                # Of the same sight: attached, with the load's clients.
                assert load.goes_on()
                kept.append((servers.descriptors(process.pid), servers.mappings(process.pid),
                             servers.own_memory_kb(process.pid)))
        finally:
            process.kill()
            process.wait()
    is_soon(took, rounds)
    print("kept:", kept[0], kept[-1])
    # A client may be between two connections.
    assert kept[-1][0] - kept[0][0] <= 4 and kept[-1][1] - kept[0][1] <= 8, kept
    assert kept[-1][2] - kept[0][2] < 4096, kept


def restarted(bed):
    """Starts the daemon. Seconds from its open door to a client's CONNACK."""
    path = servers.channel(bed)
    before = os.stat(path).st_mtime_ns  # of what the dead one has left
    starter = threading.Thread(target=bed.tool, args=["start", "daemon"])
    starter.start()

    def is_open():
        with contextlib.suppress(FileNotFoundError):
            return os.stat(path).st_mtime_ns != before
        return False
    assert eventually(is_open, 20, 0.005)
    took = served_after(bed, time.monotonic())
    starter.join()
    return took
