# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""offramp trace and Admin/Trace, against a daemon without a data path.

usage: test_trace.py FAKE_DAEMON OFFRAMP PROTO_FOLDER

Its two workers see four frames of 100 bytes every 100 µs or so: byte 0 is the worker, bytes 4
to 7 a number that counts up.
"""

import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import unittest

import grpc

from fake import FOLDER, OFFRAMP, Daemon, messages

pb = messages("offramp/v1/admin")
METHOD = "/offramp.v1.Admin/Trace"
TRACES = 4  # at once
LENGTH = 100

# BPF
LD_W_ABS, LD_B_ABS, JSET_K, JMP_A, DIV_K, RET_K = 0x20, 0x30, 0x45, 0x05, 0x34, 0x06


class Capture:
    """A pcapng file, read by the book: every block's length stands on both sides."""

    def __init__(self, data):
        self.interfaces, self.frames, self.statistics = [], [], {}
        at = 0
        while at < len(data):
            kind, size = struct.unpack_from("<II", data, at)
            assert size % 4 == 0 and struct.unpack_from("<I", data, at + size - 4)[0] == size
            self._block(kind, data[at + 8:at + size - 4])
            at += size
        assert at == len(data)

    @staticmethod
    def _options(data):
        options, at = {}, 0
        while True:
            code, length = struct.unpack_from("<HH", data, at)
            if code == 0:
                assert at + 4 == len(data)
                return options
            options[code] = data[at + 4:at + 4 + length]
            at += 4 + (length + 3) // 4 * 4

    def _block(self, kind, body):
        if kind == 0x0A0D0D0A:
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            self._options(body[16:])
        elif kind == 1:
            link, _, snap = struct.unpack_from("<HHI", body)
            assert link == 1
            self.interfaces.append(self._options(body[8:]) | {"snap": snap})
        elif kind == 6:
            interface, high, low, captured, length = struct.unpack_from("<IIIII", body)
            end = 20 + (captured + 3) // 4 * 4
            self.frames.append((interface, high << 32 | low, length, body[20:20 + captured],
                                self._options(body[end:])))
        else:
            assert kind == 5
            interface = struct.unpack_from("<I", body)[0]
            self.statistics[interface] = {
                code: struct.unpack("<Q", value)[0]
                for code, value in self._options(body[12:]).items() if code > 3}


def numbers(frames, worker):
    return [struct.unpack_from("<I", frame[3], 4)[0] for frame in frames if frame[3][0] == worker]


def rising(values):
    return all(a < b for a, b in zip(values, values[1:]))


