# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Several workers: subscribers of one topic on all of them, sessions that change worker, ports
with fewer queues than there are workers. What a client sees of it is nothing.
"""

import itertools

import pytest

import mqttraw as mqtt

pytestmark = [pytest.mark.stack_only,
              pytest.mark.every_time("workers", "monitor-workers", "impaired", "impaired-ipv6")]
_names = itertools.count()
ONE_QUEUE = """
ports:
  - {name: clients, device: 'net_af_packet0,iface=clients,framecnt=4096'}
  - {name: broker, device: 'net_af_packet1,iface=broker,framecnt=4096'}
"""


@pytest.fixture
def topic():
    return f"workers/{next(_names)}"


@pytest.fixture
def make(bed):
    """Connects clients that are gone at the end."""
    made = []

    def make_(version=4, client_id=None, **options):
        made.append(bed.client(client_id or f"w{next(_names)}", version, **options))
        return made[-1]

    yield make_
    for client in made:
        client.leave()


def crossed(bed):
    return bed.counters()["publish_crossed_total"]


def all_get_all(make, topic, qos, subscribers=24, publishers=2, count=60):
    """Every subscriber gets what every publisher sent, in the order of that publisher."""
    clients = [make(4 + number % 2) for number in range(subscribers)]
    for client in clients:
        client.subscribe(topic, options=qos)
    senders = [make() for _ in range(publishers)]
    for number in range(count):
        for which, sender in enumerate(senders):
            sender.publish(topic, b"%d %d" % (which, number), qos, wait=qos == 2 or number % 10 == 9)
    for client in clients:
        got = [tuple(map(int, text.split())) for text in client.payloads(publishers * count)]
        for which in range(publishers):
            assert [number for sender, number in got if sender == which] == list(range(count))


@pytest.mark.parametrize("qos", (0, 1, 2))
def test_subscribers_of_all_workers_get_everything_in_order(bed, make, topic, qos):
    before = crossed(bed)
    all_get_all(make, topic, qos)
    assert "workers" not in bed.mode or crossed(bed) > before


@pytest.mark.parametrize("version", (4, 5))
def test_a_session_goes_where_its_client_goes(bed, make, topic, version):
    """A connection comes from another port, and so to any worker."""
    publisher = make()
    props = [("session_expiry", 300)] if version == 5 else []
    name = f"mover{next(_names)}"
    last = make(version, name, clean=False, props=props)
    last.subscribe(topic)
    for turn in range(20):
        client = make(version, name, clean=False, props=props)  # takes over
        assert client.connack.session_present
        publisher.publish(topic, b"%d" % turn)
        assert client.payloads(1) == [b"%d" % turn]
        last = client
    make(version, name).leave()  # a clean one ends it
    assert bed.status() and last


def test_a_clean_connection_ends_what_was_with_another_worker(make, topic):
    publisher = make()
    for turn in range(20):
        name = f"fresh{next(_names)}"
        make(4, name, clean=False).subscribe(topic)
        client = make(4, name)
        publisher.publish(topic, b"%d" % turn)
        client.ping()
        assert not client.rest(0.05)
        client.leave()


def test_what_subscribes_is_heard_at_once(make, topic):
    """After its SUBACK a client gets whatever any worker captures."""
    publishers = [make() for _ in range(6)]
    for turn in range(15):
        client = make()
        client.subscribe(f"{topic}/{turn}")
        for number, publisher in enumerate(publishers):
            publisher.publish(f"{topic}/{turn}", b"%d" % number)
        assert sorted(client.payloads(len(publishers))) == [b"%d" % n for n in range(6)]


def test_a_port_with_one_queue_serves_two_workers(open_bed, tmp_path, topic, mode):
    if "workers" not in mode:
        pytest.skip("is about several workers")
    overlay = tmp_path / "one-queue.yaml"
    overlay.write_text(ONE_QUEUE, encoding="ascii")
    bed = open_bed(mode, "--config", str(overlay))
    made = []

    def make_(version=4):
        made.append(bed.client(f"q{next(_names)}", version))
        return made[-1]

    all_get_all(make_, topic, 1, subscribers=12, count=30)
    assert crossed(bed) > 0
    for client in made:
        client.leave()
