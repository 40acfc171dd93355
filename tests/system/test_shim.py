# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What a server does with sockets comes to the same on the kernel's TCP and under the shim.

The scenarios are tests/shim; what is known to differ is listed in docs/shim.md, with its reason.
"""

import grp
import os
import re
import socket

import pytest

from bed import BUILD, REPOSITORY, eventually
from others import exchange
from servers import channel
from testbed import hosts, sanitizer

pytestmark = [pytest.mark.stack_only, pytest.mark.in_modes("socket"), pytest.mark.core]

PROGRAM = os.path.join(BUILD, "tests", "shim", "shim-scenarios")
PARTS, PORT = 4, 7001  # played side by side; shim.yaml
SHIM = os.path.join(REPOSITORY, "docs", "shim.md")


def up_options(_mode):
    return ["--config", os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim.yaml")]


def listed():
    """The scenarios that the table of differences names."""
    with open(SHIM, encoding="utf-8") as file:
        section = file.read().split("\n## Differences\n")[1].split("\n## ")[0]
    rows = [line.split(" | ")[-1] for line in section.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)}


def play(bed, command, host, addresses, names=()):
    """Plays them. {name: what it came to}; with names, these alone, and one after the other."""
    parts = 1 if names else PARTS
    programs = [bed.popen(
        *command, PROGRAM, "--address", addresses[0], "--address6", addresses[1],
        "--port", PORT + 2 * part, "--peer", hosts.CLIENT, "--peer6", hosts.CLIENT6, "--clients", f"/run/netns/{hosts.netns(bed.name, 'clients')}",
        "--user", grp.getgrnam("nogroup").gr_gid, "--part", f"{part}/{parts}", *names, host=host)
        for part in range(parts)]
    found = {}
    for program in programs:
        out, err = program.communicate(timeout=400)
        assert program.returncode == 0, out + err
        found.update(line.split(":", 1) for line in out.splitlines())
    return found


def natively(bed, names=()):
    """At both ends the kernel, of the clients' host."""
    return play(bed, (), "clients", (hosts.CLIENT, hosts.CLIENT6), names)


def under_the_shim(bed, names=()):
    return play(bed, bed.starter(), "broker", (hosts.LISTEN, hosts.LISTEN6), names)


def test_every_scenario_comes_to_the_same_or_is_listed(bed):
    native, offloaded = natively(bed), under_the_shim(bed)
    assert len(native) > 150 and native.keys() == offloaded.keys()
    differing = {name for name in native if native[name] != offloaded[name]}
    surprising = differing ^ listed()
    if surprising:  # a busy machine may have been too slow for one: once more, alone
        native.update(natively(bed, sorted(surprising)))
        offloaded.update(under_the_shim(bed, sorted(surprising)))
        differing = {name for name in native if native[name] != offloaded[name]}
    what = "\n".join(f"{name}:\n  kernel{native.get(name)}\n  here  {offloaded.get(name)}"
                     for name in sorted(differing ^ listed()))
    assert differing == listed(), f"differs and is not listed, or the other way round:\n{what}"


@pytest.mark.full
def test_a_sanitized_shim_does_what_no_sanitizer_complains_of(bed, tmp_path):
    """Of a build with -Dshim_sanitize=address,undefined. What scenarios come to is not compared:
    its runtime handles signals, too, and does not let every child of a thread's process allocate.
    """
    if not sanitizer.environment(os.path.join(BUILD, "libofframp-shim.so")):
        pytest.skip("the shim is built without a sanitizer")
    names = natively(bed).keys() - {"read-bad-address"}
    reports = ["env", *(f"{name}=detect_leaks=0:log_path={tmp_path}/report"
                        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"))]
    command = [word for word in bed.starter() if not word.startswith("ASAN_OPTIONS=")]
    assert len(play(bed, [*reports, *command], "broker", (hosts.LISTEN, hosts.LISTEN6),
                    sorted(names))) > 150
    assert not [report.read_text() for report in tmp_path.glob("report*")]


def test_the_library_is_linked_instead(bed):
    """The example, in a program that keeps its own names of the C library's."""
    address = (hosts.LISTEN, PORT)
    server = bed.popen("env", f"OFFRAMP_CHANNEL={channel(bed)}",
                       os.path.join(BUILD, "tests", "shim", "echo-server"), *address, host="broker")
    try:
        assert eventually(lambda: bed.counters()["processes"] == 2)
        with hosts.open_socket(bed.name, "clients", socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(bed.seconds(20))
            assert eventually(lambda: client.connect_ex(address) == 0)
            for word in (b"hello", b"x" * 3000):
                assert exchange(client, word) == word
    finally:
        server.kill()
        server.communicate()
