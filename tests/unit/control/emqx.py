# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""EMQX's side of its hooks."""

import grpc


class Emqx:
    """One node of EMQX with its hooks: calls in the order in which EMQX makes them, and only those
    that it was asked for."""

    def __init__(self, protos, port, version="v3", node="emqx@127.0.0.1", cluster="emqxcl"):
        self.pb = protos[version]
        self.version, self.node, self.cluster = version, node, cluster
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.hooks = {}

    def close(self):
        self.channel.close()

    def meta(self):
        return self.pb.RequestMeta(node=self.node, version="5.8.0", sysdescr="EMQX",
                                   cluster_name=self.cluster)

    def raw(self, method, data, timeout=5):
        call = self.channel.unary_unary(f"/emqx.exhook.{self.version}.HookProvider/{method}")
        return call(data, timeout=timeout)

    def request(self, method, **fields):
        name = method.removeprefix("On") + "Request"
        return getattr(self.pb, name)(meta=self.meta(), **fields)

    def call(self, method, answer="EmptySuccess", **fields):
        data = self.raw(method, self.request(method, **fields).SerializeToString())
        return getattr(self.pb, answer).FromString(data)

    def hook(self, name, method, answer="EmptySuccess", **fields):
        """A call that EMQX makes only when it was asked for."""
        if name in self.hooks:
            return self.call(method, answer, **fields)
        return None

    def load(self, uptime_ms=9000):
        info = self.pb.BrokerInfo(version="5.8.0", sysdescr="EMQX", uptime=uptime_ms)
        answer = self.call("OnProviderLoaded", "LoadedResponse", broker=info)
        self.hooks = {hook.name: list(hook.topics) for hook in answer.hooks}
        return self

    def unload(self):
        self.call("OnProviderUnloaded")
        self.hooks = {}

    # What clients do

    def info(self, client, **fields):
        fields = {"peerhost": "198.19.0.1", "protocol": "mqtt", **fields}
        return self.pb.ClientInfo(
            node=self.node, clientid=client, username="u", password="secret", sockport=1883,
            anonymous=True, **fields)

    def connect(self, client, resumes=False, **fields):
        info = self.info(client, **fields)
        conn = self.pb.ConnInfo(node=self.node, clientid=client, peerhost="198.19.0.1",
                                sockport=1883, proto_name="MQTT", proto_ver="5", keepalive=60)
        self.hook("client.connect", "OnClientConnect", conninfo=conn)
        self.hook("client.authenticate", "OnClientAuthenticate", "ValuedResponse",
                  clientinfo=info, result=True)
        self.hook("client.connack", "OnClientConnack", conninfo=conn, result_code="success")
        if resumes:
            self.hook("session.resumed", "OnSessionResumed", clientinfo=info)
        else:
            self.hook("session.created", "OnSessionCreated", clientinfo=info)
        self.hook("client.connected", "OnClientConnected", clientinfo=info)

    def subscribe(self, client, topic, qos=1, **options):
        info = self.info(client)
        self.hook("client.authorize", "OnClientAuthorize", "ValuedResponse", clientinfo=info,
                  type=1, topic=topic, result=True)
        self.hook("session.subscribed", "OnSessionSubscribed", clientinfo=info, topic=topic,
                  subopts=self.pb.SubOpts(qos=qos, **options))

    def unsubscribe(self, client, topic):
        self.hook("session.unsubscribed", "OnSessionUnsubscribed", clientinfo=self.info(client),
                  topic=topic)

    def message(self, client, topic, payload=b"hi", qos=1, **headers):
        headers = headers or {"protocol": "mqtt", "peerhost": "198.19.0.1", "username": "u"}
        return self.pb.Message(node=self.node, id="0006", qos=qos, **{"from": client}, topic=topic,
                               payload=payload, timestamp=1700000000000, headers=headers)

    def publish(self, client, topic, payload=b"hi", qos=1, **headers):
        return self.hook("message.publish", "OnMessagePublish", "ValuedResponse",
                         message=self.message(client, topic, payload, qos, **headers))

    def end(self, client, how="terminated"):
        info = self.info(client)
        self.hook("client.disconnected", "OnClientDisconnected", clientinfo=info, reason="normal")
        method = {"terminated": "OnSessionTerminated", "discarded": "OnSessionDiscarded",
                  "takenover": "OnSessionTakenover"}[how]
        fields = {"reason": "normal"} if how == "terminated" else {}
        self.hook(f"session.{how}", method, clientinfo=info, **fields)
