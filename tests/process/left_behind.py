"""Processes that a test wants to see gone: by pidfd, so that no other process can be taken for one of them.

And what this process holds itself, to be compared before and after.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

from support.waiting import PATIENCE_S


class Watched:
    """The processes that were told of. Mutable state: a pidfd for each."""

    def __init__(self) -> None:
        self._pidfds: list[int] = []

    def __len__(self) -> int:
        return len(self._pidfds)

    def add(self, pid: int) -> None:
        """Watch a process that is alive, or dead and not reaped."""
        self._pidfds.append(os.pidfd_open(pid))

    def ended(self, timeout_s: float = PATIENCE_S) -> list[bool]:
        """Tell of each whether it has ended; a kill may take the kernel a moment."""
        return [self._has_ended(pidfd, timeout_s) for pidfd in self._pidfds]

    def close(self) -> None:
        """Leave none alive, whatever the test has found."""
        for pidfd in self._pidfds:
            if not self._has_ended(pidfd, 0):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        self._pidfds.clear()

    @staticmethod
    def _has_ended(pidfd: int, timeout_s: float) -> bool:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))


def children() -> set[int]:
    """List our own children, reaped ones not."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def descriptors() -> int:
    """Count our own open descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))
