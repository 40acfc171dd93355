# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Processes that outlive the program that started them.

A process is remembered as pid and start time, so that a recycled pid is never taken for it. Each
runs in a session of its own: a signal goes to its whole group, a terminal's Ctrl-C does not.
"""

import os
import signal
import subprocess
import time


def start_time(pid):
    """The kernel's start time of a living process in clock ticks; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(process):
    return bool(process and process["start"]) and start_time(process["pid"]) == process["start"]


def spawn(command, log_path, cwd=None):
    """Starts command with its output appended to a file. Returns what state.json keeps of it."""
    with open(log_path, "ab") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 cwd=cwd, start_new_session=True)
    child.returncode = 0  # nobody waits for it here: init reaps it
    return {"pid": child.pid, "start": start_time(child.pid)}


def send_signal(process, number):
    if is_alive(process):
        try:
            os.killpg(process["pid"], number)
        except ProcessLookupError:
            pass


def wait_gone(process, seconds):
    deadline = time.monotonic() + seconds
    while is_alive(process):
        reap(process["pid"])
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def reap(pid):
    """Takes the exit status if the process happens to be a child of ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def stop(process, number=signal.SIGTERM, seconds=10):
    """Signals the process and waits for its end; KILL when the time is over."""
    send_signal(process, number)
    if not wait_gone(process, seconds):
        send_signal(process, signal.SIGKILL)
        wait_gone(process, 5)


def ancestors():
    """This process and those it descends from: never to be swept away."""
    pids, pid = set(), os.getpid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            break
    return pids
