"""Writes every file that the server of a private node and rabbitmqctl read, and reads the server's log.

By them the node listens on loopback only, and reads no file of another installation, such as Debian's.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from consumer.local_broker.files import HOST, Node, save, write

DEFAULTS = {
    "disk_free_limit.absolute": "50MB",
    "log.console.level": "warning",
    # Every second instead of five, so that the console shows the present state.
    "collect_statistics_interval": "1000",
    "management.rates_mode": "basic",
}
#: The most lines of a log that a message quotes.
EXCERPT_LINES = 20


def environment(node: Node) -> dict[str, str]:
    """Make the whole environment of the server and of rabbitmqctl. Only PATH is taken from the caller's."""
    folder = node.data_dir
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "HOME": str(folder),  # holds the cookie
        "RABBITMQ_NODENAME": node.nodename,
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(node.amqp_port),
        "RABBITMQ_DIST_PORT": str(node.dist_port),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,  # otherwise RabbitMQ reads Debian's
        "ERL_EPMD_PORT": str(node.epmd_port),
        "ERL_EPMD_ADDRESS": HOST,
        # Set here and not by RabbitMQ's own variables, because RabbitMQ's starter of epmd must use loopback, too.
        "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }


def render_config(node: Node, lines: Mapping[str, str]) -> str:
    """Make the text of rabbitmq.conf; `lines` override `DEFAULTS`.

    RabbitMQ creates the user from it at the first start, so that no call of rabbitmqctl is needed.
    """
    fixed = {
        "default_user": node.user,
        "default_pass": node.password,
        "management.tcp.ip": HOST,
        "management.tcp.port": str(node.management_port),
    }
    return "".join(f"{key} = {value}\n" for key, value in {**DEFAULTS, **lines, **fixed}.items())


def render_ctl(node: Node, program: Path) -> str:
    """Make the folder's rabbitmqctl, a script that runs the installed one with this node's environment."""
    # rabbitmqctl must not start epmd, which would outlive a stopped node.
    variables = {**environment(node), "RABBITMQ_CTL_ERL_ARGS": "-start_epmd false"}
    settings = " ".join(shlex.quote(f"{name}={value}") for name, value in variables.items())
    return f'#!/bin/sh\nexec env -i {settings} {shlex.quote(str(program))} "$@"\n'


def write_all(node: Node, server: Path, lines: Mapping[str, str], more: Mapping[str, str]) -> None:
    """Write all files that the server and rabbitmqctl read, and the state file. `more` overrides files by name."""
    contents = {
        ".gitignore": "*\n",
        "enabled_plugins": "[rabbitmq_management].\n",
        "rabbitmq.conf": render_config(node, lines),
        "advanced.config": "[].\n",
        "rabbitmqctl": render_ctl(node, server.with_name("rabbitmqctl")),
        **more,
    }
    if not (node.data_dir / ".erlang.cookie").exists():
        contents.setdefault(".erlang.cookie", new_cookie())
    for name, text in contents.items():
        write(node.data_dir / name, text, mode=0o700 if name == "rabbitmqctl" else 0o600)
    save(node)


def new_cookie() -> str:
    """Make a secure random cookie, which allows its owner to run code in the node. Erlang's own is not secure."""
    return secrets.token_hex(20)


def lacked_a_port(node: Node) -> bool:
    """Return whether the server's log says that a port was not free."""
    try:
        return "eaddrinuse" in node.log.read_text(errors="replace")
    except OSError:
        return False


def log_excerpt(node: Node) -> str:
    """Return the log from its first error on, because Erlang reports one failure many times."""
    try:
        text = node.log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"{node.log} is unreadable: {error}"
    errors = [number for number, line in enumerate(text) if "[error]" in line]
    shown = text[errors[0] :][:EXCERPT_LINES] if errors else text[-EXCERPT_LINES:]
    messages = (re.sub(r"^\S+ \S+ \[error\] <[\d.]+> ?", "", line) for line in shown)
    return "\n".join((f"From {node.log}:", *messages))
