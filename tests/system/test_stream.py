# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The broker's stream as it comes and goes: a broker that is stopped, killed, or slow to come back.

Whatever becomes of the stream, every message arrives, once; with it, they are captured.
"""

import json
import os
import signal
import time

import pytest

from bed import BUILD, eventually

pytestmark = pytest.mark.stack_only

LEASE_S = 0.5
GIVEN_UP_S = 30  # keep-alive: 10 s until it is asked, 5 s for the answer


def up_options(_mode):
    return ("--plugin", "--config", os.path.join(os.path.dirname(__file__), "told.yaml"))


def told(bed):
    """What offramp status says of the stream."""
    done = bed.run(os.path.join(BUILD, "offramp"), "status", "--json", host="offramp")
    return json.loads(done.stdout)["brokers"][0]["stream"]


def begun(bed):
    return sum(bed.counters()["broker_streams_begun_total"].values())


def captured(bed):
    return sum(bed.counters()["publish_captured_total"].values())


def flows(bed, topic):
    """Messages arrive, and after the first ones they are captured."""
    with bed.client(f"sub-{topic}") as subscriber, bed.client(f"pub-{topic}") as publisher:
        subscriber.subscribe(f"{topic}/#")  # at QoS 1 it would have to answer meanwhile
        before, sent = captured(bed), 0
        deadline = time.monotonic() + bed.seconds(20)
        while captured(bed) == before and time.monotonic() < deadline:
            publisher.publish(f"{topic}/a", b"%d" % sent, qos=1)
            sent += 1
            time.sleep(0.05)
        payloads = subscriber.payloads(sent)
        assert payloads == [b"%d" % number for number in range(sent)]
        assert captured(bed) > before, told(bed)


def test_what_the_broker_tells_lets_messages_be_captured(bed):
    assert eventually(lambda: told(bed)["lease_s"] > 0, bed.seconds(20))
    assert told(bed)["software"].startswith("mosquitto")
    flows(bed, "tells")


@pytest.mark.full
def test_a_stopped_broker_is_not_relied_on_and_costs_no_connection(bed):
    assert eventually(lambda: told(bed)["lease_s"] > 0, bed.seconds(20))
    streams = begun(bed)
    os.kill(bed.pid("broker"), signal.SIGSTOP)
    try:
        assert eventually(lambda: told(bed)["lease_s"] == 0, bed.seconds(4 * LEASE_S))
        assert told(bed)["connected"]
        assert eventually(lambda: not told(bed)["connected"], bed.seconds(GIVEN_UP_S))
    finally:
        os.kill(bed.pid("broker"), signal.SIGCONT)
    assert eventually(lambda: told(bed)["lease_s"] > 0, bed.seconds(30))
    assert begun(bed) > streams
    flows(bed, "stopped")


def test_a_short_stop_ends_the_lease_and_not_the_stream(bed):
    assert eventually(lambda: told(bed)["lease_s"] > 0, bed.seconds(20))
    streams = begun(bed)
    os.kill(bed.pid("broker"), signal.SIGSTOP)
    try:
        assert eventually(lambda: told(bed)["lease_s"] == 0, bed.seconds(4 * LEASE_S))
    finally:
        os.kill(bed.pid("broker"), signal.SIGCONT)
    assert eventually(lambda: told(bed)["lease_s"] > 0, bed.seconds(5))
    assert begun(bed) == streams
    flows(bed, "short")


@pytest.mark.parametrize("who", ["broker", "daemon"])
def test_either_end_may_be_killed_and_come_back(module_bed, who):
    bed = module_bed
    bed.tool("stop", who, "--signal", "KILL")
    if who == "broker":
        assert eventually(lambda: not told(bed)["connected"], bed.seconds(5))
        assert told(bed)["ended"] == "the broker's stream has ended"
    bed.tool("start", who)
    assert eventually(lambda: told(bed)["lease_s"] > 0, bed.seconds(30))
    flows(bed, f"killed-{who}")
