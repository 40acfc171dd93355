# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Clients, brokers and daemons that misbehave or die: others are served, nothing is left over."""

import errno
import itertools
import os
import random
import resource
import signal
import socket
import struct
import threading
import time

import pytest

import mqttraw as mqtt
from bed import BUILD, eventually, hosts
from levels import assert_back_to, settled_level

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "short-time-wait.yaml")
CROWD = 2000
_names = itertools.count()


def up_options(_mode):
    """TIME-WAIT is short: what it holds is waited for."""
    return ("--clients", "8", "--config", OVERLAY)


@pytest.fixture(autouse=True, scope="module")
def enough_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def own(open_bed, mode):
    """A testbed of the test's own, for killing what runs in it."""
    bed = open_bed(mode)
    yield bed
    bed.down()


@pytest.fixture
def topic():
    return f"fault/{next(_names)}"


@pytest.fixture
def others(bed):
    """Checks, when called, that somebody else's messages still get through; in a second (each)."""
    topic = f"others/{next(_names)}"
    publisher, subscriber = [bed.client(f"{topic}-{who}", keep_alive=0) for who in "ps"]
    subscriber.subscribe(topic, options=1)
    counter = itertools.count()

    def check():
        for qos in (0, 1):
            text = b"%d" % next(counter)
            started = time.monotonic()
            publisher.publish(topic, text, qos)
            assert subscriber.payloads(1) == [text]
            assert time.monotonic() - started < bed.seconds(1)
        with bed.client(f"{topic}-new") as new:
            new.ping()

    check()
    yield check
    check()
    publisher.leave()
    subscriber.leave()


# Clients

@pytest.mark.parametrize("qos", [0, 1])
def test_a_client_that_stops_reading_delays_nobody(bed, topic, others, qos):
    stalled = bed.client("stalled", receive_buffer=4096)
    reader, publisher = bed.client("reader"), bed.client("publisher")
    for subscriber in (stalled, reader):
        subscriber.subscribe(topic, options=qos)
    payload, got = b"x" * 1000, 0
    for number in range(20000):
        publisher.publish(topic, b"%06d" % number + payload, qos, wait=False)
        if number % 100 == 99:
            for message in reader.messages(100):
                assert int(message.payload[:6]) == got
                got += 1
        if number % 5000 == 4999:
            others()
    assert publisher.ping(kept=[])
    # Wakes up: what it gets is whole messages in order, with gaps where the bound was.
    numbers = [int(found.payload[:6]) for found in stalled.rest(1) if found.kind == mqtt.PUBLISH]
    assert numbers[:10] == list(range(10)) and numbers == sorted(set(numbers))
    publisher.publish(topic, b"999999", 1)
    assert int(stalled.payloads(1)[0]) == 999999
    for client in (stalled, reader, publisher):
        client.leave()


def test_clients_that_vanish_while_not_reading(bed, topic, others):
    before = settled_level(bed) if bed.is_stack else None
    publisher = bed.client("publisher")
    stalled = [bed.client(f"stalled{number}", receive_buffer=4096) for number in range(20)]
    for number, client in enumerate(stalled):
        client.subscribe(topic, options=number % 2)
    for _ in range(2000):
        publisher.publish(topic, b"x" * 1000, 1)
    for number, client in enumerate(stalled):
        client.reset() if number % 3 else client.close()
    others()
    publisher.leave()
    if bed.is_stack:
        assert_back_to(bed, before)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publisher_killed_in_mid_packet(bed, topic, others, qos, end):
    subscriber = bed.client("subscriber")
    subscriber.subscribe(topic, options=1)
    whole = mqtt.publish(topic, b"x" * 3000, qos, pid=1)
    for cut in (1, 2, 3, 5, 10, 1000, 2000, len(whole) - 1):
        publisher = bed.client("publisher", will=mqtt.Will(topic, b"will"), keep_alive=5)
        publisher.send(mqtt.publish(topic, b"before"), whole[:cut])
        assert subscriber.payloads(1) == [b"before"]
        getattr(publisher, end)()
        ended = time.monotonic()
        assert subscriber.payloads(1) == [b"will"]
        # Where a RST can be lost, the keep alive ends it.
        assert time.monotonic() - ended < bed.seconds(3)
    subscriber.leave()


