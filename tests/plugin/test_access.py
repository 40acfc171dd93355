# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What the plugin answers when mosquitto asks for access, and what it says of the answers of others."""

import json
import os
import signal
import subprocess

import marker
import mqttraw
import pytest

DYNSEC = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
ACL = """\
user ann
topic readwrite a/#
user bob
topic read a/b
pattern write from/%u/%c
"""


def make(brokers, socket_path, answer, tmp_path, acl=ACL, **how):
    settings = ""
    if acl is not None:
        (tmp_path / "acl").write_text(acl)
        settings = f"acl_file {tmp_path}/acl"
    return brokers({"address": socket_path, "acl": answer}, settings=settings, **how).start()


@pytest.fixture
def guarded(brokers, socket_path, tmp_path):
    return make(brokers, socket_path, "defer", tmp_path)


@pytest.fixture
def stream(guarded, offrampd):
    return offrampd.stream().welcome()


def test_defer_leaves_it_to_the_acl_file(guarded, stream):
    ann, bob = (guarded.client(name, user=name).join(stream) for name in ("ann", "bob"))
    for client in (ann, bob):
        client.subscribe("#")
    told = ann.probe(stream, "a/b", b"both")
    assert told.written and sorted(told.readers) == sorted([ann.key, bob.key])
    told = ann.probe(stream, "a/c", b"ann only")  # bob was considered, and may not read it
    assert told.written and bob.key in told.readers
    assert not bob.probe(stream, "a/b", b"no").written
    assert bob.probe(stream, "from/bob/bob", b"yes").written
    assert not bob.probe(stream, "from/bob/ann", b"no").written
    assert ann.payloads(2) == [b"both", b"ann only"]
    assert [m.payload for m in bob.rest(0.2)] == [b"both"]


@pytest.mark.parametrize("version", (4, 5))
@pytest.mark.parametrize("qos", (0, 1, 2))
def test_a_refused_message_is_told_as_such(guarded, stream, version, qos):
    bob = guarded.client("bob", version, user="bob").join(stream)
    bob.send(bob.marker(stream, marker.ASK, 1),
             mqttraw.publish("a/b", b"x", qos, pid=1 if qos else None, version=version))
    if qos == 2:
        assert bob.expect(mqttraw.PUBREC).reason == (0x87 if version == 5 else 0)
    bob.send(bob.marker(stream, marker.END, 1))
    told = stream.wait("published", token=1)
    assert not told.written and not told.readers


def test_a_refused_message_is_not_taken_for_the_next(guarded, stream):
    bob = guarded.client("bob", user="bob").join(stream)
    bob.send(bob.marker(stream, marker.ASK, 1), mqttraw.publish("a/b"),
             mqttraw.publish("from/bob/bob"), bob.marker(stream, marker.END, 1))
    told = stream.wait("published", token=1)
    assert not told.written and told.topic == "a/b"
    stream.settle()
    assert len(stream.all("published")) == 1


def test_a_refused_message_takes_its_skip_along(guarded, stream):
    ann, bob = (guarded.client(name, user=name).join(stream) for name in ("ann", "bob"))
    ann.subscribe("#")
    bob.send(bob.marker(stream, marker.SKIP, max(stream.sequences())), mqttraw.publish("a/b"),
             mqttraw.publish("a/b"))
    ann.publish("a/b", b"x")
    assert ann.payloads(1) == [b"x"]


def test_defer_with_nobody_to_decide_refuses_everything(brokers, socket_path, tmp_path):
    broker = make(brokers, socket_path, "defer", tmp_path, acl=None)
    client = broker.client("c", 5)
    assert client.subscribe("a").reasons == (0x87,)
    assert client.publish("a", b"x", qos=1).reason == 0x87


def test_allow_overrules_the_acl_file(brokers, socket_path, tmp_path):
    broker = make(brokers, socket_path, "allow", tmp_path)
    client = broker.client("c", 5, user="bob")
    client.subscribe("#")
    kept = []
    assert client.publish("z", b"x", qos=1, kept=kept).reason == 0
    assert [m.payload for m in kept] == [b"x"]


def test_the_default_refuses_sys_as_ever(brokers, socket_path, tmp_path):
    broker = make(brokers, socket_path, "allow", tmp_path, acl=None)
    client = broker.client("c", 5)
    assert client.publish("$SYS/x", b"x", qos=1).reason == 0x87


@pytest.mark.parametrize("answer", ("allow", "defer"))
def test_markers_of_nobody_do_nothing(brokers, offrampd, socket_path, tmp_path, answer):
    broker = make(brokers, socket_path, answer, tmp_path)
    stream = offrampd.stream().welcome()
    client = broker.client("c", 5)
    client.subscribe("#", marker.TOPIC)
    good = marker.encode(stream.key, marker.JOIN, 1)
    for payload in (b"", b"x", good[:-1], good + b"x", bytes(len(good)),
                    marker.encode(os.urandom(16), marker.JOIN, 1),
                    marker.encode(stream.key, 9, 1), marker.encode(stream.key, 0, 1),
                    marker.encode(stream.key, marker.JOIN, 1, version=2),
                    marker.encode(stream.key, marker.JOIN, 1) * 40):
        for qos in (0, 1, 2):
            acked = client.publish(marker.TOPIC, payload, qos=qos)
            assert not acked or acked.reason == 0
    assert client.rest(0.2) == []
    stream.settle()
    assert not stream.all("client_joined") and not stream.all("revoked")


