# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The brokers that the system tests run with, and how each differs from mosquitto.

A trait is a fact about the broker alone, seen in direct mode; docs/brokers.md says what it means
for Offramp. Tests ask for traits, never for a broker's name: what a test needs is in its
@pytest.mark.needs(TRAIT…), and it is left out where a trait is missing.
"""

import dataclasses

# How clients' command lines and parameters of tests write versions.
VERSION_NAMES = {"mqttv31": 3, "mqttv311": 4, "3.1.1": 4, "mqttv5": 5, "5": 5}


@dataclasses.dataclass(frozen=True)
class Broker:
    """Mosquitto 2.0.11, where nothing else is said."""

    name: str
    versions: tuple = (3, 4, 5)
    login: tuple = ()  # (user, password) without which nobody is let in
    counts: bool = True  # tells on $SYS what it received
    max_qos: int = 2  # QoS 2 above it is answered as QoS 1
    shares: bool = True  # serves $share/…
    dollar_topics: bool = True  # lets clients use topics that begin with $, except $SYS
    sys_refusal: int = 0x87  # the reason code for who writes to $SYS; 0: nobody is refused
    # What a v3 client gets that has several subscriptions matching one message:
    #   first  one copy, at the QoS of the filter that is found first
    #   each   one copy a subscription
    #   qos    one copy for each QoS among them
    #   any    one copy, at the QoS of any of them
    overlap: str = "first"
    resubscribing_replaces: bool = True  # [MQTT-3.8.4-3]
    keeps_qos0_session: bool = True  # also when none of its subscriptions is above QoS 0
    orderly_will: bool = True  # comes after what its client had published
    obeys_maximum_packet: bool = True
    retained_once: bool = True  # what is retained just after a SUBACK is not sent twice
    wildcards_spare_dollar: bool = True  # [MQTT-4.7.2-1]
    amqp_topics: bool = False  # '.' is '/', and a level '*' is '+'
    topic_levels: int = 1000
    # Of what is malformed, by its name in test_publish.py: what it does not mind, and what it closes
    # for too late or waits after.
    tolerates: frozenset = frozenset()
    answers_late: frozenset = frozenset()
    waits_after: frozenset = frozenset()  # of garbage instead of CONNECT, names in test_faults.py

    def can(self, trait):
        """A trait of this class that is true, or "v5" for a version."""
        if trait.startswith("v"):
            return int(trait[1:]) in self.versions
        return bool(getattr(self, trait))

    @property
    def credentials(self):
        """As keywords of mqttraw.connect()."""
        return dict(zip(("user", "password"), self.login))


BROKERS = {broker.name: broker for broker in (
    Broker("mosquitto"),
    Broker("rabbitmq", versions=(3, 4), counts=False, max_qos=1, shares=False, overlap="qos",
           resubscribing_replaces=False, keeps_qos0_session=False, orderly_will=False,
           wildcards_spare_dollar=False, amqp_topics=True,
           tolerates=frozenset({"wildcard in the topic", "hash in the topic", "empty topic",
                                "U+0000 in the topic", "broken UTF-8", "identifier 0",
                                "a second CONNECT"}),
           answers_late=frozenset({"a CONNACK", "remaining length of five bytes",
                                   "packet type 0"})),
    Broker("ejabberd", versions=(4, 5), login=("somebody", "secret"), counts=False, shares=False,
           dollar_topics=False, sys_refusal=0x90, overlap="each", obeys_maximum_packet=False,
           retained_once=False, waits_after=frozenset({"http", "ssh"})),
    Broker("aedes", versions=(3, 4), shares=False, overlap="any", orderly_will=False,
           topic_levels=100,
           tolerates=frozenset({"U+0000 in the topic", "broken UTF-8", "identifier 0"}),
           answers_late=frozenset({"a CONNACK"})),
)}
