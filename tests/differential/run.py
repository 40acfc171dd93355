#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Random programs of MQTT clients, run against the broker alone and with Offramp before it.

What clients see must be equal. Programs that differ are made smaller and written to a folder.
See README.md.
"""

import argparse
import asyncio
import collections
import glob
import json
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import bed as beds  # noqa: E402
import generate  # noqa: E402
import program as programs  # noqa: E402
import rights  # noqa: E402
from compare import Comparison  # noqa: E402
from excuse import Difference, may_be_chance  # noqa: E402
from execute import Endpoint  # noqa: E402
from lane import Lane  # noqa: E402
from shrink import shrink  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "corpus")
OVERLAY = os.path.join(HERE, "offrampd.yaml")
IMPAIR = "loss=2%,reorder=1%,duplicate=1%"
SIDES = ("alone", "offramp")
PROGRAM_LIMIT_S = 240
CAPTURED_MIN = 0.15  # of all messages; below that equality would say little
# Of what may be written, with rights, from a second after a topic's first message. A few programs
# say little of it.
STEADY_MIN, STEADY_PROGRAMS = 0.95, 100
# Rounds that a busy machine makes so much longer measure something else: how often rights are shown
# again (proof.ttl).
STEADY_SLOW = 3


class Asker:
    """How many messages of each client were captured and passed, as the daemon says."""

    def __init__(self, name):
        socket = beds.ToolBed(name).control_socket
        self.argv = (os.path.join(beds.BUILD, "offramp"), "--socket", socket, "connections",
                     "--json")

    async def __call__(self, prefix):
        process = await asyncio.create_subprocess_exec(*self.argv, stdout=asyncio.subprocess.PIPE)
        text, _ = await process.communicate()
        return {row["client_id"]: (row["captured"], row["passed"]) for row in json.loads(text)
                if row["client_id"].startswith(prefix)}


class Runner:
    """Two testbeds, and programs that run on both at once."""

    def __init__(self, options):
        self.options = options
        self.beds, self.lanes = {}, {}
        self.sizes = collections.Counter()
        self.runs = 0
        self.prefixes = {}  # of the latest run of each program
        self.folder = tempfile.TemporaryDirectory(prefix="offramp-rights-")

    def __enter__(self):
        try:
            impair = ["--impair", self.options.impair] if self.options.impair else []
            broker = ["--broker", self.options.broker] if self.options.broker else []
            daemon = ["--config", self.options.config, "--io", self.options.io,
                      "--workers", self.options.workers, *impair]
            modes = {"alone": ("direct", []), "offramp": (self.options.mode, daemon)}
            if self.options.mode == "direct":
                modes["offramp"] = ("direct", [])
            if self.options.rights:
                settings = ["--settings", self._settings()]
                plugin = ["--plugin", "defer"] if self.options.mode != "direct" else []
                mode, more = modes["offramp"]
                modes = {"alone": ("direct", settings),
                         "offramp": (mode, [*more, *settings, *plugin])}
            for side in SIDES:
                mode, more = modes[side]
                self.beds[side] = beds.Bed(mode, "--timeout", 60, *broker, *more)
                self.beds[side].up()
                bed = self.beds[side]
                ask = Asker(bed.name) if self.options.rights and mode != "direct" else None
                self.lanes[side] = Lane(Endpoint(bed.name, bed.host, bed.port,
                                                 bool(self.options.impair), ask),
                                        self.options.width)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _settings(self):
        """Lines of mosquitto.conf, for both brokers."""
        acl, passwords, path = (os.path.join(self.folder.name, name)
                                for name in ("acl", "passwords", "settings"))
        rights.write_files(acl, passwords)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"acl_file {acl}\npassword_file {passwords}\n")
        return path

    def __exit__(self, *_):
        # A second Ctrl-C must not leave half of it behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for lane in self.lanes.values():
            lane.close()
        for bed in self.beds.values():
            bed.down()
        self.folder.cleanup()

    def run(self, named):
        """named: {key: program}. Yields (key, differences) as they are done."""
        for key, program in named.items():
            self.runs += 1
            self.prefixes[key] = f"d{self.runs:06}"
            for lane in self.lanes.values():
                lane.start(key, program, self.prefixes[key])
        traces = collections.defaultdict(dict)
        pipes = {self.lanes[side].pipe: side for side in SIDES}
        left = len(named) * len(SIDES)
        while left:
            ready = multiprocessing.connection.wait(list(pipes), PROGRAM_LIMIT_S)
            if not ready:
                raise SystemExit(f"no program came to its end within {PROGRAM_LIMIT_S} s")
            for pipe in ready:
                key, (trace, counts) = pipe.recv()
                left -= 1
                traces[key][pipes[pipe]] = trace
                self._count(key, named[key], counts)
                if len(traces[key]) == len(SIDES):
                    done = traces.pop(key)
                    found = self._compare(named[key], done)
                    if self.options.rights:
                        for side in SIDES:
                            found += [Difference(f"{side}: {line}", True)
                                      for line in rights.violations(named[key], done[side],
                                                                    self.prefixes[key])]
                    yield key, found

    def _count(self, key, program, counts):
        """Of who was there before and after: what it published meanwhile, and what of that was
        captured and passed. The rest the broker got for clients that were away."""
        if len(counts) < 2:
            return
        (begin, before), (end, after) = counts
        if end - begin > STEADY_SLOW * rights.STEADY_S * rights.ROUNDS:
            self.sizes["steady slow"] += 1
            return
        self.sizes["steady programs"] += 1
        for slot, number in rights.steady_published(program).items():
            client = f"{self.prefixes[key]}c{slot}"
            if client in before and client in after:
                self.sizes["steady published"] += number
                for at, what in enumerate(("steady captured", "steady passed")):
                    self.sizes[what] += after[client][at] - before[client][at]

    def _compare(self, program, traces):
        comparison = Comparison(program)
        differences = comparison.compare(traces["alone"], traces["offramp"])
        self.sizes["copies compared"] += comparison.compared
        self.sizes["copies left to chance"] += comparison.skipped
        if self.options.trace:
            for side in SIDES:
                print(side, json.dumps(traces[side], indent=1))
        return differences

    def differs(self, program, tries):
        """Differences of the first try that has some."""
        for _ in range(tries):
            for _, differences in self.run({0: program}):
                if differences:
                    return differences
        return []

    def counters(self):
        if self.beds["offramp"].mode == "direct":
            return {}
        return self.beds["offramp"].counters()

    def is_well(self):
        """Both programs of each testbed still run, and no sanitizer has spoken."""
        said = "" if self.beds["offramp"].mode == "direct" else self.beds["offramp"].log("daemon")
        return all(bed.is_alive(who) for bed in self.beds.values()
                   for who in bed.status()["processes"]) and "Sanitizer" not in said \
            and "runtime error:" not in said


def captured_share(counters):
    """Messages that did not go through the broker, of all."""
    captured = sum(counters["publish_captured_total"].values())
    return captured / max(1, captured + sum(counters["publish_passed_total"].values()))


def corpus():
    return {os.path.basename(path): programs.load(path)
            for path in sorted(glob.glob(os.path.join(CORPUS, "*.json")))}


def select(options):
    """{name: program} of what is to be run."""
    if options.files:
        return {os.path.basename(path): programs.load(path) for path in options.files}
    named = {} if options.rights else corpus()
    make = rights.generate_program if options.rights else generate.generate
    named.update({f"seed {seed}": make(seed)
                  for seed in range(options.first, options.first + options.seeds)})
    return named


def report_difference(runner, name, program, differences, options):
    """Prints it; makes the program smaller and writes it down. True: it may have been chance."""
    print(f"\nDIFFERENT {name}")
    for difference in differences[:6]:
        print("  ", difference.text[:1000])
    sys.stdout.flush()
    if not options.shrink or options.files:
        return False
    if not runner.differs(program, options.tries):
        harm = "" if may_be_chance(differences) else "; it is no less a failure (excuse.py)"
        print(f"   not seen again in {options.tries} tries{harm}", flush=True)
        return not harm
    make_smaller(runner, name, program, options)
    return False


def make_smaller(runner, name, program, options):
    small = shrink(program, lambda candidate: bool(runner.differs(candidate, options.tries)))
    last = [difference.text for difference in runner.differs(small, options.tries)] \
        or ["(not seen again)"]
    os.makedirs(options.out, exist_ok=True)
    path = os.path.join(options.out, name.replace(" ", "-").removesuffix(".json") + ".json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(programs.dump({"note": last[0][:300], **small}))
    print(f"   made smaller: {path}")
    for line in last[:3]:
        print("  ", line[:600])
    sys.stdout.flush()


def run(options):
    named = select(options) if options.repeat == 1 else {
        f"{name} #{turn}": program for name, program in select(options).items()
        for turn in range(options.repeat)}
    different, unsteady, begin = {}, [], time.monotonic()
    with Runner(options) as runner:
        # Those that see other programs' topics run by themselves, after the others.
        for name, differences in runner.run(dict(
                sorted(named.items(), key=lambda item: item[1].get("exclusive", False)))):
            if differences:
                different[name] = differences
        seconds = time.monotonic() - begin
        counters = runner.counters()
        for name, differences in list(different.items())[:options.shown]:
            if report_difference(runner, name, named[name], differences, options):
                unsteady.append(name)
        well = runner.is_well()
    if options.unsteady:
        with open(options.unsteady, "w", encoding="utf-8") as file:
            file.writelines(f"{name}\n" for name in unsteady)
    return judge(options, named, different, unsteady, seconds, counters, runner.sizes, well)


def judge(options, named, different, unsteady, seconds, counters, sizes, well):
    print(f"\n{len(named)} programs in {seconds:.0f} s ({60 * len(named) / seconds:.0f} a minute): "
          f"{len(different)} different; {sizes['copies compared']} copies compared, "
          f"{sizes['copies left to chance']} left to chance")
    failed = len(different) > len(unsteady)
    if different:
        print("different:", ", ".join(different))
    for name in unsteady:
        print("UNSTEADY", name)
    if counters:
        share = captured_share(counters)
        passed = {reason: count for reason, count in counters["publish_passed_total"].items()
                  if count}
        print(f"captured {100 * share:.0f} % of the messages; passed: {passed}")
        print("fences:", counters.get("fences_total"))
        if options.rights:
            failed |= not judge_steady(sizes)
        if len(named) >= 20 and share < CAPTURED_MIN:
            print(f"FAILED too little was captured (at least {100 * CAPTURED_MIN:.0f} % wanted)")
            failed = True
    if not well:
        print("FAILED a program died, or a sanitizer has something to say")
        failed = True
    return 1 if failed else 0


def judge_steady(sizes):
    captured, passed, published = (
        sizes[f"steady {what}"] for what in ("captured", "passed", "published"))
    share = captured / max(1, published)
    print(f"from a second after a topic's first message on: captured {captured} of {published} "
          f"that may be written, {100 * share:.1f} %; passed {passed}, "
          f"split {published - captured - passed}; {sizes['steady programs']} programs, "
          f"{sizes['steady slow']} more were slowed down")
    if sizes["steady programs"] < STEADY_PROGRAMS or share >= STEADY_MIN:
        return True
    print(f"FAILED too little of it was captured (at least {100 * STEADY_MIN:.0f} % wanted)")
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="programs to run instead of corpus and seeds")
    parser.add_argument("--seeds", type=int, default=40, help="random programs (default: 40)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--mode", default="stack",
                        help="of the testbed with Offramp; direct: the broker against itself")
    parser.add_argument("--rights", action="store_true",
                        help="clients with different rights, mosquitto with acl_file and plugin")
    parser.add_argument("--config", default=OVERLAY,
                        help="laid over the daemon's configuration (default: offrampd.yaml)")
    parser.add_argument("--io", default="af_packet", help="ports of the daemon")
    parser.add_argument("--workers", type=int, default=1, help="of the daemon (default: 1)")
    parser.add_argument("--broker", help="command of another broker, as of tools/testbed")
    parser.add_argument("--impair", nargs="?", const=IMPAIR, default="",
                        help="bad wires; needs a build with -Dimpair=true")
    parser.add_argument("--width", type=int, default=16, help="programs side by side")
    parser.add_argument("--repeat", type=int, default=1, help="run each so often")
    parser.add_argument("--tries", type=int, default=3, help="runs until a program counts as equal")
    parser.add_argument("--shown", type=int, default=10, help="differences reported in full")
    parser.add_argument("--no-shrink", dest="shrink", action="store_false")
    parser.add_argument("--out", default=os.path.join(HERE, "found"),
                        help="where programs that differ are written")
    parser.add_argument("--unsteady", metavar="FILE",
                        help="where to write the names of those that differed once, without harm")
    parser.add_argument("--trace", action="store_true", help="print what the clients saw")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
