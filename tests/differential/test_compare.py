#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The differential test can fail: every kind of harm done to a trace is found, and every freedom of
the specification is none. No broker is needed: the traces are written here.
"""

import copy
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import generate  # noqa: E402
import program as programs  # noqa: E402
import shrink  # noqa: E402
from compare import compare  # noqa: E402
from excuse import late, may_be_chance  # noqa: E402

PUBLISHER, SUBSCRIBER, RESUMER = range(3)
PROPS = [["user_property", ["a", "1"]], ["user_property", ["b", "2"]], ["message_expiry", 600],
         ["content_type", "text"]]


def publish(number, topic, qos=1, size=40, props=()):
    return ["publish", {"id": number, "topic": topic, "qos": qos, "retain": False, "size": size,
                        "props": list(props), "alias": None}]


def script(*ops, write="joined"):
    return {"write": write, "hold": False, "ops": list(ops)}


CONNECT = ["connect", {"clean": True, "keep_alive": 60, "expiry": 0}]
RESUME = ["connect", {"clean": False, "keep_alive": 60, "expiry": 600}]

# One client publishes, one is there all the time, one goes and comes back.
PROGRAM = {
    "seed": 0, "clients": [{"version": 5}] * 3,
    "steps": [
        {"0": script(CONNECT), "1": script(CONNECT, ["subscribe", [["~/#", 1], ["~/a", 1]], 7]),
         "2": script(RESUME, ["subscribe", [["~/a", 1]], None])},
        {"0": script(*[publish(number, "~/a", props=PROPS) for number in (1, 2, 3)],
                     publish(4, "~/b"), publish(5, "~/b", qos=0), publish(6, "~/a", qos=2),
                     publish(9, "~/c", qos=2))},
        {"0": script(publish(7, "~/a"), publish(8, "~/a", qos=0)),
         "2": script(["leave", "rst"])},
        {"2": script(RESUME)},
    ],
}


def copy_of(number, topic, qos=1, props=(), step=1, dup=False):
    return [topic, qos, False, dup, number, "", [list(prop) for prop in props], step]


def record(step, present=False):
    return {"step": step, "connack": [present, 0, [["topic_alias_maximum", 10]]], "acks": [],
            "granted": {}, "deliveries": [], "told": None, "reset": False, "anomalies": []}


def trace():
    """What a broker makes of PROGRAM."""
    publisher, subscriber, first, second = record(0), record(0), record(0), record(3, True)
    publisher["acks"] = [["PUBACK", 1, 0, ""], ["PUBACK", 2, 0, ""], ["PUBACK", 3, 0, ""],
                         ["PUBACK", 4, 16, ""], ["PUBREC", 6, 0, ""], ["PUBREC", 9, 0, ""],
                         ["PUBCOMP", 6, 0, ""], ["PUBACK", 7, 0, ""], ["PUBCOMP", 9, 0, ""]]
    subscriber["granted"], first["granted"] = {"0.1": [1, 1]}, {"0.1": [1]}
    for number in (1, 2, 3):
        for _ in range(2):
            subscriber["deliveries"].append(copy_of(number, "~/a",
                                                    props=PROPS + [["subscription_id", 7]]))
        first["deliveries"].append(copy_of(number, "~/a", props=PROPS))
    subscriber["deliveries"] += [copy_of(4, "~/b"), copy_of(5, "~/b", 0), copy_of(6, "~/a")]
    first["deliveries"].append(copy_of(6, "~/a"))
    subscriber["deliveries"] += [copy_of(7, "~/a", step=2), copy_of(8, "~/a", 0, step=2)]
    second["deliveries"].append(copy_of(7, "~/a", step=3))
    return {PUBLISHER: [publisher], SUBSCRIBER: [subscriber], RESUMER: [first, second]}


class Comparison(unittest.TestCase):
    def setUp(self):
        self.alone, self.offramp = trace(), trace()
        self.seen = self.offramp[SUBSCRIBER][0]["deliveries"]

    def differences(self):
        return compare(PROGRAM, self.alone, self.offramp)

    def assert_found(self):
        self.assertTrue(self.differences())

    def assert_equal(self):
        self.assertEqual(self.differences(), [])

    def test_equal_traces_are_equal(self):
        self.assert_equal()


# name → what is done to the trace that Offramp gave
HARM = {
    "a_lost_message": lambda t: t[SUBSCRIBER][0]["deliveries"].pop(6),
    "a_lost_copy_of_several": lambda t: t[SUBSCRIBER][0]["deliveries"].pop(0),
    "a_lost_message_at_qos_0": lambda t: t[SUBSCRIBER][0]["deliveries"].pop(7),
    "a_lost_message_of_a_resumed_session": lambda t: t[RESUMER][1]["deliveries"].clear(),
    "a_doubled_message": lambda t: t[SUBSCRIBER][0]["deliveries"].insert(
        6, copy_of(4, "~/b")),
    "a_doubled_message_with_dup": lambda t: t[RESUMER][0]["deliveries"].insert(
        1, copy_of(1, "~/a", props=PROPS)),
    "two_messages_of_a_topic_exchanged": lambda t: _swap(t[RESUMER][0]["deliveries"], 0, 1),
    "copies_of_two_messages_mixed": lambda t: _swap(t[SUBSCRIBER][0]["deliveries"], 1, 2),
    "a_message_nobody_sent": lambda t: t[SUBSCRIBER][0]["deliveries"].append(
        copy_of(99, "~/a")),
    "a_message_to_who_did_not_ask": lambda t: t[PUBLISHER][0]["deliveries"].append(
        copy_of(4, "~/b")),
    "another_topic": lambda t: _set(t, 6, 0, "~/c"),
    "another_qos": lambda t: _set(t, 6, 1, 0),
    "retain_set": lambda t: _set(t, 6, 2, True),
    "an_altered_payload": lambda t: _set(t, 6, 5, "40 B 01234567"),
    "a_lost_property": lambda t: t[SUBSCRIBER][0]["deliveries"][0][6].pop(0),
    "user_properties_exchanged": lambda t: _swap(t[SUBSCRIBER][0]["deliveries"][0][6], 0, 1),
    "an_expiry_that_grew": lambda t: _expiry(t, 601),
    "an_expiry_that_shrank_much": lambda t: _expiry(t, 300),
    "a_lost_subscription_identifier": lambda t: t[SUBSCRIBER][0]["deliveries"][0][6].pop(),
    "a_missing_puback": lambda t: t[PUBLISHER][0]["acks"].pop(0),
    "a_missing_pubrec": lambda t: t[PUBLISHER][0]["acks"].pop(4),
    "a_missing_pubcomp": lambda t: t[PUBLISHER][0]["acks"].pop(6),
    "pubacks_exchanged": lambda t: _swap(t[PUBLISHER][0]["acks"], 0, 1),
    "another_reason": lambda t: t[PUBLISHER][0]["acks"][0].__setitem__(2, 16),
    "a_reason_string": lambda t: t[PUBLISHER][0]["acks"][0].__setitem__(3, "041f0001"),
    "another_granted_qos": lambda t: t[SUBSCRIBER][0]["granted"].update({"0.1": [1, 0]}),
    "a_missing_suback": lambda t: t[SUBSCRIBER][0]["granted"].clear(),
    "a_session_not_present": lambda t: t[RESUMER][1]["connack"].__setitem__(0, False),
    "another_connack_property": lambda t: t[RESUMER][1]["connack"][2].pop(),
    "a_connection_closed": lambda t: t[SUBSCRIBER][0]["anomalies"].append("closed"),
    "a_disconnect_of_the_broker": lambda t: t[SUBSCRIBER][0].update(told=0x8e),
    "a_missing_connection": lambda t: t[RESUMER].pop(),
}

# What two correct brokers may do differently.
FREEDOM = {
    "topics_interleaved": lambda t: t[SUBSCRIBER][0]["deliveries"].insert(
        0, t[SUBSCRIBER][0]["deliveries"].pop(6)),
    "qos_interleaved": lambda t: _swap(t[SUBSCRIBER][0]["deliveries"], 6, 7),
    "dup": lambda t: _set(t, 6, 3, True),
    "a_reset": lambda t: t[SUBSCRIBER][0].update(reset=True),
    "puback_and_pubrec_interleaved": lambda t: _swap(t[PUBLISHER][0]["acks"], 3, 4),
    "pubcomps_exchanged": lambda t: _swap(t[PUBLISHER][0]["acks"], 6, 8),
    "an_expiry_less_by_a_second": lambda t: _expiry(t, 599),
    "properties_of_other_kinds_exchanged": lambda t: _swap(
        t[SUBSCRIBER][0]["deliveries"][0][6], 2, 3),
    "an_empty_property_length": lambda t: t[PUBLISHER][0]["acks"][3].__setitem__(3, "00"),
    "sent_again_to_a_resumed_session": lambda t: t[RESUMER][0]["deliveries"].append(
        copy_of(7, "~/a", step=2)),
    "qos_0_to_one_that_leaves": lambda t: t[RESUMER][0]["deliveries"].append(
        copy_of(8, "~/a", 0, step=2)),
}


def _swap(items, one, other):
    items[one], items[other] = items[other], items[one]


def _set(all_, number, field, value):
    all_[SUBSCRIBER][0]["deliveries"][number][field] = value


def _expiry(all_, value):
    for delivery in all_[SUBSCRIBER][0]["deliveries"]:
        for prop in delivery[6]:
            if prop[0] == "message_expiry":
                prop[1] = value


def _case(harm, check):
    def test(self):
        harm(self.offramp)
        getattr(self, check)()
    return test


for _name, _harm in HARM.items():
    setattr(Comparison, f"test_{_name}_is_found", _case(_harm, "assert_found"))
for _name, _freedom in FREEDOM.items():
    setattr(Comparison, f"test_{_name}_is_freedom", _case(_freedom, "assert_equal"))


# What is excused when it is not seen again. No other harm is.
TELLING = {"another_reason", "a_reason_string", "a_disconnect_of_the_broker"}


def _excuse_case(name):
    def test(self):
        HARM[name](self.offramp)
        self.assertEqual(may_be_chance(self.differences()), name in TELLING)
    return test


for _name in HARM:
    _what = "is_excused" if _name in TELLING else "is_never_excused"
    setattr(Comparison, f"test_{_name}_{_what}", _excuse_case(_name))


class Late(unittest.TestCase):
    """Somebody ran out of time, with Offramp or without."""

    def differences(self, harm, alone=False):
        traces = {True: trace(), False: trace()}
        traces[alone][RESUMER][0]["anomalies"].append(late("stuck"))
        harm(traces[False])
        return compare(PROGRAM, traces[True], traces[False])

    def test_what_is_missing_then_is_excused(self):
        for alone in (False, True):
            for name in ("a_lost_message", "a_missing_puback", "a_missing_connection"):
                found = self.differences(HARM[name], alone)
                self.assertTrue(found and may_be_chance(found), name)

    def test_to_be_late_is_a_difference(self):
        found = self.differences(lambda trace: None)
        self.assertTrue(found and may_be_chance(found))

    def test_what_came_is_judged(self):
        for name in ("two_messages_of_a_topic_exchanged", "a_message_nobody_sent", "another_topic",
                     "a_doubled_message", "a_connection_closed"):
            self.assertFalse(may_be_chance(self.differences(HARM[name])), name)


class Races(unittest.TestCase):
    """What races is not compared, but still must make sense."""

    def racing(self):
        changed = copy.deepcopy(PROGRAM)
        changed["steps"][1]["1"] = script(["unsubscribe", ["~/#", "~/a"]])
        return changed

    def test_a_message_that_meets_an_unsubscribe_is_chance(self):
        offramp = trace()
        del offramp[SUBSCRIBER][0]["deliveries"][4:9]
        self.assertTrue(compare(PROGRAM, trace(), offramp))
        self.assertEqual(compare(self.racing(), trace(), offramp), [])

    def test_disorder_is_found_though_it_is_chance_what_comes(self):
        offramp = trace()
        deliveries = offramp[SUBSCRIBER][0]["deliveries"]
        deliveries[0:4] = deliveries[2:4] + deliveries[0:2]
        self.assertTrue(compare(self.racing(), trace(), offramp))

    def test_a_copy_too_many_is_found_though_it_is_chance_what_comes(self):
        offramp = trace()
        deliveries = offramp[SUBSCRIBER][0]["deliveries"]
        deliveries.insert(0, copy.deepcopy(deliveries[0]))
        self.assertTrue(compare(self.racing(), trace(), offramp))

    def test_what_is_published_again_unacknowledged_is_no_copy_too_many(self):
        changed = copy.deepcopy(PROGRAM)
        changed["steps"][1]["0"]["ops"].append(["leave", "disconnect"])
        alone, offramp = trace(), trace()
        for one in (alone, offramp):
            _set(one, 6, 1, 0)
        self.assertEqual(compare(changed, alone, offramp), [])
        offramp[SUBSCRIBER][0]["deliveries"].append(copy_of(4, "~/b", 0))
        self.assertTrue(compare(PROGRAM, alone, offramp))
        self.assertEqual(compare(changed, alone, offramp), [])
        offramp[SUBSCRIBER][0]["deliveries"].append(copy_of(5, "~/b", 0))  # published at QoS 0
        self.assertTrue(compare(changed, alone, offramp))


class Generator(unittest.TestCase):
    def test_a_seed_always_gives_the_same_program(self):
        for seed in range(50):
            self.assertEqual(generate.generate(seed), generate.generate(seed))

    def test_a_program_survives_being_kept_as_json(self):
        for seed in range(50):
            made = generate.generate(seed)
            self.assertEqual(programs.json.loads(programs.dump(made)), made)

    def test_every_feature_is_met(self):
        text = "".join(programs.dump(generate.generate(seed)) for seed in range(400))
        for feature in ('"version": 3', '"version": 4', '"version": 5', '"assigned": true',
                        '"qos": 2', '"retain": true', '"will"', '"alias": [', "message_expiry",
                        "$share/", '"unsubscribe"', '"exclusive": true', "receive_maximum",
                        "maximum_packet", "alias_maximum", '"hold": true', '"split"',
                        *[f'["leave", "{how}"]' for how in programs.LEAVES], "illegal:"):
            self.assertIn(feature, text)


class Shrinking(unittest.TestCase):
    def test_a_program_is_reduced_to_what_matters(self):
        def matters(program):
            return any(message["retain"] and message["qos"] == 2
                       for _, _, _, message in programs.messages(program))

        made = next(made for made in map(generate.generate, range(1000)) if matters(made))
        small = shrink.shrink(made, matters, tries=2000)
        self.assertTrue(matters(small))
        ops = [op for _, _, one in programs.scripts(small) for op in one["ops"]]
        self.assertEqual([op[0] for op in ops], ["connect", "publish"])


if __name__ == "__main__":
    unittest.main()