class Trace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("trace")
        assert cls.daemon.ready

    @classmethod
    def tearDownClass(cls):
        out, err, code = cls.daemon.stop()
        assert code == 0, err
        assert out.endswith("stopped\n")

    def start(self, *args, **options):
        return subprocess.Popen([OFFRAMP, "--socket", self.daemon.socket, "trace", *args],
                                stderr=subprocess.PIPE, **options)

    def capture(self, *args):
        done = subprocess.run(
            [OFFRAMP, "--socket", self.daemon.socket, "trace", "--pcapng", "-", *args],
            capture_output=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return Capture(done.stdout), done.stderr.decode()

    def call(self, requests, timeout=20):
        with grpc.insecure_channel(f"unix:{self.daemon.socket}") as channel:
            method = channel.stream_stream(METHOD, pb.TraceRequest.SerializeToString,
                                           pb.TraceResponse.FromString)
            return list(method(requests, timeout=timeout))

    def refused(self, requests):
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(requests)
        return caught.exception.code()

    def test_a_capture_is_a_pcapng_file_in_order(self):
        capture, said = self.capture("--count", "3000")
        self.assertEqual([i[2] for i in capture.interfaces], [b"clients"])
        self.assertEqual(capture.interfaces[0][3], b"a")
        self.assertEqual(capture.interfaces[0][6], bytes([2, 0, 0, 0, 0, 0xAB]))
        self.assertEqual(capture.interfaces[0][9], bytes([9]))
        self.assertEqual(len(capture.frames), 3000)
        self.assertTrue(said.startswith("3000 frames, 0 lost"), said)
        self.assertLess(abs(capture.frames[0][1] / 1e9 - time.time()), 60)
        times = [frame[1] for frame in capture.frames]
        self.assertEqual(times, sorted(times))
        for interface, _, length, data, options in capture.frames:
            self.assertEqual((interface, length, len(data)), (0, LENGTH, LENGTH))
            self.assertEqual(options[2], struct.pack("<I", 1))
            self.assertEqual(options[6], struct.pack("<I", data[0]))
        for worker in (0, 1):
            seen = numbers(capture.frames, worker)
            self.assertEqual(seen, list(range(seen[0], seen[0] + len(seen))))
        statistics = capture.statistics[0]
        self.assertGreaterEqual(statistics[4], 3000)
        self.assertEqual((statistics[5], statistics[8]), (0, 3000))

    def test_a_filter_is_an_expression(self):
        capture, _ = self.capture("--count", "500", "ether[0] = 1", "and", "ether[4] & 1 = 0")
        self.assertEqual(capture.interfaces[0][11], b"\0ether[0] = 1 and ether[4] & 1 = 0")
        self.assertEqual(numbers(capture.frames, 0), [])
        seen = numbers(capture.frames, 1)
        self.assertEqual(seen, list(range(seen[0], seen[0] + 1000, 2)))
        self.assertEqual(seen[0] % 2, 0)
        self.assertGreater(capture.statistics[0][4], capture.statistics[0][6])

    def test_frames_are_cut(self):
        capture, _ = self.capture("--count", "10", "--snap-length", "33", "--port", "clients")
        self.assertEqual({(frame[2], len(frame[3])) for frame in capture.frames}, {(LENGTH, 33)})
        self.assertEqual(capture.interfaces[0]["snap"], 33)

    def test_it_ends_when_it_is_told_to(self):
        start = time.monotonic()
        capture, _ = self.capture("--seconds", "1")
        self.assertLess(abs(time.monotonic() - start - 1), 5)
        self.assertIn(0, capture.statistics)
        for number in (signal.SIGINT, signal.SIGTERM):
            path = os.path.join(FOLDER.name, "signal.pcapng")
            process = self.start("--pcapng", path)
            time.sleep(0.5)
            process.send_signal(number)
            _, said = process.communicate(timeout=10)
            self.assertEqual(process.returncode, 0, said)
            with open(path, "rb") as file:
                capture = Capture(file.read())
            self.assertEqual(said.decode().split()[0], str(len(capture.frames)))
            statistics = capture.statistics[0]
            # Whatever was seen before the end is there.
            self.assertEqual(statistics[4], len(capture.frames) + statistics[5])

    def test_so_many_at_once_and_a_killed_client_leaves_its_place(self):
        for _ in range(2):
            running = [self.start("--pcapng", "/dev/null") for _ in range(TRACES)]
            time.sleep(0.7)
            done = self.daemon.run("trace", "--pcapng", "/dev/null", "--count", "1")
            self.assertEqual(done.returncode, 1)
            self.assertIn("4 traces run already", done.stderr)
            for process in running:
                process.kill()
                process.communicate(timeout=10)
            deadline = time.monotonic() + 5
            while self.daemon.run("trace", "--pcapng", "/dev/null", "--count",
                                  "1").returncode and time.monotonic() < deadline:
                time.sleep(0.05)
            self.capture("--count", "10")

    def test_a_slow_reader_loses_frames_and_is_told(self):
        process = self.start("--pcapng", "-", "--buffer", "1024", stdout=subprocess.PIPE)
        with process.stdout:
            process.stdout.read(1)
            time.sleep(2.5)  # what fits into pipe, sockets and rings is soon full
            done = self.daemon.run("counters")
            self.assertEqual(done.returncode, 0)  # nobody waits for it
            process.send_signal(signal.SIGINT)
            data = process.stdout.read()
        said = process.stderr.read().decode()
        process.stderr.close()
        self.assertEqual(process.wait(10), 0)
        capture = Capture(b"\n" + data)
        statistics = capture.statistics[0]
        self.assertGreater(statistics[5], 1000)
        self.assertEqual(statistics[4], len(capture.frames) + statistics[5])
        self.assertIn("frames are being lost", said)
        self.assertIn(f"{len(capture.frames)} frames, {statistics[5]} lost", said)
        for worker in (0, 1):
            self.assertTrue(rising(numbers(capture.frames, worker)))

    def test_a_hanging_worker_is_told(self):
        self.daemon.say("hang")
        try:
            done = self.daemon.run("trace", "--pcapng", "/dev/null")
            self.assertEqual(done.returncode, 1)
            self.assertIn("a worker does not answer", done.stderr)
        finally:
            self.daemon.say("go")
        self.capture("--count", "10")

    def test_usage(self):
        for args in (["trace"], ["trace", "--pcapng", "-", "--count", "0"],
                     ["trace", "--pcapng", "-", "--count", "x"],
                     ["trace", "--pcapng", "-", "--json"], ["status", "--pcapng", "-"],
                     ["trace", "--pcapng", "-", "hoist", "1.2.3.4"]):
            self.assertEqual(self.daemon.run(*args).returncode, 2, args)
        done = self.daemon.run("trace", "--pcapng", "-", "--port", "nobody")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no port is named 'nobody'", done.stderr)
        done = self.daemon.run("trace", "--pcapng", "/nowhere/file")
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/file: No such file", done.stderr)

    def test_requests_that_are_none(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        one = pb.TraceRequest(frames_max=1)
        self.assertEqual(self.refused(iter([])), invalid)
        endless = pb.TraceRequest()
        self.assertEqual(self.refused(iter([endless, endless])), invalid)
        self.assertEqual(self.refused(iter([pb.TraceRequest(filter="x" * 2000)])), invalid)
        self.assertEqual(self.refused(iter([pb.TraceRequest(buffer_size=1 << 31)])), invalid)
        self.assertEqual(self.refused(iter([pb.TraceRequest(ports=["x" * 5000])])),
                         grpc.StatusCode.NOT_FOUND)
        self.assertEqual(self.call(iter([one]))[-1].frames, 1)

    def test_filters_that_are_none(self):
        ret = dict(code=RET_K, k=1)
        for code in ([dict(code=LD_B_ABS)],  # no end
                     [dict(code=JMP_A, k=0xFFFFFFFF), ret],  # backwards
                     [dict(code=JMP_A, k=1), ret],  # behind the end
                     [dict(code=JSET_K, jump_true=0, jump_false=1), ret],
                     [dict(code=JSET_K, jump_true=256, jump_false=0), ret],
                     [dict(code=DIV_K, k=0), ret],
                     [dict(code=0x60, k=16), ret],  # no such memory
                     [dict(code=0xFFFF), ret], [dict(code=0x10006), ret],
                     [dict(code=0x26), ret],
                     [ret] * 1025):
            self.assertEqual(self.refused(iter([pb.TraceRequest(code=code, frames_max=1)])),
                             grpc.StatusCode.INVALID_ARGUMENT, code[:2])
        # An offset that wraps around reads nothing, and no frame matches.
        wraps = [dict(code=LD_W_ABS, k=0xFFFFFFFE), ret]
        self.assertEqual(self.call(iter([pb.TraceRequest(code=wraps,
                                                         duration_us=200000)]))[-1].frames, 0)

    def test_garbage(self):
        rng = random.Random(6)
        codes = [RET_K, 0x16, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xB1, 0x80, 0, 1, 2, 3, 0x60, 0x61,
                 5, 0x15, 0x25, 0x35, 0x45, 0x1D, 4, 0x0C, 0x24, 0x34, 0x3C, 0x94, 0x9C, 0x64, 0x6C,
                 0x84, 7, 0x87]
        ran = 0
        for _ in range(400):
            code = [pb.FilterInstruction(
                code=rng.choice(codes) if rng.random() < 0.97 else rng.getrandbits(9),
                jump_true=rng.randrange(4), jump_false=rng.randrange(4),
                k=rng.choice((0, 1, 4, 12, 31, 100, 0xFFFFFFFF, rng.getrandbits(32))))
                for _ in range(rng.randrange(8))] + [pb.FilterInstruction(code=RET_K, k=1)]
            try:
                self.call(iter([pb.TraceRequest(code=code, frames_max=3, duration_us=2000)]))
                ran += 1
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertGreater(ran, 100)
        with grpc.insecure_channel(f"unix:{self.daemon.socket}") as channel:
            raw = channel.stream_stream(METHOD)
            for _ in range(200):
                data = rng.randbytes(rng.randrange(60))
                try:
                    responses = raw(iter([data]), timeout=5)
                    next(responses)
                    responses.cancel()
                except grpc.RpcError:
                    pass
        self.capture("--count", "10")

    def test_many_clients_that_come_and_go(self):
        def one(seed):
            rng = random.Random(seed)
            for _ in range(5):
                process = self.start("--pcapng", "/dev/null")
                time.sleep(rng.random() / 5)
                process.send_signal(rng.choice((signal.SIGKILL, signal.SIGINT)))
                process.communicate(timeout=10)

        threads = [threading.Thread(target=one, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(0.3)
        self.capture("--count", "10")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[4:])
