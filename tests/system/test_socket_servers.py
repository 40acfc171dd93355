# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Servers that are no MQTT brokers on the daemon's sockets, and the work that their own clients do."""

import contextlib
import os
import random
import signal
import subprocess
import threading

import pytest

import servers
from bed import eventually, hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

REDIS, WEB, WEB_TLS, KERNEL = 6379, 8080, 8443, 1900


def up_options(_mode):
    return ["--config", servers.CONFIG]


@pytest.fixture
def alone(bed):
    """Whatever a test has attached beside the broker is gone afterwards, and what it held too."""
    yield bed
    assert eventually(lambda: bed.counters()["processes"] == 1)
    assert eventually(lambda: bed.counters()["pool_in_use"]["flows"] == 0)
    assert bed.counters()["processes_broken_total"] == 0


# --- redis ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def redis(bed, path, *options):
    with servers.server(bed, "redis-server", "--port", REDIS, "--bind", "0.0.0.0", "--save", "",
                        "--protected-mode", "no", "--dir", path, "--logfile", path / "log",
                        *options) as process:
        assert servers.serves(bed, REDIS)
        yield process


def benchmark(bed, tests, *options):
    """Every one of the tests was done. Returns its table."""
    done = bed.run("redis-benchmark", "-h", bed.host, "-p", REDIS, "--csv", *options, timeout=120)
    assert done.returncode == 0 and "rror" not in done.stdout, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == tests + 1, done.stdout
    return done.stdout


