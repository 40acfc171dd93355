# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Publishers, subscribers and the broker are killed at random moments, under load of QoS 1 and 2.

What a publisher was told to be delivered reaches every subscriber that stayed connected: in order,
and once. The seed of a round is its number: `-k` runs it again.
"""

import random
import threading
import time

import pytest

import mqttraw as mqtt
from bed import eventually

PUBLISHERS = ((4, 1), (5, 2), (4, 2), (5, 1))  # version, QoS
SUBSCRIBERS = (4, 5, 4)
VICTIMS = ("publisher", "publisher", "subscriber", "subscriber", "broker")


class Publisher(threading.Thread):
    """Sends numbers one after the other; knows which were acknowledged, and when."""

    def __init__(self, bed, index):
        super().__init__(daemon=True)
        version, self.qos = PUBLISHERS[index]
        self.topic = f"kill/{index}"
        self.client = bed.client(f"p{index}", version)
        self.acknowledged, self.sent, self.ending = 0, 0, False
        self.error = None

    def run(self):
        try:
            while not self.ending:
                self.sent += 1
                self.client.publish(self.topic, b"%d" % self.sent, self.qos)
                self.acknowledged = self.sent
        except (mqtt.Closed, OSError, ValueError):
            pass  # killed, or the broker was
        except Exception as error:  # pylint: disable=broad-except
            self.error = error


class Subscriber(threading.Thread):
    """Takes in everything until its connection ends."""

    def __init__(self, bed, index):
        super().__init__(daemon=True)
        self.client = bed.client(f"s{index}", SUBSCRIBERS[index])
        self.client.subscribe("kill/+", options=2)
        self.got = {f"kill/{number}": [] for number in range(len(PUBLISHERS))}
        self.ended = False

    def run(self):
        try:
            while True:
                packet = self.client.receive(3600)
                if packet.kind == mqtt.PUBLISH:
                    self.got[packet.topic].append(int(packet.payload))
        except (mqtt.Closed, OSError, ValueError):
            self.ended = True

    def has(self, publishers):
        return all(len(self.got[one.topic]) >= one.acknowledged for one in publishers)


class Round:
    def __init__(self, bed, seed):
        self.bed, self.rng = bed, random.Random(seed)
        self.subscribers = [Subscriber(bed, index) for index in range(len(SUBSCRIBERS))]
        self.publishers = [Publisher(bed, index) for index in range(len(PUBLISHERS))]

    def play(self):
        for thread in self.subscribers + self.publishers:
            thread.start()
        time.sleep(self.rng.uniform(0.05, 0.4))
        survivors = getattr(self, "kill_" + self.rng.choice(VICTIMS))()
        for publisher in self.publishers:
            publisher.ending = True
        for publisher in self.publishers:
            publisher.join(self.bed.seconds(20))
            assert not publisher.is_alive() and not publisher.error, publisher.error
        for subscriber in survivors:
            self.check(subscriber)
        self.leave()

    def kill_publisher(self):
        victim = self.rng.choice(self.publishers).client
        if self.rng.random() < 0.5:
            victim.reset()
        else:
            victim.close()
        return self.subscribers

    def kill_subscriber(self):
        victim = self.rng.choice(self.subscribers)
        victim.client.reset()
        time.sleep(self.rng.uniform(0, 0.2))
        return [one for one in self.subscribers if one is not victim]

    def kill_broker(self):
        """Nobody stays connected. What Offramp had acknowledged was on its way and arrives."""
        before = {one.topic: one.acknowledged for one in self.publishers}
        self.bed.tool("stop", "broker", "--signal", "KILL")
        for subscriber in self.subscribers:
            assert eventually(lambda: subscriber.ended, self.bed.seconds(20))
            for topic, got in subscriber.got.items():
                assert got == list(range(1, len(got) + 1)), topic
                if self.bed.is_stack:
                    assert len(got) >= before[topic], topic
        self.bed.tool("start", "broker")
        return []

    def check(self, subscriber):
        assert eventually(lambda: subscriber.has(self.publishers), self.bed.seconds(20)), {
            one.topic: (one.acknowledged, subscriber.got[one.topic][-3:]) for one in self.publishers}
        time.sleep(0.05)
        assert not subscriber.ended
        for one in self.publishers:
            got = subscriber.got[one.topic]
            assert got == list(range(1, len(got) + 1)), one.topic
            assert one.acknowledged <= len(got) <= one.sent, one.topic

    def leave(self):
        for thread in self.publishers + self.subscribers:
            thread.client.leave()
        for thread in self.subscribers:
            thread.join(5)


@pytest.fixture
def own(open_bed, mode):
    bed = open_bed(mode)
    yield bed
    bed.down()


@pytest.mark.parametrize("rounds", [
    pytest.param(range(8), id="8"), pytest.param(range(8, 108), id="100", marks=pytest.mark.full)])
def test_kills_at_random_moments(own, rounds):
    killed = {}
    for seed in rounds:
        one = Round(own, seed)
        try:
            one.play()
        except AssertionError as error:
            raise AssertionError(f"round {seed}: {error}") from error
        killed[seed] = sum(publisher.acknowledged for publisher in one.publishers)
    print(f"{len(killed)} rounds, {sum(killed.values())} messages acknowledged")
    if own.is_stack:
        captured = own.counters()["publish_captured_total"]
        assert captured["1"] > 0 and captured["2"] > 0
