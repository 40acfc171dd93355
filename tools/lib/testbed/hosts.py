# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The hosts: network namespaces and the veth pairs between them.

    direct    clients eth0 198.18.0.2 ───────────────────────────── eth0 198.18.0.1 broker

    stack     clients eth0 198.18.0.2 ── clients ┐         ┌ broker ── eth0 198.19.0.2 broker
                                                 └ offramp ┘
                               Offramp's own: 198.18.0.1     198.19.0.1

    monitor   clients eth0 198.18.0.2 ── clients ┐         ┌ broker ── eth0 198.18.0.1 broker
                                                 └ offramp ┘

    socket    clients eth0 198.18.0.2 ── clients ─ offramp       broker: no wire, its sockets live in
                                              198.18.0.1         Offramp

Clients find the broker at 198.18.0.1 in all modes. Every host has an IPv6 address too, with the
same last number: 2001:db8:18::/64 on the clients' side, 2001:db8:19::/64 on the broker's. The
kernel's ends in the offramp namespace have no address, no IPv6 and no ARP: only the daemon speaks
there. No end offloads anything to a NIC that does not exist: packets on the wire are whole, with
checksums.
"""

import ctypes
import ipaddress
import os
import signal
import socket
import subprocess
import threading

from . import processes

ROLES = ("clients", "offramp", "broker")
LISTEN = "198.18.0.1"  # where clients connect, in every mode
CLIENT = "198.18.0.2"
BROKER = {"direct": LISTEN, "monitor": LISTEN, "stack": "198.19.0.2", "socket": LISTEN}  # where the broker listens
SOURCE = "198.19.0.1"  # where Offramp's connections to the broker come from
LISTEN6 = "2001:db8:18::1"
CLIENT6 = "2001:db8:18::2"
BROKER6 = {"direct": LISTEN6, "monitor": LISTEN6, "stack": "2001:db8:19::2", "socket": LISTEN6}
CHANNEL = ("192.168.100.2", "192.168.100.1")  # Offramp and the broker's host, as a DPU and its host
SOURCE6 = "2001:db8:19::1"
PREFIX_LENGTH = 16
PREFIX6_LENGTH = 64
CLIENTS_MAX = 250 * 254
MTUS = (1500, 1500)  # of the clients' side, of the broker's
MTU_MIN, MTU_MAX = 576, 9000

_CLONE_NEWNET = 0x40000000


class HostError(Exception):
    """A command that builds or removes hosts failed."""


def netns(name, role):
    return f"offramp-{name}-{role}"


def listen_address(ipv6):
    return LISTEN6 if ipv6 else LISTEN


def broker_address(mode, ipv6):
    return (BROKER6 if ipv6 else BROKER)[mode]


def endpoint(address, port):
    """As the daemon's configuration and URLs write it."""
    return f"[{address}]:{port}" if is_ipv6(address) else f"{address}:{port}"


def is_ipv6(address):
    return ipaddress.ip_address(address).version == 6


def family(address):
    return socket.AF_INET6 if is_ipv6(address) else socket.AF_INET


def client_address(index, ipv6=False):
    """The index-th further address of the clients (from 0): 198.18.1.1, 198.18.1.2, …, or
    2001:db8:18::1:1, 2001:db8:18::1:2, …"""
    if ipv6:
        return f"2001:db8:18::1:{1 + index:x}"
    return f"198.18.{1 + index // 254}.{1 + index % 254}"


def run(*command, stdin=None):
    try:
        done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        raise HostError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"{' '.join(command)}: no end within 30 s") from None
    if done.returncode:
        raise HostError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def exists(name):
    return any(os.path.exists(f"/run/netns/{netns(name, role)}") for role in ROLES)


