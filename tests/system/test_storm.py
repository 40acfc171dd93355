# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A connection storm: all are served, others meanwhile too, and nothing of it is left over."""

import collections
import itertools
import os
import random
import resource
import threading
import time

import pytest

import mqttraw as mqtt
from bed import hosts
from levels import assert_back_to, settled_level

OVERLAY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "short-time-wait.yaml")
ADDRESSES = 8  # of the clients: a kernel has some 14,000 ports an address that connect() likes
CONNECTIONS = 10000
AT_ONCE = 100  # begin together, their SYNs back to back
OPEN = 1000  # live at the same time
SAMPLED = 10  # one in so many says something, besides coming and going


def up_options(_mode):
    """TIME-WAIT is short: what it holds is waited for."""
    return ("--clients", ADDRESSES, "--config", OVERLAY)


@pytest.fixture(autouse=True, scope="module")
def enough_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Bystanders:
    """Two clients that were there before: one writes to the other until told to stop."""

    def __init__(self, bed):
        self.publisher, self.subscriber = bed.client("bystander-p"), bed.client("bystander-s")
        self.subscriber.subscribe("bystanders", options=1)
        self.seconds, self.error, self.stop = [], None, threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            while not self.stop.wait(0.01):
                text = b"%d" % len(self.seconds)
                started = time.monotonic()
                self.publisher.publish("bystanders", text, 1)
                assert self.subscriber.payloads(1) == [text]
                self.seconds.append(time.monotonic() - started)
        except (AssertionError, mqtt.Timeout, mqtt.Closed) as error:
            self.error = error

    def leave(self):
        """The seconds that each message took, sorted."""
        self.stop.set()
        self.thread.join()
        assert not self.error, self.error
        assert not self.subscriber.rest(0.2)
        for client in (self.publisher, self.subscriber):
            client.leave()
        return sorted(self.seconds)


class Storm:
    def __init__(self, bed, addresses):
        self.bed = bed
        self.addresses = itertools.cycle(addresses)
        self.live = collections.deque()
        self.count = 0

    def begin(self, count):
        """So many connections, whose handshakes and CONNECTs overlap."""
        names = [f"storm{self.count + number}" for number in range(count)]
        self.count += count
        new = self.bed.strangers(names, self.addresses)
        for client in new:
            client.send(client.connect_packet())
        for client in new:
            client.expect(mqtt.CONNACK)
        for client in new[::SAMPLED]:
            self._exchange(client)
        self.live.extend(new)

    @staticmethod
    def _exchange(client):
        topic = f"storm/{client.client_id}"
        client.subscribe(topic, options=1)
        text = random.randbytes(200)
        client.publish(topic, text, 1, kept=(kept := []))
        assert [found.payload for found in kept] or client.payloads(1) == [text]

    def end(self, count):
        """The oldest go, as clients do: DISCONNECT and a FIN."""
        for _ in range(min(count, len(self.live))):
            self.live.popleft().leave()


def test_connections_by_the_thousand_come_and_go(bed):
    """Within a minute; every one is accepted and answered."""
    count = CONNECTIONS // bed.patience
    before, counted = (settled_level(bed), bed.counters()) if bed.is_stack else (None, None)
    bystanders = Bystanders(bed)
    storm = Storm(bed, [hosts.client_address(index) for index in range(ADDRESSES)])
    started = time.monotonic()
    try:
        while storm.count < count:
            storm.begin(AT_ONCE)
            if len(storm.live) >= OPEN:
                storm.end(AT_ONCE)
        storm.end(len(storm.live))
    finally:
        took = time.monotonic() - started
        latency = bystanders.leave()
        for client in storm.live:
            client.close()
    print(f"{bed.mode}: {count} connections in {took:.1f} s; of {len(latency)} messages meanwhile "
          f"half took {latency[len(latency) // 2] * 1000:.1f} ms, 99 of 100 "
          f"{latency[len(latency) * 99 // 100] * 1000:.1f} ms, the last {latency[-1]:.3f} s")
    assert took < 60
    assert latency[-1] < bed.seconds(1)
    if bed.is_stack:
        assert_back_to(bed, before)
        assert_all_accepted(counted, bed.counters(), count)


def assert_all_accepted(before, after, count):
    accepted = after["connections_accepted_total"] - before["connections_accepted_total"]
    assert accepted == count + 2  # and the bystanders
    for name in ("connections_refused_total", "connections_reset_total", "tcp_syn_dropped_total"):
        grown = {reason: after[name][reason] - before[name][reason] for reason in after[name]}
        # A SYN that came twice is no second connection.
        assert not any(number for reason, number in grown.items() if reason != "repeated"), grown
