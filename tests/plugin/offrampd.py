# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Offramp's side of Broker/Events as the plugin meets it, on Debian's python3-grpcio.

Shares nothing with the daemon but proto/offramp/v1/broker.proto.
"""

import importlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures

import grpc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FOLDER = tempfile.TemporaryDirectory(prefix="offramp-test-")
subprocess.run(["protoc", f"-I{ROOT}/proto", f"--python_out={_FOLDER.name}",
                "offramp/v1/broker.proto"], check=True)
sys.path.insert(0, _FOLDER.name)
pb = importlib.import_module("offramp.v1.broker_pb2")


class Stream:
    """One call of a plugin: what it has said, and what is said to it."""

    def __init__(self):
        self.messages = []  # all of them, with the time they came
        self.changed = threading.Condition()
        self.answers = queue.Queue()
        self.ended = False
        self.key = None

    def say(self, **kind):
        self.answers.put(pb.OfframpMessage(**kind))

    def garbage(self, data):
        self.answers.put(data)

    def end(self):
        self.answers.put(None)

    def welcome(self, replay_from=0, heartbeat_us=50_000, key=None, time_us=0):
        """What Offramp says to Hello; returns when markers are understood."""
        self.wait("hello")
        self.key = key or os.urandom(16)
        count = len(self.messages)
        self.say(welcome=pb.Welcome(replay_from=replay_from, marker_key=self.key,
                                    lease_us=500_000, heartbeat_us=heartbeat_us,
                                    time_us=time_us))
        self.wait_for(lambda: len(self.messages) > count, "the first message after Welcome")
        return self

    def acknowledge(self, sequence=None, time_us=0):
        if sequence is None:
            sequence = max((m.sequence for _, m in self.messages), default=0)
        self.say(acknowledge=pb.Acknowledge(sequence=sequence, time_us=time_us))

    def all(self, kind, since=0):
        with self.changed:
            return [getattr(m, kind) for _, m in self.messages[since:]
                    if m.WhichOneof("kind") == kind]

    def wait_for(self, look, what, seconds=10):
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (found := look()):
                left = deadline - time.monotonic()
                assert left > 0, f"no {what}; {[m for _, m in self.messages][-5:]}"
                self.changed.wait(min(left, 0.2))
        return found

    def wait(self, kind, count=1, seconds=10, **fields):
        """The first `count` messages of that kind whose fields are so; the message if it is one."""
        def look():
            found = [message for message in self.all(kind)
                     if all(getattr(message, name) == value for name, value in fields.items())]
            return found if len(found) >= count else None
        found = self.wait_for(look, f"{kind} {fields}", seconds)
        return found[0] if count == 1 else found[:count]

    def settle(self):
        """Waits until a heartbeat says that all before now was sent."""
        beats = len(self.all("heartbeat"))
        self.wait("heartbeat", beats + 2)

    def sequences(self):
        return [m.sequence for _, m in self.messages if m.sequence]


class Offrampd:
    def __init__(self, address, credentials=None):
        self.address = address
        self.streams = []
        self.changed = threading.Condition()
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        handler = grpc.stream_stream_rpc_method_handler(
            self._events, request_deserializer=pb.BrokerMessage.FromString,
            response_serializer=lambda m: m if isinstance(m, bytes) else m.SerializeToString())
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "offramp.v1.Broker", {"Events": handler}),))
        if credentials:
            self.port = self.server.add_secure_port(address, credentials)
        else:
            self.port = self.server.add_insecure_port(address)
        self.server.start()

    def _events(self, messages, context):
        stream = Stream()
        with self.changed:
            self.streams.append(stream)
            self.changed.notify_all()

        def read():
            try:
                for message in messages:
                    with stream.changed:
                        stream.messages.append((time.monotonic(), message))
                        stream.changed.notify_all()
            except grpc.RpcError:
                pass
            stream.ended = True
            stream.answers.put(None)

        threading.Thread(target=read, daemon=True).start()
        while (answer := stream.answers.get()) is not None:
            yield answer

    def stream(self, number=0, seconds=10):
        """The number-th stream of all, from 0 on, when it is there."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while len(self.streams) <= number:
                left = deadline - time.monotonic()
                assert left > 0, f"no stream {number}"
                self.changed.wait(left)
            return self.streams[number]

    def stop(self):
        for stream in self.streams:
            stream.end()
        self.server.stop(0.2).wait(5)


def serve(stream):
    """Welcomes it and acknowledges, as long as it is there."""
    while not stream.ended and not stream.all("hello"):
        time.sleep(0.01)
    if stream.ended:  # given up while this process was stopped
        return
    stream.say(welcome=pb.Welcome(marker_key=os.urandom(16), lease_us=500_000,
                                  heartbeat_us=50_000))
    while not stream.ended and not stream.all("heartbeat"):
        time.sleep(0.01)
    if not stream.ended:
        print("welcomed", flush=True)
    while not stream.ended:
        stream.acknowledge()
        time.sleep(0.05)


def main():
    """offrampd.py ADDRESS: welcomes every stream, and says so on stdout."""
    server, number = Offrampd(sys.argv[1]), 0
    while True:
        serve(server.stream(number, seconds=3600))
        number += 1


if __name__ == "__main__":
    main()