def create(name, mode, mtus=MTUS, sysctls=(), channel="shared"):
    if mode == "direct" and mtus[0] != mtus[1]:
        raise HostError("in direct mode there is one network, with one MTU")
    for role in ROLES:
        run("ip", "netns", "add", netns(name, role))
        run("ip", "-n", netns(name, role), "link", "set", "lo", "up")
    clients, offramp, broker = (netns(name, role) for role in ROLES)
    # Before there is an interface that could say something.
    run("ip", "netns", "exec", offramp, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
        "net.ipv6.conf.default.disable_ipv6=1")
    if mode == "direct":
        _wire(clients, "eth0", broker, "eth0")
    else:
        _wire(clients, "eth0", offramp, "clients")
        _silence(offramp, "clients")
    if mode in ("monitor", "stack"):
        _wire(broker, "eth0", offramp, "broker")
        _silence(offramp, "broker")
    if channel == "tcp":
        _wire(offramp, "channel", broker, "channel")
        for namespace, address in ((offramp, CHANNEL[0]), (broker, CHANNEL[1])):
            run("ip", "-n", namespace, "address", "add", f"{address}/30", "dev", "channel")
    for address in (CLIENT, CLIENT6):
        _address(clients, address)
    for address in (BROKER[mode], BROKER6[mode]) if mode != "socket" else ():
        _address(broker, address)
    if mode == "stack":
        for gateway in (LISTEN, LISTEN6):
            run("ip", "-n", clients, "route", "add", "default", "via", gateway)
        for gateway in (SOURCE, SOURCE6):
            run("ip", "-n", broker, "route", "add", "default", "via", gateway)
    for namespace, far, mtu in ((clients, "clients", mtus[0]), (broker, "broker", mtus[1])):
        if mtu != MTUS[0]:
            run("ip", "-n", namespace, "link", "set", "eth0", "mtu", str(mtu))
            if mode != "direct":
                run("ip", "-n", offramp, "link", "set", far, "mtu", str(mtu))
        if sysctls:
            run("ip", "netns", "exec", namespace, "sysctl", "-qw", *sysctls)


def _wire(left, left_if, right, right_if):
    run("ip", "-n", left, "link", "add", left_if, "type", "veth",
        "peer", "name", right_if, "netns", right)
    for namespace, interface in ((left, left_if), (right, right_if)):
        run("ip", "netns", "exec", namespace, "ethtool", "-K", interface,
            "tx", "off", "tso", "off", "gso", "off", "gro", "off")
        run("ip", "-n", namespace, "link", "set", interface, "up")


def _silence(namespace, interface):
    run("ip", "-n", namespace, "link", "set", interface, "arp", "off")


def prefixed(address):
    """ADDRESS/LENGTH, as these hosts have it."""
    return f"{address}/{PREFIX6_LENGTH if is_ipv6(address) else PREFIX_LENGTH}"


def _add_command(address):
    """An address is used at once: nobody else here can have it, so nobody is asked (nodad)."""
    return ["address", "add", prefixed(address), "dev", "eth0"] \
        + (["nodad"] if is_ipv6(address) else [])


def _address(namespace, address):
    run("ip", "-n", namespace, *_add_command(address))


def add_client_addresses(name, first, count, ipv6=False):
    """Gives the clients' host `count` further addresses. Returns them."""
    addresses = [client_address(first + index, ipv6) for index in range(count)]
    batch = "".join(" ".join(_add_command(a)) + "\n" for a in addresses)
    run("ip", "-n", netns(name, "clients"), "-batch", "-", stdin=batch)
    return addresses


def destroy(name):
    """Ends whatever still runs in the hosts and removes them. Nothing there is fine."""
    spared = processes.ancestors()
    for role in ROLES:
        namespace = netns(name, role)
        if not os.path.exists(f"/run/netns/{namespace}"):
            continue
        try:
            pids = [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]
        except HostError:
            pids = []  # a name whose mount is gone: a crash left an empty file
        for pid in pids:
            if pid not in spared:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        run("ip", "netns", "delete", namespace)


def open_socket(name, role, *socket_arguments):
    """A socket of that host. It belongs to the host for good, whoever uses it afterwards.

    Namespaces are entered a thread at a time: this one enters and ends.
    """
    result = {}

    def enter():
        try:
            fd = os.open(f"/run/netns/{netns(name, role)}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(fd, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(fd)
            result["socket"] = socket.socket(*socket_arguments)
        except OSError as error:
            result["error"] = error

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if "error" in result:
        raise result["error"]
    return result["socket"]
