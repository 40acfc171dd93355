# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Makes a program smaller while it still shows a difference: delta debugging over steps, clients,
scripts and operations, then simplifications of what is left.
"""

import copy

import program as programs


def shrink(program, still_differs, tries=400):
    """The smallest program found. `still_differs(program)` runs it, a few times when unsure."""
    budget = [tries]

    def check(candidate):
        if budget[0] <= 0 or not candidate["steps"]:
            return False
        budget[0] -= 1
        return still_differs(candidate)

    while True:
        before = programs.dump(program)
        for items in (_steps, _clients, _scripts, _ops):
            program = _without(program, items, check)
        for change in _simplifications(program):
            candidate = repaired(change(copy.deepcopy(program)))
            if programs.dump(candidate) != programs.dump(program) and check(candidate):
                program = candidate
        if programs.dump(program) == before or budget[0] <= 0:
            return program


def _without(program, items, check):
    """Takes parts away: halves first, then smaller, at the end one by one."""
    size = max(1, len(items(program)) // 2)
    while True:
        at = 0
        while at < len(items(program)):
            candidate = copy.deepcopy(program)
            for remove in items(candidate)[at:at + size]:
                remove()
            candidate = repaired(candidate)
            if check(candidate):
                program = candidate
            else:
                at += size
        if size == 1:
            return program
        size //= 2


# Each returns a list of functions that take one part away from the program.

def _steps(program):
    return [step.clear for step in program["steps"]]


def _clients(program):
    def remove(slot):
        for step in program["steps"]:
            step.pop(slot, None)

    return [lambda slot=slot: remove(slot)
            for slot in sorted({slot for step in program["steps"] for slot in step})]


def _scripts(program):
    return [lambda step=step, slot=slot: step.pop(slot)
            for step in program["steps"] for slot in list(step)]


def _ops(program):
    def remove(ops, op):
        ops[:] = [other for other in ops if other is not op]

    return [lambda ops=script["ops"], op=op: remove(ops, op)
            for _, _, script in programs.scripts(program) for op in script["ops"]]


def repaired(program):
    """The program without what makes no sense any more: empty steps, operations of clients that are
    not connected, aliases that nobody has defined."""
    connected, aliases = set(), {}
    for _, slot, script in programs.scripts(program):
        kept = []
        for op in script["ops"]:
            if op[0] == "connect":
                connected.add(slot)
                aliases[slot] = {}
            elif slot not in connected:
                continue
            elif op[0] == "leave":
                connected.discard(slot)
            elif op[0] == "publish" and op[1]["alias"]:
                number, is_defined = op[1]["alias"]
                if is_defined:
                    aliases[slot][number] = op[1]["topic"]
                elif aliases[slot].get(number) != op[1]["topic"]:
                    op[1]["alias"] = None
            kept.append(op)
        script["ops"] = kept
    program["steps"] = [
        kept for step in program["steps"]
        if (kept := {slot: script for slot, script in step.items() if script["ops"]})]
    return program


def _simplifications(program):
    """Functions that each make one thing plainer."""
    def at(number, slot, change):
        return lambda candidate: (change(candidate["steps"][number][str(slot)]), candidate)[1]

    found = []
    for number, slot, script in programs.scripts(program):
        if script["hold"]:
            found.append(at(number, slot, lambda script: script.update(hold=False)))
        if script["write"] == "split":
            found.append(at(number, slot, lambda script: script.update(write="joined")))
        if script["write"] != "each":
            found.append(at(number, slot, lambda script: script.update(write="each")))
        for place, op in enumerate(script["ops"]):
            found += [at(number, slot, lambda script, place=place, change=change:
                         change(script["ops"][place])) for change in _plainer(op)]
    return found


def _plainer(op):
    """Changes to an operation, in place."""
    if op[0] == "publish":
        message = op[1]
        if message["props"]:
            yield lambda op: op[1].update(props=[])
        if message["alias"]:
            yield lambda op: op[1].update(alias=None)
        if message["size"] > 40:
            yield lambda op: op[1].update(size=20)
        if message["retain"]:
            yield lambda op: op[1].update(retain=False)
        for qos in range(message["qos"]):
            yield lambda op, qos=qos: op[1].update(qos=qos)
    elif op[0] == "connect":
        for name in set(op[1]) - {"clean", "keep_alive", "expiry"}:
            yield lambda op, name=name: op[1].pop(name, None)
    elif op[0] == "subscribe":
        for place in range(len(op[1])):
            if len(op[1]) > 1:
                yield lambda op, place=place: op[1].pop(min(place, len(op[1]) - 1))
        for place in range(len(op[1])):
            yield lambda op, place=place: _plain_options(op[1], place)
        if op[2]:
            yield lambda op: op.__setitem__(2, None)
    elif op[0] == "unsubscribe" and len(op[1]) > 1:
        for place in range(len(op[1])):
            yield lambda op, place=place: op[1].pop(min(place, len(op[1]) - 1))


def _plain_options(filters, place):
    if place < len(filters):
        filters[place][1] &= 3
