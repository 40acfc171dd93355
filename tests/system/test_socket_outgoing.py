# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Connections that programs on the daemon's sockets make (socket.connect): by the daemon's TCP, to
servers of the kernel's on the clients' host.

How connect() comes out in every case is in tests/shim (test_shim.py); what is here are real programs,
deaths, and what is left behind.
"""

import contextlib
import os
import subprocess

import pytest

import servers
import test_socket
from bed import REPOSITORY, eventually
from testbed import hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "outgoing.yaml")
PORT = 7500


def up_options(_mode):
    return ["--config", OVERLAY]


def outgoing(bed):
    """{state: connections that programs have made, now}."""
    return bed.counters()["outgoing_connections"]


def made(bed):
    return bed.counters()["outgoing_connected_total"]


def run(bed, *command, **options):
    """A program on the daemon's sockets, to its end."""
    return bed.run(*servers.attached(bed, *command), host="broker", **options)


CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as sock:
    names = sock.getsockname()[:1] + sock.getpeername()[:2]
    sock.sendall(b"x" * 100000)
    sock.shutdown(socket.SHUT_WR)
    got = b""
    while piece := sock.recv(65536):
        got += piece
    print(len(got), *names)
"""
SERVER = """
import socket, sys
with socket.create_server((sys.argv[1], int(sys.argv[2])),
                          family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET) as listener:
    while True:
        sock, _ = listener.accept()
        with sock:
            got = b""
            while piece := sock.recv(65536):
                got += piece
            sock.sendall(got)
"""


@pytest.mark.parametrize("host, own", [(hosts.CLIENT, hosts.LISTEN), (hosts.CLIENT6, hosts.LISTEN6)],
                         ids=["ipv4", "ipv6"])
def test_a_program_connects_by_the_daemon(bed, host, own):
    before = made(bed)
    with servers.native(bed, "python3", "-c", SERVER, host, PORT, host="clients"):
        eventually(lambda: str(PORT) in bed.run("ss", "-ltn").stdout)
        done = run(bed, "python3", "-c", CLIENT, host, PORT)
    assert done.stdout.split() == ["100000", own, host, str(PORT)], done.stderr
    assert made(bed) == before + 1
    assert eventually(lambda: not any(outgoing(bed).values()))


def encoded(text):
    """A control message, by Cap'n Proto's own tool."""
    return subprocess.run(["capnp", "encode", os.path.join(REPOSITORY, "proto", "channel.capnp"), "Message"],
                          input=text.encode(), capture_output=True, timeout=20, check=True).stdout


def test_what_is_not_configured_is_refused(bed):
    """The daemon looks itself: a process that asks all the same makes no connection."""
    def refused():
        return bed.counters()["outgoing_failed_total"]["not_tried"]

    before = refused()
    for address in ("192.0.2.1", "127.0.0.1", "198.19.0.1"):
        octets = "".join(f"\\x{int(part):02x}" for part in address.split("."))
        with contextlib.closing(test_socket.knock(bed)) as sock:
            memory = test_socket.attach(sock)
            test_socket.say(memory, encoded(
                f'(call = 1, connect = (socket = 1, local = (address = "\\x00\\x00\\x00\\x00"), '
                f'remote = (address = "{octets}", port = 80)))'))
            before += 1
            assert eventually(lambda: refused() == before)
            memory.close()
    assert not any(outgoing(bed).values())
