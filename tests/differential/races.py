# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What in a program races by nature, so that two correct runs may differ there.

Within a step clients act at the same time. Whether a client gets a message that another publishes
in the step in which it subscribes, leaves or comes back is chance; what happens on one connection
in order is not. The verdict on a (client, message) is one of

    SURE      every run gives the client the same copies
    SURE_QOS  its session lives on: copies at QoS 1 and 2 are sure, those at QoS 0 are chance
    CHANCE    any copy may come or not

Where a verdict would need the broker's state, the cautious one is given: a client that connects or
leaves is taken to change every filter that it ever subscribes to.
"""

import collections

import program as programs

SURE, SURE_QOS, CHANCE = range(3)

Change = collections.namedtuple("Change", "filters is_session lives_on")
# `last`: the step by which the message has certainly been published, when it takes several.
Published = collections.namedtuple("Published", "id slot topic qos first last is_will is_chance")


class Races:
    def __init__(self, program):
        self.program = program
        self.published = {}  # message number → Published
        self.unanswered = set()  # messages whose acknowledgements nobody waits for
        self.cut = set()  # (step, client): acknowledgements of that script are chance
        self._ever = collections.defaultdict(set)
        self._own = {}  # client → its (step, script)s
        self._stays = collections.defaultdict(set)  # client → steps at whose end it is connected
        self._changes = {}  # (step, client) → Change
        for _, slot, script in programs.scripts(program):
            for op in script["ops"]:
                if op[0] == "subscribe":
                    self._ever[slot] |= {pattern for pattern, _ in op[1]}
        for slot in range(len(program["clients"])):
            self._walk(slot)
        self._empty = collections.defaultdict(list)  # topic → numbers of messages without one
        for _, _, _, message in programs.messages(program):
            if not programs.payload(message):
                self._empty[message["topic"]].append(message["id"])

    # One client's way through the program

    def _walk(self, slot):
        version = self.program["clients"][slot]["version"]
        persistent = connected = False
        will = None
        own = self._own[slot] = [(step, script) for step, who, script
                                 in programs.scripts(self.program) if who == slot]
        for at, (step, script) in enumerate(own):
            filters, is_session, lives_on = set(), False, True
            for op in script["ops"]:
                if op[0] == "connect":
                    if connected and will:
                        self._add_will(will, slot, step)
                    if self._ever[slot]:
                        is_session = True
                    lives_on &= persistent and not op[1]["clean"]
                    persistent = programs.is_persistent(version, op[1])
                    connected, will = True, op[1].get("will")
                elif not connected:
                    continue
                elif op[0] == "subscribe":
                    filters |= {pattern for pattern, _ in op[1]}
                elif op[0] == "unsubscribe":
                    filters |= set(op[1])
                elif op[0] == "leave":
                    connected, is_session = False, True
                    persistent &= op[1] != "disconnect_expire"
                    lives_on &= persistent and self._resumes(own[at + 1:])
                    if will:
                        self._add_will(will, slot, step)
                    will = None
            if connected:
                later = own[at + 1][0] if at + 1 < len(own) else len(self.program["steps"])
                self._stays[slot] |= set(range(step, later))
            if is_session or filters:
                self._changes[step, slot] = Change(filters, is_session, lives_on)
            self._add_messages(slot, step, script, own[at + 1:],
                               persistent and self._resumes(own[at + 1:]))
            if programs.is_cut(script):
                self.cut.add((step, slot))
        if will:  # only when the broker closes the connection of its own accord
            self._add_will(will, slot, len(self.program["steps"]))

    @staticmethod
    def _next_connect(later):
        return next(((step, op[1]) for step, script in later for op in script["ops"]
                     if op[0] == "connect"), None)

    def _resumes(self, later):
        found = self._next_connect(later)
        return bool(found) and not found[1]["clean"]

    def _add_will(self, will, slot, step):
        self.published[will["id"]] = Published(will["id"], slot, will["topic"], will["qos"], step,
                                               step, True, False)

    def _add_messages(self, slot, step, script, later, is_resumed):
        is_cut = programs.is_cut(script)
        for op in script["ops"]:
            if op[0] != "publish":
                continue
            message, last, is_chance = op[1], step, False
            if is_cut:
                self.unanswered.add(message["id"])
                if message["qos"] == 2 and is_resumed:
                    last = self._next_connect(later)[0]
                elif message["qos"] == 2 or programs.leave_of(script) == "rst":
                    is_chance = True
            self.published[message["id"]] = Published(
                message["id"], slot, message["topic"], message["qos"], step, last, False,
                is_chance)

    def filters(self, slot):
        """Every filter that the client ever subscribes to."""
        return self._ever[slot]

    # Verdicts

    def verdict(self, slot, number):
        """What is certain about the copies of a message that a client gets."""
        message = self.published.get(number)
        if message is None:
            return SURE
        return max(self._of_queue(slot, message),
                   *[self._of_step(slot, message, step)
                     for step in range(message.first, message.last + 1)])

    def verdict_empty(self, slot, topic):
        """The same of messages without a payload, which cannot be told apart (nor their repeats)."""
        return CHANCE if any(self.verdict(slot, number) for number in self._empty[topic]) else SURE

    def _of_step(self, slot, message, step):
        if message.is_chance:
            return CHANCE
        change = self._changes.get((step, slot))
        if change is None:
            return SURE
        own = slot == message.slot and not message.is_will and message.first == message.last
        if not own and any(programs.matches(pattern, message.topic) for pattern in change.filters):
            return CHANCE
        if not change.is_session:
            return SURE
        if own and not self.leaves(step, slot):
            return SURE
        count = sum(programs.matches(pattern, message.topic) for pattern in self._ever[slot])
        if not count:
            return SURE
        # Of several subscriptions mosquitto takes another one for a v3 client that is away.
        is_plain = count == 1 or self.program["clients"][slot]["version"] == 5
        return SURE_QOS if change.lives_on and is_plain else CHANCE

    def _of_queue(self, slot, message):
        """What is queued for a client that is away it gets when it comes back and stays; from one
        that comes back only to leave at once, and never again, some may be kept."""
        if message.last in self._stays[slot]:
            return SURE
        is_partial = False
        for step, script in self._own[slot]:
            if step <= message.last or not programs.connects(script):
                continue
            if any(op[0] == "connect" and op[1]["clean"] for op in script["ops"]):
                break
            if step in self._stays[slot]:
                return SURE
            is_partial = True
        return CHANCE if is_partial else SURE

    def leaves(self, step, slot):
        """The client leaves at the end of that step."""
        script = self.program["steps"][step].get(str(slot))
        return bool(script) and programs.leave_of(script) is not None

    def is_answer_sure(self, number):
        """Is the reason code of a message's acknowledgement certain (does anybody listen)?"""
        message = self.published[number]
        for (step, slot), change in self._changes.items():
            if not message.first <= step <= message.last:
                continue
            if slot == message.slot and not self.leaves(step, slot):
                continue
            filters = self._ever[slot] if change.is_session else change.filters
            if any(programs.matches(pattern, message.topic) for pattern in filters):
                return False
        return True

    def is_share_sure(self, number):
        """Is it certain that exactly one member of each group gets the message?"""
        message = self.published.get(number)
        if message is None or message.is_chance:
            return False
        for (step, slot), change in self._changes.items():
            filters = self._ever[slot] if change.is_session else change.filters
            if message.first <= step <= message.last and any(
                    programs.matches(pattern, message.topic) for pattern in filters):
                return False
        return True
