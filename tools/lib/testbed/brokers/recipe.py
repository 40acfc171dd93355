# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""What a recipe is given and what it gives, and what recipes have in common."""

import dataclasses
import os
import pwd
import shutil


class BrokerError(Exception):
    """What is missing, for the user."""


@dataclasses.dataclass(frozen=True)
class Plugin:
    """That a mosquitto is to load: the shared object, the daemon's address, its ACL answer."""

    path: str
    address: str
    acl: str


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a broker is to run: a directory for its files, and its port, of both families."""

    directory: str
    port: int
    plugin: Plugin = None
    settings: str = ""  # of the broker's own, beside those of the recipe

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, name, text):
        """Writes one file of the broker's. Returns its path."""
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def give_to(self, user):
        """A directory of that user's own, for all that its broker writes. Returns its path."""
        path, owner = self.path("broker"), pwd.getpwnam(user)
        os.makedirs(path, 0o700)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        return path


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A broker that is ready to be started."""

    name: str
    argv: list  # runs in the foreground and ends orderly on SIGTERM
    cwd: str = "/"
    serves_within_s: float = 30
    # Of its entry under brokers in offrampd.yaml(5): how it differs from what the daemon assumes.
    keys: dict = dataclasses.field(default_factory=dict)
    user: str = None  # who runs it, with this environment and the search path of ours, nothing else
    environment: dict = dataclasses.field(default_factory=dict)

    def command(self, started_by=()):
        """What to start. `started_by` is a command that becomes the one behind it."""
        argv = [*started_by, *self.argv]
        if not self.user:
            return argv
        pairs = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", **self.environment}
        return ["setpriv", "--reuid", self.user, "--regid", self.user, "--init-groups",
                "--no-new-privs", "--", "env", "-i",
                *(f"{name}={value}" for name, value in pairs.items()), *argv]


def program(name, package):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not path:
        raise BrokerError(f"{package} is not installed (make deps-brokers)")
    return path
