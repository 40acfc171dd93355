# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A mosquitto with the plugin on the loopback, and clients of it that speak in bytes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
sys.path.insert(0, os.path.join(ROOT, "tools", "lib"))

import marker  # noqa: E402
import mqttraw  # noqa: E402
from testbed import sanitizer  # noqa: E402

BUILD = os.path.abspath(os.environ.get("OFFRAMP_BUILD") or os.path.join(ROOT, "build"))
PLUGIN = os.path.join(BUILD, "mosquitto_offramp.so")
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Mosquitto:
    """`options` are the plugin's, without plugin_opt_; None: no plugin is loaded."""

    def __init__(self, folder, options, settings="", listener="allow_anonymous true", after=""):
        self.folder, self.port = str(folder), free_port()
        self.config = os.path.join(self.folder, "mosquitto.conf")
        self.log = os.path.join(self.folder, "mosquitto.log")
        lines = [settings, "user root", "log_type all", f"log_dest file {self.log}",
                 f"listener {self.port} 127.0.0.1", listener]
        if options is not None:
            lines += [f"plugin {PLUGIN}"]
            lines += [f"plugin_opt_{key} {value}" for key, value in options.items()]
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join([*lines, after, ""]))
        self.process = None
        self.output = ""  # what it said besides its log
        self.may_fail = False

    def run(self):
        """Starts it and does not wait."""
        environment = {**os.environ, **sanitizer.environment(PLUGIN)}
        self.process = subprocess.Popen([MOSQUITTO, "-c", self.config], env=environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return self

    def start(self):
        self.run()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert self.process.poll() is None, self.lines()
                time.sleep(0.02)
        raise AssertionError(f"mosquitto does not listen\n{self.lines()}")

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        if not self.process:
            return None
        try:
            self.output = self.process.communicate(timeout=20)[0].decode()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode

    def lines(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def wait_for_line(self, text, seconds=10):
        deadline = time.monotonic() + seconds
        while text not in self.lines():
            assert time.monotonic() < deadline, f"no '{text}' in\n{self.lines()}"
            time.sleep(0.02)

    def client(self, client_id, version=4, **how):
        """A client that is connected."""
        sock = socket.create_connection(("127.0.0.1", self.port), 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(sock, version, client_id)
        client.connack = client.connect(**how)
        return client


class Client(mqttraw.Client):
    """A client that Offramp can speak for."""

    key = None

    def marker(self, stream, kind, token, skip_except=(), key=None):
        """The bytes of a marker, as Offramp puts them between a client's packets."""
        return mqttraw.publish(marker.TOPIC,
                               marker.encode(key or stream.key, kind, token, skip_except),
                               version=self.version)

    def join(self, stream):
        nonce = int.from_bytes(os.urandom(8), "big")
        self.send(self.marker(stream, marker.JOIN, nonce))
        self.key = stream.wait("client_joined", nonce=nonce).key
        return self

    def probe(self, stream, topic, payload=b"x", qos=0, skip_except=None, **options):
        """Publishes one message as a probe. Returns what the plugin says of it."""
        token = int.from_bytes(os.urandom(8), "big")
        pid = self.next_pid() if qos else None
        between = b"" if skip_except is None else self.marker(
            stream, marker.SKIP, max(stream.sequences()), skip_except)
        self.send(self.marker(stream, marker.ASK, token), between,
                  mqttraw.publish(topic, payload, qos, pid=pid, version=self.version, **options))
        if qos == 2:
            self._await(mqttraw.PUBREC, pid, 10, None)
            self.send(mqttraw.ack(mqttraw.PUBREL, pid))
        self.send(self.marker(stream, marker.END, token))
        return stream.wait("published", token=token)
