# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""aedes, a broker in JavaScript: tools/testbed-aedes/ holds its launcher and its pinned version."""

import os

from .recipe import BrokerError, Recipe, program

FOLDER = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), *[".."] * 3,
                                       "testbed-aedes"))


def prepare(place):
    node = program("node", "nodejs")
    if not os.path.exists(os.path.join(FOLDER, "node_modules", "aedes")):
        raise BrokerError("aedes is not installed (make deps-brokers)")
    return Recipe("aedes", [node, os.path.join(FOLDER, "broker.js"), str(place.port)],
                  keys={"fence": "none", "overlap": "pass"})
