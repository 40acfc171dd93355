# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A paho client that gets what it publishes: pahoecho.py HOST PORT tcp|websockets COUNT OCTETS [CA]

Ends with 0 when every message has come back, whole and in order.
"""

import sys
import threading

import paho.mqtt.client as paho


def main():
    host, port, transport, count, octets = sys.argv[1:6]
    count, octets = int(count), int(octets)
    got, done = [], threading.Event()

    def connected(client, *_):
        client.subscribe("echo/+", 1)

    def subscribed(client, *_):
        for number in range(count):
            client.publish(f"echo/{number % 7}", b"%08d" % number + bytes(octets), 1)

    def message(_client, _userdata, found):
        if len(found.payload) == octets + 8:
            got.append(int(found.payload[:8]))
        if len(got) == count:
            done.set()

    client = paho.Client("pahoecho", transport=transport)
    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, message
    client.max_inflight_messages_set(100)
    if len(sys.argv) > 6:
        client.tls_set(sys.argv[6])
    client.connect(host, int(port))
    client.loop_start()
    done.wait(60)
    client.disconnect()
    client.loop_stop()
    print(len(got), "of", count)
    return 0 if sorted(got) == list(range(count)) else 1


if __name__ == "__main__":
    sys.exit(main())
