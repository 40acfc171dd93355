# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Loads on test hosts: offramp-bench run through tools/testbed, and the broker's own count."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("OFFRAMP_BUILD") or os.path.join(ROOT, "build"))
TESTBED = os.path.join(ROOT, "tools", "testbed")
BENCH = os.path.join(BUILD, "offramp-bench")
BENCH_RAN = (0, 1)  # exit codes of a run that reports: all well, or messages lost and the like
BENCH_INTERRUPTED = 130
SYS_COUNT = "$SYS/broker/publish/messages/received"
# The test hosts' mosquitto publishes its counters with sys_interval 1, which it takes for "when more
# than one whole second has passed".
SYS_PERIOD_S = 2.3


class LoadError(Exception):
    """What went wrong, for the user."""


def require(*programs):
    """Fails with one line when this cannot work here."""
    if os.geteuid() != 0:
        raise LoadError("network namespaces need root")
    for program in programs:
        path = os.path.join(BUILD, program)
        if not os.access(path, os.X_OK):
            raise LoadError(f"{path} is not there: run 'make build'")


def exit_on_sigterm():
    """SIGTERM ends the program as Ctrl-C does: through its clean-up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextlib.contextmanager
def bed(name, mode, io, *options):
    """A testbed while the block runs; nothing of it is left afterwards, however the block ends."""
    try:
        testbed("up", "--mode", mode, "--io", io, *options, name=name)
        yield Bed(name, mode)
    finally:
        # A second Ctrl-C must not leave half of it behind.
        previous = {number: signal.signal(number, signal.SIG_IGN)
                    for number in (signal.SIGINT, signal.SIGTERM)}
        with contextlib.suppress(LoadError):
            testbed("down", name=name)
        for number, handler in previous.items():
            signal.signal(number, handler)


def testbed(action, *arguments, name):
    done = subprocess.run([TESTBED, action, "--name", name, *arguments], text=True,
                          capture_output=True, env={**os.environ, "OFFRAMP_BUILD": BUILD})
    if done.returncode:
        raise LoadError(f"testbed {action}: {done.stderr.strip() or done.returncode}")
    return done.stdout


class Bed:
    def __init__(self, name, mode):
        self.name, self.mode = name, mode
        self.address, self.port = testbed("address", name=name).split()
        self.status = json.loads(testbed("status", "--json", name=name))

    def _on_host(self, host, *command):
        return [TESTBED, "exec", "--name", self.name, host, "--", *command]

    def start(self, host, *command):
        """Runs a command there."""
        return subprocess.Popen(self._on_host(host, *command), text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def bench(self, *arguments):
        """Runs a load; what offramp-bench reports, as a dict."""
        watches = [f"--cpu-of={'offrampd' if who == 'daemon' else who}={process['pid']}"
                   for who, process in self.status["processes"].items()]
        command = self._on_host("clients", BENCH, "--json", "--host", self.address, "--port",
                                self.port, *watches, *arguments)
        with subprocess.Popen(command, text=True, stdout=subprocess.PIPE,
                              stderr=None if sys.stderr.isatty() else subprocess.PIPE) as process:
            try:
                out, error = process.communicate()
            except BaseException:
                process.terminate()
                raise
        if process.returncode == BENCH_INTERRUPTED:  # Ctrl-C reaches it as well
            raise KeyboardInterrupt
        if process.returncode not in BENCH_RAN:
            raise LoadError(f"{self.mode}: {(error or '').strip() or 'offramp-bench failed'}"
                            f"\n{testbed('log', '-n', '10', name=self.name)}")
        return json.loads(out)

    def broker_publishes(self):
        """PUBLISH packets the broker says it received, of all that was sent until now."""
        time.sleep(SYS_PERIOD_S)
        command = self._on_host("clients", "mosquitto_sub", "-h", self.address, "-p", self.port,
                                "-t", SYS_COUNT, "-C", "1", "-W", "5")
        done = subprocess.run(command, text=True, capture_output=True)
        if done.returncode or not done.stdout.strip().isdigit():
            raise LoadError(f"the broker does not tell {SYS_COUNT}: {done.stderr.strip()}")
        return int(done.stdout)


def machine():
    """What a result was measured on."""
    return {"system": platform.platform(), "machine": platform.machine(), "cores": os.cpu_count(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def time_text(us):
    """1234 microseconds as '1.23 ms'."""
    if us < 1000:
        return f"{us:.0f} us"
    if us < 1e6:
        return f"{us / 1e3:.3g} ms"
    return f"{us / 1e6:.3g} s"


def cpu_per_million(report, who):
    """CPU seconds of a process per million deliveries; None when it did not run."""
    return report["cpu"]["processes"].get(who, {}).get("s_per_million_deliveries")


def anomalies_text(report):
    return " / ".join(str(report[key]) for key in ("lost", "duplicated", "reordered"))


def failures(report):
    """What must not be, by name; empty when all arrived as it was sent."""
    names = ("lost", "duplicated", "reordered", "corrupted", "unexpected", "refused",
             "unacknowledged", "connections_lost")
    return {name: report[name] for name in names if report[name]}
