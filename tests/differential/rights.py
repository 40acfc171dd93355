# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Rights: accounts and an ACL file for mosquitto, programs of clients that have different ones, and
what a client may do, said a second time.

The file is one for all programs: the first level of their topics is `+` there. A program ends with
steady traffic: everybody publishes to what it may write, again and again, and from a second after
the first of it on it is counted how much of that is captured.
"""

import collections
import subprocess

import generate
import program as programs

READ, WRITE, BOTH = 1, 2, 3
NAMES = {READ: "read", WRITE: "write", BOTH: "readwrite"}

# Account → its rules; the first that matches and denies, or grants what is asked, counts.
ACCOUNTS = {
    None: [(READ, "+/a"), (READ, "+/b/#"), (WRITE, "+/a/b")],
    "anna": [(BOTH, "+/#")],
    "bert": [(0, "+/a/b/c"), (READ, "+/#"), (WRITE, "+/a"), (WRITE, "+/a/+")],
    "carl": [(WRITE, "+/#"), (READ, "+/b")],
    "dora": [(0, "+/b/a"), (BOTH, "+/a/#"), (READ, "+/b/+"), (WRITE, "+/b")],
    "emil": [],
}
OWNER = "anna"  # may do everything
# Everybody's, %c and %u replaced.
PATTERNS = [(BOTH, "+/u/%u"), (WRITE, "+/c/%c"), (READ, "+/c/+")]

FEATURES = {
    "qos1": 0.8, "qos2": 0.3, "unsubscribe": 0.5, "wildcards": 0.8, "v5_properties": 0.2,
    "aliases": 0.2, "wills": 0.2, "hold": 0.2, "split": 0.5, "joined": 0.85, "cut": 0.3,
    "leave": 0.7, "reset": 0.2, "takeover": 0.2, "no_local": 0.2, "identifiers": 0.2,
    "bursts": 0.3, "storms": 0.5, "old": 0.3, "retain": 0.1, "persistent": 0.1,
}
OWN = ("~/u/anna", "~/u/bert", "~/c/~c0", "~/c/~c1")
STEADY_S = 0.25  # from one round of the steady traffic to the next
ROUNDS_BEFORE, ROUNDS = 6, 6  # more than a second, then what is counted


def password(user):
    return f"{user}'s"


def may(user, client_id, access, topic):
    """Would mosquitto let it? The topic as the broker sees it."""
    for granted, pattern in ACCOUNTS[user]:
        if programs.matches(pattern, topic) and (not granted or granted & access):
            return bool(granted)
    for granted, pattern in PATTERNS:
        if "%u" in pattern and user is None:
            continue
        pattern = pattern.replace("%u", user or "").replace("%c", client_id)
        if granted & access and programs.matches(pattern, topic):
            return True
    return False


def acl_file():
    lines = []
    for user, rules in ACCOUNTS.items():
        lines += [f"user {user}"] * bool(user)
        lines += [f"topic {NAMES.get(access, 'deny')} {pattern}" for access, pattern in rules]
    lines += [f"pattern {NAMES[access]} {pattern}" for access, pattern in PATTERNS]
    return "\n".join(lines) + "\n"


def write_files(acl, passwords):
    """Both files at these paths."""
    with open(acl, "w", encoding="utf-8") as file:
        file.write(acl_file())
    with open(passwords, "w", encoding="utf-8") as file:
        file.writelines(f"{user}:{password(user)}\n" for user in ACCOUNTS if user)
    subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, timeout=30)


# Programs

class Generator(generate.Generator):
    def __init__(self, seed):
        super().__init__(seed, FEATURES)
        self.topics += self.random.sample(OWN, self.random.randint(0, 2))
        self.users = [self.random.choice(list(ACCOUNTS)) for _ in self.states]

    def program(self):
        made = super().program()
        for client, user in zip(made["clients"], self.users):
            client["user"] = user
        self._steady(made)
        return made

    def _steady(self, made):
        """Appends the rounds. Who is not connected stays away."""
        writes = {slot: [topic for topic in self.topics if self._may_write(slot, topic)]
                  for slot, state in enumerate(self.states) if state.connected}
        qos = self.random.choice([0] + [1] * self._has("qos1"))
        begin = len(made["steps"])
        for _ in range(ROUNDS_BEFORE + ROUNDS):
            step = {}
            for slot, topics in writes.items():
                ops = []
                for topic in topics:
                    message = self._message(topic, False)
                    message.update(qos=qos, size=min(message["size"], 300))
                    ops.append(["publish", {**message, "props": [], "alias": None}])
                if ops:
                    step[str(slot)] = {"write": "joined", "hold": False, "ops": ops}
            if not step:
                return
            made["steps"].append(step)
        made["steady"] = [begin, begin + ROUNDS_BEFORE]

    def _may_write(self, slot, topic):
        prefix = "d0"
        return may(self.users[slot], f"{prefix}c{slot}", WRITE, programs.prefixed(topic, prefix))


def generate_program(seed):
    return Generator(seed).program()


def steady_published(program):
    """{client number: messages} of the rounds that are counted."""
    found = collections.Counter()
    if "steady" in program:
        for step in program["steps"][program["steady"][1]:]:
            for slot, script in step.items():
                found[int(slot)] += len(script["ops"])
    return found


# What has been seen

def violations(program, trace, prefix):
    """Deliveries of what the client may not read, or its publisher may not write."""
    writers = {message["id"]: slot for _, slot, _, message in programs.messages(program)}
    writers.update({will["id"]: slot for _, slot, will in programs.wills(program)})
    found = []
    for slot, records in trace.items():
        for record in records:
            for topic, _, _, _, number, *_ in record["deliveries"]:
                real = programs.prefixed(topic, prefix)
                if not _client_may(program, slot, prefix, READ, real):
                    found.append(f"client {slot} read {topic}, which it may not")
                if number in writers and \
                        not _client_may(program, writers[number], prefix, WRITE, real):
                    found.append(f"client {writers[number]} wrote {topic}, which it may not")
    return sorted(collections.Counter(found))


def _client_may(program, slot, prefix, access, topic):
    return may(program["clients"][slot]["user"], f"{prefix}c{slot}", access, topic)
