# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""RabbitMQ with its MQTT plugin (3.1 and 3.1.1 up to RabbitMQ 3.12).

Erlang nodes find each other through epmd, which the node starts: here it is alone on its host's
loopback, and is swept away with the host. AMQP is off.
"""

from .recipe import Recipe, program

USER = "rabbitmq"  # the package's own; it refuses to run as root
SCRIPT = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # the one on the path insists on the system's files

CONFIG = """\
listeners.tcp = none
mqtt.listeners.tcp.1 = :::{port}
mqtt.allow_anonymous = true
mqtt.tcp_listen_options.backlog = 4096
mqtt.tcp_listen_options.nodelay = true
# Who comes without a name is guest, from any host.
loopback_users = none
# The first to come finds the machine's memory and disk as they are: no alarms.
disk_free_limit.absolute = 50MB
log.file = false
log.console = true
log.console.level = info
"""


def prepare(place):
    program(SCRIPT, "rabbitmq-server")
    home = place.give_to(USER)
    plugins = place.write("rabbitmq-plugins", "[rabbitmq_mqtt].\n")
    config = place.write("rabbitmq.conf", CONFIG.format(port=place.port))
    environment = {
        "HOME": home,  # the node's cookie lies there
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_NODENAME": "rabbit@localhost",
        "RABBITMQ_CONFIG_FILE": config,
        "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
        "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
        "RABBITMQ_LOG_BASE": f"{home}/log",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/config",
        "RABBITMQ_FEATURE_FLAGS_FILE": f"{home}/feature_flags",
        "RABBITMQ_PID_FILE": f"{home}/pid",
        "ERL_CRASH_DUMP": f"{home}/erl_crash.dump",
        # The script becomes the Erlang VM, which ends orderly on SIGTERM; no shell in between.
        "RUNNING_UNDER_SYSTEMD": "true",
        # Schedulers that find no work sleep at once: the cores are shared with the daemon.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }
    return Recipe("rabbitmq", [SCRIPT], serves_within_s=90, user=USER, environment=environment,
                  keys={"fence": "none", "overlap": "pass", "topics": "amqp",
                        "capture": {"qos": 1}})
