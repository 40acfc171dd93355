# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Mosquitto as Debian ships it, but for what a test needs: its counts come every second."""

from .recipe import Recipe, program


def prepare(place):
    path = program("mosquitto", "mosquitto")
    config = place.write("mosquitto.conf", f"""\
listener {place.port}
allow_anonymous true
user root
persistence false
sys_interval 1
log_dest file {place.path("mosquitto.log")}
log_timestamp_format %Y-%m-%dT%H:%M:%S
""")
    return Recipe("mosquitto", [path, "-c", config])
