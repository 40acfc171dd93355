# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""tools/testbed itself: what its users rely on."""

import os
import re
import signal
import subprocess
import threading

import pytest

import mqttraw
from bed import TOOL, Bed, eventually, hosts, tool

ACCEPTS_NOBODY = "exec sleep 60"

pytestmark = pytest.mark.good_wires("is about the tool")


@pytest.fixture
def own(open_bed, mode):
    """A testbed of the test's own, for what would disturb others."""
    bed = open_bed(mode)
    yield bed
    bed.down()


def namespaces(bed):
    return [role for role in hosts.ROLES
            if os.path.exists(f"/run/netns/{hosts.netns(bed.name, role)}")]


def linger(bed):
    """A command that runs on the clients' host."""
    running = bed.popen("sleep", "600")
    assert eventually(lambda: open(f"/proc/{running.pid}/comm").read() == "sleep\n")
    return running


def exists(pid):
    return os.path.exists(f"/proc/{pid}") and not re.search(
        r"^State:\s+Z", open(f"/proc/{pid}/status", encoding="ascii").read(), re.M)


def test_a_client_can_connect_when_up_returns(own):
    for _ in range(3):
        own.up()
        with own.client("first") as client:
            client.subscribe("a")
            client.publish("a", "b")
            assert client.payloads(1) == [b"b"]


def test_address_is_what_clients_use(own):
    assert own.tool("address").stdout == "198.18.0.1 1883\n"


def test_another_port(open_bed, mode):
    bed = open_bed(mode, "--port", "2883")
    assert bed.port == 2883
    bed.client("a").leave()
    with pytest.raises(ConnectionRefusedError):
        bed.port = 1883
        bed.connect()
    bed.down()


def test_exec_passes_exit_code_output_and_input(bed):
    done = bed.run("sh", "-c", "cat; echo err >&2; exit 7", input="hello")
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello", "err\n")
    assert bed.run("true").returncode == 0
    assert bed.run("no-such-command-here").returncode == 127
    assert bed.run("echo", "--name", "x", "-h").stdout == "--name x -h\n"


def test_exec_passes_signals(bed):
    done = bed.run("sh", "-c", "kill -INT $$")
    assert done.returncode == -signal.SIGINT
    running = linger(bed)
    running.terminate()
    assert running.wait(10) == -signal.SIGTERM
    # Python ignores SIGPIPE; the command must not.
    assert bed.run("sh", "-c", "yes | head -n 1; echo ok").stdout == "y\nok\n"
    status = bed.run("cat", "/proc/self/status").stdout
    ignored = int(re.search(r"SigIgn:\t([0-9a-f]+)", status)[1], 16)
    assert not ignored & 1 << signal.SIGPIPE - 1


def wires(bed):
    """Of Offramp's host. In socket mode none goes to the broker's: its sockets live in the daemon."""
    return ("clients",) if bed.shape == "socket" else ("clients", "broker")


@pytest.mark.parametrize("host,address", [("clients", "198.18.0.2"), ("broker", None)])
def test_exec_runs_on_the_host(bed, host, address):
    shown = bed.run("ip", "-br", "address", "show", host=host).stdout
    if host in wires(bed):
        assert (address or bed.status()["broker_address"]) + "/16" in shown
    else:
        assert "lo" in shown and "eth0" not in shown


@pytest.mark.stack_only
def test_the_kernel_is_silent_in_the_offramp_namespace(bed):
    for port in wires(bed):
        shown = bed.run("ip", "address", "show", "dev", port, host="offramp").stdout
        assert "NOARP" in shown and "inet" not in shown, shown


def test_no_end_offloads(bed):
    ends = [(wire, "eth0") for wire in wires(bed)]
    ends += [("offramp", wire) for wire in wires(bed)] if bed.is_stack else []
    for host, interface in ends:
        shown = bed.run("ethtool", "-k", interface, host=host).stdout
        for feature in ("tx-checksumming", "tcp-segmentation-offload",
                        "generic-segmentation-offload", "generic-receive-offload"):
            assert f"{feature}: off" in shown, (host, interface, feature)


def test_clients_get_any_number_of_addresses(open_bed, mode):
    bed = open_bed(mode, "--clients", "300")
    more = bed.tool("address", "add", "2").stdout.split()
    assert more == ["198.18.2.47", "198.18.2.48"]
    for source in ("198.18.1.1", "198.18.1.254", "198.18.2.1", "198.18.2.46", *more):
        with mqttraw.Client(bed.connect(source), client_id=source) as client:
            client.connect()
    bed.down()


def test_two_at_once_do_not_disturb_each_other(own, open_bed, mode):
    other = open_bed(mode)
    here, there = own.client("same"), other.client("same")
    here.subscribe("t")
    there.subscribe("t")
    here.publish("t", "here")
    there.publish("t", "there")
    assert here.payloads(1) == [b"here"] and there.payloads(1) == [b"there"]
    assert not here.rest() and not there.rest()
    there.close()
    other.down()
    here.publish("t", "still")
    assert here.payloads(1) == [b"still"]
    here.close()


