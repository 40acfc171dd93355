# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Connections that programs on the daemon's sockets make (socket.connect): by the daemon's TCP, to
servers of the kernel's on the clients' host. Two workers share them.

How connect() comes out in every case is in tests/shim (test_shim.py); what is here are real programs,
deaths, and what is left behind.
"""

import contextlib
import os
import signal
import subprocess

import pytest

import mqttraw as mqtt
import servers
import test_socket
from bed import REPOSITORY, eventually
from test_socket_deaths import restored  # noqa: F401, a fixture
from test_socket_mosquitto import bridge, crosses, mosquitto, plain
from test_socket_servers import blob, fetch, nginx, wrk
from testbed import hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.every_time("socket"),
              pytest.mark.in_modes("socket", "socket-impaired", "socket-tcp", "socket-unix")]
only_here = pytest.mark.in_modes("socket")

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "outgoing.yaml")
PYTHON = "/usr/bin/python3"
PORT, MQTT, REDIS, WEB, NEAR = 7500, 1900, 6400, 8090, 1885
NOBODY = "198.18.99.99"  # on the clients' link


def up_options(_mode):
    return ["--config", OVERLAY, "--workers", 2]


@pytest.fixture(autouse=True)
def nothing_is_left(module_bed):
    """Whatever a test has made is gone afterwards."""
    yield
    if not module_bed.is_spoilt:
        assert eventually(lambda: not any(outgoing(module_bed).values()))
        assert module_bed.counters()["processes_broken_total"] == 0


def outgoing(bed):
    """{state: connections that programs have made, now}."""
    return bed.counters()["outgoing_connections"]


def made(bed):
    return bed.counters()["outgoing_connected_total"]


def attached(bed, *command):
    """A program on the daemon's sockets, the way the testbed's broker attaches."""
    return servers.attached(bed, *command)


def run(bed, *command, **options):
    """The same, to its end."""
    return bed.run(*attached(bed, *command), host="broker", **options)


@contextlib.contextmanager
def program(bed, script, *arguments):
    """A Python program that says a line at each step."""
    process = bed.popen(*attached(bed, PYTHON, "-u", "-c", script, *arguments), host="broker")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def kernels(bed, port, *command, host=hosts.CLIENT):
    """A server on the clients' host."""
    with servers.native(bed, *command, host="clients") as process:
        assert servers.serves(bed, port, host)
        yield process


CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60) as sock:
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
with socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=200,
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
    with kernels(bed, PORT, PYTHON, "-c", SERVER, host, PORT, host=host):
        done = run(bed, PYTHON, "-c", CLIENT, host, PORT, timeout=bed.seconds(60))
    assert done.stdout.split() == ["100000", own, host, str(PORT)], done.stderr
    assert made(bed) == before + 1


# --- whose programs ------------------------------------------------------------------------------


def test_a_bridge_goes_by_the_daemon(bed):
    before = made(bed)
    with mosquitto(bed, *plain(MQTT), attached=False, host="clients"):
        assert servers.serves(bed, MQTT, hosts.CLIENT)
        # The secret of a stream, where there is one, is root's.
        with mosquitto(bed, *plain(NEAR, "user root"), *bridge(hosts.CLIENT, MQTT)):
            assert servers.serves(bed, NEAR)
            with servers.client(bed, NEAR, "a") as near, \
                    servers.client(bed, MQTT, "b", hosts.CLIENT) as far:
                crosses(far, near, "over/1", bytes(200_000))
                crosses(near, far, "over/2", bytes(200_000))
    assert made(bed) > before


def test_a_bridge_to_the_same_daemon(bed):
    """Packets to an address of the daemon's own come back to it."""
    with mosquitto(bed, *plain(NEAR, "user root"), *bridge(bed.host, bed.port)):
        assert servers.serves(bed, NEAR)
        with servers.client(bed, NEAR, "a") as near, bed.client("b") as far:
            crosses(far, near, "over/1", bytes(200_000))
            crosses(near, far, "over/2", bytes(200_000))


@pytest.mark.parametrize("host", [hosts.LISTEN, hosts.LISTEN6])
def test_nobody_listens_at_the_daemons_own_address(bed, host):
    done = run(bed, PYTHON, "-c", CLIENT, host, PORT)
    assert "ConnectionRefusedError" in done.stderr


