# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""mosquitto with the plugin and an Offramp that is none: see offrampd.py and broker.py."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from broker import Mosquitto  # noqa: E402
from offrampd import Offrampd  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "reuse: memory that is used again at once, as it is not by "
                            "sanitizers, is what matters here")


@pytest.fixture
def socket_path(tmp_path):
    return f"unix:{tmp_path}/offramp.sock"


@pytest.fixture
def servers():
    """Makes Offramps; all are gone at the end."""
    made = []

    def make(*arguments, **options):
        made.append(Offrampd(*arguments, **options))
        return made[-1]
    yield make
    for server in made:
        server.stop()


@pytest.fixture
def brokers(tmp_path):
    """Makes mosquittos; each must end orderly."""
    made = []

    def make(options, **how):
        folder = tmp_path / f"broker{len(made)}"
        folder.mkdir()
        made.append(Mosquitto(folder, options, **how))
        return made[-1]
    yield make
    for one in made:
        code = one.stop()
        assert code in (0, None) or one.may_fail, f"mosquitto: {code}\n{one.output}\n{one.lines()}"


@pytest.fixture
def offrampd(servers, socket_path):
    return servers(socket_path)


@pytest.fixture
def broker(brokers, socket_path):
    """Started; everything is allowed."""
    return brokers({"address": socket_path, "broker": "test", "acl": "allow"}).start()


@pytest.fixture
def stream(offrampd, broker):
    """The plugin's, welcomed."""
    return offrampd.stream().welcome()