def test_a_subscriber_killed_in_mid_delivery(bed, topic, others):
    publisher, reader = bed.client("publisher"), bed.client("reader")
    reader.subscribe(topic)
    for number in range(20):
        victim = bed.client("victim", receive_buffer=4096)
        victim.subscribe(topic)
        for text in (b"a", b"b", b"c"):
            publisher.publish(topic, text * 100000)
        victim.receive()
        victim.reset() if number % 2 else victim.close()
        assert [payload[:1] for payload in reader.payloads(3)] == [b"a", b"b", b"c"]
    for client in (publisher, reader):
        client.leave()


def test_a_process_killed_while_it_receives(bed, topic):
    publisher, reader = bed.client("publisher"), bed.client("reader")
    reader.subscribe(topic, options=1)
    victims = [bed.popen("mosquitto_sub", "-h", bed.host, "-p", bed.port, "-t", topic, "-q", "1",
                         *bed.login_options()) for _ in range(3)]
    for victim in victims:
        victim.stdout.close()
    for number in range(900):
        publisher.publish(topic, b"%d" % number, 1)
        if number % 300 == 250:
            victims[number // 300].kill()
    assert [int(payload) for payload in reader.payloads(900)] == list(range(900))
    for victim in victims:
        assert victim.wait(10) is not None
    for client in (publisher, reader):
        client.leave()


@pytest.mark.parametrize("raw", [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x5a" * 200,
    b"\x00" * 64, b"\xff" * 64, b"\x10\xff\xff\xff\xff\xff", b"\x10\x00", b"\xc0\x00",
    b"SSH-2.0-OpenSSH_9.2p1\r\n", mqtt.publish("a", b"b"), mqtt.pingreq(),
    b"\x10\x0c\x00\x04MQTX\x04\x02\x00\x3c\x00\x00",
], ids=["http", "tls", "zeros", "ones", "length", "empty", "ping", "ssh", "publish", "pingreq",
        "magic"])
def test_garbage_instead_of_connect_is_closed_by_the_broker(bed, others, raw, request):
    if bed.broker.waits_after & set(request.node.callspec.id.split("-")):
        pytest.skip(f"{bed.broker.name} waits for more")
    client = bed.stranger()
    client.send(raw)
    assert not [found for found in client.wait_reset() if found.kind != mqtt.CONNACK]
    client.close()


def test_random_garbage(bed, others):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    for number in range(200):
        client = bed.stranger(f"garbage{number}")
        if number % 2:
            client.connect()
        try:
            for _ in range(source.randrange(1, 4)):
                client.send(source.randbytes(source.choice((1, 2, 5, 30, 2000))))
        except mqtt.Closed:
            pass
        client.reset() if number % 3 else client.close()
    others()


def test_half_a_packet_for_ever(bed, others):
    """Many of them, each announcing 256 MB: nobody sets memory aside for promises."""
    halves = [bed.stranger(f"half{number}") for number in range(100)]
    before = bed.rss_kb("daemon") if bed.is_stack else 0
    for client in halves:
        client.connect()
        client.send(b"\x30\xff\xff\xff\x7f\x00\x04half" + b"x" * 3000)
    others()
    assert not bed.is_stack or bed.rss_kb("daemon") < before + 8192
    for client in halves:
        client.reset()


def test_many_filters(bed, topic, others):
    client = bed.client("filters")
    for start in range(0, 10000, 500):
        answer = client.subscribe(*[f"{topic}/{number}" for number in range(start, start + 500)])
        assert len(answer.reasons) == 500
    publisher = bed.client("publisher")
    for number in (0, 999, 1500, 9999):
        publisher.publish(f"{topic}/{number}", b"x")
        assert client.payloads(1) == [b"x"]
    publisher.leave()
    client.leave()


# The network

def test_a_client_that_vanished_from_the_network(bed, topic, others):
    """Half-open: no FIN, no RST, no answer. Its keep alive ends it, its will is published."""
    source = hosts.client_address(3)
    witness, publisher = bed.client("witness"), bed.client("publisher")
    witness.subscribe(f"{topic}/will")
    lost = bed.client("lost", source=source, keep_alive=2, will=mqtt.Will(f"{topic}/will", b"gone"))
    lost.subscribe(topic, options=1)
    assert bed.run("ip", "address", "delete", f"{source}/16", "dev", "eth0").returncode == 0
    try:
        for number in range(40):
            publisher.publish(topic, b"x" * 1000, number % 2)
        others()
        assert witness.payloads(1, 15) == [b"gone"]
        others()
    finally:
        bed.run("ip", "address", "add", f"{source}/16", "dev", "eth0")
        lost.reset()
    with bed.client("lost", source=source) as back:
        back.subscribe(topic)
        publisher.publish(topic, b"again")
        assert back.payloads(1) == [b"again"]
    for client in (witness, publisher):
        client.leave()


def test_syns_that_nobody_completes(own):
    """From addresses that do not answer. The broker never sees a connection of theirs."""
    raw = hosts.open_socket(own.name, "clients", socket.AF_INET, socket.SOCK_RAW,
                            socket.IPPROTO_RAW)
    for number in range(1000):
        raw.sendto(syn(f"198.18.200.{1 + number % 250}", 1024 + number, own.host, own.port),
                   (own.host, 0))
    raw.close()
    for number in range(5):
        started = time.monotonic()
        with own.client(f"real{number}") as client:
            client.ping()
        assert time.monotonic() - started < own.seconds(1)
        time.sleep(0.5)
    assert "198.18.200." not in own.log("broker")


def syn(source, source_port, target, target_port):
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack(">HHIIBBHHH", source_port, target_port, random.getrandbits(32), 0, 5 << 4, 2,
                      64240, 0, 0)
    pseudo = addresses + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    # The kernel fills in total length, identification and checksum.
    return struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0) + addresses + tcp