@pytest.mark.full
def test_mosquittos_clients_go_by_the_daemon(bed, tmp_path):
    before, content = made(bed), os.urandom(100_000)
    (tmp_path / "sent").write_bytes(content)
    with mosquitto(bed, *plain(MQTT), attached=False, host="clients"):
        assert servers.serves(bed, MQTT, hosts.CLIENT)
        there = ("-h", hosts.CLIENT, "-p", MQTT, "-q", 1, "-t", "topic")
        done = run(bed, "mosquitto_pub", *there, "-r", "-f", tmp_path / "sent")
        assert done.returncode == 0, done.stderr
        done = run(bed, "sh", "-c", f"exec mosquitto_sub \"$@\" > {tmp_path}/got", "sh", *there,
                   "-C", 1, "-N")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "got").read_bytes() == content
    assert made(bed) == before + 2


@pytest.mark.full
def test_curl_goes_by_the_daemon(bed, tmp_path):
    """By a name, by several connections at once, and what it gets is what was there."""
    content = os.urandom(5_000_000)
    (tmp_path / "file").write_bytes(content)
    os.chmod(tmp_path, 0o755)
    with kernels(bed, WEB, PYTHON, "-m", "http.server", WEB, "--directory", tmp_path,
                 "--bind", hosts.CLIENT):
        done = run(bed, "curl", "-sS", "--parallel", "--resolve", f"server:{WEB}:{hosts.CLIENT}",
                   *(word for number in range(4)
                     for word in ("-o", tmp_path / f"got{number}", f"http://server:{WEB}/file")),
                   timeout=bed.seconds(60))
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / f"got{number}").read_bytes() == content for number in range(4))


@pytest.mark.full
def test_redis_clients_go_by_the_daemon(bed, tmp_path):
    with kernels(bed, REDIS, "redis-server", "--port", REDIS, "--bind", hosts.CLIENT, "--save", "",
                 "--protected-mode", "no", "--dir", tmp_path, "--logfile", tmp_path / "log"):
        done = run(bed, "redis-cli", "-h", hosts.CLIENT, "-p", REDIS, "set", "key", "value")
        assert done.stdout == "OK\n", done.stderr
        done = run(bed, "redis-benchmark", "-h", hosts.CLIENT, "-p", REDIS, "--csv", "-n", 5000,
                   "-c", 50, "-t", "set,get,lpush,lrange_100", timeout=bed.seconds(120))
        assert done.returncode == 0 and "rror" not in done.stdout, done.stdout + done.stderr


@only_here
@pytest.mark.full
@pytest.mark.parametrize("alive", [0, 16], ids=["anew", "kept"])
def test_a_proxy_goes_by_the_daemon(bed, tmp_path, alive):
    """nginx at both of its ends: it has a connection in its epoll before it connects it."""
    data, before = blob(tmp_path, 3_000_000), made(bed)
    os.chmod(tmp_path, 0o755)
    upstream = f"upstream behind {{ server {hosts.CLIENT}:{WEB}; keepalive {alive}; }}" if alive else \
        f"upstream behind {{ server {hosts.CLIENT}:{WEB}; }}"
    behind = tmp_path / "behind"
    behind.mkdir()
    (behind / "conf").write_text(f"""\
user root; daemon off; pid {behind}/pid; error_log {behind}/log;
events {{}}
http {{ access_log off; server {{ listen {hosts.CLIENT}:{WEB}; root {tmp_path}; }} }}
""")
    with kernels(bed, WEB, "nginx", "-c", behind / "conf"), \
            nginx(bed, tmp_path, "location / { proxy_pass http://behind; proxy_http_version 1.1; "
                  'proxy_set_header Connection ""; }', http=upstream, listen=f"listen {NEAR}"):
        for _ in range(3):
            assert fetch(bed, tmp_path, "blob", port=NEAR) == data
        wrk(bed, "-t1", "-c20", "-d2", port=NEAR)
    assert made(bed) > before


# --- from where ----------------------------------------------------------------------------------

FIXED = """
import socket, sys
socks = []
for port in range(int(sys.argv[3]), int(sys.argv[4])):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((sys.argv[5], port))
    sock.settimeout(60)
    sock.connect((sys.argv[1], int(sys.argv[2])))
    assert sock.getsockname()[1] == port
    socks.append(sock)
for sock in socks:
    sock.sendall(b"%d" % sock.getsockname()[1])
    sock.shutdown(socket.SHUT_WR)
for sock in socks:
    assert sock.recv(100) == b"%d" % sock.getsockname()[1]
print("done")
"""