def cli(bed, *words, **options):
    done = bed.run("redis-cli", "-h", bed.host, "-p", REDIS, *words, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rstrip("\n")


def test_redis_and_its_own_benchmark(alone, tmp_path):
    bed = alone
    with redis(bed, tmp_path):
        benchmark(bed, 20, "-n", 100)
        benchmark(bed, 2, "-n", 2000, "-P", 16, "-c", 100, "-t", "set,get")


@pytest.mark.full
def test_redis_with_everything_its_benchmark_has(alone, tmp_path):
    bed = alone
    with redis(bed, tmp_path):
        benchmark(bed, 20, "-n", 5000, "-c", 50)
        benchmark(bed, 2, "-n", 50000, "-P", 64, "-c", 200, "-t", "set,get")
        benchmark(bed, 2, "-n", 500, "-c", 20, "-d", 200000, "-t", "set,get")
        benchmark(bed, 1, "-n", 3000, "-c", 50, "-k", 0, "-t", "set")  # a connection each
        benchmark(bed, 2, "-n", 2000, "-c", 1000, "-t", "set,get")


@pytest.mark.full
def test_redis_with_several_threads(alone, tmp_path):
    """They read and write what one thread waits for. They spin, too: little is done meanwhile."""
    bed = alone
    with redis(bed, tmp_path, "--io-threads", 3, "--io-threads-do-reads", "yes"):
        benchmark(bed, 2, "-n", 1000, "-c", 50, "-t", "set,get")
        benchmark(bed, 2, "-n", 5000, "-P", 50, "-c", 50, "-t", "set,get")
        benchmark(bed, 2, "-n", 200, "-c", 20, "-d", 100000, "-t", "set,get")


@pytest.mark.full
def test_redis_and_its_command_line(alone, tmp_path):
    bed = alone
    with redis(bed, tmp_path):
        blob = random.Random(1).randbytes(8_000_000).hex()
        assert cli(bed, "-x", "set", "blob", input=blob) == "OK"
        assert cli(bed, "get", "blob") == blob
        commands = "".join(f"SET key{number} value{number}\n" for number in range(20000))
        assert "errors: 0, replies: 20000" in cli(bed, "--pipe", input=commands)
        assert cli(bed, "dbsize") == "20001"
        assert len(cli(bed, "--scan", "--pattern", "key*").splitlines()) == 20000
        # Who waits is answered when there is something.
        waiter = bed.popen("redis-cli", "-h", bed.host, "-p", REDIS, "blpop", "queue", "30")
        listener = bed.popen("redis-cli", "-h", bed.host, "-p", REDIS, "subscribe", "channel")
        assert eventually(lambda: cli(bed, "publish", "channel", "hello") == "1")
        cli(bed, "rpush", "queue", "work")
        assert waiter.communicate(timeout=20)[0].split() == ["queue", "work"]
        assert listener.stdout.readline() == "subscribe\n"
        servers.end(listener)


@pytest.mark.full
def test_redis_saves_in_a_child_while_it_serves(alone, tmp_path):
    """fork() without exec(): the child has copies of all descriptors, and the parent goes on."""
    bed = alone
    with redis(bed, tmp_path):
        cli(bed, "debug", "populate", "20000", "key", "200")
        failed = []

        def load():
            try:
                benchmark(bed, 2, "-n", 30000, "-c", 50, "-t", "set,get")
            except AssertionError as error:
                failed.append(error)
        loader = threading.Thread(target=load)
        loader.start()
        for _ in range(5):
            assert "Background saving started" in cli(bed, "bgsave")
            assert eventually(lambda: "rdb_bgsave_in_progress:0" in cli(bed, "info", "persistence"))
        loader.join()
        assert not failed, failed[0]
        assert "rdb_last_bgsave_status:ok" in cli(bed, "info", "persistence")
        assert bed.counters()["processes"] == 2


@pytest.mark.full
def test_redis_with_a_replica(alone, tmp_path):
    """The replica's own connection to its master is the kernel's, what it serves is the daemon's."""
    bed = alone
    master = tmp_path / "master"
    master.mkdir()
    with servers.native(bed, "redis-server", "--port", KERNEL, "--bind", "127.0.0.1", "--save", "",
                        "--dir", master, "--logfile", master / "log"):
        assert servers.serves(bed, KERNEL, "127.0.0.1", "broker")
        with redis(bed, tmp_path, "--replicaof", "127.0.0.1", KERNEL):
            done = bed.run("redis-cli", "-p", KERNEL, "set", "key", "value", host="broker")
            assert done.stdout == "OK\n"
            assert eventually(lambda: cli(bed, "get", "key") == "value")


# --- nginx ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def nginx(bed, path, server="", *, workers=2, events="", http="", listen=f"listen {WEB}"):
    """The master listens, its children accept."""
    config = path / "nginx.conf"
    config.write_text(f"""\
user root; daemon off; worker_processes {workers}; pid {path}/pid; error_log {path}/log;
events {{ worker_connections 1024; {events} }}
http {{ access_log off; sendfile on; client_max_body_size 100m; client_body_temp_path {path}/body;
{http} server {{ {listen}; root {path}; {server} }} }}
""")
    path.chmod(0o755)
    with servers.server(bed, "nginx", "-c", config) as process:
        # With a mutex, a child attaches when it has it for the first time.
        least = 1 if "accept_mutex on" in events else workers
        assert eventually(lambda: bed.counters()["processes"] >= 2 + least)
        yield process


def blob(path, octets):
    data = random.Random(octets).randbytes(octets)
    (path / "blob").write_bytes(data)
    return data


def fetch(bed, path, name, *options, port=WEB, scheme="http"):
    """The file's contents, by way of curl."""
    fetched = path / "fetched"
    done = bed.run("curl", "-sS", "-m", 60, "-o", fetched, *options,
                   f"{scheme}://{bed.host}:{port}/{name}", timeout=90)
    assert done.returncode == 0, done.stderr
    return fetched.read_bytes()


def wrk(bed, *options, port=WEB, scheme="http", name="none"):
    done = bed.run("wrk", "--timeout", "20s", *options, f"{scheme}://{bed.host}:{port}/{name}", timeout=90)
    assert done.returncode == 0 and "requests in" in done.stdout, done.stdout + done.stderr
    assert "Socket errors" not in done.stdout, done.stdout
    return done.stdout


def test_nginx_whose_children_accept(alone, tmp_path):
    """Files go out by sendfile()."""
    bed = alone
    data = blob(tmp_path, 3_000_000)
    with nginx(bed, tmp_path):
        for _ in range(3):
            assert fetch(bed, tmp_path, "blob") == data
        wrk(bed, "-t1", "-c20", "-d1")


@pytest.mark.full
@pytest.mark.parametrize("events", ["", "multi_accept on;", "accept_mutex on;"])
@pytest.mark.parametrize("sendfile", ["on", "off"])
def test_nginx_in_its_ways_to_accept_and_to_send(alone, tmp_path, events, sendfile):
    bed = alone
    data = blob(tmp_path, 20_000_000)
    with nginx(bed, tmp_path, f"sendfile {sendfile};", events=events, workers=3):
        assert fetch(bed, tmp_path, "blob") == data
        assert fetch(bed, tmp_path, "blob", "-r", "1000000-1999999") == data[1000000:2000000]
        wrk(bed, "-t2", "-c100", "-d2")
        wrk(bed, "-t1", "-c10", "-d2", name="blob")
        wrk(bed, "-t1", "-c20", "-d1", "-H", "Connection: close")


@pytest.mark.full
def test_nginx_with_a_socket_for_each_child(alone, tmp_path):
    """SO_REUSEPORT: several sockets of one process at one address."""
    bed = alone
    data = blob(tmp_path, 3_000_000)
    with nginx(bed, tmp_path, listen=f"listen {WEB} reuseport", workers=3):
        for _ in range(6):
            assert fetch(bed, tmp_path, "blob") == data
        wrk(bed, "-t2", "-c50", "-d2")


@pytest.mark.full
def test_nginx_with_tls(alone, tmp_path):
    bed = alone
    data = blob(tmp_path, 20_000_000)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3",
                    "-subj", "/CN=offramp", "-addext", f"subjectAltName=IP:{hosts.LISTEN}",
                    "-out", tmp_path / "cert", "-keyout", tmp_path / "key"], check=True,
                   capture_output=True)
    with nginx(bed, tmp_path, f"ssl_certificate {tmp_path}/cert; "
               f"ssl_certificate_key {tmp_path}/key;", listen=f"listen {WEB_TLS} ssl http2"):
        tls = {"port": WEB_TLS, "scheme": "https"}
        for version in ("--http1.1", "--http2"):
            assert fetch(bed, tmp_path, "blob", version, "--cacert", tmp_path / "cert",
                         **tls) == data
        wrk(bed, "-t2", "-c30", "-d2", **tls)


