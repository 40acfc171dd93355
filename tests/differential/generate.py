# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Makes a program from a seed.

Each program draws which features it has at all, so that each combination is met, and programs with
few of them shrink to little. Two things are kept apart by the generator because no comparison could
judge them: a retained message and, in the same step, another client that publishes to the topic
retained or subscribes to it.
"""

import random

import program as programs

# Probability that a program has the feature.
FEATURES = {
    "qos1": 0.8, "qos2": 0.4, "retain": 0.35, "persistent": 0.4, "unsubscribe": 0.5,
    "wildcards": 0.8, "v5_properties": 0.5, "aliases": 0.35, "wills": 0.35, "large": 0.25,
    "empty": 0.25, "hold": 0.3, "split": 0.5, "joined": 0.85, "cut": 0.5, "leave": 0.7,
    "reset": 0.3, "silence": 0.05, "illegal": 0.15, "takeover": 0.3, "share": 0.12,
    "maximum_packet": 0.2, "receive_maximum": 0.3, "identifiers": 0.4, "no_local": 0.3,
    "retain_as_published": 0.4, "retain_handling": 0.4, "alias_maximum": 0.3, "assigned": 0.1,
    "dollar": 0.08, "root": 0.04, "bursts": 0.5, "storms": 0.6, "old": 0.3,
}
TOPICS = ("~/a", "~/b", "~/a/b", "~/a/b/c", "~//b", "~/a/", "~/ä", "~/b/a", "~/$x", "~/a b/c",
          "~/a/b/c/d/e/f/g/h/i/j")
WILDCARDS = ("~/#", "~/+", "~/+/b", "~/a/#", "~/a/+", "~/+/+", "~/+/#", "~/a/+/c", "~/a/b/#",
             "~/+/b/#", "~/b/#")
ROOTS = ("#", "+/a", "+/#", "+/+", "+/a/b")
DOLLAR = "$d/~/a"
DOLLAR_FILTERS = ("$d/~/#", "$d/~/+", "$d/~/a")
SHARED = ("~/sh/a", "~/sh/b")
SHARES = ("$share/g/~/sh/a", "$share/h/~/sh/b")
SIZES = (20, 40, 60, 100, 118, 119, 120, 121, 125, 126, 127, 128, 129, 300, 1000, 1400, 1500, 2100)
LARGE = (4000, 16200, 16370, 16384, 16500, 33000, 70000, 140000)
ILLEGAL = ("reserved", "length", "qos3", "flags", "wildcard", "second_connect", "nul")
STEPS = (3, 9)
CLIENTS = (2, 7)
WILL_MAX = 33000  # its length has two bytes
BURST = 12
CUT_MAX = 10  # messages that are left without an answer


class State:
    """What the generator knows of a client."""

    def __init__(self, version):
        self.version = version
        self.connected = self.persistent = self.is_small = False
        self.will = None
        self.filters = []  # subscribed; perhaps more than the broker keeps
        self.aliases = {}  # number → topic, on this connection


class Step:
    """What clients have claimed in this step."""

    def __init__(self, traffic, changes):
        self.traffic, self.changes = traffic, changes
        self.retained = {}  # topic → the client that publishes it retained
        self.wanted = {}  # filter → clients that subscribe it

    def may_retain(self, slot, topic):
        owner = self.retained.get(topic, slot)
        return owner == slot and not any(
            programs.matches(pattern, topic) and whom - {slot}
            for pattern, whom in self.wanted.items())

    def may_subscribe(self, slot, pattern):
        return not any(programs.matches(pattern, topic) and owner != slot
                       for topic, owner in self.retained.items())


class Generator:
    def __init__(self, seed, features=None):
        self.random = random.Random(seed)
        self.seed, self.number = seed, 0
        self.features = {name for name, share in (features or FEATURES).items()
                         if self._chance(share)}
        self.topics = self.random.sample(TOPICS, self.random.randint(1, 5))
        if "share" in self.features:
            self.topics += SHARED
        if "dollar" in self.features:
            self.topics.append(DOLLAR)
        versions = [4, 5] + ([3] if self._has("old") else [])
        if self._chance(0.3):
            versions = [self.random.choice(versions)]
        self.states = [State(self.random.choice(versions))
                       for _ in range(self.random.randint(*CLIENTS))]
        # Some clients mostly listen, some mostly speak.
        self.speaks = [self.random.choice((0.1, 0.5, 0.9)) for _ in self.states]

    def _has(self, feature):
        return feature in self.features

    def _chance(self, share):
        return self.random.random() < share

    def _may(self, feature, share):
        return self._has(feature) and self._chance(share)

    def program(self):
        clients = [{"version": state.version,
                    "assigned": state.version > 3 and self._may("assigned", 0.3)}
                   for state in self.states]
        for made, state in zip(clients, self.states):
            state.assigned = made["assigned"]
        steps = [self._step(Step(traffic=False, changes=True), first=True)]
        for _ in range(self.random.randint(*STEPS)):
            traffic = self._chance(0.75)
            steps.append(self._step(Step(traffic, not traffic or self._may("storms", 0.4))))
        return {"seed": self.seed, "exclusive": self._has("root"), "clients": clients,
                "steps": [step for step in steps if step]}

    def _step(self, step, first=False):
        made = {}
        order = list(range(len(self.states)))
        self.random.shuffle(order)
        for slot in order:
            script = self._script(step, slot, first)
            if script["ops"]:
                made[str(slot)] = script
        return dict(sorted(made.items()))

    # Scripts

    def _script(self, step, slot, first):
        state, ops = self.states[slot], []
        write = self.random.choice(["each"] + ["joined"] * 2 * self._has("joined")
                                   + ["split"] * self._has("split"))
        if not state.connected:
            if not self._chance(0.85 if first else 0.5 if step.changes else 0.15):
                return {"write": write, "hold": False, "ops": []}
            ops.append(self._connect(state, slot))
            if self._chance(0.7):
                ops += self._subscribe(step, state, slot)
        elif step.changes and self._may("takeover", 0.15) and self._can_leave(step, slot):
            if state.will and state.will["retain"]:
                step.retained[state.will["topic"]] = slot
            ops.append(self._connect(state, slot))
        elif step.changes and self._chance(0.4):
            ops += self._subscribe(step, state, slot)
        elif step.changes and self._may("unsubscribe", 0.3) and state.filters:
            ops.append(["unsubscribe", self._some(state.filters, 2)])
        how = None
        if step.changes and not first and self._chance(0.25) and self._can_leave(step, slot):
            how = self._leave(state)
        if how == "rst" and ops:
            write = "each"  # it would be chance whether the broker ever reads these
        cut = bool(how) and how != "silence" and write != "each"
        # What is pipelined behind a CONNECT must not use aliases: nobody has said how many.
        fresh = bool(ops) and ops[0][0] == "connect" and write != "each"
        if step.traffic and self._chance(self.speaks[slot]) or self._chance(0.1):
            ops += self._burst(step, state, slot, cut, fresh)
            if self._may("unsubscribe", 0.1) and state.filters and step.changes:
                ops.append(["unsubscribe", self._some(state.filters, 2)])
        if self._chance(0.1):
            ops.append(["ping"])
        if how:
            if state.will and state.will["retain"] and how != "disconnect":
                step.retained[state.will["topic"]] = slot
            ops.append(["leave", how])
            state.connected, state.will = False, None
        return {"write": write, "hold": not how and self._may("hold", 0.3), "ops": ops}

    def _some(self, items, count):
        return self.random.sample(items, min(len(items), self.random.randint(1, count)))

    def _can_leave(self, step, slot):
        will = self.states[slot].will
        return not (will and will["retain"]) or step.may_retain(slot, will["topic"])

    def _leave(self, state):
        ways = ["disconnect"] * 3
        if self._has("leave"):
            ways += ["fin"] * 2 + ["disconnect_will"] * (state.version == 5)
            ways += ["disconnect_expire"] * (state.version == 5 and state.persistent)
        if self._has("reset"):
            ways += ["rst"] * 2
        if self._has("illegal"):
            ways += ["illegal:" + self.random.choice(ILLEGAL)]
        if state.keep_alive <= 2:
            ways += ["silence"] * 3
        how = self.random.choice(ways)
        if how == "disconnect_expire":
            state.persistent = False
        return how

    # Operations

    def _connect(self, state, slot):
        state.connected, state.aliases, five = True, {}, state.version == 5
        persistent = self._may("persistent", 0.6) and not (state.assigned and not five)
        options = {"clean": not persistent if not five else not persistent or self._chance(0.1),
                   "keep_alive": 2 if self._may("silence", 0.5) else self.random.choice((0, 60))}
        if state.assigned and not five:
            options["clean"] = True
        if five:
            options["expiry"] = self.random.choice((3600, programs.FOREVER)) if persistent else 0
            if self._may("receive_maximum", 0.5):
                options["receive_maximum"] = self.random.choice((1, 2, 3, 10, 100))
            # At QoS 1 and 2 mosquitto 2.0.11 sometimes loses what is not too large, see _options(),
            # and it leaves subscription identifiers out of its sum.
            if not persistent and options["clean"] and self._may("maximum_packet", 0.5):
                options["maximum_packet"] = self.random.choice((60, 120, 128, 400, 20000))
            if self._may("alias_maximum", 0.5):
                options["alias_maximum"] = self.random.choice((1, 10))
            if self._chance(0.1) and not persistent:
                options["clean"] = False  # a session that ends with its connection
        state.will = self._will(state, slot) if self._may("wills", 0.5) else None
        if state.will:
            options["will"] = state.will
        state.persistent, state.keep_alive = persistent, options["keep_alive"] or 60
        state.is_small = "maximum_packet" in options
        if not persistent or options["clean"]:
            state.filters = []
        return ["connect", options]

    def _will(self, state, slot):
        retain = self._may("retain", 0.4)
        topic = f"~/w/{slot}" if retain else self.random.choice(self.topics)
        will = {**self._message(topic, retain), "props": self._props(state)}
        will["size"] = min(will["size"], WILL_MAX)
        return will

    def _message(self, topic, retain):
        self.number += 1
        size = self.random.choice(SIZES)
        if self._may("large", 0.08):
            size = self.random.choice(LARGE)
        elif self._may("empty", 0.1):
            size = 0
        qos = [0, 0] + [1, 1] * self._has("qos1") + [2, 2] * self._has("qos2")
        return {"id": self.number, "topic": topic, "qos": self.random.choice(qos),
                "retain": retain, "size": size}

    def _props(self, state):
        if state.version != 5 or not self._may("v5_properties", 0.5):
            return []
        choices = [
            ["payload_format", 0], ["message_expiry", self.random.choice((600, 100000))],
            ["content_type", self.random.choice(("text/plain", "", "ü"))],
            ["response_topic", "an/answer"], ["correlation_data", "00ff10" * self._count(5)],
            ["user_property", ["b", "1"]], ["user_property", ["a", "2"]],
            ["user_property", ["b", "3"]], ["user_property", ["", ""]]]
        return self._some(choices, 5)

    def _count(self, most):
        return self.random.randint(0, most)

    def _filters(self):
        found = list(self.topics)
        if self._has("wildcards"):
            found += self.random.sample(WILDCARDS, 5)
        if self._has("root"):
            found += ROOTS
        if self._has("dollar"):
            found += DOLLAR_FILTERS
        return [pattern for pattern in found if pattern not in SHARED]

    def _options(self, state, pattern, shared):
        qos = self.random.choice([0, 1, 2] if self._has("qos2") else [0, 1, 1])
        if state.is_small:
            qos = 0
        if state.version < 5:
            return qos
        options = qos
        # With a share it is a protocol error.
        if not shared and self._may("no_local", 0.4):
            options |= 4
        if self._may("retain_as_published", 0.5):
            options |= 8
        if self._may("retain_handling", 0.5):
            options |= self.random.choice((0, 1, 2)) << 4
        return options

    def _subscribe(self, step, state, slot):
        filters = []
        for pattern in self._some(self._filters(), 3):
            shared = self._may_share(state) and self._chance(0.4)
            if shared:
                pattern = self.random.choice(SHARES)
            elif state.persistent and self._has("share") and pattern.startswith("~/sh"):
                continue
            if not step.may_subscribe(slot, pattern) or pattern in [name for name, _ in filters]:
                continue
            step.wanted.setdefault(programs.bare(pattern), set()).add(slot)
            filters.append([pattern, self._options(state, pattern, shared)])
            if pattern not in state.filters:
                state.filters.append(pattern)
        if not filters:
            return []
        number = self.random.choice((1, 2, 127, 128, 268435455)) \
            if state.version == 5 and not state.is_small and self._may("identifiers", 0.6) else None
        return [["subscribe", filters, number]]

    def _may_share(self, state):
        """It is chance which member of a group is chosen, so each must do the same with a message:
        take it whatever its size, and not leave it in a session that is away. A v3 client that is
        chosen gets one copy, be there other subscriptions of it or not; so there is one group a
        topic, too."""
        is_alone = state.version == 5 or not (self._has("wildcards") or self._has("root"))
        return self._has("share") and not state.persistent and not state.is_small and is_alone

    def _burst(self, step, state, slot, cut, fresh):
        count = self.random.randint(1, BURST * 2 if self._may("bursts", 0.3) else 5)
        if cut:
            count = min(count, CUT_MAX)
        ops, topic = [], self.random.choice(self.topics)
        retains = self._may("retain", 0.6) and not cut
        for _ in range(count):
            if self._chance(0.4):
                topic = self.random.choice(self.topics)
            retain = retains and self._chance(0.3) and step.may_retain(slot, topic) \
                and topic not in SHARED
            if retain:
                step.retained[topic] = slot
            message = {**self._message(topic, retain), "props": self._props(state),
                       "alias": None if fresh else self._alias(state, topic)}
            ops.append(["publish", message])
        return ops

    def _alias(self, state, topic):
        if state.version != 5 or not self._may("aliases", 0.5):
            return None
        known = [number for number, name in state.aliases.items() if name == topic]
        if known and self._chance(0.7):
            return [self.random.choice(known), False]
        number = self.random.randint(1, 4)
        state.aliases[number] = topic
        return [number, True]


def generate(seed):
    return Generator(seed).program()