@pytest.mark.parametrize("source", ["0.0.0.0",
                                    pytest.param(hosts.LISTEN, marks=pytest.mark.full)])
def test_each_worker_has_its_ports(bed, source):
    """A socket that is bound to a port is the worker's to whom the answers come."""
    with kernels(bed, PORT, PYTHON, "-c", SERVER, hosts.CLIENT, PORT):
        done = run(bed, PYTHON, "-c", FIXED, hosts.CLIENT, PORT, 21000, 21032, source,
                   timeout=bed.seconds(60))
    assert done.stdout == "done\n", done.stderr


# --- deaths --------------------------------------------------------------------------------------

HOLDS = """
import socket, sys, time
socks = []
for number in range(20):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((sys.argv[1 + number % 2], int(sys.argv[3])))
    socks.append(sock)
print("under way")
time.sleep(1000)
"""


@only_here
def test_a_program_that_is_killed_leaves_nothing(bed):
    """Half of its connections stand, the others are on their way to an address that nobody has."""
    with kernels(bed, PORT, PYTHON, "-c", SERVER, hosts.CLIENT, PORT), \
            program(bed, HOLDS, hosts.CLIENT, NOBODY, PORT) as process:
        assert process.stdout.readline() == "under way\n"
        assert eventually(lambda: outgoing(bed)["connected"] == 10)
        process.send_signal(signal.SIGKILL)
        assert eventually(lambda: outgoing(bed) == {"connecting": 0, "connected": 0})
    assert eventually(lambda: bed.counters()["processes"] == 2)  # the broker, at each worker


LIVES = """
import errno, socket, sys, time
def name(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error)
def connect(host):
    sock = socket.socket()
    sock.settimeout(60)
    return sock, name(sock.connect, (host, int(sys.argv[3])))
stands, rc = connect(sys.argv[1])
print("connected", rc)
stands.settimeout(None)
print("connecting", connect(sys.argv[2])[1])
print("received", name(stands.recv, 10))
while (rc := connect(sys.argv[1])[1]) is not None:
    print("then", rc)
    time.sleep(0.2)
print("again", rc)
"""


@only_here
@pytest.mark.full
@pytest.mark.parametrize("number, connecting, received", [
    ("KILL", "ECONNREFUSED", "ECONNRESET"), ("TERM", "ENETDOWN", "b''")])
def test_a_daemon_that_ends(restored, number, connecting, received):  # noqa: F811
    """Who connects and who is connected hear of it; then the kernel is asked, which has no way here,
    until the daemon is back."""
    bed = restored
    with kernels(bed, PORT, PYTHON, "-c", SERVER, hosts.CLIENT, PORT), \
            program(bed, LIVES, hosts.CLIENT, NOBODY, PORT) as process:
        assert process.stdout.readline() == "connected None\n"
        assert eventually(lambda: outgoing(bed)["connecting"] == 1)
        bed.tool("stop", "daemon", "--signal", number)
        assert process.stdout.readline() == f"connecting {connecting}\n"
        assert process.stdout.readline() == f"received {received}\n"
        line = "then ENETDOWN\n"  # while it is about to end
        while line == "then ENETDOWN\n":
            line = process.stdout.readline()
        assert line == "then ENETUNREACH\n"
        bed.tool("start", "daemon")
        while line == "then ENETUNREACH\n":
            line = process.stdout.readline()
        assert line == "again None\n"


# --- to where ------------------------------------------------------------------------------------


def encoded(text):
    """A control message, by Cap'n Proto's own tool."""
    return subprocess.run(["capnp", "encode", os.path.join(REPOSITORY, "proto", "channel.capnp"), "Message"],
                          input=text.encode(), capture_output=True, timeout=20, check=True).stdout


@only_here
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
                '(call = 1, connect = (socket = 1, local = (address = "\\x00\\x00\\x00\\x00"), '
                f'remote = (address = "{octets}", port = 80)))'))
            before += 1
            assert eventually(lambda: refused() == before)
            memory.close()
    assert not any(outgoing(bed).values())
