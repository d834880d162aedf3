"""Runs a private RabbitMQ node for development, the demo and the tests, with its own folder, ports and epmd.

Never for production: the node listens on the loopback address only, and nothing supervises it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from consumer.errors import BrokerUnreachableError
from consumer.local_broker import files, processes, server_files
from consumer.local_broker.files import HOST, LocalBrokerError, Node
from consumer.rabbitmq.management import ManagementRefusedError, api

__all__ = ["LocalBrokerError", "Node", "RabbitMQMissing", "api", "down", "find_server", "status", "up"]

DEBIAN_SERVERS = Path("/usr/lib/rabbitmq/lib")
#: Each step is an `exec`, so that the shell's process becomes the server.
SPAWN = 'umask 077; cd "$0" && exec "$1"'
CONNECTION_START = b"\x00\x0a\x00\x0a"  # class 10, method 10
POLL_S = 0.1
#: Another process, such as another node, may take a port after it was chosen and before the server listens on it.
MOST_STARTS = 3


class RabbitMQMissing(LocalBrokerError):  # noqa: N818 - the name is clear without `Error`
    """This machine has no RabbitMQ server that can be started."""

    def __init__(self) -> None:
        super().__init__(
            "RabbitMQ is not installed. Choose one:\n"
            "  - install it: sudo apt-get install rabbitmq-server\n"
            "  - use one you have: set CONSUMER_AMQP_URL=amqp://user:password@host:5672\n"
            "  - start one in Docker: docker run --rm -p 5672:5672 -p 15672:15672 rabbitmq:4-management"
        )


def up(  # noqa: PLR0913 - keywords, each with a default
    data_dir: Path,
    *,
    config: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    known: Mapping[str, Any] | None = None,
    timeout_s: float = 120,
    report: Callable[[str], None] = lambda _line: None,
) -> Node:
    """Start the node of this folder, or find the one that already runs there; return when it is ready.

    Args:
        data_dir: the node's folder, created if needed. Durable queues and messages survive restarts.
        config: lines of rabbitmq.conf, which override `server_files.DEFAULTS`. A running node keeps its
            configuration.
        more: contents of other files, by name: `advanced.config`, `enabled_plugins`, `.erlang.cookie`.
        known: fields of the node that the caller has chosen, for example for a cluster.
        timeout_s: the time limit of a start, in seconds.
        report: called with a line of text at each step that takes long.

    Raises:
        RabbitMQMissing: there is no server to start.
        LocalBrokerError: the folder belongs to something else, or the node did not start.
    """
    data_dir = data_dir.resolve()
    deadline = time.monotonic() + timeout_s
    with files.locked(data_dir, report):
        node = _running(data_dir)
        # The node may be about to end; then a new one is started.
        if node:
            report(f"found a RabbitMQ node in {data_dir}")
            if _becomes_ready(node, deadline):
                return node
        server = find_server(os.environ)
        if processes.end_all(data_dir, grace_s=10):
            report(f"ended left-over processes of a previous node in {data_dir}")
        starts = 0
        while True:
            starts += 1
            node = files.choose(data_dir, known or {})
            server_files.write_all(node, server, config or {}, more or {})
            try:
                return _start(node, server, deadline, report)
            except LocalBrokerError:
                if starts == MOST_STARTS or not server_files.lacked_a_port(node):
                    raise
                report("another process has taken a port of the node: starting it on others")


def down(data_dir: Path, timeout_s: float = 30) -> bool:
    """Stop the folder's node and its epmd; return whether one was running.

    The server has `timeout_s` seconds to stop by itself, which takes about six, and is then killed. Confirmed
    messages are on disk either way. Pass 0, which kills it almost at once, if the data are not needed again.
    """
    data_dir = data_dir.resolve()
    if not data_dir.is_dir():
        return False
    with files.locked(data_dir, lambda _line: None):
        return processes.end_all(data_dir, timeout_s)


def status(data_dir: Path) -> Node | None:
    """Return the folder's node if it runs and answers AMQP, else None. Does not wait for a start."""
    node = _running(data_dir.resolve())
    return node if node and _speaks_amqp(node) else None


