# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Is it serving? Asked the way a client would: by connecting."""

import socket
import time

from . import hosts

# MQTT 3.1.1, clean session, keep alive 10 s, client id "testbed"; any CONNACK is an answer.
_CONNECT = b"\x10\x13\x00\x04MQTT\x04\x02\x00\x0a\x00\x07testbed"
_DISCONNECT = b"\xe0\x00"


def accepts(name, role, address, port):
    """A TCP connection from that host stands within a second."""
    try:
        with hosts.open_socket(name, role, hosts.family(address), socket.SOCK_STREAM) as sock:
            sock.settimeout(1)
            sock.connect((address, port))
            return True
    except OSError:
        return False


def lets_in(path):
    """Who knocks at that unix socket is heard."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(path)
            return True
    except OSError:
        return False


def answers_mqtt(name, role, address, port):
    """A CONNECT from that host gets its CONNACK, and the DISCONNECT is followed by a close."""
    try:
        with hosts.open_socket(name, role, hosts.family(address), socket.SOCK_STREAM) as sock:
            sock.settimeout(2)
            sock.connect((address, port))
            sock.sendall(_CONNECT)
            if sock.recv(1) != b"\x20":
                return False
            try:
                sock.sendall(_DISCONNECT)
                while sock.recv(64):
                    pass
            except OSError:
                pass  # a refusing CONNACK closes at once: it is an answer all the same
            return True
    except OSError:
        return False


def wait(probe, is_running, deadline):
    """Asks until the answer is yes. Returns why not: None, "ended" or "timeout"."""
    while True:
        if probe():
            return None
        if not is_running():
            return "ended"
        if time.monotonic() >= deadline:
            return "timeout"
        time.sleep(0.05)
