# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Which differences a busy machine may have made.

A difference that is seen again in the tries is Offramp's. One that is not is still Offramp's when a
client was harmed by it: a message or an acknowledgement lost, doubled, altered or out of order, one
for somebody who may not have it or did not ask, a session or subscription that is not what the
broker says, more in flight than Receive Maximum, a packet that breaks the protocol. No load makes a
correct program do that, races.py knows what may vary, and what is seen once in a thousand runs here
is seen every day elsewhere. So these are never excused.

Two kinds are, once:

- Somebody ran out of time (`late`): a script or a round of pings met its limit, or a broker closed
  a client with a keep alive of seconds. A machine may stand still for that long. Such a run breaks
  off, so what is missing in it says nothing; but what did come is judged: its order, and that
  nothing came too often or from nowhere.
- What only tells, and about a moment: the reason code of an acknowledgement (had somebody
  subscribed yet?), and that of a DISCONNECT.
"""

import collections

Difference = collections.namedtuple("Difference", "text is_harm")

LATE = "out of time: "


def late(text):
    """An anomaly that says so."""
    return LATE + text


def is_late(trace):
    """Did anybody in the run?"""
    return any(anomaly.startswith(LATE) for records in trace.values() for record in records
               for anomaly in record["anomalies"])


def without_late(anomalies):
    return [anomaly for anomaly in anomalies if not anomaly.startswith(LATE)]


def may_be_chance(differences):
    """None of them has harmed a client."""
    return not any(difference.is_harm for difference in differences)
