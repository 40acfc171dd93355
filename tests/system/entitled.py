# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Clients with access rights: what mosquitto is told of them, and flows of numbered messages."""

import subprocess
import threading
import time

from mqttraw import PUBLISH, Closed, Timeout

RULES = """\
user alice
topic readwrite #
user bob
topic read open/#
topic write open/#
topic deny open/secret
user carol
topic read #
topic deny closed/#
pattern readwrite of/%u/#
pattern readwrite at/%c/#
"""
PASSWORDS = {"alice": "a", "bob": "b", "carol": "c"}


class Rules:
    """An acl_file and a password_file of mosquitto."""

    def __init__(self, folder):
        self.file, passwords = folder / "acl", folder / "passwords"
        self.settings = folder / "settings"
        self.write(RULES)
        passwords.touch(mode=0o600)
        for user, password in PASSWORDS.items():
            subprocess.run(["mosquitto_passwd", "-b", passwords, user, password], check=True,
                           capture_output=True, timeout=20)
        self.settings.write_text(f"acl_file {self.file}\npassword_file {passwords}\n")

    def write(self, text):
        self.file.write_text(text)


def login(bed, user, client_id, version=4, **options):
    return bed.client(client_id, version, user=user, password=PASSWORDS[user],
                      **options)


class Listener:
    """Takes down what comes, with its time. Without filters: to a session that has some."""

    def __init__(self, client, *filters):
        self.client, self.got = client, []
        if filters:
            client.subscribe(*filters, options=1)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.over = False
        self.thread.start()

    def _listen(self):
        while not self.over:
            try:
                found = self.client.receive(0.2)
            except Timeout:
                continue
            except (Closed, OSError):
                return
            if found.kind == PUBLISH:
                self.got.append((time.monotonic(), found.topic, bytes(found.payload)))

    def stop(self):
        self.over = True
        self.thread.join()

    def payloads(self, topic):
        return [payload for _, name, payload in self.got if name == topic]


class Flow(threading.Thread):
    """Publishes numbers until it is told to stop."""

    def __init__(self, client, topic, qos, pause=0.001):
        super().__init__(daemon=True)
        self.client, self.topic, self.qos, self.pause = client, topic, qos, pause
        self.count, self.over = 0, False

    def run(self):
        while not self.over:
            self.client.publish(self.topic, b"%d" % self.count, self.qos)
            self.count += 1
            time.sleep(self.pause)

    def stop(self):
        self.over = True
        self.join()


def publish(client, topic, numbers, qos, pause=0.005):
    for number in numbers:
        client.publish(topic, b"%d" % number, qos)
        time.sleep(pause)


def numbered(numbers):
    return [b"%d" % number for number in numbers]
