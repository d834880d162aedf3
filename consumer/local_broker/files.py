"""Keeps a private node's folder, with the node's settings: its password and ports.

Only /proc shows whether a node runs (processes.py). A new file is complete before it replaces the old one in one
step, and only its owner can read it. A folder with other files is refused and stays unchanged.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TextIO
from urllib.parse import quote

from consumer.config.amqp_url import vhost_of
from consumer.errors import ConsumerError
from consumer.rabbitmq.management import Console

HOST = "127.0.0.1"
USER = "classifier"
#: The name of every private node. Two nodes do not conflict, because each registers with its own epmd. RabbitMQ
#: stores its database under this name, so a folder that was moved keeps its messages.
NODENAME = "classifier@localhost"
#: The default folder of `consumer local-broker`.
DEFAULT_DIR = Path(".local-broker")
#: Below Linux's default range for outgoing connections (from 32768), so that a stopped node's ports stay free.
PORTS = range(20_000, 30_000)


class LocalBrokerError(ConsumerError):
    """The private node cannot be started, stopped or queried; the message has the remedy."""

    exit_code: ClassVar[int] = os.EX_UNAVAILABLE


@dataclass(frozen=True)
class Node:
    """A private node. `pid` is the server's process, 0 before it has started."""

    data_dir: Path
    password: str = field(repr=False)
    amqp_port: int
    management_port: int
    dist_port: int
    epmd_port: int
    pid: int = 0
    user: str = USER
    nodename: str = NODENAME

    @property
    def amqp_url(self) -> str:
        """URL of the default vhost, with the login."""
        # It has no path, because some clients read a lone "/" as the vhost with the empty name.
        return f"amqp://{self.user}:{self.password}@{HOST}:{self.amqp_port}"

    def vhost_url(self, vhost: str) -> str:
        return f"{self.amqp_url}/{quote(vhost, safe='')}"

    @property
    def console(self) -> Console:
        """The management API, for the default vhost."""
        return Console(self.management_url, self.user, self.password, vhost=vhost_of(self.amqp_url), tls=None)

    @property
    def management_url(self) -> str:
        """Address of the management console; it asks for the login."""
        return f"http://{HOST}:{self.management_port}/"

    @property
    def log(self) -> Path:
        return self.data_dir / "node.log"

    @property
    def stop_command(self) -> str:
        """The shell command that stops this node; it names the folder unless it is the default one."""
        if self.data_dir == DEFAULT_DIR.resolve():
            return "consumer local-broker down"
        return f"consumer local-broker down --data {shlex.quote(str(self.data_dir))}"

    def describe(self) -> str:
        """Describe how to use and stop the node. The text contains the password: for a terminal, not for a log."""
        return "\n".join(
            (
                f"AMQP URL:    {self.amqp_url}",
                f"console:     {self.management_url} (login {self.user}, password {self.password})",
                f"data folder: {self.data_dir} (log: {self.log.name}; control: {self.data_dir}/rabbitmqctl)",
                f"stop it:     {self.stop_command}",
            )
        )


@contextmanager
def locked(data_dir: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Allow one start or stop at a time in a folder. The kernel releases the lock when its holder dies.

    Raises:
        LocalBrokerError: the folder belongs to something else.
    """
    with _claimed(data_dir) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another start or stop in {data_dir} ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _claimed(data_dir: Path) -> TextIO:
    """Open the lock file, which also marks the folder as a node's; create it if the folder is new or empty."""
    lock = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The folder is listed once: between two listings, another start could make the lock and then its files.
        if (found := set(data_dir.iterdir())) and lock not in found:
            raise LocalBrokerError(f"{data_dir} has files that no node has written: name an empty or new folder")
        data_dir.chmod(0o700)
        return lock.open("w")
    except OSError as error:
        raise LocalBrokerError(f"cannot keep a node in {data_dir} ({error}): name another folder") from error


def load(data_dir: Path) -> Node | None:
    """Read the settings of this folder; None if they cannot be read."""
    try:
        return Node(data_dir=data_dir, **json.loads((data_dir / "node.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def save(node: Node) -> None:
    state = asdict(node)
    del state["data_dir"]  # not stored: the folder may be moved
    write(node.data_dir / "node.json", json.dumps(state, indent=1) + "\n")


def choose(data_dir: Path, known: Mapping[str, Any]) -> Node:
    """Choose password and ports for a start: the last ones if they are free, so that the URL stays valid.

    `known`: fields of the node that the caller has chosen. Of the ports, it may contain only `epmd_port`: an epmd
    already runs there, so the port need not be free.
    """
    last = load(data_dir)
    if last:
        own = [last.amqp_port, last.management_port, last.dist_port]
        if _free(own if "epmd_port" in known else [*own, last.epmd_port]):
            return replace(last, pid=0, **known)
    password = last.password if last else secrets.token_hex(16)
    amqp, management, dist, epmd = free_ports(4)
    return replace(Node(data_dir, password, amqp, management, dist, epmd), **known)


def free_ports(count: int) -> list[int]:
    """Choose ports on which no process listens now."""
    while not _free(ports := secrets.SystemRandom().sample(PORTS, count)):
        pass
    return ports


def _free(ports: list[int]) -> bool:
    with ExitStack() as bound:
        for port in ports:
            listener = bound.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                return False
    return True


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step: after a kill, the old or the new one exists. Other users can never read it."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:  # noqa: PTH123 - with a mode
        file.write(text)
    draft.replace(path)
