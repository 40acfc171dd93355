# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""System tests: real clients and a real broker in network namespaces.

What a client may expect is proven against the broker alone first: most tests run in `direct` mode
and then, with the same expectations, in `stack` mode; in `monitor` mode and with two workers (`workers`,
`monitor-workers`); and once more
over wires that lose, double and reorder packets (`impaired`, `monitor-impaired`): their core always, and also with IPv6;
all of them with -m full, and then also between ends without timestamps and SACK (`monitor-bare`,
`monitor-bare-impaired`).
"""

import atexit
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile

import pytest

pytest.register_assert_rewrite("bed")  # what it asserts is shown as what a test asserts

from bed import BUILD, MODES, REPOSITORY, Bed  # noqa: E402
from brokers import BROKERS, VERSION_NAMES  # noqa: E402

SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:).*")
_open = []  # testbeds to take down, whatever happens


def pytest_addoption(parser):
    parser.addoption("--modes", default=",".join(MODES),
                     help="modes to test, separated by commas (default: %(default)s)")
    parser.addoption("--broker", default="mosquitto", choices=tuple(BROKERS),
                     help="the broker behind (default: %(default)s)")
    parser.addoption("--io", default="af_packet", help="ports of the daemon: af_packet, af_xdp")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: the whole size of what else runs scaled down")
    config.addinivalue_line("markers", "needs(*traits): of the broker (brokers.py)")
    config.addinivalue_line("markers", "stack_only: says nothing about the broker alone")
    config.addinivalue_line("markers", "in_modes(*modes): says nothing in others")
    config.addinivalue_line("markers", "endpoint: Offramp is a host of its own")
    config.addinivalue_line("markers", "monitor_only: Offramp is a bump in the wire")
    config.addinivalue_line("markers", "core: runs impaired every time, and with IPv6 too")
    config.addinivalue_line("markers", "every_time(*modes): runs in these without -m full, too")
    config.addinivalue_line("markers", "impaired_only: is about bad wires")
    config.addinivalue_line("markers", "good_wires(reason): holds of no TCP over bad ones")
    # What is known, and not ours, is not said.
    leaks = os.path.join(REPOSITORY, "tests", "lsan.supp")
    os.environ.setdefault("LSAN_OPTIONS", f"print_suppressions=0:suppressions={leaks}")
    # A test run that is told to stop takes its testbeds down, as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    atexit.register(take_down_all)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """What the broker can do; full sizes only when asked for by -m. Module by module, mode by mode:
    one testbed each.

    pytest's own order mixes the modes of tests with several parameters, and so rebuilds testbeds.
    """
    only_fast = "full" not in config.getoption("markexpr")
    broker = BROKERS[config.getoption("broker")]
    kept = [item for item in items if mode_of(item) is not None and serves(broker, item)
            and not (only_fast and item.get_closest_marker("full"))
            and not (is_impaired(mode_of(item)) and item.get_closest_marker("good_wires"))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    modules = {}
    for item in items:
        modules.setdefault(item.fspath, len(modules))
    items.sort(key=lambda item: (modules[item.fspath], mode_of(item)))


def serves(broker, item):
    """Has that broker what the test needs?"""
    version = parameter(item, "version")
    if version and VERSION_NAMES.get(version, version) not in broker.versions:
        return False
    needs = {need for mark in item.iter_markers("needs") for need in mark.args}
    return all(broker.can(need) for need in needs)


def parameter(item, name, default=None):
    return item.callspec.params.get(name, default) if hasattr(item, "callspec") else default


def mode_of(item):
    """None when the test is for none of the modes that were asked for.

    Those that make their testbed themselves are tests of stack mode.
    """
    if "mode" not in item.fixturenames:
        return "stack" if "stack" in item.config.getoption("modes").split(",") else None
    mode = parameter(item, "mode", "")
    return mode if isinstance(mode, str) else None


def is_impaired(mode):
    return "--impair" in MODES.get(mode, ())


def pytest_generate_tests(metafunc):
    if "mode" in metafunc.fixturenames:
        # pytest tells a module's parameters apart by identity: equal strings that are not the same
        # object would have the testbed rebuilt for every test.
        modes = [sys.intern(mode) for mode in metafunc.config.getoption("--modes").split(",")]
        has = metafunc.definition.get_closest_marker
        metafunc.parametrize("mode", [parameter_of(mode, has) for mode in modes
                                      if is_tested_in(mode, has)], scope="module")


def is_monitor(mode):
    return MODES[mode][0] == "monitor"


def is_bare(mode):
    """Are the ends without timestamps and selective acknowledgements?"""
    return "--sysctl" in MODES[mode]


def is_socket(mode):
    return MODES[mode][0] == "socket"


def is_tested_in(mode, has):
    only = has("in_modes")
    if only and mode not in only.args:
        return False
    if has("endpoint" if is_monitor(mode) else "monitor_only"):
        return False
    if is_impaired(mode):
        return "--ipv6" not in MODES[mode] or bool(has("core")) or is_named(mode, has)
    return not has("impaired_only") and not (mode == "direct" and has("stack_only"))


def is_named(mode, has):
    named = has("every_time")
    return bool(named) and mode in named.args


def parameter_of(mode, has):
    """With -m full, all of it is impaired, runs with several workers and between all kinds of ends."""
    is_always = (has("core") or has("impaired_only") or (mode == "monitor" and has("monitor_only"))
                 ) and not is_bare(mode) and mode != "monitor-workers"
    is_more = ((is_impaired(mode) or "--workers" in MODES[mode] or is_monitor(mode)
                or is_socket(mode))
               and not is_always and not is_named(mode, has))
    return pytest.param(mode, marks=[pytest.mark.full] if is_more else [])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for bed in _open:
            bed.is_spoilt = True
            for title, text in bed.evidence():
                report.sections.append((f"{title} of {bed.name}", text))


def take_down(bed):
    if bed in _open:
        _open.remove(bed)
        bed.down()


def take_down_all():
    for bed in list(_open):
        take_down(bed)


@functools.cache
def impairment_is_built_in():
    """Asks the daemon: a build without names the key that it refuses."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write("mode: stack\n"
                   "ports: [{name: a, device: net_null0, addresses: [198.18.0.1/16],"
                   " impair: {loss: 2%}}]\n"
                   "brokers: [{name: b, listen: '198.18.0.1:1883', address: '198.18.0.2:1883'}]\n")
        file.flush()
        done = subprocess.run([f"{BUILD}/offrampd", "-c", file.name, "--test-config"], text=True,
                              capture_output=True, timeout=20)
    assert done.returncode == 0 or "built without impairment" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.fixture(scope="session")
