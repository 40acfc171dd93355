# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The daemon without a data path, and messages made by protoc.

A test takes the arguments of its program: FAKE_DAEMON OFFRAMP PROTO_FOLDER.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile

import grpc

import protos

FAKE_DAEMON, OFFRAMP, PROTO = sys.argv[1:4]

FOLDER = tempfile.TemporaryDirectory(prefix="offramp-test-")

CONFIG = """
mode: stack
ports: [{{name: clients, device: a, addresses: [198.18.0.1/16, 198.19.0.1/24]}}]
brokers:
  - name: mosquitto
    listen: "198.18.0.1:1883"
    address: "198.19.0.2:1883"
    capture: {{pass: ["bridge/#", cfg]}}
control: {{socket: {socket}, listen: [{listen}]}}
"""


def messages(name):
    """The module of a file under proto/: "offramp/v1/admin"."""
    return protos.messages(PROTO, FOLDER.name, name)


class Daemon:
    def __init__(self, name="a", connections=130, subscriptions=64, listen="", config=CONFIG):
        self.socket = f"{FOLDER.name}/{name}/offramp.sock"
        self.config = f"{FOLDER.name}/{name}.yaml"
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(config.format(socket=self.socket, listen=listen))
        self.process = subprocess.Popen(
            [FAKE_DAEMON, self.config, str(connections), str(subscriptions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OFFRAMP_TOLD": f"{FOLDER.name}/{name}.told"},
        )
        self.told_files = [f"{FOLDER.name}/{name}.told.{worker}" for worker in (0, 1)]
        self.ready = self.process.stdout.readline() == "ready\n"

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    def told(self, worker=0):
        """What the worker was told, line by line."""
        with open(self.told_files[worker], encoding="utf-8") as lines:
            return lines.read().splitlines()

    def stop(self):
        out, err = self.process.communicate(timeout=10)
        return out, err, self.process.returncode

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=10)

    def run(self, *args):
        return subprocess.run(
            [OFFRAMP, "--socket", self.socket, *args],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def json(self, *args):
        result = self.run(*args, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def channel(self):
        # Every channel a connection of its own, with windows of 64 KiB.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
        return grpc.insecure_channel(f"unix:{self.socket}", options)
