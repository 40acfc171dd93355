# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""mosquitto on the daemon's sockets, in the ways in which it is run.

Each test starts one or more of its own, beside the testbed's. What clients may expect of a broker
is in the other modules; here it is what of the program's own doing touches its sockets.
"""

import contextlib
import os
import signal
import subprocess

import pytest

import mqttraw as mqtt
import servers
from bed import eventually, hosts

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

SECOND, SHARED, TLS, WEBSOCKETS, KERNEL = 1884, 1885, 8883, 9001, 1900
PYTHON = "/usr/bin/python3"
ECHO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pahoecho.py")


def up_options(_mode):
    return ["--config", servers.CONFIG]


class Mosquitto:
    """One with its own files. It may be started again."""

    def __init__(self, bed, path, lines):
        self.bed, self.path = bed, path
        self.log = os.path.join(path, "log")
        self.config = self.configure(*lines)
        self.process = None

    def configure(self, *lines):
        return servers.write(os.path.join(self.path, "conf"), *lines, f"log_dest file {self.log}",
                             f"pid_file {self.path}/pid")

    def start(self, *options, user=None, attached=True, host="broker"):
        # mosquitto opens its log before it changes its user.
        argv = ["mosquitto", "-c", self.config, *options]
        if attached:
            argv = servers.attached(self.bed, *argv)
        if user:
            argv = servers.as_user(user, *argv)
        self.process = self.bed.popen(*argv, host=host)
        return self

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            servers.end(self.process, number)

    @property
    def pid(self):
        with open(os.path.join(self.path, "pid"), encoding="ascii") as file:
            return int(file.read())

    def said(self):
        try:
            with open(self.log, encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""


@contextlib.contextmanager
def mosquitto(bed, *lines, user=None, **options):
    with servers.folder(user or servers.USER) as path:
        broker = Mosquitto(bed, path, lines).start(user=user, **options)
        try:
            yield broker
        finally:
            broker.stop()


def plain(port, *more):
    return (f"listener {port}", "allow_anonymous true", *more)


def crosses(subscriber, publisher, topic="crosses", payload=b"hello"):
    """A message goes from one to the other, once their brokers have met."""
    subscriber.subscribe(topic)
    found = []

    def came():
        publisher.publish(topic, payload, 1)
        found.extend(message.payload for message in subscriber.rest(0.2)
                     if message.kind == mqtt.PUBLISH)
        return found
    assert eventually(came, 20) and set(found) == {payload}


def captures(bed, port, host=None):
    """A message is delivered by the daemon, and one of QoS 1 in order behind it."""
    before = sum(bed.counters()["publish_captured_total"].values())
    with servers.client(bed, port, "s", host) as subscriber, \
            servers.client(bed, port, "p", host) as publisher:
        subscriber.subscribe("captures/#")
        for number in range(20):
            publisher.publish(f"captures/{number}", b"%d" % number, number % 2)
        assert subscriber.payloads(20) == [b"%d" % number for number in range(20)]
    assert sum(bed.counters()["publish_captured_total"].values()) > before


# --- users and the background --------------------------------------------------------------------


@pytest.mark.parametrize("user", [pytest.param(None, marks=pytest.mark.full, id="root"),
                                  pytest.param(servers.USER, id="unprivileged")])
def test_in_the_background(bed, user):
    """It opens a socket, changes its user, goes into the background, and listens then."""
    with servers.folder(servers.USER) as path:
        broker = Mosquitto(bed, path, plain(SECOND, f"user {servers.USER}"))
        broker.start("-d", user=user)
        assert broker.process.wait(20) == 0
        try:
            assert servers.serves(bed, SECOND)
            captures(bed, SECOND)
            with open(f"/proc/{broker.pid}/status", encoding="ascii") as status:
                assert "Uid:\t0" not in status.read()
            assert bed.counters()["processes"] == 2
        finally:
            os.kill(broker.pid, signal.SIGTERM)
        broker.process.communicate()
        assert eventually(lambda: bed.counters()["processes"] == 1)


@pytest.mark.full
def test_who_is_not_of_the_group_is_served_by_the_kernel(bed):
    """And says nothing of it: an address that is the daemon's alone, no client reaches then."""
    with mosquitto(bed, *plain(SECOND), user="nobody"):
        assert servers.serves(bed, SECOND, "127.0.0.1", "broker")
        with pytest.raises(ConnectionRefusedError):
            servers.stranger(bed, SECOND)
        assert bed.counters()["processes"] == 1