def test_two_go_up_at_the_same_time(mode):
    beds = [Bed(mode) for _ in range(2)]
    try:
        threads = [threading.Thread(target=bed.up) for bed in beds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for bed in beds:
            bed.client("a").leave()
    finally:
        for bed in beds:
            bed.down()


def test_survives_a_crashed_predecessor(own):
    status = own.status()
    old = [process["pid"] for process in status["processes"].values()]
    lost = linger(own)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    own.up()
    assert lost.wait(10) == -signal.SIGKILL
    own.client("a").leave()


def test_survives_a_predecessor_that_left_namespaces_only(own):
    directory = own.status()["directory"]
    pid = own.pid("broker")
    os.unlink(f"{directory}/state.json")
    own.up()
    assert not exists(pid)
    own.client("a").leave()


def test_survives_a_predecessor_without_namespaces(own):
    pid = own.pid("broker")
    for namespace in own.status()["namespaces"].values():
        subprocess.run(["ip", "netns", "delete", namespace], check=True, timeout=20)
    assert own.tool("address", check=False).returncode == 1
    own.up()
    assert not exists(pid)
    own.client("a").leave()


def test_an_up_that_was_killed_leaves_nothing_in_the_way(own):
    own.down()
    for delay in (0.05, 0.12, 0.2, 0.4):
        starting = subprocess.Popen([TOOL, "up", "--name", own.name, "--mode", own.mode],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            starting.wait(delay)
        except subprocess.TimeoutExpired:
            starting.kill()
        starting.wait(10)
    own.up()
    own.client("a").leave()
    own.down()
    assert not namespaces(own)


def test_up_that_is_told_to_stop_cleans_up(own):
    own.down()
    starting = subprocess.Popen(
        [TOOL, "up", "--name", own.name, "--mode", own.mode, "--broker", ACCEPTS_NOBODY],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert eventually(lambda: len(namespaces(own)) == 3)
    starting.terminate()
    assert starting.wait(30) == 128 + signal.SIGTERM
    assert not namespaces(own)


def test_up_twice_starts_afresh(own):
    with own.client("a") as client:
        client.publish("r", "kept", retain=True)
        client.ping()
    own.up()
    with own.client("b") as client:
        client.subscribe("r")
        assert not client.rest()


def test_a_recycled_pid_is_not_killed(own):
    path = f"{own.status()['directory']}/state.json"
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        text = open(path, encoding="utf-8").read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(re.sub(r'"pid": \d+', f'"pid": {bystander.pid}', text))
        own.up()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_down_leaves_nothing_and_may_be_repeated(own):
    status = own.status()
    lost = linger(own)
    own.down()
    assert lost.wait(10) == -signal.SIGKILL
    assert not namespaces(own)
    assert not os.path.exists(status["directory"])
    assert not any(exists(process["pid"]) for process in status["processes"].values())
    own.down()
    for action in (["address"], ["counters"], ["status"], ["log"]):
        assert own.tool(*action, check=False).returncode == 1
    assert own.run("true").returncode == 125


def test_a_broker_that_does_not_serve_is_told_with_its_log(own):
    for command, why in (("echo I am lost; exit 3", "ended before it served"),
                         (f"echo I am lost; {ACCEPTS_NOBODY}", "did not serve in time")):
        done = tool("up", "--name", own.name, "--mode", own.mode, "--timeout", "2",
                    "--broker", command, check=False)
        assert done.returncode == 1 and why in done.stderr and "I am lost" in done.stderr
        assert not namespaces(own)


def test_any_broker_can_be_used(own, open_bed):
    command = "exec /usr/sbin/mosquitto -v -c /dev/fd/3 3<<END\nlistener {port} {address}\n" \
        "allow_anonymous true\nuser root\nEND\n"  # who may attach in socket mode
    bed = open_bed(own.mode, "--broker", command)
    bed.client("other").leave()
    assert "Sending CONNACK to other" in bed.log("broker")
    bed.down()


def test_modes_that_are_not_there_are_refused_with_the_choices():
    done = tool("up", "--mode", "sideways", check=False)
    assert done.returncode == 2 and "'direct', 'monitor', 'stack', 'socket'" in done.stderr


@pytest.mark.parametrize("who", ["broker", "daemon"])
def test_a_program_can_be_stopped_and_started(own, who):
    if who not in own.status()["processes"]:
        done = own.tool("stop", who, check=False)
        assert done.returncode == 1 and "direct mode" in done.stderr
        return
    own.tool("stop", who, "--signal", "KILL")
    assert not own.is_alive(who) and own.tool("status", check=False).returncode == 1
    own.tool("start", who)
    own.client("a").leave()
    assert own.tool("start", who, check=False).returncode == 1


def test_counters_are_the_daemons(bed):
    if not bed.is_stack:
        done = bed.tool("counters", check=False)
        assert done.returncode == 1 and "direct mode" in done.stderr
        return
    counters = bed.counters()
    assert {"publish_captured_total", "publish_passed_total", "connections",
            "subscriptions", "map_complete"} <= set(counters)
    assert isinstance(counters["publish_passed_total"], dict)


@pytest.mark.stack_only
def test_configuration_is_laid_over(open_bed, mode, tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("log: {level: debug}\n"
                       "brokers: [{name: mosquitto, capture: {max_size: 1024}}]\n")
    bed = open_bed(mode, "--config", overlay)
    written = open(f"{bed.status()['directory']}/offrampd.yaml", encoding="utf-8").read()
    for line in ("max_size: 1024", "level: debug", "knowledge: wire"):
        assert line in written
    bed.client("a").leave()
    bed.down()
    overlay.write_text("logg: {}\n")
    done = tool("up", "--name", bed.name, "--config", overlay, check=False)
    assert done.returncode == 1 and "logg" in done.stderr
