# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The brokers that the testbed knows by name: one file each, with its recipe.

prepare(place) of a recipe writes the broker's files and returns what to start. A broker serves
everybody without a password, keeps all it writes in its directory and listens nowhere outside its
host, so any number of testbeds run it at once, beside a service of the system's own.
"""

import os

from . import aedes, ejabberd, mosquitto, rabbitmq
from .recipe import BrokerError, Place, Plugin, Recipe

__all__ = ["BrokerError", "NAMES", "Place", "Plugin", "command", "prepare"]

_RECIPES = {"mosquitto": mosquitto, "rabbitmq": rabbitmq, "ejabberd": ejabberd, "aedes": aedes}
NAMES = tuple(_RECIPES)


def command(text):
    """The recipe of a shell command. Nothing is known of its broker: it is taken for a mosquitto."""
    return Recipe("mosquitto", ["/bin/sh", "-c", text], os.getcwd())


def prepare(name, place):
    return _RECIPES[name].prepare(place)
