# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""UDP sockets of programs on the daemon's addresses, with two workers: servers and clients that
know nothing of it, and peers that are the kernel's, on the clients' host.

What single calls come to is compared with the kernel's in tests/shim (test_shim.py).
"""

import contextlib
import os
import signal
import socket

import pytest

from bed import eventually
from servers import attached, native, server
from test_ping import command as ping_command
from testbed import hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "udp.yaml")
DAEMON = {4: "198.18.0.1", 6: "2001:db8:18::1"}
CLIENT = "198.18.0.2"
PORT = 5683
PYTHON = "/usr/bin/python3"

# An asyncio server, as a gateway would be: what comes goes back, in capitals.
ECHO = """
import asyncio, sys
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, sender):
        self.transport.sendto(data.upper(), sender)
async def main():
    loop = asyncio.get_running_loop()
    for address in sys.argv[2:]:
        await loop.create_datagram_endpoint(Echo, (address, int(sys.argv[1])))
    print("ready", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""

# Asks each of the servers until it answers, from a connected socket and from one that is not.
ASK = """
import socket, sys
for number, address in enumerate(sys.argv[2:]):
    for connected in (True, False):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0.5)
        where = (address, int(sys.argv[1]))
        if connected:
            sock.connect(where)
        for attempt in range(40):
            try:
                sock.send(b"hello") if connected else sock.sendto(b"hello", where)
                data, sender = sock.recvfrom(100)
                break
            except (TimeoutError, ConnectionRefusedError):
                pass
        assert (data, sender) == (b"HELLO", where), (data, sender)
print("asked")
"""


def up_options(_mode):
    return ["--config", OVERLAY, "--workers", "2"]


@contextlib.contextmanager
def echo(bed, *addresses, port=PORT, kernel=False):
    where = native if kernel else server
    with where(bed, PYTHON, "-c", ECHO, port, *addresses,
               host="clients" if kernel else "broker") as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        yield process


@contextlib.contextmanager
def peer(bed, address, port=PORT):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with hosts.open_socket(bed.name, "clients", family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((address, port))
        yield sock


def answers(sock, data=b"hello"):
    """UDP may lose: until there is an answer, or half a minute has gone."""
    def once():
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            sock.send(data)
            return sock.recv(65536) == data.upper()
        return False
    return eventually(once, 30, 0)


def datagrams(bed):
    return bed.counters()["udp_datagrams_total"]


@pytest.mark.parametrize("addresses", [("::",), (DAEMON[4], DAEMON[6])])
def test_a_server_answers_whoever_asks(bed, addresses):
    before = datagrams(bed)
    with echo(bed, *addresses):
        for address in DAEMON.values():
            with contextlib.ExitStack() as stack:
                peers = [stack.enter_context(peer(bed, address)) for _ in range(20)]
                assert all(answers(sock) for sock in peers)  # of both workers' queues
        with peer(bed, DAEMON[6]) as sock:
            assert answers(sock, b"x" * 6000)  # in fragments
    assert datagrams(bed)["sent"] >= before["sent"] + 41


def test_a_client_asks_beyond_the_kernels_networks(bed):
    with echo(bed, CLIENT, port=5700, kernel=True):
        done = bed.run(*attached(bed, PYTHON, "-c", ASK, 5700, CLIENT), host="broker")
        assert done.stdout == "asked\n", done.stderr
    with echo(bed, DAEMON[4], port=5701):  # and another program on the daemon's own address
        done = bed.run(*attached(bed, PYTHON, "-c", ASK, 5701, DAEMON[4]), host="broker")
        assert done.stdout == "asked\n", done.stderr


# What each comes to.
BINDS = """
import errno, socket, sys
for address, port in (("198.18.0.1", 0), ("198.18.0.1", 5800), ("198.18.0.1", 80),
                      ("2001:db8:18::1", 5683), ("2001:db8:18::1", 5800), ("198.18.0.77", 5800)):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((address, port))
        print("had")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_only_what_is_configured_can_be_had(bed):
    done = bed.run(*attached(bed, PYTHON, "-c", BINDS), host="broker")
    assert done.stdout.split() == ["had", "had", "EADDRNOTAVAIL", "had", "EADDRNOTAVAIL",
                                   "EADDRNOTAVAIL"], done.stderr


def test_a_port_that_nobody_has_is_refused(bed):
    refused = bed.counters()["packets_dropped_total"]["udp"]
    for address in DAEMON.values():
        with peer(bed, address, 5999) as sock:
            def once(sock=sock):
                with contextlib.suppress(TimeoutError):
                    sock.send(b"hello")
                    sock.recv(100)
                return False
            with pytest.raises(ConnectionRefusedError):
                eventually(once, 30, 0)
    assert bed.counters()["packets_dropped_total"]["udp"] > refused


def test_who_does_not_read_delays_nobody(bed):
    lost = bed.counters()["datagrams_lost_total"]["received"]
    with echo(bed, DAEMON[4]) as stopped, echo(bed, DAEMON[4], port=5702):
        with peer(bed, DAEMON[4]) as flood, peer(bed, DAEMON[4], 5702) as other:
            assert answers(flood) and answers(other)
            child = int(bed.run("pgrep", "-n", "-f", f"asyncio.*{PORT} {DAEMON[4]}",
                                host="broker").stdout)
            os.kill(child, signal.SIGSTOP)
            try:
                def overflows():
                    for _ in range(200):
                        flood.send(b"y" * 1000)
                    return bed.counters()["datagrams_lost_total"]["received"] > lost
                assert eventually(overflows, 60, 0)
                assert answers(other)
            finally:
                os.kill(child, signal.SIGCONT)
            assert eventually(lambda: answers(flood, b"again"), 60)
        assert stopped.poll() is None
    assert bed.counters()["processes_broken_total"] == 0


def test_ping_with_two_workers(bed):
    done = bed.run(*ping_command(bed, "-c", "20", "-i", "0.01", CLIENT), host="broker")
    assert done.returncode == 0 and "20 received" in done.stdout, done.stdout
    done = bed.run(*ping_command(bed, "-c", "20", "-i", "0.01", "2001:db8:18::2"), host="broker")
    assert done.returncode == 0 and "20 received" in done.stdout, done.stdout


def test_a_daemon_that_comes_back_is_the_servers_again(module_bed):
    bed = module_bed
    with echo(bed, "0.0.0.0") as process:
        with peer(bed, DAEMON[4]) as sock:
            assert answers(sock)
            bed.tool("stop", "daemon", "--signal", "KILL")
            bed.tool("start", "daemon")
            assert answers(sock)
        assert process.poll() is None