def open_bed(request):
    """Brings a testbed up that is taken down at the latest when all tests are done."""
    def open_(mode, *options):
        if mode != "direct" and not os.access(os.path.join(BUILD, "offrampd"), os.X_OK):
            pytest.fail(f"{BUILD}/offrampd is not there (--modes direct tests the broker alone)")
        if is_impaired(mode) and not impairment_is_built_in():
            pytest.skip("the daemon is built without -Dimpair=true")
        bed = Bed(mode, "--io", request.config.getoption("--io"), *options,
                  broker=request.config.getoption("--broker"))
        _open.append(bed)
        return bed.up()

    yield open_
    take_down_all()


@pytest.fixture(scope="module")
def module_bed(request, mode, open_bed):
    """The testbed of a module in one mode. up_options(mode) of the module goes to `up`."""
    options = getattr(request.module, "up_options", lambda mode: ())(mode)
    bed = open_bed(mode, *options)
    yield bed
    if bed.is_stack:
        bed.tool("stop", "daemon")
        report = SANITIZER.search(bed.log("daemon"))
        assert not report, report[0]
    take_down(bed)


@pytest.fixture
def bed(module_bed):
    """The module's testbed; afterwards broker and daemon still run, and are the same as before.

    After a failure the next test gets a fresh one: what went wrong stays with its test.
    """
    if module_bed.is_spoilt:
        module_bed.up()
    running = processes(module_bed)
    yield module_bed
    assert processes(module_bed) == running, "a program died or was restarted meanwhile"


def processes(bed):
    return {who: process["pid"] for who, process in bed.status()["processes"].items()
            if process["alive"]}
