# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A server that makes one call when it is told to, while its daemon dies: victim.py CALL HOST CLIENT PORT

Says "listening" and "ready" when it is, then what became of the call and how long it took. Afterwards
it says back what it hears, for as long as it is let.
"""

import json
import select
import socket
import sys
import time


def say(what):
    print(what, flush=True)


class Server:
    def __init__(self, host, client, port):
        self.address, self.elsewhere = (host, int(port)), (client, int(port))
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.client = None

    def listen(self):
        self.listener.bind(self.address)
        self.listener.listen()

    def meet(self):
        say("listening")
        self.client = self.listener.accept()[0]
        self.client.recv(100)

    def fill(self):
        self.client.setblocking(False)
        try:
            while True:
                self.client.send(bytes(65536))
        except BlockingIOError:
            self.client.setblocking(True)


def epoll_wait(sock):
    epoll = select.epoll()
    epoll.register(sock, select.EPOLLIN)
    return epoll.poll(30)


def poll(sock):
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return poller.poll(30000)


def datagram():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


# What comes before the call, and the call.
CALLS = {
    "bind": ((), lambda s: s.listener.bind(s.address)),
    "listen": (("bind",), lambda s: s.listener.listen()),
    "accept": (("listen",), lambda s: s.listener.accept()),
    "epoll_wait for clients": (("listen",), lambda s: epoll_wait(s.listener)),
    "poll for clients": (("listen",), lambda s: poll(s.listener)),
    "close the listener": (("listen",), lambda s: s.listener.close()),
    "recv": (("listen", "meet"), lambda s: s.client.recv(1)),
    "send": (("listen", "meet", "fill"), lambda s: s.client.sendall(bytes(100_000_000))),
    "epoll_wait": (("listen", "meet"), lambda s: epoll_wait(s.client)),
    "poll": (("listen", "meet"), lambda s: poll(s.client)),
    "select": (("listen", "meet"), lambda s: select.select([s.client], [], [], 30)),
    "getsockopt": (("listen", "meet"),
                   lambda s: s.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)),
    "setsockopt": (("listen", "meet"),
                   lambda s: s.client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)),
    "shutdown": (("listen", "meet"), lambda s: s.client.shutdown(socket.SHUT_WR)),
    "close": (("listen", "meet"), lambda s: s.client.close()),
    "connect": (("listen",), lambda s: socket.create_connection(s.elsewhere)),
    "sendto": (("listen",), lambda s: datagram().sendto(b"octets", s.elsewhere)),
}


def prepare(server, name):
    if name == "bind":
        server.listener.bind(server.address)
    else:
        getattr(server, name)()


def serve(server, name):
    if name in ("bind", "close the listener"):
        server.listener.close()
        server.listener = socket.socket()
        server.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                server.listener.bind(server.address)
                break
            except OSError:  # an address that only a daemon has
                time.sleep(0.1)
    if name in ("bind", "close the listener"):
        server.listener.listen()
    while True:
        try:
            sock = server.listener.accept()[0]
            sock.sendall(sock.recv(100))
            sock.close()
        except OSError:
            pass


def main():
    name, host, client, port = sys.argv[1:5]
    before, call = CALLS[name]
    server = Server(host, client, port)
    for what in before:
        prepare(server, what)
    say("ready")
    sys.stdin.readline()
    began = time.monotonic()
    try:
        result = repr(call(server))[:60]
    except OSError as error:
        result = type(error).__name__
    say(json.dumps({"result": result, "seconds": time.monotonic() - began}))
    serve(server, name)


if __name__ == "__main__":
    main()
