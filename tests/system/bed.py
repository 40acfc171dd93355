# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""One testbed as the tests see it: tools/testbed as a user calls it, plus sockets on its hosts.

A socket belongs to the network namespace it was made in, for good: hosts.open_socket() makes it on
the clients' host, any thread of pytest uses it.
"""

import errno
import itertools
import json
import os
import socket
import subprocess
import sys
import time

import mqttraw
from brokers import BROKERS

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPOSITORY, "tools", "lib"))
from testbed import hosts  # noqa: E402
from testbed.bed import Bed as ToolBed  # noqa: E402

TOOL = os.path.join(REPOSITORY, "tools", "testbed")
BUILD = os.path.abspath(os.environ.get("OFFRAMP_BUILD") or os.path.join(REPOSITORY, "build"))
MESSAGES = "$SYS/broker/publish/messages/received"
BYTES = "$SYS/broker/publish/bytes/received"
UPTIME = "$SYS/broker/uptime"

# What wires are that lose, double and reorder packets, each way, at both of the daemon's ports.
IMPAIRMENT = "loss=2%,reorder=1%,duplicate=1%"
# Ends that have nothing but TCP's core: no timestamps, no selective acknowledgements.
BARE = ("--sysctl", "net.ipv4.tcp_timestamps=0", "--sysctl", "net.ipv4.tcp_sack=0")
PATIENCE = 5  # over such wires all takes longer: retransmissions of retransmissions
# A test's mode: the testbed's mode, and options of `up`.
MODES = {
    "direct": ("direct",),
    "stack": ("stack",),
    "monitor": ("monitor",),
    "socket": ("socket",),
    "socket-impaired": ("socket", "--impair", IMPAIRMENT),
    "socket-tcp": ("socket", "--channel", "tcp"),
    "socket-unix": ("socket", "--channel", "unix"),
    "monitor-impaired": ("monitor", "--impair", IMPAIRMENT),
    "monitor-bare": ("monitor", *BARE),
    "monitor-bare-impaired": ("monitor", "--impair", IMPAIRMENT, *BARE),
    "monitor-workers": ("monitor", "--workers", "2"),
    "workers": ("stack", "--workers", "2"),
    "impaired": ("stack", "--impair", IMPAIRMENT),
    "impaired-ipv6": ("stack", "--impair", IMPAIRMENT, "--ipv6"),
}
_numbers = itertools.count()


def tool(*arguments, timeout=120, check=True, **options):
    """Runs tools/testbed to its end."""
    done = subprocess.run([TOOL, *map(str, arguments)], text=True, capture_output=True,
                          timeout=timeout, **options)
    if check and done.returncode:
        raise AssertionError(f"testbed {' '.join(map(str, arguments))}: exit code "
                             f"{done.returncode}\n{done.stdout}{done.stderr}")
    return done


def eventually(condition, timeout=20, pause=0.05):
    """Asks until the answer is true. Returns the last answer."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(pause)


