# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""TCP segments by hand: a packet socket on the kernel's end of a wire, from any address.

The addresses are not the kernel's, so it neither answers nor resets; that they are at its MAC is
said to the peer by hand too, in an ARP request or a neighbour solicitation.
"""

import select
import socket
import struct
import time
from dataclasses import dataclass, field

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
ETH_P_IP = 0x0800
ETH_P_ARP = 0x0806
ETH_P_IPV6 = 0x86dd
TCP, ICMPV6 = 6, 58


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ip_packet(source, destination, protocol, payload, offset, hops=64):
    """The payload, its checksum put in at the offset, behind a header of either family."""
    addresses = packed(source) + packed(destination)
    length = len(payload)
    value = checksum(addresses + struct.pack("!II", length, protocol) + payload)
    payload = payload[:offset] + struct.pack("!H", value) + payload[offset + 2:]
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, length, protocol, hops) + addresses + payload
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, hops, protocol, 0) + addresses
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + payload


@dataclass
class Segment:
    source: str
    sport: int
    destination: str
    dport: int
    seq: int = 0
    ack: int = 0
    flags: int = ACK
    window: int = 65535
    options: bytes = b""
    data: bytes = field(default=b"", repr=False)

    def packet(self):
        options = self.options + bytes(-len(self.options) % 4)
        header = struct.pack("!HHIIBBHHH", self.sport, self.dport, self.seq & 0xffffffff,
                             self.ack & 0xffffffff, (20 + len(options)) // 4 << 4, self.flags,
                             self.window, 0, 0) + options
        return ip_packet(self.source, self.destination, TCP, header + self.data, 16)

    @classmethod
    def parse(cls, packet):
        """None when it is not TCP."""
        version = packet[0] >> 4 if len(packet) >= 40 else 0
        if version == 4 and packet[9] == TCP:
            family, source = socket.AF_INET, 12
            begin, end = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)[0]
        elif version == 6 and packet[6] == TCP:
            family, source = socket.AF_INET6, 8
            begin, end = 40, 40 + struct.unpack_from("!H", packet, 4)[0]
        else:
            return None
        size = 4 if family == socket.AF_INET else 16
        addresses = [socket.inet_ntop(family, packet[at:at + size])
                     for at in (source, source + size)]
        sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", packet,
                                                                           begin)
        data = begin + (offset >> 4) * 4
        return cls(addresses[0], sport, addresses[1], dport, seq, ack, flags, window,
                   packet[begin + 20:data], packet[data:end])

    def is_only(self, flags):
        return self.flags & (FIN | SYN | RST | ACK) == flags


class Raw:
    """Sends frames from the kernel's end and sees those that come there."""

    def __init__(self, wire):
        self.wire = wire
        kind = ETH_P_IP if wire.family == 4 else ETH_P_IPV6
        self.sock = wire.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self.sock.bind(("eth0", kind))
        self.target = ("eth0", kind, 0, 0, bytes.fromhex(wire.peer_mac.replace(":", "")))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def own(self, address):
        """Asks the peer for its MAC, as a host with this address would: it learns ours."""
        mac, peer = self.sock.getsockname()[4], self.wire.peer_address
        if self.wire.family == 6:
            body = struct.pack("!BBHI", 135, 0, 0, 0) + packed(peer) + b"\1\1" + mac
            self.sock.sendto(ip_packet(address, peer, ICMPV6, body, 2, hops=255), self.target)
            return
        body = struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, 1)
        body += mac + packed(address) + bytes(6) + packed(peer)
        self.sock.sendto(body, ("eth0", ETH_P_ARP, 0, 0, self.target[4]))

    def send(self, segment):
        self.sock.sendto(segment.packet(), self.target)

    def drain(self):
        while select.select([self.sock], [], [], 0)[0]:
            self.sock.recv(65536)

    def wait(self, condition, timeout=5):
        """The first segment from the peer that is as wanted; None when none comes."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return None
            packet, address = self.sock.recvfrom(65536)
            segment = Segment.parse(packet)
            if address[2] != socket.PACKET_OUTGOING and segment and condition(segment):
                return segment
        return None


class Connection:
    """A connection opened by hand, no options but what is given."""

    def __init__(self, raw, address, sport, dport, window=65535, mss=1460):
        self.raw = raw
        self.ends = (address, sport, raw.wire.peer_address, dport)
        self.window = window
        self.snd_nxt, self.rcv_nxt = 1000, 0
        raw.own(address)
        self.send(SYN, options=struct.pack("!BBH", 2, 4, mss))
        answer = self.wait(lambda segment: segment.flags & SYN)
        assert answer and answer.flags & ACK, f"no SYN-ACK: {answer}"
        assert answer.ack == 1001
        self.snd_nxt, self.rcv_nxt = 1001, (answer.seq + 1) & 0xffffffff
        self.send(ACK)

    def segment(self, flags=ACK, **fields):
        values = {"seq": self.snd_nxt, "ack": self.rcv_nxt if flags & ACK else 0,
                  "window": self.window, **fields}
        return Segment(*self.ends, flags=flags, **values)

    def send(self, flags=ACK, **fields):
        self.raw.send(self.segment(flags, **fields))

    def write(self, data):
        self.send(ACK | PSH, data=data)
        self.snd_nxt = (self.snd_nxt + len(data)) & 0xffffffff

    def wait(self, condition=lambda segment: True, timeout=5):
        address, sport, peer, dport = self.ends

        def ours(segment):
            return ((segment.source, segment.sport, segment.destination, segment.dport)
                    == (peer, dport, address, sport) and condition(segment))
        return self.raw.wait(ours, timeout)

    def read(self, length, timeout=10):
        """Takes bytes in order, acknowledging each segment."""
        data = b""
        deadline = time.monotonic() + timeout
        while len(data) < length:
            segment = self.wait(lambda segment: segment.data and segment.seq == self.rcv_nxt,
                                max(0, deadline - time.monotonic()))
            assert segment, f"{len(data)} of {length} bytes"
            data += segment.data
            self.rcv_nxt = (self.rcv_nxt + len(segment.data)) & 0xffffffff
            self.send(ACK)
        return data
