# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Compares two traces of one program: the broker's alone and that through Offramp.

Equal means equal to a client, up to the freedom that MQTT gives:

- order counts per publisher, topic, QoS published and QoS delivered [MQTT-4.6.0-5, -6], and apart
  for copies with RETAIN set (retained messages come when the broker finds the time, 3.8.4);
  between those, any interleaving. The copies that several subscriptions of one client give of one
  message may come in any order (3.3.4), but together.
- packet identifiers and topic aliases of the broker are its own choice; so is an Assigned Client
  Identifier. (An identifier that is in use the client notices itself, and more in flight than its
  Receive Maximum, unless that is the broker's doing: window.py.)
- DUP; a repeat on a later connection of a session that lives on (4.4) is not counted; nor is what a
  publisher that left without waiting for the acknowledgement publishes again when it is back, to
  subscribers at QoS 0 too (4.3.2).
- Message Expiry Interval may be less by the seconds that a message waited (3.3.2.3.3).
- properties of different kinds may stand in any order; user properties may not (3.3.2.3.7).
- PUBACKs come in the order of what they answer, PUBRECs too [MQTT-4.6.0-2, -3]; PUBCOMP, SUBACK,
  UNSUBACK and PINGRESP any time.
- how a connection ends in TCP (FIN or RST), what a DISCONNECT of the broker says to a client that a
  reset tells first, and acknowledgements to a client that leaves without
  waiting for them.
- which member of a share gets a message (4.8.2); in all, exactly one does.
- retained messages for a subscription of a client that leaves in the same step.
- what else races by nature: races.py.
"""

import collections

import program as programs
from excuse import Difference, is_late, without_late
from races import CHANCE, SURE_QOS, Races

EXPIRY_SLACK_S = 20
SHOWN = 8  # of a sequence around its first difference

Copy = collections.namedtuple("Copy", "connection topic qos retain dup id payload props step")


def _intervals(messages):
    """The Message Expiry Intervals with which they were published."""
    return {value for message in messages for name, value in message["props"]
            if name == "message_expiry"}


class Comparison:
    def __init__(self, program):
        self.program, self.races = program, Races(program)
        self.messages = {message["id"]: message
                         for _, _, _, message in programs.messages(program)}
        self.messages.update({will["id"]: will for _, _, will in programs.wills(program)})
        self.intervals = _intervals(self.messages.values())
        self.differences = []
        self.is_late = False  # what is missing says nothing
        self.compared = self.skipped = 0  # copies

    def compare(self, alone, offramp):
        """The differences; none: equal. Traces are {client: records}."""
        self.is_late = is_late(alone) or is_late(offramp)
        for slot in range(len(self.program["clients"])):
            self._connections(slot, alone[slot], offramp[slot])
            self._deliveries(slot, self._copies(alone[slot]), self._copies(offramp[slot]))
        self._shares(alone, offramp)
        return self.differences

    def _differ(self, slot, what, expected, found, is_harm=None):
        """The two runs do. It is harm unless one of them broke off."""
        self.differences.append(Difference(
            f"client {slot}: {what}: broker alone {expected}, with Offramp {found}",
            not self.is_late if is_harm is None else is_harm))

    def _wrong(self, text):
        """In one of the runs, whatever the other is like."""
        self.differences.append(Difference(text, True))

    def _equal(self, slot, what, expected, found, is_harm=None):
        if expected != found:
            self._differ(slot, what, expected, found, is_harm)

    # Answers

    def _connections(self, slot, alone, offramp):
        self._equal(slot, "connections", len(alone), len(offramp))
        for number, (one, other) in enumerate(zip(alone, offramp)):
            where = f"connection {number} (step {one['step']}): "
            self._equal(slot, where + "connack", one["connack"], other["connack"])
            self._anomalies(slot, where, one["anomalies"], other["anomalies"])
            self._told(slot, where, one, other)
            self._equal(slot, where + "SUBACK", self._granted(slot, one),
                        self._granted(slot, other))
            for kind, order in (("PUBACK", list), ("PUBREC", list), ("PUBCOMP", sorted)):
                self._answers(slot, where + kind, order(self._acks(one, kind)),
                              order(self._acks(other, kind)))

    def _anomalies(self, slot, where, one, other):
        self._equal(slot, where + "anomalies", one, other,
                    without_late(one) != without_late(other))

    def _told(self, slot, where, one, other):
        """A reset may overtake a DISCONNECT of the broker, and destroy it."""
        deaf = [record["told"] is None and record["reset"] for record in (one, other)]
        if not any(deaf):
            self._equal(slot, where + "told", one["told"], other["told"], False)

    def _granted(self, slot, record):
        """Of operations whose answers the client waited for."""
        return {name: reasons for name, reasons in record["granted"].items()
                if (int(name.split(".")[0]), slot) not in self.races.cut}

    def _acks(self, record, kind):
        found = []
        for name, number, reason, props in record["acks"]:
            if name == kind and number not in self.races.unanswered:
                sure = self.races.is_answer_sure(number)
                # A property length of zero may be said or left out (3.4.2.2.1).
                found.append((number, str(reason) if sure else "*", props if props != "00" else ""))
        return found

    def _answers(self, slot, what, expected, found):
        """What is said in answers to the same messages is no harm."""
        is_same = [answer[0] for answer in expected] == [answer[0] for answer in found]
        self._sequence(slot, what, expected, found, False if is_same else None)

    def _sequence(self, slot, what, expected, found, is_harm=None):
        if expected == found:
            return
        at = next((at for at, (one, other) in enumerate(zip(expected, found)) if one != other),
                  min(len(expected), len(found)))
        self._differ(slot, f"{what}, from the {at + 1}. of {len(expected)} and {len(found)}",
                     expected[at:at + SHOWN], found[at:at + SHOWN], is_harm)

    # Deliveries

    @staticmethod
    def _copies(records):
        return [Copy(number, *delivery) for number, record in enumerate(records)
                for delivery in record["deliveries"]]

    def _deliveries(self, slot, alone, offramp):
        for side, copies in (("alone", alone), ("with Offramp", offramp)):
            self._sane(slot, side, copies)
        expected, found = (self._streams(slot, copies) for copies in (alone, offramp))
        for key in sorted({*expected, *found}, key=repr):
            one, other = expected.get(key, []), found.get(key, [])
            self.compared += sum(len(copies) for _, copies in one)
            self._sequence(slot, "deliveries " + self._title(key), one, other)

    @staticmethod
    def _title(key):
        publisher, topic, published, delivered, retain = key
        return (f"of client {publisher} to {topic} at QoS {published} as QoS {delivered}"
                f"{' RETAIN' if retain else ''}")

    def _streams(self, slot, copies):
        """{key: [(message, its copies together), …]} of what is certain."""
        streams, seen = collections.defaultdict(list), set()
        for copy in copies:
            details = self._details(copy)
            if copy.topic.startswith("~/sh/"):
                continue
            verdict = self.races.verdict_empty(slot, copy.topic) if copy.id is None \
                else self.races.verdict(slot, copy.id)
            if verdict == CHANCE or (verdict == SURE_QOS and copy.qos == 0) or \
                    (copy.retain and self.races.leaves(copy.step, slot)):
                self.skipped += 1
                continue
            if self._is_repeat(copy, details, seen, verdict):
                continue
            message = self.messages.get(copy.id)
            publisher = self.races.published[copy.id].slot if message else None
            key = (publisher, copy.topic, message and message["qos"], copy.qos, copy.retain)
            stream = streams[key]
            if stream and stream[-1][0] == copy.id:
                stream[-1][1].append(details)
            else:
                stream.append((copy.id, [details]))
        for stream in streams.values():
            for _, together in stream:
                together.sort(key=repr)
        return streams

    def _is_repeat(self, copy, details, seen, verdict):
        """Sent again, because it was not acknowledged when a connection ended; or published
        again, for the same reason."""
        if copy.id is None or not (copy.qos or self._is_published_again(copy.id)):
            return False
        identity = (copy.id, copy.qos, repr(details))
        known = identity in seen
        seen.add(identity)
        return known and (copy.dup or verdict == SURE_QOS or copy.id in self.races.unanswered)

    def _is_published_again(self, number):
        """Perhaps: who published it may not have seen the acknowledgement."""
        message = self.messages.get(number)
        return message is not None and message["qos"] > 0 and number in self.races.unanswered

    def _details(self, copy):
        """What must be equal beside the key."""
        message = self.messages.get(copy.id)
        intervals = self.intervals if message is None else _intervals([message])
        props = []
        for name, value in copy.props:
            if name == "message_expiry" and any(0 <= interval - value <= EXPIRY_SLACK_S
                                                for interval in intervals):
                value = "*"
            props.append((name, tuple(value) if isinstance(value, list) else value))
        props.sort(key=lambda prop: (prop[0], repr(prop[1]) if prop[0] == "subscription_id"
                                     else ""))
        return (copy.payload, *props)

    def _sane(self, slot, side, copies):
        """What holds for each run by itself, racing messages included: order, and no copy too
        many."""
        last, count = {}, collections.Counter()
        for copy in copies:
            message = self.messages.get(copy.id)
            if copy.id is not None and message is None:
                self._wrong(f"client {slot}, {side}: a message that nobody sent: {copy}")
                continue
            if message is None or copy.retain or copy.topic.startswith("~/sh/"):
                continue
            if copy.topic != message["topic"]:
                self._wrong(f"client {slot}, {side}: message {copy.id} came on topic {copy.topic}")
            key = (self.races.published[copy.id].slot, copy.topic, message["qos"], copy.qos)
            count[copy.id, copy.connection] += 1
            if count[copy.id, copy.connection] > self._copies_max(slot, copy):
                self._wrong(f"client {slot}, {side}: message {copy.id} came too often")
            if copy.dup or copy.id in self.races.unanswered or \
                    self.races.published[copy.id].is_will:
                continue
            if last.get(key, -1) > copy.id:
                self._wrong(f"client {slot}, {side}: message {copy.id} came after "
                            f"{last[key]} ({self._title((*key, False))})")
            last[key] = max(last.get(key, -1), copy.id)

    def _copies_max(self, slot, copy):
        times = 2 if copy.id in self.races.unanswered else 1
        if self.program["clients"][slot]["version"] < 5:
            return times
        return times * max(1, sum(programs.matches(pattern, copy.topic)
                                  for pattern in self.races.filters(slot)))

    # Shares

    def _shares(self, alone, offramp):
        counts = []
        for trace in (alone, offramp):
            count = collections.Counter()
            for records in trace.values():
                for copy in self._copies(records):
                    if copy.topic.startswith("~/sh/") and copy.id is not None \
                            and self.races.is_share_sure(copy.id):
                        count[copy.id, copy.payload] += 1
            counts.append(count)
        expected, found = counts
        self.compared += sum(expected.values())
        if expected != found:
            self.differences.append(Difference(
                f"shares: missing {sorted((expected - found).items())[:SHOWN]}, "
                f"too many {sorted((found - expected).items())[:SHOWN]}", not self.is_late))


def compare(program, alone, offramp):
    return Comparison(program).compare(alone, offramp)
