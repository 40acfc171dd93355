# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Mosquitto as Debian ships it, but for what a test needs: its counts come every second."""

from .. import sanitizer
from .recipe import Recipe, program

NAME = "mosquitto"  # in Offramp's configuration


def prepare(place):
    path = program("mosquitto", "mosquitto")
    config = place.write("mosquitto.conf", f"""\
{plugin_lines(place.plugin)}listener {place.port}
allow_anonymous true
user root
persistence false
sys_interval 1
log_dest file {place.path("mosquitto.log")}
log_timestamp_format %Y-%m-%dT%H:%M:%S
{place.settings}""")
    argv = [path, "-c", config]
    return Recipe(NAME, sanitizer.wrap(place.plugin.path, argv) if place.plugin else argv)


def plugin_lines(plugin):
    """It stands first: mosquitto asks its plugins in this order."""
    if not plugin:
        return ""
    return f"""\
plugin {plugin.path}
plugin_opt_address {plugin.address}
plugin_opt_broker {NAME}
plugin_opt_acl {plugin.acl}
"""
