# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""ping on the daemon's own stack, beside the kernel's ping: the same output but for times.

It runs on the broker's host, whose kernel has no way out at all: what is answered went through the
daemon. Both kinds of socket: raw ones, and datagram ones where net.ipv4.ping_group_range lets.
"""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import time

import pytest

from bed import BUILD, eventually, hosts
from test_socket import attach, knock

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

DAEMON = {4: "198.18.0.1", 6: "2001:db8:18::1"}
CLIENT = {4: "198.18.0.2", 6: "2001:db8:18::2"}
NOBODY = {4: "198.18.0.77", 6: "2001:db8:18::77"}
GROUPS = {"raw": "1 0", "datagram": "0 2147483647"}
EACH = [(4, "raw"), (6, "datagram"), pytest.param(4, "datagram", marks=pytest.mark.full),
        pytest.param(6, "raw", marks=pytest.mark.full)]


def command(bed, *arguments):
    path = os.path.join(bed.status()["directory"], "channel.sock")
    return (os.path.join(BUILD, "offramp"), "run", "--channel", path, "--", "ping", *arguments)


def ping(bed, *arguments, timeout=60):
    return bed.run(*command(bed, *arguments), host="broker", timeout=timeout)


def beside(bed, arguments, ours, kernels):
    """ping by the daemon and by the kernel, at the same time. Returns both, ended."""
    both = (bed.popen(*command(bed, *arguments, ours), host="broker"),
            bed.popen("ping", *arguments, kernels))
    for process in both:
        process.stdout, process.stderr = process.communicate(timeout=bed.seconds(60))
    return both


@contextlib.contextmanager
def kind_of_socket(bed, kind):
    """iputils opens a datagram socket where it may, and a raw one otherwise."""
    setting = "net.ipv4.ping_group_range="
    for host in ("broker", "clients"):
        assert bed.run("sysctl", "-w", setting + GROUPS[kind], host=host).returncode == 0
    yield
    for host in ("broker", "clients"):
        bed.run("sysctl", "-w", setting + GROUPS["raw"], host=host)


def plain(text):
    """Without what is another each time: times, and which two hosts these are."""
    for family in (4, 6):
        for address in (DAEMON[family], CLIENT[family]):
            text = re.sub(re.escape(address) + r"(?!\d)", "HOST", text)
    text = re.sub(r"time=[\d.]+ ms", "time=T", text)
    text = re.sub(r"time \d+ms", "time T", text)
    text = re.sub(r"^\[[\d.]+\]", "[STAMP]", text, flags=re.MULTILINE)
    text = re.sub(r"= [\d./]+ ms", "= T ms", text)
    pace = r"(, )?(pipe \d+)?(, )?(ipg/ewma [\d./]+ ms)?$"  # shown when it is worth it
    return re.sub(pace, "", text, flags=re.MULTILINE).strip()


def speaks(bed, family):
    """An IPv6 address is probed for before it is used: a second after the daemon's start."""
    assert eventually(lambda: ping(bed, "-c", "1", "-W", "1", CLIENT[family]).returncode == 0)


def pings(bed):
    return bed.counters()["icmp_pings_total"]


@pytest.mark.parametrize("family,kind", EACH)
def test_sizes_and_options_as_the_kernel_shows_them(module_bed, family, kind):
    bed = module_bed
    speaks(bed, family)
    with kind_of_socket(bed, kind):
        # The driver of af_packet has the kernel put IPv4's fragments together, and cuts the whole.
        for options in (["-s", "0", "-A"], ["-s", "1400", "-D"], ["-t", "9", "-Q", "0x10"],
                        *([["-s", "8000"]] if family == 6 else [])):
            arguments = ["-c", "20", "-i", "0.01", *options]
            before = pings(bed)
            ours, kernels = beside(bed, arguments, CLIENT[family], DAEMON[family])
            assert ours.returncode == kernels.returncode == 0, ours.stdout + ours.stderr
            assert plain(ours.stdout) == plain(kernels.stdout)
            assert pings(bed)["sent"] == before["sent"] + 20
            assert pings(bed)["received"] >= before["received"] + 20


