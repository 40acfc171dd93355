# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A testbed: its state on disk, and going up and down.

Everything of the testbed NAME lies in /run/offramp-testbed/NAME/; state.json tells the next call
what runs. A lock beside it serialises calls on one name; different names share nothing.
"""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import time

from . import brokers, configs, hosts, processes, ready, sanitizer

ROOT = "/run/offramp-testbed"
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
LOGS = {"broker": ("mosquitto.log", "broker.log"), "daemon": ("offrampd.log",)}
FILES_MAX = 65536  # a broker with thousands of clients needs as many files


class BedError(Exception):
    """What went wrong, for the user."""


def build_directory():
    return os.path.abspath(os.environ.get("OFFRAMP_BUILD") or os.path.join(REPOSITORY, "build"))


def read_text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Bed:
    def __init__(self, name):
        self.name = name
        self.directory = os.path.join(ROOT, name)
        self.control_socket = self._path("control.sock")
        self.state = self._load()

    # State

    def _path(self, file):
        return os.path.join(self.directory, file)

    def _load(self):
        try:
            with open(self._path("state.json"), encoding="utf-8") as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return None

    def _save(self):
        with open(self._path("state.json.new"), "w", encoding="utf-8") as file:
            json.dump(self.state, file, indent=1)
        os.rename(self._path("state.json.new"), self._path("state.json"))

    @contextlib.contextmanager
    def locked(self):
        os.makedirs(ROOT, exist_ok=True)
        path = f"{self.directory}.lock"
        while True:
            with open(path, "w", encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # down() may have removed the file while this call waited for it.
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                        self.state = self._load()  # another call may have changed it meanwhile
                        yield
                        return

    def require(self):
        if not self.state or not hosts.exists(self.name):
            raise BedError(f"there is no testbed '{self.name}' (up --name {self.name})")
        return self.state

    # Up and down

    def up(self, mode, io, port, broker="mosquitto", config=None, clients=0, seconds=None,
           impair=None, ipv6=False, workers=1, plugin=None, settings=None,
           mtus=hosts.MTUS, sysctls=(), channel="shared"):
        """`broker` is the name of a recipe or a shell command. Without `seconds` the recipe says.

        `plugin` is the ACL answer of the plugin that mosquitto is to load; `settings` the path of
        lines for its configuration. `mtus` are those of the clients' and the broker's side.
        """
        self.clean()
        os.makedirs(self.directory)
        self.state = {
            "name": self.name, "mode": mode, "io": io, "port": port, "clients": 0,
            "ipv6": ipv6, "listen": hosts.listen_address(ipv6),
            "broker_address": hosts.broker_address(mode, ipv6),
            "channel": channel, "build": build_directory(), "created": time.time(), "processes": {}, "commands": {},
        }
        self._save()
        hosts.create(self.name, mode, mtus, sysctls, channel)
        self.add_client_addresses(clients)
        self._raise_file_limit()
        recipe = self._recipe(broker, plugin, settings)
        self.state["seconds"] = seconds = seconds or recipe.serves_within_s
        commands = {"broker": {"argv": recipe.command(), "cwd": recipe.cwd}}
        if mode != "direct":
            entry = {"name": recipe.name, **recipe.keys}
            commands["daemon"] = self._daemon_command(
                entry, config, impair, workers, plugin, mtus, recipe.user)
        if mode == "socket":  # the broker's sockets live in the daemon
            commands["broker"]["argv"] = recipe.command(self.starter())
            commands = dict(reversed(commands.items()))
        self.state["commands"] = commands
        deadline = time.monotonic() + seconds
        for who in self.state["commands"]:
            self._start(who, deadline)
        self._wait_for_clients(deadline)

    def _recipe(self, broker, acl, settings):
        if (acl or settings) and broker != "mosquitto":
            raise BedError("--plugin and --settings are for mosquitto")
        if broker in brokers.NAMES:
            return brokers.prepare(broker, brokers.Place(
                self.directory, self.state["port"], self._plugin(acl) if acl else None,
                read_text(settings) if settings else ""))
        command = broker.replace("{port}", str(self.state["port"]))
        command = command.replace("{address}", self.state["broker_address"])
        return brokers.command(command)

    def _plugin(self, acl):
        path = os.path.join(self.state["build"], "mosquitto_offramp.so")
        if not os.access(path, os.R_OK):
            raise BedError(f"{path} is not there: build it, or set OFFRAMP_BUILD")
        return brokers.Plugin(path, f"unix:{self.control_socket}", acl)

    def _daemon_command(self, broker, config, impair, workers, plugin, mtus, group):
        path = os.path.join(self.state["build"], "offrampd")
        if not os.access(path, os.X_OK):
            raise BedError(f"{path} is not there: build it, or set OFFRAMP_BUILD")
        file = configs.daemon(self.directory, self.state["mode"], self.state["io"],
                              self.state["port"], self.control_socket, broker, config, impair,
                              self.state["ipv6"], workers, "broker" if plugin else None, mtus,
                              group, self.state["channel"])
        return {"argv": [path, "-c", file], "cwd": self.directory}

    def starter(self):
        """What starts a program on the daemon's sockets."""
        build = self.state["build"]
        channel = self.state["channel"]
        secret = ["--secret-file", configs.secret(self.directory)] if channel == "tcp" else []
        command = [os.path.join(build, "offramp"), "run", "--channel",
                   configs.attach_address(self.directory, channel), *secret, "--"]
        return sanitizer.wrap(os.path.join(build, "libofframp-shim.so"), command)

    @staticmethod
    def _raise_file_limit():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(FILES_MAX, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    def clean(self):
        """Takes down what is there of this name, be it whole, half or what a crash left."""
        for who in ("daemon", "broker"):  # clients are let go before their broker is
            processes.stop((self.state or {}).get("processes", {}).get(who))
        hosts.destroy(self.name)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.state = None

    def down(self):
        self.clean()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.directory}.lock")

    # The two programs

    def is_alive(self, who):
        return processes.is_alive(self.state["processes"].get(who))

    def _start(self, who, deadline):
        command = self.state["commands"][who]
        role = "broker" if who == "broker" else "offramp"
        inside = ["ip", "netns", "exec", hosts.netns(self.name, role)] + command["argv"]
        self.state["processes"][who] = processes.spawn(
            inside, self._path(LOGS[who][-1]), command["cwd"])
        self._save()
        if who == "broker" and self.state["mode"] != "socket":
            address, port = self.state["broker_address"], self.state["port"]
            self._wait(who, lambda: ready.accepts(self.name, role, address, port), deadline)
        elif who == "daemon" and self.state["mode"] == "socket":
            # A broker that binds its address finds it there only with a daemon to ask.
            door = configs.channel_socket(self.directory)
            self._wait(who, lambda: ready.lets_in(door), deadline)

    def _wait_for_clients(self, deadline):
        last = list(self.state["commands"])[-1]  # the one that must answer them
        listen, port = self.state["listen"], self.state["port"]
        self._wait(last, lambda: ready.answers_mqtt(self.name, "clients", listen, port), deadline)

    def _wait(self, who, probe, deadline):
        started = [other for other in self.state["commands"] if other in self.state["processes"]]
        why = ready.wait(probe, lambda: all(map(self.is_alive, started)), deadline)
        if why == "ended":
            dead = next((other for other in started if not self.is_alive(other)), who)
            raise BedError(f"the {dead} ended before it served")
        if why == "timeout":
            raise BedError(f"the {who} did not serve in time")

    def command(self, who):
        if who not in self.require()["commands"]:
            raise BedError(f"there is no {who} in {self.state['mode']} mode")
        return self.state["commands"][who]

    def start(self, who):
        self.command(who)
        if self.is_alive(who):
            raise BedError(f"the {who} is running")
        self._raise_file_limit()
        deadline = time.monotonic() + self.state["seconds"]
        self._start(who, deadline)
        if all(self.is_alive(other) for other in self.state["commands"]):
            self._wait_for_clients(deadline)

    def stop(self, who, number=signal.SIGTERM):
        self.command(who)
        processes.stop(self.state["processes"].get(who), number)

    # Looking and asking

    def add_client_addresses(self, count):
        first = self.state["clients"]
        if first + count > hosts.CLIENTS_MAX:
            raise BedError(f"at most {hosts.CLIENTS_MAX} further addresses")
        if not count:
            return []
        addresses = hosts.add_client_addresses(self.name, first, count, self.state["ipv6"])
        self.state["clients"] += count
        self._save()
        return addresses

    def status(self):
        """What the testbed is and what of it lives."""
        state = dict(self.require())
        state["processes"] = {
            who: {"pid": process["pid"], "alive": processes.is_alive(process)}
            for who, process in state["processes"].items()}
        state["directory"] = self.directory
        state["namespaces"] = {role: hosts.netns(self.name, role) for role in hosts.ROLES}
        return state

    def log(self, who, lines=None):
        """The last lines of what that program said; all without a number."""
        text = b""
        for file in LOGS[who]:
            with contextlib.suppress(FileNotFoundError):
                with open(self._path(file), "rb") as log:
                    text += log.read()
        kept = text.decode("utf-8", "replace").splitlines()
        return "\n".join(kept[-lines:] if lines else kept)