def checksum(raw):
    total = sum(struct.unpack(f">{len(raw) // 2}H", raw))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def connects(sock, bed):
    """False while the client's own kernel waits for the ACK of its last FIN from that port."""
    try:
        sock.connect((bed.host, bed.port))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        return False
    return True


def test_the_same_port_again_at_once(bed):
    """The broker closed first and has that port in TIME-WAIT; connecting again does not stall."""
    port = 20000 + random.randrange(10000)  # not where the kernel takes others' from
    for _ in range(20):
        sock = hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((hosts.CLIENT, port))
        sock.settimeout(bed.seconds(20))
        started = time.monotonic()
        assert eventually(lambda: connects(sock, bed), bed.seconds(0.5), 0.001)
        client = bed.stranger("again", sock=sock)
        client.connect()
        client.ping()
        assert time.monotonic() - started < bed.seconds(0.8)
        client.send(mqtt.packet(mqtt.PUBLISH, 6, mqtt.data("a")))  # QoS 3: the broker closes
        client.wait_closed()
        client.close()


def echoed(sock, request, target, attempts):
    """Nobody but the asker makes up for a lost ping."""
    sock.settimeout(5)
    for attempt in range(1, attempts + 1):
        sock.sendto(request, target)
        try:
            return sock.recv(65536)[20:]
        except TimeoutError:
            if attempt == attempts:
                raise


@pytest.mark.parametrize("size", [0, 1000, 1600, 4000])
def test_a_ping_is_answered(bed, size, request):
    """Also in fragments. DPDK's af_packet gets packets that the kernel has put together, one frame
    long at most: the last size only comes through other ports. A bump in the wire cannot pass them on."""
    limit = {"direct": size, "monitor": 1472}.get(bed.shape, 1900)
    if size > limit and request.config.getoption("--io") == "af_packet":
        pytest.skip("af_packet cuts what the kernel has put together")
    with hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_RAW,
                           socket.IPPROTO_ICMP) as sock:
        body = struct.pack(">HH", 77, size) + random.randbytes(size)
        echo = b"\x08\0" + struct.pack(">H", checksum(b"\x08\0\0\0" + body)) + body
        answer = echoed(sock, echo, (bed.host, 0), bed.patience)
        assert (answer[0], answer[4:]) == (0, body)
        assert checksum(answer) == 0


