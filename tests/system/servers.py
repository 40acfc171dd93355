# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Programs that live on the daemon's sockets beside the testbed's broker, and clients of theirs."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import mqttraw as mqtt
from bed import eventually, hosts

CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "servers.yaml")
OTHER_HOST = "198.18.0.3"  # a second address of the daemon's
USER = "mosquitto"  # of the package; the daemon lets its group attach


def channel(bed):
    return os.path.join(bed.status()["directory"], "channel.sock")


def attached(bed, *command):
    """That command, on the daemon's sockets."""
    return [*bed.starter(), *command]


def end(process, number=signal.SIGTERM):
    """Ends what popen() has started, and returns what it said."""
    process.send_signal(number)
    try:
        return process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"{process.args}: has not ended within 20 s") from None


@contextlib.contextmanager
def native(bed, *command, host="broker"):
    """A server on the kernel's sockets."""
    process = bed.popen(*command, host=host)
    try:
        yield process
    finally:
        if process.poll() is None:
            end(process)
        else:
            process.communicate()


def server(bed, *command, host="broker"):
    """The same on the daemon's."""
    return native(bed, *attached(bed, *command), host=host)


@contextlib.contextmanager
def folder(user=None):
    """A directory that the user can write to and everybody can enter."""
    path = tempfile.mkdtemp(prefix="offramp-servers-")
    try:
        os.chmod(path, 0o755)
        if user:
            shutil.chown(path, user)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write(path, *lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
    os.chmod(path, 0o644)
    return path


def as_user(user, *command):
    """With no rights of another's, and the user's own groups."""
    group = str(pwd.getpwnam(user).pw_gid)
    return ["setpriv", "--reuid", user, "--regid", group, "--init-groups", *command]


# --- clients -------------------------------------------------------------------------------------


def stranger(bed, port, client_id="", host=None, role="clients", **options):
    """A client on a new connection to another address or port, its CONNECT not sent."""
    host = host or bed.host
    sock = hosts.open_socket(bed.name, role, hosts.family(host), socket.SOCK_STREAM)
    try:
        sock.settimeout(bed.seconds(20))
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return bed.stranger(client_id, sock=sock, **options)


def client(bed, port, client_id, host=None, role="clients", **options):
    """The same, its CONNACK taken."""
    new = stranger(bed, port, client_id, host, role)
    try:
        new.connack = new.connect(**options)
    except BaseException:
        new.close()
        raise
    return new


def answers(bed, port, host=None, role="clients"):
    """Is there a server? Whoever asks closes at once."""
    try:
        stranger(bed, port, host=host, role=role).close()
        return True
    except OSError:
        return False


def serves(bed, port, host=None, role="clients"):
    return eventually(lambda: answers(bed, port, host, role), bed.seconds(20))


def speaks(bed):
    """A message goes through, captured or not."""
    try:
        subscriber, publisher = bed.client("s"), bed.client("p")
        subscriber.subscribe("speaks")
        publisher.publish("speaks", b"hello", 1)
        return subscriber.payloads(1, 5) == [b"hello"]
    except (OSError, mqtt.Closed, mqtt.Timeout):
        return False


# --- what a process holds ------------------------------------------------------------------------


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def is_alive(pid):
    """A dead process that nobody has waited for is dead."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def mappings(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        return sum(1 for _ in file)


def own_memory_kb(pid):
    """Resident, without what it shares with others (the channels)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))


def wait_end(pid, seconds=20):
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)
