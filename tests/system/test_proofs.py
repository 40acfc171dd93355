# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Proofs before capture: mosquitto with access rules, and with Offramp's plugin.

What mosquitto refuses stays refused, and what it allows is captured; rights that are revoked, programs that stop and
start again, and clients that are away change neither what arrives nor how often.
"""

import os
import signal
import time

import pytest

from bed import eventually
from mqttraw import PUBLISH
from entitled import RULES, Flow, Listener, Rules, login, numbered, publish

pytestmark = pytest.mark.in_modes("stack", "workers")

LEASE = 0.5  # s, the default


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    return Rules(tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def guarded(mode, open_bed, rules):
    return open_bed(mode, "--plugin", "defer", "--settings", rules.settings)


def test_what_is_forbidden_stays_forbidden_and_the_rest_is_captured(guarded):
    bed = guarded
    assert eventually(lambda: bed.counters()["broker_streams"] == 1)  # nothing is told before
    readers = {name: Listener(login(bed, user, name, version), "#") for name, user, version in
               (("a", "alice", 4), ("b", "bob", 5), ("c", "carol", 4), ("b2", "bob", 4))}
    writers = {name: login(bed, user, name, version) for name, user, version in
               (("wa", "alice", 5), ("wb", "bob", 4), ("wc", "carol", 4))}
    # (topic, who may write, who may read)
    topics = [("open/x", ("wa", "wb"), ("a", "b", "c", "b2")),
              ("open/secret", ("wa",), ("a", "c")),
              ("closed/x", ("wa",), ("a",)),
              ("of/bob/x", ("wa", "wb"), ("a", "b", "b2", "c")),
              ("of/carol/x", ("wa", "wc"), ("a", "c")),
              ("at/b2/x", ("wa",), ("a", "c", "b2"))]
    count = 0
    for qos in (0, 1, 2):
        for topic, may_write, may_read in topics:
            for name, writer in writers.items():
                for reader in readers.values():
                    reader.got.clear()
                publish(writer, topic, range(40), qos, 0.002)
                wanted = numbered(range(40)) if name in may_write else []
                for who, reader in readers.items():
                    expected = wanted if who in may_read else []
                    eventually(lambda r=reader, e=expected: len(r.payloads(topic)) >= len(e), 5)
                    if not expected:
                        time.sleep(0.02)
                    assert reader.payloads(topic) == expected, (qos, topic, name, who)
                count += len(wanted)
    captured = sum(bed.counters()["publish_captured_total"].values())
    # Of each burst of 40 the first asks, and what comes while the answer is awaited passes, too.
    assert captured >= 0.9 * count, (captured, count)
    for reader in readers.values():
        reader.stop()


def test_allowed_traffic_is_captured_after_a_second(guarded):
    bed = guarded
    bob, alice = Listener(login(bed, "bob", "b"), "#"), login(bed, "alice", "a")
    carol = Listener(login(bed, "carol", "c", 5), "open/#")
    topics = [f"open/{n}" for n in range(50)] + ["open/secret"]
    begun = time.monotonic()
    number = 0
    while time.monotonic() < begun + 1:
        for topic in topics:
            alice.publish(topic, b"%d" % number, number % 2)
        number += 1
        time.sleep(0.02)
    before = bed.counters()["publish_captured_total"]
    for _ in range(40):
        for topic in topics:
            alice.publish(topic, b"%d" % number, number % 2)
        number += 1
        time.sleep(0.02)
    after = bed.counters()["publish_captured_total"]
    captured = sum(after.values()) - sum(before.values())
    assert captured >= 0.95 * 40 * len(topics), (captured, bed.counters()["publish_passed_total"])
    for topic in topics:
        for who, reader in (("bob", bob), ("carol", carol)):
            expected = [] if who == "bob" and topic == "open/secret" else \
                numbered(range(number))
            eventually(lambda r=reader, e=expected, t=topic: len(r.payloads(t)) >= len(e), 5)
            assert reader.payloads(topic) == expected, (topic, who)
    bob.stop()
    carol.stop()


def test_a_reload_revokes_under_load(guarded, rules, record_property):
    bed = guarded
    bob, carol = (Listener(login(bed, user, user), "open/x") for user in ("bob", "carol"))
    flow = Flow(login(bed, "alice", "a"), "open/x", 1)
    flow.start()
    time.sleep(1)
    lags = []
    for _ in range(3):
        rules.write(RULES.replace("topic read open/#\n", ""))
        before = sum(bed.counters()["publish_captured_total"].values())
        assert before > 0
        at = time.monotonic()
        os.kill(bed.pid("broker"), signal.SIGHUP)
        time.sleep(1)
        late = [when - at for when, *_ in bob.got if when > at]
        lags.append(max(late, default=0))
        assert lags[-1] < LEASE, lags
        # The others go on, and are captured again.
        assert eventually(
            lambda b=before: sum(bed.counters()["publish_captured_total"].values()) > b + 100)
        rules.write(RULES)
        got = len(bob.got)
        os.kill(bed.pid("broker"), signal.SIGHUP)
        assert eventually(lambda g=got: len(bob.got) > g + 100)
    flow.stop()
    expected = numbered(range(flow.count))
    assert eventually(lambda: len(carol.payloads("open/x")) >= len(expected), 5)
    assert carol.payloads("open/x") == expected
    record_property("lag_ms", round(max(lags) * 1000))
    print(f"a revoked right served for {max(lags) * 1000:.0f} ms at most")
    bob.stop()
    carol.stop()


def test_a_broker_that_stands_still(guarded):
    bed = guarded
    bob = Listener(login(bed, "bob", "b"), "open/x")
    flow = Flow(login(bed, "alice", "a"), "open/x", 0, 0.002)
    flow.start()
    time.sleep(1)
    assert sum(bed.counters()["publish_captured_total"].values()) > 0
    os.kill(bed.pid("broker"), signal.SIGSTOP)
    time.sleep(1.5)
    captured = sum(bed.counters()["publish_captured_total"].values())
    time.sleep(0.2)
    assert sum(bed.counters()["publish_captured_total"].values()) == captured
    assert bed.counters()["publish_passed_total"]["stream"] > 0
    os.kill(bed.pid("broker"), signal.SIGCONT)
    assert eventually(
        lambda: sum(bed.counters()["publish_captured_total"].values()) > captured + 50)
    flow.stop()
    expected = numbered(range(flow.count))
    assert eventually(lambda: len(bob.payloads("open/x")) >= len(expected), 5)
    assert bob.payloads("open/x") == expected
    bob.stop()


# With several workers such messages pass (docs/decisions/0018).
@pytest.mark.in_modes("stack")
def test_who_is_away_gets_it_from_the_broker(guarded):
    bed = guarded
    carol = Listener(login(bed, "carol", "c"), "open/x")
    bob = login(bed, "bob", "b", clean=False)
    bob.subscribe("open/x", options=1)
    alice = login(bed, "alice", "a")
    number = 0
    publish(alice, "open/x", range(50), 1)
    number += 50
    got = [message.payload for message in bob.messages(50)]
    for _ in range(3):
        before = bed.counters()["publish_split_total"]
        bob.leave()
        publish(alice, "open/x", range(number, number + 100), 1)
        number += 100
        assert bed.counters()["publish_split_total"] >= before + 80, \
            bed.counters()["publish_passed_total"]
        flow = Flow(alice, "open/x", 1)
        flow.count = number
        flow.start()
        time.sleep(0.1)
        bob = login(bed, "bob", "b", clean=False)
        time.sleep(0.3)
        flow.stop()
        number = flow.count
        got += [message.payload for message in bob.rest(0.5) if message.kind == PUBLISH]
        assert got == numbered(range(number))
    assert eventually(lambda: len(carol.payloads("open/x")) >= number, 5)
    assert carol.payloads("open/x") == numbered(range(number))
    bob.leave()
    carol.stop()


@pytest.mark.parametrize("who", ("broker", "daemon"))
def test_programs_start_again(guarded, who):
    bed = guarded
    for _ in range(2):
        bob, alice = Listener(login(bed, "bob", "b"), "#"), login(bed, "alice", "a")
        count = 0
        before = sum(bed.counters()["publish_captured_total"].values())
        while sum(bed.counters()["publish_captured_total"].values()) < before + 20:
            assert count < 1000, bed.counters()["publish_passed_total"]
            publish(alice, "open/x", range(count, count + 20), 1)
            alice.publish("open/secret", b"no", 1)
            count += 20
        assert eventually(lambda: len(bob.got) >= count, 5)
        assert bob.payloads("open/x") == numbered(range(count))
        assert bob.payloads("open/secret") == []
        bob.stop()
        bed.tool("stop", who)
        bed.tool("start", who)
