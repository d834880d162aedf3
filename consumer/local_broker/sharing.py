"""Lets several commands use the node of one folder, and stops it with the last of them.

Each command holds a shared lock, which the kernel releases when the command dies. A node that was started by
`consumer local-broker up` goes on: only a node that one of the commands started has the mark that it ends with
them.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.local_broker import node as local_broker
from consumer.local_broker.node import Node

_USERS = "users.lock"
#: A file in the node's folder.
MARK = "ends-with-its-last-user"


@contextmanager
def shared(data_dir: Path, report: Callable[[str], None]) -> Iterator[Node]:
    """Start the folder's node, or find the one that runs; afterwards stop it if no other command uses it.

    Raises:
        RabbitMQMissing, LocalBrokerError: as `node.up`.
    """
    while True:
        was_up = local_broker.status(data_dir) is not None
        node = local_broker.up(data_dir, report=report)
        users = (data_dir / _USERS).open("w")
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while the last user stops the node
        if local_broker.status(data_dir):
            break
        users.close()
    with users:
        if not was_up:
            (data_dir / MARK).touch()
        try:
            yield node
        finally:
            if (data_dir / MARK).exists() and _is_last(users.fileno()):
                report("stopping the private RabbitMQ node")
                local_broker.down(data_dir)
                keep(data_dir)


def keep(data_dir: Path) -> None:
    """Let the node go on after its last user."""
    (data_dir / MARK).unlink(missing_ok=True)


def _is_last(users: int) -> bool:
    """Return whether no other command uses the node. Of several that end at once, one is the last."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
