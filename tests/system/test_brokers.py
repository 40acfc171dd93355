# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The testbed's recipe of a broker: several at once, killed, started again, and nothing left over."""

import os

import pytest

from bed import eventually


@pytest.fixture
def own(open_bed, mode):
    bed = open_bed(mode)
    yield bed
    bed.down()


def pids(bed):
    """Of everything that runs on the broker's host: a broker may have brought helpers along."""
    done = bed.run("ip", "netns", "pids", bed.status()["namespaces"]["broker"], host="broker")
    return [int(pid) for pid in done.stdout.split()]


def is_heard(bed, text):
    with bed.client("hears") as hears, bed.client("says") as says:
        hears.subscribe("recipe")
        says.publish("recipe", text, 1)
        return hears.payloads(1) == [text]


def test_two_of_them_run_beside_each_other(own, open_bed, mode):
    other = open_bed(mode)
    assert not set(pids(own)) & set(pids(other))
    assert is_heard(own, b"here") and is_heard(other, b"there")
    other.down()
    assert is_heard(own, b"still here")


def test_nothing_is_left_when_it_goes_down(own):
    directory, running = own.status()["directory"], pids(own)
    assert own.pid("broker") in running
    own.down()
    assert not os.path.exists(directory)
    assert eventually(lambda: not [pid for pid in running if os.path.exists(f"/proc/{pid}")], 5)


@pytest.mark.parametrize("how", ["TERM", "KILL"])
def test_it_can_be_stopped_and_started_again(own, how):
    assert is_heard(own, b"before")
    own.tool("stop", "broker", "--signal", how)
    assert not own.is_alive("broker")
    own.tool("start", "broker", timeout=120)
    assert is_heard(own, b"after")
