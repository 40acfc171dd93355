# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Markers (src/base/marker.h), written a second time from their description."""

import struct

TOPIC = "$CONTROL/offramp/v1"
JOIN, ASK, END, SKIP = 1, 2, 3, 4
_MASK = (1 << 64) - 1


def _rotate(value, bits):
    return (value << bits | value >> 64 - bits) & _MASK


def siphash(key, data):
    """SipHash-2-4 (Aumasson, Bernstein 2012)."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
         k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def round_():
        v[0] = v[0] + v[1] & _MASK
        v[2] = v[2] + v[3] & _MASK
        v[1] = _rotate(v[1], 13) ^ v[0]
        v[3] = _rotate(v[3], 16) ^ v[2]
        v[0] = _rotate(v[0], 32)
        v[2] = v[2] + v[1] & _MASK
        v[0] = v[0] + v[3] & _MASK
        v[1] = _rotate(v[1], 17) ^ v[2]
        v[3] = _rotate(v[3], 21) ^ v[0]
        v[2] = _rotate(v[2], 32)

    whole = len(data) // 8 * 8
    last = data[whole:].ljust(7, b"\0") + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", data[:whole] + last):
        v[3] ^= word
        round_()
        round_()
        v[0] ^= word
    v[2] ^= 255
    for _ in range(4):
        round_()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def encode(key, kind, token, skip_except=(), version=1):
    body = struct.pack(">BBBBQ", version, kind, len(skip_except), 0, token)
    body += b"".join(struct.pack(">Q", one) for one in skip_except)
    return body + struct.pack(">Q", siphash(key, body))
