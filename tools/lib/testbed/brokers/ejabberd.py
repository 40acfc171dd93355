# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""ejabberd with mod_mqtt and nothing else: no XMPP, and no distribution, so no epmd.

Everybody is let in by SASL ANONYMOUS; a client's XMPP name is made from its client identifier.
"""

import glob
import os

from .recipe import BrokerError, Recipe, program

USER = "ejabberd"  # the package's own

CONFIG = """\
hosts: [localhost]
loglevel: info
auth_method: [anonymous]
anonymous_protocol: both
allow_multiple_connections: true
# Nobody is slowed down, and no queue of a client's is shorter than what tests leave waiting.
shaper: {{}}
listen:
  - port: {port}
    ip: "::"
    module: mod_mqtt
    backlog: 4096
    max_fsm_queue: 100000
modules:
  mod_mqtt:
    max_queue: 100000
    max_topic_depth: infinity
"""


def libraries():
    """The folder of Erlang applications that ejabberd's package fills, beside Erlang's own."""
    found = glob.glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app")
    if not found:
        raise BrokerError("ejabberd is not installed (make deps-brokers)")
    return os.path.dirname(os.path.dirname(os.path.dirname(found[0])))


def prepare(place):
    erl, folder = program("erl", "ejabberd"), libraries()
    home = place.give_to(USER)
    config = place.write("ejabberd.yml", CONFIG.format(port=place.port))
    environment = {
        "HOME": home,
        "ERL_LIBS": folder,
        "ERL_CRASH_DUMP": f"{home}/erl_crash.dump",
        "EJABBERD_CONFIG_PATH": config,
        "EJABBERD_LOG_PATH": f"{home}/ejabberd.log",
    }
    argv = [erl, "-noinput", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none",
            "-mnesia", "dir", f'"{home}/mnesia"', "-s", "ejabberd"]
    return Recipe("ejabberd", argv, serves_within_s=90, user=USER, environment=environment,
                  keys={"fence": "none", "overlap": "each"})