@pytest.mark.parametrize("family,kind", EACH)
def test_a_flood(module_bed, family, kind):
    bed = module_bed
    speaks(bed, family)
    with kind_of_socket(bed, kind):
        done = ping(bed, "-f", "-c", "1000", CLIENT[family], timeout=bed.seconds(60))
        assert done.returncode == 0
        received = int(re.search(r"(\d+) received", done.stdout).group(1))
        assert received >= 990, done.stdout


@pytest.mark.parametrize("family,kind", EACH)
def test_nobody_there(module_bed, family, kind):
    bed = module_bed
    speaks(bed, family)
    with kind_of_socket(bed, kind):
        ours, kernels = beside(bed, ["-c", "3", "-i", "0.2"], NOBODY[family], NOBODY[family])
    assert ours.returncode == kernels.returncode == 1
    assert plain(ours.stdout) == plain(kernels.stdout)
    assert "3 errors" in ours.stdout and "nreachable" in ours.stdout


def test_what_does_not_fit_is_refused(module_bed):
    bed = module_bed
    ours, kernels = beside(bed, ["-c", "1", "-W", "1", "-M", "do", "-s", "1473"], CLIENT[4],
                           DAEMON[4])
    assert plain(ours.stdout) == plain(kernels.stdout)
    assert "message too long, mtu=1500" in ours.stderr
    ours = ping(bed, "-c", "1", "-W", "1", "-s", "20000", CLIENT[4])
    assert "message too long" in ours.stderr


def test_the_daemon_answers_for_itself(module_bed):
    for family in DAEMON:
        speaks(module_bed, family)
        done = ping(module_bed, "-c", "3", "-i", "0.01", DAEMON[family])
        assert done.returncode == 0 and "3 received" in done.stdout, done.stdout + done.stderr


def test_the_kernels_own_stays_with_the_kernel(module_bed):
    bed = module_bed
    before = pings(bed)["sent"]
    for address in ("127.0.0.1", "::1"):
        done = ping(bed, "-c", "3", "-i", "0.01", address)
        assert done.returncode == 0 and "3 received" in done.stdout
    assert ping(bed, "-c", "1", "203.0.113.1").stderr.endswith("Network is unreachable\n")
    assert pings(bed)["sent"] == before


def test_ttl_and_identifier_on_the_wire(module_bed):
    bed = module_bed
    wire = hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_RAW,
                             socket.IPPROTO_ICMP)
    with contextlib.closing(wire):
        wire.settimeout(bed.seconds(10))
        assert eventually(lambda: ping(bed, "-c", "1", "-t", "7", "-e", "4660",
                                       CLIENT[4]).returncode == 0)
        while True:
            packet = wire.recv(2048)
            if packet[20] == 8 and packet[8] == 7:
                break
        assert packet[24:26] == b"\x12\x34"


def test_two_at_the_same_time(module_bed):
    bed = module_bed
    speaks(bed, 6)
    both = [bed.popen(*command(bed, "-c", "50", "-i", "0.02", CLIENT[family]), host="broker")
            for family in (4, 4, 6)]
    for process in both:
        output, _ = process.communicate(timeout=bed.seconds(60))
        received = int(re.search(r"(\d+) received", output).group(1))
        assert received == 50 and "DUP" not in output


def test_a_daemon_that_dies_and_comes_back(module_bed):
    """Meanwhile the kernel is asked, which has no way; then it goes on."""
    bed = module_bed
    process = bed.popen(*command(bed, "-i", "0.05", CLIENT[4]), host="broker")
    try:
        os.set_blocking(process.stdout.fileno(), False)
        assert eventually(lambda: b"icmp_seq=3" in read(process), bed.seconds(20))
        bed.tool("stop", "daemon", "--signal", "KILL")
        assert process.poll() is None
        bed.tool("start", "daemon")
        read(process)
        assert eventually(lambda: b"bytes from" in read(process), bed.seconds(20))
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def read(process):
    text = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(process.stdout.fileno(), 65536):
            text += piece
            time.sleep(0.01)
    return text


