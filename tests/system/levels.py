# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What of the daemon is in use: after all is over it must be as much as before."""

import time

from bed import eventually

PAYLOADS_OPEN = 2
XDP_KEEPS = 64  # frames: DPDK's af_xdp driver takes a port's last burst back when it sends the next one
FORGOTTEN_LATE = "flow_tracks"  # that a flow has ended is looked for every five seconds


def level(bed):
    """Every gauge that must come back to where it was."""
    counters = bed.counters()
    gauges = {name: counters[name] for name in ("connections", "subscriptions", "sessions_offline",
                                                "tcp_pieces")}
    return gauges | counters["pool_in_use"] | counters["tcp_connections"]


def settled_level(bed):
    """The level once what earlier tests left has gone: it stands still longer than TIME-WAIT."""
    last, since = level(bed), time.monotonic()
    while time.monotonic() - since < 2:
        time.sleep(0.25)
        now = level(bed)
        if now != last:
            last, since = now, time.monotonic()
    return last


def assert_back_to(bed, before):
    """All of it. Of payloads, one of a size may stay: the one that is being filled.

    Over bad wires a RST may be lost; what it should have ended lives for as long as mosquitto waits
    for a CONNECT or for a keep alive of a minute: 90 s. What an earlier test left so may go now.
    """
    def differing():
        return {name: (before[name], now) for name, now in level(bed).items()
                if is_other(name, now - before[name])}

    def is_other(name, more):
        allowed = PAYLOADS_OPEN if name.startswith("payloads") else 0
        allowed = XDP_KEEPS if name == "frames_rx" and "af_xdp" in bed.options else allowed
        may_go = bed.is_impaired or name == FORGOTTEN_LATE
        return more > allowed or (more < -allowed and not may_go)

    assert eventually(lambda: not differing(), bed.seconds(20), 0.25), differing()