def find_server(environ: Mapping[str, str], debian_servers: Path = DEBIAN_SERVERS) -> Path:
    """Find the `rabbitmq-server` to start: in RABBITMQ_HOME, else Debian's newest, else the one in PATH.

    Raises:
        RabbitMQMissing: no server was found.
    """
    named = [Path(environ["RABBITMQ_HOME"])] if environ.get("RABBITMQ_HOME") else []
    packaged = sorted(debian_servers.glob("rabbitmq_server-*"), key=_version, reverse=True)
    candidates = [home / "sbin" / "rabbitmq-server" for home in (*named, *packaged)]
    if in_path := shutil.which("rabbitmq-server", path=environ.get("PATH")):
        candidates.append(Path(in_path).resolve())
    for candidate in candidates:
        # Without rabbitmq-env beside it, it is a package's wrapper, which changes to the user `rabbitmq`.
        if os.access(candidate, os.X_OK) and (candidate.parent / "rabbitmq-env").exists():
            return candidate
    raise RabbitMQMissing


def _version(home: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", home.name))


def _running(data_dir: Path) -> Node | None:
    """Return the node whose server runs in this folder, ready or not; None also if its state file is lost."""
    node = files.load(data_dir)
    return node if node and node.pid in processes.found(data_dir) else None


def _start(node: Node, server: Path, deadline: float, report: Callable[[str], None]) -> Node:
    report(f"starting a private RabbitMQ node in {node.data_dir} ...")
    began = time.monotonic()
    try:
        node = replace(node, pid=_spawn(node, server))
        files.save(node)
        ready = _becomes_ready(node, deadline)
    except BaseException:  # also after Ctrl-C: no command would own the process
        processes.end_all(node.data_dir, grace_s=0)
        raise
    if not ready:
        processes.end_all(node.data_dir, grace_s=0)  # its epmd still runs
        raise LocalBrokerError(f"RabbitMQ ended while it started. {server_files.log_excerpt(node)}")
    report(f"RabbitMQ is ready after {time.monotonic() - began:.1f} s")
    return node


def _spawn(node: Node, server: Path) -> int:
    """Start the server in its own session, so that a terminal's Ctrl-C does not reach it."""
    with suppress(FileNotFoundError):
        node.log.replace(node.log.with_suffix(".log.1"))
    # With this variable the script becomes the server, instead of waiting for it and passing on signals.
    env = {**server_files.environment(node), processes.MARK: str(node.data_dir), "RUNNING_UNDER_SYSTEMD": "true"}
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # subprocess.Popen would warn about a child that outlives it.
    return os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", SPAWN, str(node.data_dir), str(server)],
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(node.log), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE],  # Python ignores it, which the child would inherit
    )


def _becomes_ready(node: Node, deadline: float) -> bool:
    """Wait until AMQP and the console answer; return False if the server ends before."""
    while processes.is_alive(node.pid):
        if _speaks_amqp(node) and _serves_console(node):
            return True
        if time.monotonic() > deadline:
            raise LocalBrokerError(
                "RabbitMQ did not become ready in time. On a slow machine allow more time; "
                f"`{node.stop_command}` ends one that hangs. {server_files.log_excerpt(node)}"
            )
        time.sleep(POLL_S)
    return False


def _speaks_amqp(node: Node) -> bool:
    """Return whether the port answers the protocol header with Connection.Start; an open port is not enough."""
    try:
        with socket.create_connection((HOST, node.amqp_port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            # Frame: type, channel (2 bytes), length (4), then class and method.
            with connection.makefile("rb") as answer:
                return answer.read(11)[7:] == CONNECTION_START
    except OSError:
        return False


def _serves_console(node: Node) -> bool:
    try:
        return bool(api(node, "GET", "overview"))
    except BrokerUnreachableError:
        return False
    except ManagementRefusedError as error:
        if error.status != HTTPStatus.UNAUTHORIZED:
            return False
        raise LocalBrokerError(
            f"the database in {node.data_dir} has another password: remove the folder, or name another"
        ) from error
