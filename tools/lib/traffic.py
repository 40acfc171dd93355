# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""Other traffic of the test hosts: ssh, HTTP and iperf3 servers beside the broker, and their clients.

Each server is the system's own program, started with files of this run only. `start(host, *command)`
runs a command on a host of a testbed and returns its Popen, so that tests and tools can share this.
"""

import json
import os
import pathlib
import subprocess
import time

HTTP_PORT, SSH_PORT, IPERF_PORT = 8080, 2222, 5201
STARTED_WITHIN_S = 20
SSHD = "/usr/sbin/sshd"
SSHD_RUN = "/run/sshd"  # where sshd wants to be locked up

SSHD_CONFIG = """\
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/key.pub
PidFile none
StrictModes no
UsePAM yes
KbdInteractiveAuthentication no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


class TrafficError(Exception):
    """A server did not start, or a client failed."""


class Servers:
    """Runs while the block does. `directory` is what the HTTP server shows, and where keys lie."""

    def __init__(self, start, directory):
        self.start = start
        self.directory = pathlib.Path(directory)
        self.processes = {}

    def __enter__(self):
        try:
            self._make_keys()
            os.makedirs(SSHD_RUN, exist_ok=True)
            self._serve(HTTP_PORT, "/usr/bin/python3", "-m", "http.server", "--bind", "::",
                        "--directory", str(self.directory), str(HTTP_PORT))
            self._serve(SSH_PORT, SSHD, "-D", "-e", "-f", str(self.directory / "sshd_config"))
            self._serve(IPERF_PORT, "iperf3", "--server", "--port", str(IPERF_PORT))
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def _make_keys(self):
        for name in ("key", "host_key"):
            if not (self.directory / name).exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                                str(self.directory / name)], check=True, timeout=30)
        (self.directory / "sshd_config").write_text(
            SSHD_CONFIG.format(port=SSH_PORT, directory=self.directory), encoding="utf-8")

    def _serve(self, port, *command):
        # They say something of every request: a pipe that nobody reads would stop them.
        self.processes[port] = self.start("broker", "sh", "-c", 'log=$1; shift; exec "$@" > "$log" 2>&1',
                                          "sh", str(self._log(port)), *command)

    def _log(self, port):
        return self.directory / f"log.{port}"

    def _wait(self):
        deadline = time.monotonic() + STARTED_WITHIN_S
        for port, process in self.processes.items():
            while not self._listens(port):
                if process.poll() is not None:
                    raise TrafficError(f"port {port}: {self._log(port).read_text()}")
                if time.monotonic() > deadline:
                    raise TrafficError(f"nobody listens at port {port} in time")
                time.sleep(0.05)

    def _listens(self, port):
        out, _ = self.start("broker", "ss", "-tlnH", "sport", "=", f":{port}").communicate(timeout=20)
        return bool(out.strip())


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def url(address, file):
    return f"http://{bracketed(address)}:{HTTP_PORT}/{file}"


def ssh_options(directory):
    return ["-F", "none", "-i", f"{directory}/key", "-o", "StrictHostKeyChecking=no", "-o",
            "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]


def scp(directory, address, from_, to):
    """Copies a file of the clients' host to the broker's."""
    return ["scp", *ssh_options(directory), "-P", str(SSH_PORT), "-q", str(from_),
            f"root@{bracketed(address)}:{to}"]


def iperf(address, seconds, *options):
    return ["iperf3", "--client", address, "--port", str(IPERF_PORT), "--json", "--time",
            str(seconds), *options]


def tcp_rate(text):
    """Bits a second that arrived, of iperf3's report."""
    return json.loads(text)["end"]["sum_received"]["bits_per_second"]


def udp_lost(text):
    return json.loads(text)["end"]["sum"]["lost_packets"]


def udp_rate(text):
    """Bits a second of the datagrams that arrived."""
    end = json.loads(text)["end"]["sum"]
    return end["bits_per_second"] * (1 - end["lost_percent"] / 100)
