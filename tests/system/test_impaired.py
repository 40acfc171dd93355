# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Clients and broker over bad wires: 2 % loss, reordering and duplication at both of the daemon's ports.

What test_publish.py and test_volume.py expect holds here too: TCP mends all of it, and MQTT loses,
doubles and reorders nothing. Needs a daemon built with -Dimpair=true.
"""

import subprocess
import types

import pytest

import bed as beds
import mqttraw as mqtt
import test_publish
import test_volume
from test_publish import make, topic  # noqa: F401
from test_volume import enough_files  # noqa: F401

IMPAIR = "loss=2%,reorder=1%,duplicate=1%"

pytestmark = pytest.mark.stack_only


@pytest.fixture(autouse=True, scope="module")
def built_with_impairment(mode, tmp_path_factory):
    """Asks the daemon: a build without names the key that it refuses."""
    file = tmp_path_factory.mktemp("impaired") / "offrampd.yaml"
    file.write_text("mode: stack\n"
                    "ports: [{name: a, device: net_null0, addresses: [198.18.0.1/16],"
                    " impair: {loss: 2%}}]\n"
                    "brokers: [{name: b, listen: '198.18.0.1:1883', address: '198.18.0.2:1883'}]\n")
    done = subprocess.run([f"{beds.BUILD}/offrampd", "-c", file, "--test-config"], text=True,
                          capture_output=True, timeout=20)
    if done.returncode:
        assert "built without impairment" in done.stderr, done.stderr
        pytest.skip("the daemon is built without -Dimpair=true")


def up_options(_mode):
    return ("--impair", IMPAIR, "--timeout", 60)


# The tests of test_publish.py on this module's testbed: those in which order and number of
# messages are all that matters, and in the full run every one.
CORE = {
    "test_versions_and_qos_mix",
    "test_pubacks_come_in_the_order_of_publishes",
    "test_order_is_kept_where_the_path_changes",
    "test_own_message_right_after_subscribe_in_one_segment",
    "test_paho_clients",
}
# Not true of any TCP over such a wire.
EXCEPT = {
    # A retransmission takes longer than they wait.
    "test_receive_maximum_is_one_budget",
    "test_a_publisher_with_nagle_is_not_held_up",
    # A kernel that closes with bytes unread sends a RST: once, and ahead of what was lost.
    "test_a_close_reaches_the_broker_before_later_connections",
    "test_a_disconnect_counts_though_a_reset_follows",
}


def adopt(name):
    """A copy: marks of its own."""
    original = getattr(test_publish, name)
    copy = types.FunctionType(original.__code__, original.__globals__, name,
                              original.__defaults__, original.__closure__)
    copy.__dict__.update(original.__dict__)
    copy.__doc__ = original.__doc__
    return copy if name in CORE else pytest.mark.full(copy)


for _name in dir(test_publish):
    if _name.startswith("test_") and _name not in EXCEPT:
        globals()[_name] = adopt(_name)


def harm(bed):
    return bed.counters()["packets_impaired_total"]


@pytest.mark.parametrize("subscribers,count", [
    (20, 300), pytest.param(200, 2000, marks=pytest.mark.full)])
def test_volume_one_to_many(bed, subscribers, count):
    """Compared byte for byte: see test_volume.py."""
    before = harm(bed)
    test_volume.one_to_many(bed, subscribers,
                            test_volume.numbered("impaired/fan", count, 200), "impaired/fan")
    after = harm(bed)
    for kind in ("lost", "duplicated", "reordered"):
        assert after[kind] > before[kind], "the wires were not bad"


@pytest.mark.parametrize("qos", [0, 1])
def test_volume_bench_sees_nothing_wrong(bed, qos):
    """Nothing lost, doubled, reordered or corrupted; in QoS 1 nothing acknowledged twice."""
    for shape in (["-P", 1, "-S", 50, "-t", "one-to-many", "-n", 40],
                  ["-P", 20, "-S", 1, "-t", "many-to-one", "-n", 20],
                  ["-P", 10, "-S", 10, "-t", "all-to-all", "-n", 10]):
        result = bed.bench(*shape, "-q", qos, "--nagle", "--closed", "--warmup", 0, "--quiet")
        wrong = {key: result[key] for key in ("lost", "duplicated", "reordered", "corrupted",
                                              "unexpected", "connections_lost", "refused")}
        assert not any(wrong.values()), (shape, wrong)
        assert result["delivered"] == result["expected"] > 0


def test_volume_large_messages(bed):
    """Messages of many segments, through the broker and past it."""
    publisher, subscriber = bed.client("impaired-p"), bed.client("impaired-s")
    subscriber.subscribe("impaired/large")
    for turn in range(10):
        for size in (3000, 70000):
            payload = bytes([turn]) * size
            publisher.send(mqtt.publish("impaired/large", payload))
            assert subscriber.expect(mqtt.PUBLISH).payload == payload
    publisher.leave()
    subscriber.leave()
