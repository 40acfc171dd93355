# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""control.listen: who may come in where, and what he finds there.

usage: test_endpoints.py FAKE_DAEMON OFFRAMP PROTO_FOLDER
"""

import os
import resource
import socket
import stat
import subprocess
import sys
import time
import unittest
import unittest.mock

import grpc
from google.protobuf import descriptor_pb2

from fake import FOLDER, Daemon, messages

admin = messages("offramp/v1/admin")
health = messages("grpc/health/v1/health")
reflection = messages("grpc/reflection/v1alpha/reflection")

SERVING = health.HealthCheckResponse.SERVING
NOT_SERVING = health.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health.HealthCheckResponse.SERVICE_UNKNOWN

IDLE_CONNECTIONS = 1000


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=FOLDER.name)


class Authority:
    """A certificate authority, and what it has signed."""

    def __init__(self, name):
        self.name = name
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
                "-subj", f"/CN={name}")

    def sign(self, name):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(f"{FOLDER.name}/{name}.ext", "w", encoding="utf-8") as out:
            out.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey",
                f"{self.name}.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2",
                "-extfile", f"{name}.ext")


def pem(name):
    with open(f"{FOLDER.name}/{name}", "rb") as text:
        return text.read()


def tls(certificate="server", client_ca=None):
    keys = f"certificate: {FOLDER.name}/{certificate}.pem, key: {FOLDER.name}/{certificate}.key"
    return f"tls: {{{keys}" + (f", client_ca: {FOLDER.name}/{client_ca}.pem" if client_ca else "") + "}"


def check(channel, service="", timeout=5):
    call = channel.unary_unary("/grpc.health.v1.Health/Check")
    request = health.HealthCheckRequest(service=service)
    answer = call(request.SerializeToString(), timeout=timeout)
    return health.HealthCheckResponse.FromString(answer).status


def watch(channel, service):
    request = health.HealthCheckRequest(service=service).SerializeToString()
    return channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        response_deserializer=health.HealthCheckResponse.FromString,
    )(request, timeout=20)


def ask(channel, *questions):
    call = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection.ServerReflectionResponse.FromString,
    )
    requests = [reflection.ServerReflectionRequest(**question) for question in questions]
    return list(call(iter(requests), timeout=5))


def services(channel):
    answer = ask(channel, {"list_services": ""})[0]
    return [service.name for service in answer.list_services_response.service]


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ports = {"mutual": free_port(), "server": free_port()}
        Authority("ours").sign("server")
        other = Authority("other")
        other.sign("stranger")
        clients = Authority("clients")
        clients.sign("client")
        cls.daemon = Daemon("tls", listen=(
            f'{{address: "127.0.0.1:{cls.ports["mutual"]}", services: [health],'
            f' {tls(client_ca="clients")}}},'
            f'{{address: "127.0.0.1:{cls.ports["server"]}", services: [health], {tls()}}}'))
        assert cls.daemon.ready, cls.daemon.stop()

    @classmethod
    def tearDownClass(cls):
        _, err, code = cls.daemon.stop()
        assert code == 0, err

    def channel(self, port, client=None):
        credentials = grpc.ssl_channel_credentials(
            pem("ours.pem"), *([pem(f"{client}.key"), pem(f"{client}.pem")] if client else []))
        return grpc.secure_channel(f"127.0.0.1:{self.ports[port]}", credentials,
                                   [("grpc.use_local_subchannel_pool", 1)])

    def expect_refused(self, channel):
        with channel, self.assertRaises(grpc.RpcError) as caught:
            check(channel, timeout=2)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_a_client_with_a_certificate_is_served(self):
        with self.channel("mutual", "client") as channel:
            self.assertEqual(check(channel), SERVING)

    def test_a_client_without_one_is_not(self):
        self.expect_refused(self.channel("mutual"))

    def test_nor_is_one_with_another_authoritys(self):
        self.expect_refused(self.channel("mutual", "stranger"))

    def test_nor_is_one_that_speaks_plaintext(self):
        self.expect_refused(grpc.insecure_channel(f"127.0.0.1:{self.ports['mutual']}"))

    def test_without_client_ca_everybody_is(self):
        with self.channel("server") as channel:
            self.assertEqual(check(channel), SERVING)


class Renewal(unittest.TestCase):
    """Certificates that are replaced while the daemon serves."""

    def setUp(self):
        for authority, name in (("before", "shown"), ("after", "next")):
            Authority(authority).sign(name)
            Authority(f"{authority}-clients").sign(f"{authority}-client")
        self.place("trusted.pem", "before-clients.pem")
        self.port = free_port()
        self.daemon = Daemon("renewal", listen=(
            f'{{address: "127.0.0.1:{self.port}", services: [health],'
            f' {tls("shown", client_ca="trusted")}}}'))
        self.assertTrue(self.daemon.ready)

    @staticmethod
    def place(name, other):
        with open(f"{FOLDER.name}/{name}", "wb") as out:
            out.write(pem(other))

    def channel(self, authority):
        client = f"{authority}-client"
        credentials = grpc.ssl_channel_credentials(
            pem(f"{authority}.pem"), pem(f"{client}.key"), pem(f"{client}.pem"))
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials,
                                   [("grpc.use_local_subchannel_pool", 1)])

    def serves(self, authority):
        with self.channel(authority) as channel:
            try:
                return check(channel, timeout=3) == SERVING
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return False

    def test_new_ones_are_shown_and_believed_from_the_next_connection_on(self):
        with self.channel("before") as before:
            self.assertEqual(check(before), SERVING)
            self.place("shown.pem", "next.pem")
            self.daemon.say("reload")  # it is not the key's: nothing changes
            self.assertTrue(self.serves("before"))
            self.place("shown.key", "next.key")
            self.place("trusted.pem", "after-clients.pem")
            self.daemon.say("reload")
            self.assertTrue(self.serves("after"))
            self.assertFalse(self.serves("before"))
            self.assertEqual(check(before), SERVING)  # it was there before
        _, err, code = self.daemon.stop()
        self.assertEqual(code, 0)
        self.assertIn("shown.key is not the key of", err)


class Configuration(unittest.TestCase):
    def refused(self, listen, why):
        daemon = Daemon("refused", listen=listen)
        self.assertFalse(daemon.ready)
        _, err, code = daemon.stop()
        self.assertEqual(code, 1)
        self.assertIn(why, err)
        self.assertEqual(err.count("\n"), 1, err)

    def test_what_others_reach_is_refused_when_open(self):
        open_address = 'address: "0.0.0.0:7883", services: [broker]'
        self.refused(f"{{{open_address}}}",
                     "control.listen[0].address: whoever reaches 0.0.0.0:7883 could use it; valid "
                     "choices: a loopback address, a unix socket, or tls with certificate, key "
                     "and client_ca")
        Authority("plain").sign("plainserver")
        self.refused(f"{{{open_address}, {tls('plainserver')}}}", "whoever reaches 0.0.0.0:7883")
        self.refused('{address: "[::]:7883", services: [health]}', "whoever reaches [::]:7883")

    def test_bad_files_are_told(self):
        Authority("first").sign("one")
        Authority("second").sign("two")
        os.rename(f"{FOLDER.name}/two.key", f"{FOLDER.name}/swapped.key")
        os.rename(f"{FOLDER.name}/one.pem", f"{FOLDER.name}/swapped.pem")
        address = 'address: "127.0.0.1:7883", services: [broker]'
        self.refused(f"{{{address}, {tls('swapped')}}}",
                     "control.listen[0].tls.key: "
                     f"{FOLDER.name}/swapped.key is not the key of {FOLDER.name}/swapped.pem")
        self.refused(f"{{{address}, {tls('swapped', client_ca='missing')}}}".replace(
            "swapped.key", "one.key"),
                     f"tls.client_ca: {FOLDER.name}/missing.pem cannot be read: No such file")
        self.refused(f"{{{address}, {tls('two')}}}".replace("two.key", "two.csr"),
                     "two.csr holds no private key in PEM without a passphrase")
        openssl("x509", "-req", "-in", "one.csr", "-signkey", "one.key", "-out", "swapped.pem",
                "-days", "-1")
        self.refused(f"{{{address}, {tls('swapped')}}}".replace("swapped.key", "one.key"),
                     "swapped.pem: the certificate has expired")

    def test_other_mistakes(self):
        self.refused('{address: "localhost:1", services: [admin]}', "'localhost:1' cannot be used")
        self.refused("{address: unix:x, services: [admin]}", "'x' cannot be used")
        self.refused('{address: "127.0.0.1:1", services: []}', "must have at least one entry")
        self.refused('{address: "127.0.0.1:1", services: [admin], group: root}',
                     "only a unix socket has a group")
        self.refused("{address: unix:/run/x, services: [admin], group: no-such}",
                     "'no-such' is no group here")
        self.refused(f"{{address: unix:{FOLDER.name}/refused/offramp.sock, services: [admin]}}",
                     "is served already")

    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            daemon = Daemon("taken", listen=f'{{address: "127.0.0.1:{port}", services: [admin]}}')
            self.assertFalse(daemon.ready)
            _, err, code = daemon.stop()
            self.assertEqual(code, 1)
            self.assertIn(f"127.0.0.1:{port}: it cannot be bound: another program serves it", err)


class Services(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.path = f"{FOLDER.name}/services/health.sock"
        cls.daemon = Daemon("services", listen=(
            f'{{address: "127.0.0.1:{cls.port}", services: [admin]}},'
            f"{{address: unix:{cls.path}, services: [health], group: daemon}}"))
        assert cls.daemon.ready, cls.daemon.stop()

    @classmethod
    def tearDownClass(cls):
        _, err, code = cls.daemon.stop()
        assert code == 0, err
        assert not os.path.exists(cls.path)

    def test_only_what_is_configured_is_served(self):
        status = "/offramp.v1.Admin/Status"
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            admin.StatusResponse.FromString(channel.unary_unary(status)(b"", timeout=5))
            with self.assertRaises(grpc.RpcError) as caught:
                check(channel)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        with grpc.insecure_channel(f"unix:{self.path}") as channel:
            self.assertEqual(check(channel), SERVING)
            with self.assertRaises(grpc.RpcError) as caught:
                channel.unary_unary(status)(b"", timeout=5)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.PERMISSION_DENIED)

    def test_a_sockets_group(self):
        status = os.stat(self.path)
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o660)
        self.assertEqual(status.st_gid, 1)

    def test_reflection_lists_what_is_served_there(self):
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            self.assertEqual(
                services(channel),
                ["offramp.v1.Admin", "grpc.reflection.v1alpha.ServerReflection"])
        with self.daemon.channel() as channel:
            self.assertIn("grpc.health.v1.Health", services(channel))

    def test_reflection_defines_what_it_lists(self):
        with self.daemon.channel() as channel:
            for service in services(channel):
                answer = ask(channel, {"file_containing_symbol": service})[0]
                files = answer.file_descriptor_response.file_descriptor_proto
                file = descriptor_pb2.FileDescriptorProto.FromString(files[0])
                self.assertIn(service, [f"{file.package}.{s.name}" for s in file.service])
                self.assertEqual(answer.original_request.file_containing_symbol, service)

    def test_reflection_answers_one_question_after_the_other(self):
        with self.daemon.channel() as channel:
            answers = ask(
                channel,
                {"file_by_filename": "offramp/v1/admin.proto"},
                {"file_containing_symbol": "offramp.v1.Admin.Status"},
                {"file_containing_symbol": "offramp.v1.StatusRequest"},
                {"file_containing_symbol": "offramp.v1.Nonsense"},
                {"file_containing_symbol": "offramp.v1"},
                {"file_by_filename": "nonsense"},
                {"all_extension_numbers_of_type": "offramp.v1.StatusRequest"},
                {},
            )
        for answer in answers[:3]:
            file = descriptor_pb2.FileDescriptorProto.FromString(
                answer.file_descriptor_response.file_descriptor_proto[0])
            self.assertEqual(file.name, "offramp/v1/admin.proto")
        codes = [answer.error_response.error_code for answer in answers[3:]]
        self.assertEqual(codes, [5, 5, 5, 5, 3])

    def test_health_of_one_service(self):
        with self.daemon.channel() as channel:
            self.assertEqual(check(channel, "offramp.v1.Admin"), SERVING)
            with self.assertRaises(grpc.RpcError) as caught:
                check(channel, "nonsense")
            self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)


class Draining(unittest.TestCase):
    def test_who_watches_is_told_of_the_end(self):
        daemon = Daemon("draining")
        with daemon.channel() as channel:
            whole = watch(channel, "")
            part = watch(channel, "offramp.v1.Admin")
            other = watch(channel, "nonsense")
            self.assertEqual([next(whole).status, next(part).status], [SERVING, SERVING])
            self.assertEqual(next(other).status, SERVICE_UNKNOWN)
            daemon.say("drain")
            self.assertEqual([next(whole).status, next(part).status], [NOT_SERVING, NOT_SERVING])
            self.assertEqual(check(channel), NOT_SERVING)
            started = time.monotonic()
            _, err, code = daemon.stop()
            self.assertEqual(code, 0, err)
            self.assertLess(time.monotonic() - started, 2)
            with self.assertRaises(grpc.RpcError) as caught:
                next(whole)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


class Crowds(unittest.TestCase):
    def setUp(self):
        self.port = free_port()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        # What was freed is not to be counted: AddressSanitizer keeps up to 256 MiB of it.
        flags = os.environ.get("ASAN_OPTIONS", "")
        environment = {"ASAN_OPTIONS": f"{flags}:quarantine_size_mb=1".lstrip(":")}
        with unittest.mock.patch.dict(os.environ, environment):
            self.start()

    def start(self):
        self.daemon = Daemon("crowd", listen=(
            f'{{address: "127.0.0.1:{self.port}", services: [admin, health]}}'))
        self.assertTrue(self.daemon.ready)

    def tearDown(self):
        _, err, code = self.daemon.stop()
        self.assertEqual(code, 0, err)

    def test_a_crowd_that_says_nothing_locks_nobody_out(self):
        address = f"127.0.0.1:{self.port}"
        with grpc.insecure_channel(address) as channel:
            check(channel)
        before = resident_kib(self.daemon.process.pid)
        crowd = []
        try:
            for _ in range(IDLE_CONNECTIONS):
                crowd.append(socket.create_connection(("127.0.0.1", self.port), 10))
            with grpc.insecure_channel(address) as channel:
                self.assertEqual(check(channel, timeout=30), SERVING)
            self.assertLess(resident_kib(self.daemon.process.pid) - before, 65536)
        finally:
            for connection in crowd:
                connection.close()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:])