def test_other_ports_are_refused(bed):
    with hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(bed.seconds(5))
        with pytest.raises(ConnectionRefusedError):
            sock.connect((bed.host, 4))


# A crowd

def daemon_is_sanitized():
    with open(os.path.join(BUILD, "offrampd"), "rb") as program:
        return b"__asan_init" in program.read()


def test_a_crowd_comes_and_goes(bed, topic, others):
    before = settled_level(bed) if bed.is_stack else None
    count, sizes = CROWD // bed.patience, []
    for turn in range(3):
        crowd = []
        started = time.monotonic()
        for start in range(0, count, 100):
            new = bed.strangers([f"crowd{number}" for number in range(start, start + 100)])
            for number, client in enumerate(new):
                client.send(client.connect_packet(keep_alive=20),
                            mqtt.subscribe(1, [(topic, number % 2)]))
            for client in new:
                client.expect(mqtt.CONNACK)
                client.expect(mqtt.SUBACK)
            crowd += new
        with bed.client("publisher") as publisher:
            publisher.publish(topic, b"all", 1)
            for client in crowd:
                assert client.payloads(1) == [b"all"]
            publisher.send(mqtt.disconnect())
        if bed.is_stack:
            assert eventually(lambda: bed.counters()["connections"] >= count, 5)
        for number, client in enumerate(crowd):
            (client.leave, client.close, client.reset)[number % 3]()
        others()
        print(f"turn {turn}: {time.monotonic() - started:.1f} s")
        if bed.is_stack:
            assert_back_to(bed, before)
            sizes.append(bed.rss_kb("daemon"))
    if bed.is_stack:
        print(f"RSS after each turn, KiB: {sizes}")
        # AddressSanitizer keeps what was freed: there the pools above have to do.
        assert sizes[2] <= sizes[1] + 512 or daemon_is_sanitized()


def test_connections_that_never_say_anything(bed, others):
    before = settled_level(bed) if bed.is_stack else None
    crowd = [bed.connect() for _ in range(500)]
    others()
    for number, sock in enumerate(crowd):
        if number % 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    if bed.is_stack:
        assert_back_to(bed, before)


# The broker