# --- other listeners -----------------------------------------------------------------------------


def certificate(path):
    """Of the daemon's address, signed by itself. Where it and its key lie."""
    names = os.path.join(path, "cert.pem"), os.path.join(path, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3",
                    "-subj", "/CN=offramp", "-addext", f"subjectAltName=IP:{hosts.LISTEN}",
                    "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    os.chmod(names[1], 0o644)
    return names


def test_a_tls_listener(bed):
    with servers.folder() as path:
        cert, key = certificate(path)
        with mosquitto(bed, *plain(TLS), f"certfile {cert}", f"keyfile {key}"):
            assert servers.serves(bed, TLS)
            done = bed.run(PYTHON, ECHO, bed.host, TLS, "tcp", 200, 3000, cert)
            assert done.returncode == 0, done.stdout + done.stderr
            done = bed.run("mosquitto_pub", "--cafile", cert, "-h", bed.host, "-p", TLS, "-q", 2,
                           "-t", "t", "-m", "m")
            assert done.returncode == 0, done.stderr


def test_a_websockets_listener(bed):
    """Its library waits for its descriptors by itself, with poll()."""
    with mosquitto(bed, *plain(SECOND), f"listener {WEBSOCKETS}", "protocol websockets"):
        assert servers.serves(bed, SECOND) and servers.serves(bed, WEBSOCKETS)
        done = bed.run(PYTHON, ECHO, bed.host, WEBSOCKETS, "websockets", 100, 3000)
        assert done.returncode == 0, done.stdout + done.stderr
        captures(bed, SECOND)


@pytest.mark.full
def test_one_listener_is_the_daemons_and_one_the_kernels(bed):
    """per_listener_settings: what one listener allows the other does not."""
    with servers.folder(servers.USER) as path:
        passwords = os.path.join(path, "passwords")
        open(passwords, "w", encoding="ascii").close()
        subprocess.run(["mosquitto_passwd", "-b", passwords, "me", "secret"], check=True)
        os.chmod(passwords, 0o644)
        with mosquitto(bed, "per_listener_settings true", *plain(SHARED), f"listener {SECOND}",
                       f"password_file {passwords}", f"listener {KERNEL} 127.0.0.1",
                       f"password_file {passwords}"):
            assert servers.serves(bed, SHARED)
            with servers.client(bed, SHARED, "a") as one:
                refused = servers.stranger(bed, KERNEL, "b", "127.0.0.1", "broker")
                refused.send(refused.connect_packet())
                assert refused.expect(mqtt.CONNACK).reason == 5
                refused.close()
                refused = servers.stranger(bed, SECOND, "b")
                refused.send(refused.connect_packet())
                assert refused.expect(mqtt.CONNACK).reason == 5
                refused.close()
                with servers.client(bed, KERNEL, "b", "127.0.0.1", "broker", user="me",
                                    password="secret") as two:
                    crosses(one, two, "up")
                    crosses(two, one, "down")


# --- bridges -------------------------------------------------------------------------------------


def bridge(address, port):
    return ("connection over", f"address {address}:{port}", "topic over/# both 1",
            "cleansession true", "restart_timeout 1")


@pytest.mark.full
def test_a_bridge_of_its_own_stays_the_kernels(bed):
    with mosquitto(bed, *plain(KERNEL), attached=False):
        assert servers.serves(bed, KERNEL, "127.0.0.1", "broker")
        with mosquitto(bed, *plain(SHARED), *bridge("127.0.0.1", KERNEL)):
            assert servers.serves(bed, SHARED)
            with servers.client(bed, SHARED, "a") as near, \
                    servers.client(bed, KERNEL, "b", "127.0.0.1", "broker") as far:
                crosses(far, near, "over/1", bytes(20000))
                crosses(near, far, "over/2", bytes(20000))


@pytest.mark.full
def test_the_target_of_a_bridge(bed):
    with mosquitto(bed, *plain(SECOND)):
        assert servers.serves(bed, SECOND)
        with mosquitto(bed, *plain(KERNEL), *bridge(bed.host, SECOND), attached=False,
                       host="clients"):
            assert servers.serves(bed, KERNEL, "127.0.0.1")
            with servers.client(bed, SECOND, "a") as near, \
                    servers.client(bed, KERNEL, "b", "127.0.0.1") as far:
                crosses(far, near, "over/1", bytes(20000))
                crosses(near, far, "over/2", bytes(20000))


@pytest.mark.full
def test_two_of_the_daemons_brokers_with_a_bridge_between(bed):
    """One reaches the other as a client does: from a host of its own."""
    with mosquitto(bed, *plain(SECOND)):
        assert servers.serves(bed, SECOND)
        with mosquitto(bed, *plain(SHARED), *bridge(bed.host, SECOND), host="clients"):
            assert servers.serves(bed, SHARED)
            assert bed.counters()["processes"] == 3
            with servers.client(bed, SHARED, "a") as near, \
                    servers.client(bed, SECOND, "b") as far:
                crosses(far, near, "over/1")
                crosses(near, far, "over/2")


# --- files, signals, limits ----------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_it_has_saved_is_there_again(bed, number):
    with servers.folder(servers.USER) as path:
        lines = plain(SHARED, "persistence true", f"persistence_location {path}/",
                      "autosave_interval 1", "autosave_on_changes true", f"user {servers.USER}")
        with mosquitto(bed, *lines) as broker:
            assert servers.serves(bed, SHARED)
            servers.client(bed, SHARED, "mine", clean=False).subscribe("kept/#", options=1)
            with servers.client(bed, SHARED, "p") as publisher:
                publisher.publish("kept/retained", b"r", 1, retain=True)
                for count in range(50):
                    publisher.publish("kept/queued", b"%d" % count, 1)
            # The last session is away, and what it is owed is on disk.
            broker.bed.run("true")
            assert eventually(lambda: os.path.exists(f"{path}/mosquitto.db"))
            os.kill(broker.pid, signal.SIGUSR1)  # saves at once
            assert eventually(lambda: os.path.getsize(f"{path}/mosquitto.db") > 50 * 20)
            broker.stop(number)
            broker.start()
            assert servers.serves(bed, SHARED)
            with servers.client(bed, SHARED, "mine", clean=False) as back:
                got = back.messages(51)
            assert [message.payload for message in got if message.topic == "kept/queued"] == \
                [b"%d" % count for count in range(50)]


@pytest.mark.full
def test_what_it_reads_again_on_sighup_holds(bed):
    with mosquitto(bed, *plain(SECOND)) as broker:
        assert servers.serves(bed, SECOND)
        with servers.client(bed, SECOND, "a") as client:
            broker.configure(f"listener {SECOND}", "allow_anonymous false")
            os.kill(broker.pid, signal.SIGHUP)
            client.wait_closed()  # it may not be here any more

            def is_refused():
                with servers.stranger(bed, SECOND, "b") as other:
                    other.send(other.connect_packet())
                    return other.expect(mqtt.CONNACK).reason == 5
            assert is_refused()
            broker.configure(*plain(SECOND))
            os.kill(broker.pid, signal.SIGHUP)
            assert eventually(lambda: not is_refused())
        captures(bed, SECOND)


@pytest.mark.full
def test_more_connections_than_it_allows(bed):
    with mosquitto(bed, *plain(SECOND), "max_connections 3") as broker:
        # Who only asks whether it serves makes 2.0.11 miscount.
        assert eventually(lambda: "running" in broker.said())
        clients = [servers.client(bed, SECOND, f"c{number}") for number in range(3)]
        for _ in range(3):
            with pytest.raises((mqtt.Closed, OSError)):
                servers.client(bed, SECOND, "more")
        for client in clients:
            client.ping()
            client.leave()
        assert broker.said().count("max_connections exceeded") == 3


# --- several processes ---------------------------------------------------------------------------


@pytest.mark.full
def test_two_at_two_addresses_know_nothing_of_each_other(bed):
    with mosquitto(bed, f"listener {SECOND} {hosts.LISTEN}", "allow_anonymous true"), \
            mosquitto(bed, f"listener {SECOND} {servers.OTHER_HOST}", "allow_anonymous true"):
        assert servers.serves(bed, SECOND) and servers.serves(bed, SECOND, servers.OTHER_HOST)
        assert bed.counters()["processes"] == 3
        with servers.client(bed, SECOND, "other") as other:
            other.subscribe("#")
            captures(bed, SECOND, servers.OTHER_HOST)
            assert not other.rest()
        captures(bed, SECOND)


def test_a_second_at_the_same_address_is_refused(bed):
    """As by the kernel, which would refuse the second listen()."""
    lines = f"listener {SECOND} {hosts.LISTEN}", "allow_anonymous true"
    with mosquitto(bed, *lines):
        assert servers.serves(bed, SECOND)
        with mosquitto(bed, *lines) as again:
            assert again.process.wait(20) != 0
            assert "Address already in use" in again.said()
        captures(bed, SECOND)
