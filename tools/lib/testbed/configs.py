# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""The daemon's generated configuration."""

import os
import shutil

import yaml

from . import hosts

CHANNEL_PORT = 1890


def daemon(directory, mode, io, port, control_socket, broker, overlay_path=None, impair=None,
           ipv6=False, workers=1, proof=None, mtus=hosts.MTUS, group=None, channel="shared"):
    """Writes the daemon's configuration, with the file at overlay_path laid over it.

    `broker` is its entry under brokers, but for the addresses: a name, and keys that differ from
    the defaults. `impair` is what each of its ports does to packets (ports[].impair). It has addresses of both
    families; `ipv6` says which of them clients and broker are met at. `group` is that of a broker
    that is not root's, which may attach in socket mode. `proof` is where knowledge and
    authorization come from; None: the test hosts are declared.
    """
    cores = sorted(os.sched_getaffinity(0))
    rings = [ring(io, workers, mtu) for mtu in mtus]
    config = {
        "mode": mode,
        "ports": [
            {"name": "clients", "device": f"net_{io}0,iface=clients{rings[0]}",
             **addresses(mode, hosts.LISTEN, hosts.LISTEN6)},
            {"name": "broker", "device": f"net_{io}1,iface=broker{rings[1]}",
             **addresses(mode, hosts.SOURCE, hosts.SOURCE6)},
        ][:1 if mode == "socket" else 2],
        "brokers": [
            {"name": broker["name"],
             **meeting_place(mode, port, ipv6),
             # Declared: every client comes this way, and there are no ACLs.
             "knowledge": proof or "wire",
             "authorization": proof or "open",
             **broker},
        ],
        "workers": {"cores": worker_cores(cores, workers), "control_core": cores[0],
                    "idle": "adaptive"},
        "control": {"socket": control_socket},
        **({"socket": sockets(directory, channel, group)} if mode == "socket" else {}),
        "log": {"level": "info"},
    }
    if overlay_path:
        config = merge(config, load(overlay_path))
    if impair:
        for port in config["ports"]:
            port["impair"] = {**impair, **port.get("impair", {})}
    path = os.path.join(directory, "offrampd.yaml")
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    return path


def ring(io, workers, mtu):
    """Arguments of a port's device."""
    # A fan-out to a thousand clients is answered by a thousand acknowledgements at once.
    frames = ",framesz=9216,blocksz=36864,framecnt=1024" if mtu > hosts.MTUS[0] else ",framecnt=4096"
    if io != "af_packet":  # af_xdp has one queue in a veth: workers hand over to each other
        return ""
    return frames + (f",qpairs={workers}" if workers > 1 else "")  # a queue each


def channel_socket(directory):
    """Where the broker attaches in socket mode, if it shares memory with the daemon."""
    return os.path.join(directory, "channel.sock")


def sockets(directory, channel, group):
    """Where processes attach, and who may beside the daemon's own user."""
    who = {"group": group} if group else {}
    section = {"path": channel_socket(directory), **who}
    if channel == "unix":
        section["listen"] = [{"address": attach_address(directory, channel), **who}]
    elif channel == "tcp":
        section["listen"] = [{"address": attach_address(directory, channel),
                              "allow": [hosts.CHANNEL[1]],
                              "secret_file": secret(directory, group)}]
    return section


def attach_address(directory, channel):
    """As offramp run --channel wants it."""
    return {"shared": channel_socket(directory),
            "unix": f"unix:{os.path.join(directory, 'lanes.sock')}",
            "tcp": hosts.endpoint(hosts.CHANNEL[0], CHANNEL_PORT)}[channel]


def secret(directory, group=None):
    """The file of what the daemon and the broker's host both know; the broker's group reads it."""
    path = os.path.join(directory, "channel.secret")
    if not os.path.exists(path):
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o640), "w", encoding="ascii") as file:
            file.write(os.urandom(16).hex() + "\n")
        if group:
            shutil.chown(path, group=group)
    return path


def addresses(mode, *own):
    """Offramp's own on a port; a bump in the wire has none."""
    return {} if mode == "monitor" else {"addresses": [hosts.prefixed(a) for a in own]}


def meeting_place(mode, port, ipv6):
    """Where clients and broker meet Offramp, if they do."""
    address = hosts.endpoint(hosts.broker_address(mode, ipv6), port)
    if mode == "monitor":
        return {"address": address}
    if mode == "socket":
        return {"listen": address}
    return {"listen": hosts.endpoint(hosts.listen_address(ipv6), port), "address": address,
            "sources": [hosts.SOURCE6 if ipv6 else hosts.SOURCE]}


def worker_cores(cores, workers):
    """The control core last; more workers than cores share them."""
    order = cores[1:] + cores[:1]
    return [order[i % len(order)] for i in range(workers)]


def load(path):
    with open(path, encoding="utf-8") as file:
        try:
            config = yaml.safe_load(file) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path}: a map of settings is expected at the top")
    return config


def merge(base, overlay):
    """Maps are merged, entries of lists too where both are named alike; the rest is replaced.

    A single entry without a name is laid over a single named one, whatever its name is.
    """
    if isinstance(base, dict) and isinstance(overlay, dict):
        merged = dict(base)
        for key, value in overlay.items():
            merged[key] = merge(base[key], value) if key in base else value
        return merged
    if _is_named(base) and _is_nameless(overlay) and len(base) == 1:
        return [merge(base[0], overlay[0])]
    if _is_named(base) and _is_named(overlay):
        overlaid = {entry["name"]: entry for entry in overlay}
        merged = [merge(entry, overlaid.pop(entry["name"], {})) for entry in base]
        return merged + list(overlaid.values())
    return overlay


def _is_named(value):
    return (isinstance(value, list) and bool(value)
            and all(isinstance(entry, dict) and "name" in entry for entry in value))


def _is_nameless(value):
    return (isinstance(value, list) and len(value) == 1
            and isinstance(value[0], dict) and "name" not in value[0])