def refused(bed):
    try:
        bed.connect(timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("how", ["KILL", "TERM"])
def test_the_broker_dies_and_comes_back(own, topic, how):
    clients = [own.client(f"c{number}") for number in range(20)]
    for client in clients:
        client.subscribe(topic, options=1)
    clients[0].publish(topic, b"1", 1, kept=(kept := []))
    assert [found.payload for found in kept] or clients[0].payloads(1) == [b"1"]
    for client in clients[1:]:
        assert client.payloads(1) == [b"1"]
    own.tool("stop", "broker", "--signal", how)
    for client in clients:
        client.wait_closed()
        client.close()
    for _ in range(5):
        assert refused(own)
    if own.is_stack:
        assert own.is_alive("daemon")
        daemon = own.pid("daemon")
        address = own.status()["broker_address"]  # who is down
        assert eventually(lambda: f"{address}:{own.port} refuses" in own.log("daemon"))
    own.tool("start", "broker")
    for turn in range(3):
        publisher, subscriber = own.client("p"), own.client("s")
        subscriber.subscribe(topic, options=1)
        publisher.publish(topic, b"%d" % turn, 1)
        assert subscriber.payloads(1) == [b"%d" % turn]
        publisher.leave()
        subscriber.leave()
    if own.is_stack:
        assert own.pid("daemon") == daemon


def test_the_broker_dies_while_messages_flow(own, topic):
    """What was acknowledged before reaches the subscriber, who is then let go."""
    publisher, subscriber = own.client("p"), own.client("s")
    subscriber.subscribe(topic, options=1)
    acknowledged, got = [], []

    def send():
        try:
            for number in range(100000):
                publisher.publish(topic, b"%d" % number, 1)
                acknowledged.append(number)
        except mqtt.Closed:
            pass

    def receive():
        got.extend(int(found.payload) for found in subscriber.wait_closed(40))

    threads = [threading.Thread(target=send), threading.Thread(target=receive)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    before = len(acknowledged)
    own.tool("stop", "broker", "--signal", "KILL")
    for thread in threads:
        thread.join(own.seconds(30))
        assert not thread.is_alive()
    assert before
    assert got == list(range(len(got)))
    if own.is_stack:  # mosquitto alone loses what it had not written yet
        assert len(got) >= before


def test_a_broker_that_stops_reading_holds_the_publisher_back(own, topic):
    """20 MB that must pass wait in windows and bounded buffers, and all of it arrives."""
    # Over bad wires without SACK it takes longer than any keep alive.
    publisher, witness = [own.client(who, keep_alive=0) for who in "pw"]
    witness.subscribe(topic)
    packets = [mqtt.publish(topic, (b"%06d" % number).ljust(100000, b"."), retain=True)
               for number in range(200)]
    before = own.rss_kb("daemon") if own.is_stack else 0
    broker = own.pid("broker")
    os.kill(broker, signal.SIGSTOP)
    sender = threading.Thread(target=lambda: publisher.send(*packets))
    sender.start()
    time.sleep(2)
    try:
        assert sender.is_alive()
        assert not own.is_stack or own.rss_kb("daemon") < before + 16384
    finally:
        os.kill(broker, signal.SIGCONT)
    assert [int(payload[:6]) for payload in witness.payloads(200, 40)] == list(range(200))
    sender.join(own.seconds(20))


# The daemon

@pytest.mark.stack_only
def test_sigterm_drains(own, topic):
    """What a publisher has the PUBACK for reaches the subscriber before it is let go."""
    subscribers = [own.client(f"s{number}") for number in range(10)]
    for subscriber in subscribers:
        subscriber.subscribe(topic, options=1)
    publisher = own.client("p")
    acknowledged = []

    def send():
        try:
            for number in range(1000000):
                publisher.publish(topic, b"%06d" % number + b"x" * 500, 1)
                acknowledged.append(number)
        except mqtt.Closed:
            pass

    got = {}

    def receive(subscriber):
        found = subscriber.wait_closed(60)
        got[subscriber.client_id] = [int(message.payload[:6]) for message in found]

    threads = [threading.Thread(target=send)]
    threads += [threading.Thread(target=receive, args=[subscriber]) for subscriber in subscribers]
    for thread in threads:
        thread.start()
    time.sleep(1)
    started = time.monotonic()
    own.tool("stop", "daemon")
    assert time.monotonic() - started < 9, "it had to be killed"
    for thread in threads:
        thread.join(own.seconds(30))
    assert acknowledged
    for name, numbers in got.items():
        assert numbers[:len(acknowledged)] == acknowledged, name
    own.tool("start", "daemon")
    own.client("after").leave()


@pytest.mark.stack_only
def test_an_idle_daemon_stops_at_once(own):
    client = own.client("idle")
    started = time.monotonic()
    own.tool("stop", "daemon")
    assert time.monotonic() - started < own.seconds(5)
    client.wait_closed(5)


@pytest.mark.stack_only
def test_the_daemon_is_killed_and_started_again(own, topic):
    for turn in range(3):
        clients = [own.client(f"c{number}") for number in range(50)]
        for client in clients:
            client.subscribe(topic, options=1)
        own.tool("stop", "daemon", "--signal", "KILL")
        own.tool("start", "daemon")
        for client in clients:  # the new daemon knows nothing of them, and says so
            try:
                client.send(mqtt.pingreq())
            except mqtt.Closed:
                continue
            client.wait_closed(10)
            client.close()
        started = time.monotonic()
        publisher, subscriber = own.client(f"p{turn}"), own.client(f"s{turn}")
        subscriber.subscribe(topic, options=1)
        publisher.publish(topic, b"%d" % turn, 1)
        assert subscriber.payloads(1) == [b"%d" % turn]
        assert time.monotonic() - started < own.seconds(3)
        publisher.leave()
        subscriber.leave()
