# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""EMQX's hooks, end to end: what is captured, and that every message reaches whom it would reach
without Offramp.

No EMQX is needed: a relay before mosquitto makes its calls (emqxlike.py).
"""

import json
import time

import pytest

import emqxlike
from bed import BUILD, Bed, eventually
from entitled import Listener, numbered

PAUSE_S = 0.002  # between messages


@pytest.fixture(scope="module", params=(
    pytest.param(1, marks=pytest.mark.full, id="worker"), pytest.param(2, id="workers")))
def emqx(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("emqx")
    overlay = folder / "overlay.yaml"
    overlay.write_text(json.dumps(emqxlike.OVERLAY))
    bed = Bed("stack", "--io", request.config.getoption("--io"), "--config", overlay,
              "--workers", request.param)
    side = emqxlike.EmqxLike(bed.name, folder, 1883)
    try:
        bed.up()
        side.bed = bed
        side.load()
        assert eventually(lambda: is_complete(bed), 10), bed.log("daemon", 20)
        yield side
    finally:
        side.close()
        bed.down()


def ask(bed, command):
    """The daemon, by offramp(1)."""
    return json.loads(bed.run(f"{BUILD}/offramp", command, "--json", host="offramp").stdout)


def is_complete(bed):
    return ask(bed, "status")["brokers"][0]["map_complete"]


def captured(bed):
    return sum(bed.counters()["publish_captured_total"].values())


def passed(bed, reason):
    return bed.counters()["publish_passed_total"].get(reason, 0)


class Flow:
    """Numbered messages of one publisher to a topic."""

    def __init__(self, bed, client, topic):
        self.bed, self.client, self.topic, self.count = bed, client, topic, 0

    def send(self, count, qos=0):
        """Returns how many of them were captured."""
        before = captured(self.bed)
        for _ in range(count):
            self.client.publish(self.topic, b"%d" % self.count, qos)
            self.count += 1
            time.sleep(PAUSE_S)
        self.client.ping()
        return captured(self.bed) - before

    def expect(self, listener, first=0):
        expected = numbered(range(first, self.count))
        eventually(lambda: len(listener.payloads(self.topic)) >= len(expected), 5)
        assert listener.payloads(self.topic) == expected


@pytest.mark.parametrize("version, qos", ((4, 0), (5, 1), (4, 2)))
def test_one_message_asks_and_the_rest_is_captured(emqx, version, qos):
    bed, topic = emqx.bed, f"a/{version}/{qos}"
    listener = Listener(bed.client("s", version), topic)
    with bed.client("", version) as publisher:  # under a name of the broker's
        flow = Flow(bed, publisher, topic)
        flow.send(10, qos)
        taken = flow.send(100, qos)
        flow.expect(listener)
    listener.stop()
    assert taken >= 90, bed.counters()["publish_passed_total"]


def test_a_client_that_comes_another_way(emqx):
    bed, topic = emqx.bed, "b/t"
    listener = Listener(bed.client("s"), topic)
    with bed.client("p") as publisher, bed.neighbour("x", port=emqxlike.PORT) as stranger:
        flow = Flow(bed, publisher, topic)
        flow.send(10)
        assert flow.send(40) >= 30
        first, before = flow.count, passed(bed, "unknown_reader")
        beside = Listener(stranger, "b/+")
        assert flow.send(40) == 0
        flow.expect(beside, first)
        # The first may pass for another reason, while workers tell each other what they have heard.
        assert passed(bed, "unknown_reader") >= before + 30
        assert "unknown_reader" in json.dumps(ask(bed, "topics"))
        beside.stop()
        stranger.unsubscribe("b/+", kept=[])
        assert eventually(lambda: flow.send(20) > 0, 10, 0)
        flow.expect(listener)
    listener.stop()


def test_who_may_not_write(emqx):
    bed, topic = emqx.bed, "c/t"
    emqx.refused.add(("q", topic))
    listener = Listener(bed.client("s"), topic)
    with bed.client("p") as publisher, bed.client("q") as refused:
        flow = Flow(bed, publisher, topic)
        flow.send(10)
        for number in range(30):
            refused.publish(topic, b"never", number % 3)
        assert flow.send(40) >= 30
        flow.expect(listener)
    assert passed(bed, "unproven") > 0
    listener.stop()


def test_a_session_that_another_connection_takes(emqx):
    bed, topic = emqx.bed, "d/t"
    listener = Listener(bed.client("s"), topic)
    with bed.client("p") as publisher:
        flow = Flow(bed, publisher, topic)
        flow.send(10)
        assert flow.send(40) >= 30
        flow.expect(listener)
        # Through Offramp, and then from beside it.
        for join in (bed.client, lambda name: bed.neighbour(name, port=emqxlike.PORT)):
            first = flow.count
            listener.stop()
            listener = Listener(join("s"), topic)
            taken = flow.send(60)
            flow.expect(listener, first)
            assert taken == 0 if join != bed.client else taken >= 30
        listener.stop()
        listener.client.leave()


def test_a_lost_connection_of_the_hooks(emqx):
    """Everything passes until EMQX starts again."""
    bed, topic = emqx.bed, "e/t"
    listener = Listener(bed.client("s"), topic)
    with bed.client("p") as publisher:
        flow = Flow(bed, publisher, topic)
        flow.send(10)
        assert flow.send(40) >= 30
        emqx.tunnel.cut()
        assert eventually(lambda: "has ended" in json.dumps(ask(bed, "status")), 10)
        assert flow.send(40) == 0
        flow.expect(listener)
    listener.stop()
    listener.client.leave()
    emqx.emqx.close()
    emqx.load()
    assert eventually(lambda: is_complete(bed), 10)
    listener = Listener(bed.client("s"), topic)
    with bed.client("p") as publisher:
        flow = Flow(bed, publisher, topic)
        flow.send(10)
        assert flow.send(40) >= 30
        flow.expect(listener)
    listener.stop()