# --- rights --------------------------------------------------------------------------------------


def icmp_message(number):
    """Message{call: 1, icmp: {socket: number}}, as Cap'n Proto."""
    return struct.pack("<II QQQ Q", 0, 4, 0x0001000100000000, 1 | 11 << 32, 0x0000000100000000,
                       number)


def daemon_descriptors(bed):
    return len(os.listdir(f"/proc/{bed.pid('daemon')}/fd"))


def test_who_shows_no_icmp_socket_has_none(module_bed):
    """Other sockets, none at all, too many: the daemon keeps nothing, and serves on."""
    bed = module_bed
    assert eventually(lambda: bed.counters()["processes"] == 1)  # the broker
    before = daemon_descriptors(bed)
    slots = bed.counters()["icmp_pings_total"]
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        file = stack.enter_context(open(__file__, "rb"))
        for shown in ([other.fileno()], [file.fileno()], [other.fileno()] * 2, []):
            door = stack.enter_context(knock(bed))
            attach(door).close()
            for _ in range(20):
                try:
                    socket.send_fds(door, [icmp_message(1)], shown)
                except (BrokenPipeError, ConnectionResetError):
                    break  # shown out
    assert eventually(lambda: daemon_descriptors(bed) <= before)
    assert bed.counters()["icmp_pings_total"] == slots
    speaks(bed, 4)


# --- programs other than ping --------------------------------------------------------------------

# Waits before it has sent anything, in each way there is; then asks the daemon's side and the
# kernel's with one socket.
PROGRAM = r"""
import select, socket, struct, sys, threading, time
def request(sequence):
    head = struct.pack("!BBHHH", 8, 0, 0, 0x4321, sequence)
    total = sum(struct.unpack("!4H", head))
    return head[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[4:]
def replies(sock):
    while True:
        packet, sender = sock.recvfrom(2048)
        if packet[20] == 0 and packet[24:26] == b"\x43\x21":
            return sender[0], packet[27]
sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
epoll, poll = select.epoll(), select.poll()
epoll.register(sock, select.EPOLLIN)
poll.register(sock, select.POLLIN)
found = []
thread = threading.Thread(target=lambda: found.append(replies(sock)))
thread.start()
time.sleep(0.3)  # it sleeps, and no daemon is known yet
sock.sendto(request(1), (sys.argv[1], 0))
thread.join(20)
for sequence, to in enumerate((sys.argv[1], "127.0.0.1") * 2, 2):
    sock.sendto(request(sequence), (to, 0))
    waits = {0: lambda: epoll.poll(20), 1: lambda: poll.poll(20000),
             2: lambda: select.select([sock], [], [], 20)[0]}
    assert waits[sequence % 3](), "nothing came"
    found.append(replies(sock))
copy = sock.dup()
sock.close()
copy.connect((sys.argv[1], 0))
assert copy.getpeername()[0] == sys.argv[1]
copy.send(request(9))
found.append((sys.argv[1], copy.recv(2048)[27]))
print(found)
"""


def test_one_socket_hears_the_daemon_and_the_kernel(module_bed):
    bed = module_bed
    speaks(bed, 4)
    path = os.path.join(bed.status()["directory"], "channel.sock")
    done = bed.run(os.path.join(BUILD, "offramp"), "run", "--channel", path, "--",
                   "/usr/bin/python3", "-c", PROGRAM, CLIENT[4], host="broker")
    assert done.returncode == 0, done.stderr
    here, there = CLIENT[4], "127.0.0.1"
    wanted = [(here, 1), (here, 2), (there, 3), (here, 4), (there, 5), (here, 9)]
    assert done.stdout.strip() == str(wanted), done.stdout
