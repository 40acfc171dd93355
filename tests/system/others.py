# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Traffic of others: what crosses a bump in the wire beside MQTT."""

import socket
import threading

from bed import hosts

ECHO_PORT = 7777


def broker_socket(bed, kind, address, port):
    sock = hosts.open_socket(bed.name, "broker", hosts.family(address), kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    return sock


def client_socket(bed, kind, address):
    sock = hosts.open_socket(bed.name, "clients", hosts.family(address), kind)
    sock.settimeout(bed.seconds(10))
    return sock


class Echo(threading.Thread):
    """A server of something else on the broker's host: says back what it hears."""

    def __init__(self, bed, address):
        super().__init__(daemon=True)
        self.listener = broker_socket(bed, socket.SOCK_STREAM, address, ECHO_PORT)
        self.listener.listen()
        self.start()

    def run(self):
        try:
            while True:
                sock = self.listener.accept()[0]
                threading.Thread(target=self.serve, args=[sock], daemon=True).start()
        except OSError:
            pass  # closed

    @staticmethod
    def serve(sock):
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def exchange(sock, data):
    """Sends all of it and takes back as much."""
    sender = threading.Thread(target=sock.sendall, args=[data])
    sender.start()
    got = b""
    while len(got) < len(data) and (chunk := sock.recv(65536)):
        got += chunk
    sender.join(20)
    return got