@pytest.mark.full
def test_nginx_before_another_server(alone, tmp_path):
    """What it asks of others goes over the kernel: mixed in one epoll."""
    bed = alone
    behind = tmp_path / "behind"
    behind.mkdir()
    data = blob(behind, 20_000_000)
    (behind / "conf").write_text(f"""\
user root; daemon off; worker_processes 1; pid {behind}/pid; error_log {behind}/log;
events {{ worker_connections 1024; }}
http {{ access_log off; client_max_body_size 100m; client_body_temp_path {behind}/body;
  server {{ listen 127.0.0.1:{KERNEL}; root {behind}; location /up {{ dav_methods PUT; }} }} }}
""")
    with servers.native(bed, "nginx", "-c", behind / "conf"):
        assert servers.serves(bed, KERNEL, "127.0.0.1", "broker")
        with nginx(bed, tmp_path, f"location / {{ proxy_pass http://127.0.0.1:{KERNEL}; }}",
                   http=f"proxy_temp_path {tmp_path}/proxy;"):
            assert fetch(bed, tmp_path, "blob") == data
            fetch(bed, tmp_path, "up", "-T", behind / "blob")
            wrk(bed, "-t2", "-c50", "-d2", name="nothing")
            wrk(bed, "-t1", "-c5", "-d2", name="blob")


@pytest.mark.full
def test_nginx_reloaded_under_load(alone, tmp_path):
    """New children begin, the old ones end when they have served; no request is lost."""
    bed = alone
    blob(tmp_path, 100_000)
    with nginx(bed, tmp_path):
        master = int((tmp_path / "pid").read_text())
        said = []
        loader = threading.Thread(target=lambda: said.append(bed.run(
            "wrk", "-t1", "-c20", "-d6", f"http://{bed.host}:{WEB}/blob").stdout))
        loader.start()
        for _ in range(4):
            before = set(servers.children(master))
            os.kill(master, signal.SIGHUP)
            # One that was told to go may have connections to serve.
            assert eventually(lambda: len(set(servers.children(master)) - before) == 2)
        loader.join()
        assert "requests in" in said[0] and "Non-2xx" not in said[0], said[0]
        assert eventually(lambda: bed.counters()["processes"] == 4)


# --- threads -------------------------------------------------------------------------------------


BUSY_S, BUSY = 10, 20  # longer than any answer takes; so many threads

# A thread for each connection; each but the last answers once and then naps, and calls nothing meanwhile.
THREADS = """
import socket, sys, threading, time
port, seconds, busy = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
listener = socket.create_server(("", port))
def serve(sock, nap):
    while data := sock.recv(100):
        sock.sendall(data)
        if nap:
            time.sleep(seconds)
            sock.sendall(b"late")
for number in range(busy + 1):
    threading.Thread(target=serve, args=(listener.accept()[0], number < busy), daemon=True).start()
time.sleep(60)
"""


def test_threads_that_are_busy_keep_no_other_asleep(alone):
    bed = alone
    with contextlib.ExitStack() as stack:
        stack.enter_context(servers.server(bed, "/usr/bin/python3", "-c", THREADS, WEB, BUSY_S, BUSY))
        assert eventually(lambda: bed.counters()["processes"] == 2)
        socks = [stack.enter_context(bed.connect(port=WEB)) for _ in range(BUSY + 1)]
        for sock in socks[:-1]:
            for each in (sock, socks[-1]):
                each.sendall(b"x")
                assert each.recv(100) == b"x"
        for sock in socks[:-1]:
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(100)