class Bed:
    """A running testbed."""

    def __init__(self, mode, *options, broker="mosquitto"):
        self.mode, self.broker = mode, BROKERS[broker]
        self.options = ("--mode", *MODES[mode], "--broker", broker, *options)
        self.patience = PATIENCE if self.is_impaired else 1
        self.name = f"t{os.getpid()}-{next(_numbers)}"
        self.host = self.port = None
        self.is_spoilt = False  # a test failed with it

    def __repr__(self):
        return f"<testbed {self.name} {self.mode}>"

    @property
    def is_stack(self):
        """Whether there is an Offramp."""
        return self.mode != "direct"

    @property
    def shape(self):
        """direct, stack or monitor."""
        return MODES[self.mode][0]

    @property
    def is_impaired(self):
        return "--impair" in MODES[self.mode]

    def seconds(self, seconds):
        """How long something may take here that takes so long at most over good wires."""
        return seconds * self.patience

    def up(self):
        # Brokers in Erlang take long to start, on a busy machine in particular.
        tool("up", "--name", self.name, "--timeout", self.seconds(90), *self.options,
             timeout=self.seconds(120))
        host, port = self.tool("address").stdout.split()
        self.host, self.port = host, int(port)
        self.is_spoilt = False
        return self

    def down(self):
        tool("down", "--name", self.name)

    def tool(self, action, *arguments, **options):
        return tool(action, "--name", self.name, *arguments, **options)

    # What runs

    def status(self):
        return ToolBed(self.name).status()

    def pid(self, who):
        return self.status()["processes"][who]["pid"]

    def is_alive(self, who):
        return self.status()["processes"][who]["alive"]

    def log(self, who, lines=None):
        limit = ["-n", lines] if lines else []
        return self.tool("log", who, *limit, check=False).stdout

    def evidence(self):
        """(title, text) of what helps to understand a failure."""
        texts = [("broker", self.log("broker", 60))]
        if self.is_stack:
            texts.append(("daemon", self.log("daemon", 60)))
            for what in ("connections", "counters"):
                done = self.run(os.path.join(BUILD, "offramp"), what, host="offramp", timeout=20)
                texts.append((what, done.stdout if done.returncode == 0 else ""))
        return [(title, text) for title, text in texts if text]

    def rss_kb(self, who):
        with open(f"/proc/{self.pid(who)}/status", encoding="ascii") as status:
            return int(next(line.split()[1] for line in status if line.startswith("VmRSS")))

    def starter(self):
        """What starts a program on the daemon's sockets."""
        return ToolBed(self.name).starter()

    # Commands on the hosts

    def run(self, *command, host="clients", timeout=60, **options):
        return subprocess.run([TOOL, "exec", "--name", self.name, host, "--", *map(str, command)],
                              text=True, capture_output=True, timeout=timeout, **options)

    def popen(self, *command, host="clients", **options):
        return subprocess.Popen(
            [TOOL, "exec", "--name", self.name, host, "--", *map(str, command)],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def login_options(self, user="-u", password="-P"):
        """What command lines need (mosquitto's by default)."""
        return [word for pair in zip((user, password), self.broker.login) for word in pair]

    def bench(self, *arguments, timeout=120):
        """offramp-bench on the clients' host. Returns its JSON."""
        login = self.login_options("--username", "--password")
        done = self.run(os.path.join(BUILD, "offramp-bench"), "--json", "--host", self.host,
                        "--port", self.port, "--connect-timeout", self.seconds(10),
                        "--drain", self.seconds(5), *login, *arguments, timeout=timeout)
        assert done.returncode == 0, f"offramp-bench {arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    # Sockets and clients on the clients' host

    def connect(self, source=None, receive_buffer=None, timeout=20, port=None):
        """A TCP connection to the broker, or to another server. Nagle stays on, as with most clients."""
        sock = hosts.open_socket(self.name, "clients", hosts.family(self.host),
                                 socket.SOCK_STREAM)
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                sock.bind((source, 0))
            sock.settimeout(self.seconds(timeout))
            sock.connect((self.host, port or self.port))
        except BaseException:
            sock.close()
            raise
        return sock

    def stranger(self, client_id="", version=4, receive_buffer=None, source=None, sock=None):
        """An MQTT client that has not sent its CONNECT, on a new connection or the given one."""
        client = mqttraw.Client(sock or self.connect(source, receive_buffer), version, client_id,
                                self.patience, self.broker.credentials)
        client.max_qos = self.broker.max_qos
        return client

    def strangers(self, client_ids, sources=None):
        """The same, their handshakes side by side."""
        clients = []
        for client_id, source in zip(client_ids, sources or itertools.repeat(None)):
            sock = hosts.open_socket(self.name, "clients", hosts.family(self.host),
                                     socket.SOCK_STREAM)
            clients.append(self.stranger(client_id, sock=sock))
            if source:
                sock.bind((source, 0))
            sock.setblocking(False)
            assert sock.connect_ex((self.host, self.port)) == errno.EINPROGRESS
        return clients

    def client(self, client_id, version=4, receive_buffer=None, source=None, **options):
        """A connected MQTT client, its CONNACK taken (client.connack)."""
        client = self.stranger(client_id, version, receive_buffer, source)
        try:
            client.connack = client.connect(**options)
        except BaseException:
            client.close()
            raise
        return client

    def neighbour(self, client_id, version=4, host="broker", port=None, **options):
        """A client that runs beside a broker on that host: it does not come through Offramp."""
        address = hosts.CLIENT if host == "clients" else self.status()["broker_address"]
        sock = hosts.open_socket(self.name, host, hosts.family(address), socket.SOCK_STREAM)
        client = self.stranger(client_id, version, sock=sock)
        try:
            sock.settimeout(20)
            sock.connect((address, port or self.port))
            client.connack = client.connect(**options)
        except BaseException:
            client.close()
            raise
        return client

    # Counting

    def counters(self):
        return json.loads(self.tool("counters").stdout)

    def watch(self):
        return Watch(self)


class Watch:
    """What the broker itself received as PUBLISHes, and what Offramp counted, since the start.

    The broker tells through $SYS, at its ticks, if it tells at all. It has two counts: of messages, which in mosquitto
    2.0.11 leaves out the retained and those of QoS 2, and of payload bytes, which has them all.
    """

    def __init__(self, bed):
        self.bed = bed
        self.client, self.seen = None, {}
        if bed.broker.counts:
            self.client = bed.client(f"watch{next(_numbers)}")
            self.client.subscribe(MESSAGES, BYTES, UPTIME)
            self._wait_for_tick()
        self.start = dict(self.seen)
        self.counted = bed.counters() if bed.is_stack else {}

    def _wait_for_tick(self):
        """Takes in all that a tick says which comes after now."""
        self._drain()
        while self._take(self.client.expect(mqttraw.PUBLISH)) != UPTIME:
            pass
        self._drain()

    def _drain(self):
        kept = []
        self.client.ping(kept=kept)
        for message in kept:
            self._take(message)

    def _take(self, message):
        self.seen[message.topic] = message.payload
        return message.topic

    def broker_received(self, alone, behind=None):
        """Is it what the broker received as PUBLISHes, (messages, payload bytes), since the start?

        Asserts it, where the broker tells; None is any number. `behind` Offramp it may be less.
        """
        if not self.client:
            return
        self._wait_for_tick()
        expected = behind if behind and self.bed.is_stack else alone
        # What it has not counted yet, it does not tell.
        got = [int(self.seen.get(name, 0)) - int(self.start.get(name, 0))
               for name in (MESSAGES, BYTES)]
        assert got == [number if wanted is None else wanted
                       for wanted, number in zip(expected, got)]

    def captured(self, qos=None):
        return self._grown("publish_captured_total", None if qos is None else str(qos))

    def passed(self, reason=None):
        return self._grown("publish_passed_total", reason)

    def _grown(self, name, label):
        now, then = self.bed.counters().get(name, {}), self.counted.get(name, {})
        labels = now if label is None else [label]
        return sum(now.get(key, 0) - then.get(key, 0) for key in labels)

    def passed_by_reason(self):
        now = self.bed.counters().get("publish_passed_total", {})
        then = self.counted.get("publish_passed_total", {})
        return {key: value - then.get(key, 0) for key, value in now.items()
                if value != then.get(key, 0)}

    def close(self):
        if self.client:
            self.client.leave()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
