# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Ends that say nothing, and ends that take nothing, as their kernels see it in monitor mode."""

import socket
import struct
import time

import pytest

from bed import eventually

pytestmark = [pytest.mark.stack_only, pytest.mark.monitor_only]

LAST_ACK_RECV_MS = 4 * 14  # of struct tcp_info: tcpi_last_ack_recv


def last_heard_ms(sock):
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    return struct.unpack_from("I", info, LAST_ACK_RECV_MS)[0]


def test_a_kernel_that_asks_whether_somebody_is_there_is_answered(bed):
    """Keep-alive: without answers the connection would be gone after 3 s."""
    with bed.client("asks", keep_alive=0) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, int(bed.seconds(2)))
        until = time.monotonic() + bed.seconds(5)
        while time.monotonic() < until:
            time.sleep(0.5)
            assert last_heard_ms(client.sock) < bed.seconds(3) * 1000
        client.ping()


def test_a_client_whose_window_is_closed_is_probed_and_gets_everything(bed):
    count, payload = 60, b"x" * 8000
    before = bed.counters()["tcp_zero_window_probes_total"]
    with bed.client("slow", receive_buffer=4096) as slow, bed.client("fast") as fast:
        slow.subscribe("silence", options=1)
        for _ in range(count):
            fast.publish("silence", payload, qos=1)
        # Nothing is read, and that is asked about.
        assert eventually(lambda: bed.counters()["tcp_zero_window_probes_total"] > before,
                          timeout=bed.seconds(10))
        fast.ping()
        assert slow.payloads(count, timeout=bed.seconds(30)) == [payload] * count
        slow.ping()