def test_markers_of_the_largest_size_are_understood(brokers, offrampd, socket_path, tmp_path):
    broker = make(brokers, socket_path, "allow", tmp_path)
    stream = offrampd.stream().welcome()
    client = broker.client("c").join(stream)
    client.subscribe("a")
    client.send(client.marker(stream, marker.SKIP, 99, [2**64 - n for n in range(1, 64)] + [client.key]),
                mqttraw.publish("a", b"x"))
    assert client.payloads(1) == [b"x"]


def test_commands_are_left_to_whom_they_are_for(brokers, socket_path, tmp_path):
    """`allow` allows nobody to command other plugins."""
    broker = make(brokers, socket_path, "allow", tmp_path, acl=None)
    assert broker.client("c", 5).publish("$CONTROL/dynamic-security/v1", b"{}", qos=1).reason == 0x87


# --- changes -------------------------------------------------------------------------------------

def test_a_reload_is_told_before_anything_under_the_new_rules(guarded, stream, tmp_path):
    ann = guarded.client("ann", user="ann").join(stream)
    assert ann.probe(stream, "a/b").written
    (tmp_path / "acl").write_text(ACL.replace("readwrite a/#", "read a/#"))
    os.kill(guarded.process.pid, signal.SIGHUP)
    while ann.probe(stream, "a/b").written:
        pass
    kinds = [(m.WhichOneof("kind"), m.published.written) for _, m in stream.messages if m.sequence]
    # All that was written before it, nothing after.
    at = kinds.index(("revoked", False))
    assert all(kind == ("published", True) for kind in kinds[1:at])
    assert kinds[at + 1:] == [("published", False)]


@pytest.fixture
def dynsec(tmp_path):
    path = f"{tmp_path}/dynsec.json"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", path, "admin", "secret"], check=True,
                   capture_output=True)
    return f"plugin {DYNSEC}\nplugin_opt_config_file {path}\n"


def command(client, *commands, qos=1):
    client.publish("$CONTROL/dynamic-security/v1", json.dumps({"commands": commands}), qos=qos)


def test_dynamic_security_decides_behind_it(brokers, offrampd, socket_path, dynsec):
    broker = brokers({"address": socket_path, "acl": "defer"}, listener="allow_anonymous false",
                     after=dynsec).start()
    stream = offrampd.stream().welcome()
    admin = broker.client("admin", 5, user="admin", password="secret").join(stream)
    command(admin, {"command": "createRole", "rolename": "r", "acls": [
                {"acltype": "publishClientSend", "topic": "a", "allow": True},
                {"acltype": "publishClientReceive", "topic": "a", "allow": True},
                {"acltype": "subscribePattern", "topic": "#", "allow": True}]},
            {"command": "createClient", "username": "u", "password": "p",
             "roles": [{"rolename": "r"}]})
    stream.wait("revoked")
    user = broker.client("u", 5, user="u", password="p").join(stream)
    user.subscribe("#")
    told = user.probe(stream, "a")
    assert told.written and list(told.readers) == [user.key]
    assert user.messages(1)[0].topic == "a"
    assert not user.probe(stream, "b").written
    revoked = len(stream.all("revoked"))
    command(admin, {"command": "removeRoleACL", "rolename": "r", "acltype": "publishClientSend",
                    "topic": "a"})
    stream.wait("revoked", revoked + 1)
    again = broker.client("u2", 5, user="u", password="p").join(stream)
    assert not again.probe(stream, "a").written


def test_behind_another_plugin_it_says_so_and_is_silent(brokers, offrampd, socket_path, dynsec):
    broker = brokers({"address": socket_path, "acl": "defer"}, settings=dynsec,
                     listener="allow_anonymous false").start()
    stream = offrampd.stream().welcome()
    admin = broker.client("admin", 5, user="admin", password="secret").join(stream)
    command(admin, {"command": "addRoleACL", "rolename": "admin", "acltype": "publishClientSend",
                    "topic": "a", "allow": True}, qos=0)
    admin.wait_closed()  # whose rights change is sent away
    broker.client("c", 5, user="admin", password="secret").publish("a", qos=1)
    assert "first plugin" not in broker.lines()  # nothing of Offramp's so far
    admin = broker.client("admin", 5, user="admin", password="secret").join(stream)
    admin.publish("a", qos=1)
    broker.wait_for_line("must be the first plugin")
    stream.wait_for(lambda: stream.ended, "the end of the stream")
    admin.subscribe("#")
    admin.publish("$CONTROL/dynamic-security/v1", b"{}", qos=1)
    assert broker.process.poll() is None
