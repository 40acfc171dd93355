# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What is in flight towards one client, and who has put there more than its Receive Maximum (4.9).

Who sent a message its identifier says: mosquitto counts from 1, Offramp keeps half of the space
ahead of that (session/identifiers.h), and a program has some hundred messages.

mosquitto 2.0.11 itself sends more than Receive Maximum when messages wait in its queue. For a
PUBACK or PUBCOMP it takes up to

    Receive Maximum - (messages it had sent before that one and has in flight still)

from the queue, whatever else is in flight: with Receive Maximum 10 in flight are soon 30. What was
in flight when a session's last connection ended it sends again, all of it, however small Receive
Maximum is now. How much is waiting when an acknowledgement comes is chance, so one run shows it and
the next does not; it is never compared. But it is known to the message, so:

- what mosquitto says must fit what it can have been told: who acknowledges on a client's behalf
  what the client has not taken makes it send more than that;
- with none of Offramp's in flight all the excess is the broker's, which Offramp passes on;
- with one of Offramp's in flight, or sent now, every message beyond Receive Maximum is Offramp's
  doing, and never allowed. But see LONG, and:
- when the broker ends a connection whose client has not said goodbye, what it has sent still goes
  out, whatever the window says (offload/output.c). So it is `beyond` until something else than the
  broker's PUBLISHes and its DISCONNECT shows that the connection has not ended.
"""

OURS = 0x4000  # identifiers from here on are Offramp's
# Where the broker is beyond Receive Maximum by itself, a message of ours may be, too, one at a time,
# when one of the broker's waits behind it that there is no room for: neither would ever go
# (offload/window.c).
LONG = 1 << 20


class Window:
    """One connection's. `longest`: of the messages that there are."""

    def __init__(self, maximum, longest):
        self.maximum, self.longest = maximum, longest
        self.inflight = []  # identifiers, in the order they came
        self.beyond = None  # what is wrong unless the connection ends now
        self.credit = maximum  # what mosquitto may still send, beside what it sends again

    def _of_offramp(self):
        return sum(pid >= OURS for pid in self.inflight)

    def came(self, pid, again):
        """A PUBLISH came under the identifier. Returns what is wrong with that, or None."""
        if pid in self.inflight:
            return None if again else "an identifier in use was given to another message"
        wrong = self._judge(pid, again)
        self.inflight.append(pid)
        return wrong

    def _judge(self, pid, again):
        is_full, ours = len(self.inflight) >= self.maximum, self._of_offramp()
        if pid >= OURS:
            excused = not ours and self.longest >= LONG
            return f"Offramp sent more than Receive Maximum ({self._state()})" \
                if is_full and not excused else None
        if not again:
            self.credit -= 1
        if self.credit < 0:
            return f"the broker was told of room that there was not ({self._state()})"
        if is_full and ours:
            self.beyond = self.beyond or f"more than Receive Maximum was let pass ({self._state()})"
        return None

    def goes_on(self):
        """The connection has not ended. Returns what is wrong with that, or None."""
        wrong, self.beyond = self.beyond, None
        return wrong

    def _state(self):
        return f"{self.maximum}; in flight {self.inflight}"

    def ended(self, pid):
        """The client says PUBACK or PUBCOMP."""
        before = 0  # what an earlier connection left half done is at the head of the broker's list
        if pid in self.inflight:
            before = [other for other in self.inflight if other < OURS or other == pid].index(pid)
            self.inflight.remove(pid)
        if pid < OURS:
            self.credit += max(1, self.maximum - before)
