# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Clients and broker over bad wires: loss, reordering, duplication at both of the daemon's ports.

That TCP mends all of it, and MQTT loses, doubles and reorders nothing, is what the other modules'
tests show in mode `impaired`. Here is what says something of bad wires only.
"""

import threading

import paho.mqtt.client as paho
import pytest

import mqttraw as mqtt
import test_volume
from test_volume import enough_files  # noqa: F401

pytestmark = [pytest.mark.stack_only, pytest.mark.impaired_only, pytest.mark.core]


def harm(bed):
    return bed.counters()["packets_impaired_total"]


@pytest.mark.parametrize("subscribers,count", [
    (20, 300), pytest.param(200, 2000, marks=pytest.mark.full)])
def test_the_wires_are_bad_and_one_to_many_is_right(bed, subscribers, count):
    """Compared byte for byte: see test_volume.py."""
    before = harm(bed)
    test_volume.one_to_many(bed, subscribers,
                            test_volume.numbered("impaired/fan", count, 200), "impaired/fan")
    after = harm(bed)
    for kind in ("lost", "duplicated", "reordered"):
        assert after[kind] > before[kind], "the wires were not bad"


@pytest.mark.parametrize("qos", [0, 1])
def test_bench_sees_nothing_wrong(bed, qos):
    """Nothing lost, doubled, reordered or corrupted; in QoS 1 nothing acknowledged twice."""
    for shape in (["-P", 1, "-S", 50, "-t", "one-to-many", "-n", 40],
                  ["-P", 20, "-S", 1, "-t", "many-to-one", "-n", 20],
                  ["-P", 10, "-S", 10, "-t", "all-to-all", "-n", 10]):
        result = bed.bench(*shape, "-q", qos, "--nagle", "--closed", "--warmup", 0, "--quiet")
        wrong = {key: result[key] for key in ("lost", "duplicated", "reordered", "corrupted",
                                              "unexpected", "connections_lost", "refused")}
        assert not any(wrong.values()), (shape, wrong)
        assert result["delivered"] == result["expected"] > 0


def test_large_messages_through_the_broker_and_past_it(bed):
    """Each of many segments."""
    publisher, subscriber = bed.client("impaired-p"), bed.client("impaired-s")
    subscriber.subscribe("impaired/large")
    for turn in range(10):
        for size in (3000, 70000):
            payload = bytes([turn]) * size
            publisher.send(mqtt.publish("impaired/large", payload))
            assert subscriber.expect(mqtt.PUBLISH).payload == payload
    publisher.leave()
    subscriber.leave()


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.full)])
def test_every_subscribe_right_after_connect_is_answered(bed, count):
    """paho sends its SUBSCRIBE before the CONNACK has come. Ten clients at a time."""
    for start in range(0, count, 10):
        clients = [Subscriber(bed, number) for number in range(start, start + 10)]
        try:
            for client in clients:
                assert client.answered.wait(bed.seconds(20)), client.paho
        finally:
            for client in clients:
                client.leave()


class Subscriber:
    def __init__(self, bed, number):
        self.answered = threading.Event()
        self.paho = paho.Client(f"impaired-sub{number}", protocol=paho.MQTTv311 + number % 2)
        self.paho.on_subscribe = lambda *_: self.answered.set()
        self.paho._create_socket_connection = bed.connect  # on the clients' host
        self.paho.connect(bed.host, bed.port)
        self.paho.loop_start()
        self.paho.subscribe("impaired/sub", 1)

    def leave(self):
        self.paho.disconnect()
        self.paho.loop_stop()
