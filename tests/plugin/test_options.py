# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The plugin's options: a bad one is one line, and mosquitto does not start; TCP and TLS."""

import os
import subprocess

import grpc
import pytest
from broker import PLUGIN, ROOT, Mosquitto

GOOD = {"address": "unix:/nowhere", "acl": "defer"}
BAD = [
    ({}, "plugin_opt_acl is missing"),
    ({"address": "unix:/a"}, "plugin_opt_acl is missing"),
    ({"acl": "defer"}, "plugin_opt_address is missing"),
    ({**GOOD, "acl": "perhaps"}, "'allow' or 'defer', not 'perhaps'"),
    ({**GOOD, "adress": "unix:/a"}, "there is no plugin_opt_adress"),
    ({**GOOD, "address": "unix:relative"}, "unix:/PATH or HOST:PORT"),
    ({**GOOD, "address": "localhost"}, "unix:/PATH or HOST:PORT"),
    ({**GOOD, "address": "localhost:"}, "unix:/PATH or HOST:PORT"),
    ({**GOOD, "address": ":50051"}, "unix:/PATH or HOST:PORT"),
    ({**GOOD, "address": "192.0.2.1:50051"}, "plugin_opt_tls_ca is needed"),
    ({**GOOD, "broker": "x" * 300}, "plugin_opt_broker"),
    ({**GOOD, "queue_bytes": "many"}, "plugin_opt_queue_bytes must be a number"),
    ({**GOOD, "queue_bytes": "1"}, "1048576 to"),
    ({**GOOD, "queue_bytes": "-1048576"}, "plugin_opt_queue_bytes"),
    ({**GOOD, "queue_events": "0"}, "plugin_opt_queue_events"),
    ({**GOOD, "readers_max": "99999999999999999999"}, "plugin_opt_readers_max"),
    ({**GOOD, "readers_max": "100000"}, "plugin_opt_readers_max"),
    ({**GOOD, "tls_key": "/k"}, "go together"),
    ({**GOOD, "tls_name": "x"}, "plugin_opt_tls_ca is missing"),
    ({**GOOD, "tls_ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem: No such file"),
    ({**GOOD, "tls_ca": "/dev/null"}, "/dev/null: it is empty"),
]


@pytest.mark.parametrize("options, line", BAD, ids=[line for _, line in BAD])
def test_a_bad_option_is_one_line_and_the_end(brokers, options, line):
    broker = brokers(options).run()
    broker.may_fail = True
    assert broker.process.wait(10) != 0
    said = [text for text in broker.lines().splitlines() if "offramp:" in text]
    assert len(said) == 1 and line in said[0], broker.lines()


def test_the_example_is_right(servers, socket_path, tmp_path):
    with open(os.path.join(ROOT, "examples", "mosquitto-offramp.conf"), encoding="utf-8") as file:
        text = file.read()
    for line, instead in (("plugin /usr/lib/x86_64-linux-gnu/offramp/mosquitto_offramp.so", f"plugin {PLUGIN}"),
                          ("unix:/run/offramp/broker.sock", socket_path),
                          ("/etc/mosquitto/acl", f"{tmp_path}/acl")):
        assert line in text
        text = text.replace(line, instead)
    (tmp_path / "acl").write_text("topic readwrite a")
    broker = Mosquitto(tmp_path, None, after=text).start()
    try:
        stream = servers(socket_path).stream().welcome()
        assert stream.wait("hello").broker == "mosquitto"
        assert broker.client("c").join(stream).probe(stream, "a").written
    finally:
        assert broker.stop() == 0


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A certificate authority, and what it has signed."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", "/CN=test ca", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "san").write_text("subjectAltName=DNS:offrampd.example")
    for name in ("server", "plugin"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", f"{name}.pem")
    return folder


def server_credentials(pki, client_ca):
    pair = ((pki / "server.key").read_bytes(), (pki / "server.pem").read_bytes())
    return grpc.ssl_server_credentials(
        [pair], (pki / "ca.pem").read_bytes() if client_ca else None, client_ca)


def test_tcp_on_the_loopback(brokers, servers):
    server = servers("127.0.0.1:0")
    broker = brokers({"address": f"127.0.0.1:{server.port}", "acl": "allow"}).start()
    broker.client("c").join(server.stream().welcome())


@pytest.mark.parametrize("client_ca", (False, True), ids=("tls", "mtls"))
def test_tls(brokers, servers, pki, client_ca):
    server = servers("127.0.0.1:0", credentials=server_credentials(pki, client_ca))
    options = {"address": f"127.0.0.1:{server.port}", "acl": "allow", "tls_ca": pki / "ca.pem",
               "tls_name": "offrampd.example"}
    if client_ca:
        options |= {"tls_certificate": pki / "plugin.pem", "tls_key": pki / "plugin.key"}
    broker = brokers(options).start()
    broker.client("c").join(server.stream().welcome())


@pytest.mark.parametrize("what", ("another name", "no certificate"))
def test_tls_that_proves_nothing(brokers, servers, pki, what):
    server = servers("127.0.0.1:0", credentials=server_credentials(pki, True))
    options = {"address": f"127.0.0.1:{server.port}", "acl": "allow", "tls_ca": pki / "ca.pem"}
    if what == "no certificate":
        options["tls_name"] = "offrampd.example"
    else:
        options |= {"tls_certificate": pki / "plugin.pem", "tls_key": pki / "plugin.key"}
    broker = brokers(options).start()
    broker.wait_for_line("no answer from offrampd")
    assert not server.streams
