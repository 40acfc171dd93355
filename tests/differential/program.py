# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What a program of clients is, as plain data that is kept as JSON.

    {"seed": 7, "exclusive": false,
     "clients": [{"version": 5, "assigned": false}, …],
     "steps": [{"0": {"write": "joined", "hold": false, "ops": [OP, …]}, …}, …]}

A step is what several clients do at the same time; between two steps all is quiet. A script is one
client's part in a step. `write` says how its packets leave:

    each     one after the other, each when the last one has been answered
    joined   all in one write (as far as the broker lets so many be unanswered)
    split    the same bytes, in pieces

With `hold` the client acknowledges nothing in this step before all scripts have come to their end.

    ["connect", {"clean": true, …}]     on a client that is connected: a takeover
    ["subscribe", [[FILTER, OPTIONS], …], IDENTIFIER or null]
    ["unsubscribe", [FILTER, …]]
    ["publish", {"id": 12, "topic": T, "qos": 1, "retain": false, "size": 40, "props": [],
                 "alias": null}]        alias: [NUMBER, is the topic sent along]
    ["ping"]
    ["leave", HOW]                      HOW: one of LEAVES, or "illegal:" and one of ILLEGAL

In topics and filters `~` stands for the level that keeps programs apart, which run side by side.
"""

import json

PLACE = "~"
LEAVES = ("disconnect", "disconnect_will", "disconnect_expire", "fin", "rst", "silence")
SHARE = "$share/"
FOREVER = 0xFFFFFFFF


def scripts(program):
    """(step number, client number, script), in order."""
    for number, step in enumerate(program["steps"]):
        for slot in sorted(step, key=int):
            yield number, int(slot), step[slot]


def messages(program):
    """(step, client, script, message) of every PUBLISH; wills are found in wills()."""
    for number, slot, script in scripts(program):
        for op in script["ops"]:
            if op[0] == "publish":
                yield number, slot, script, op[1]


def wills(program):
    """(step, client, will) of every CONNECT that has one."""
    for number, slot, script in scripts(program):
        for op in script["ops"]:
            if op[0] == "connect" and op[1].get("will"):
                yield number, slot, op[1]["will"]


def leave_of(script):
    """How the client leaves at the end of its script; None when it stays."""
    last = script["ops"][-1] if script["ops"] else None
    return last[1] if last and last[0] == "leave" else None


def connects(script):
    return any(op[0] == "connect" for op in script["ops"])


def is_cut(script):
    """The client leaves without having waited for answers to what it sent just before."""
    return script["write"] != "each" and leave_of(script) not in (None, "silence")


def is_persistent(version, options):
    """The session of such a CONNECT outlives its connection."""
    return options.get("expiry", 0) > 0 if version == 5 else not options["clean"]


def bare(pattern):
    """A filter without the $share/GROUP/ before it."""
    return pattern.split("/", 2)[2] if pattern.startswith(SHARE) else pattern


def matches(pattern, topic):
    """Does the filter match the topic? The plainest way to say it (4.7)."""
    levels, names = bare(pattern).split("/"), topic.split("/")
    if topic.startswith("$") and levels[0] in ("+", "#"):
        return False
    for at, level in enumerate(levels):
        if level == "#":
            return True
        if at >= len(names) or level not in ("+", names[at]):
            return False
    return len(levels) == len(names)


def payload(message):
    """The bytes of a message: its number, then what only this message has. Sizes below the
    number's length are cut to nothing: an empty message has no number."""
    head = b"m%d;" % message["id"]
    if message["size"] < len(head):
        return b""
    filler = bytes((message["id"] * 7 + at * 13) & 0xFF for at in range(min(251, message["size"])))
    body = filler * (message["size"] // len(filler) + 1)
    return head + body[:message["size"] - len(head)]


def number_of(data):
    """The number of the message with that payload; None when it is empty or strange."""
    head, mark, _ = bytes(data[:12]).partition(b";")
    return int(head[1:]) if mark and head[:1] == b"m" and head[1:].isdigit() else None


def prefixed(name, prefix):
    return name.replace(PLACE, prefix)


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def dump(program):
    """JSON in which a script is a line."""
    head = {key: value for key, value in program.items() if key != "steps"}
    lines = [f' {json.dumps(key)}: {json.dumps(value)},' for key, value in head.items()]
    steps = []
    for step in program["steps"]:
        inner = ",\n".join(f'   {json.dumps(slot)}: {json.dumps(step[slot])}' for slot in step)
        steps.append("  {\n" + inner + "\n  }")
    return "{\n" + "\n".join(lines) + '\n "steps": [\n' + ",\n".join(steps) + "\n ]\n}\n"
