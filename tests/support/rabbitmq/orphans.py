"""Ends the private nodes of a test run that was killed, as nothing else does: a node has a session of its own.

SIGKILL leaves pytest no time for the end of its fixtures. So a process beside it waits for its end, by whatever
cause, and then ends every node below the run's folder. It has none of pytest's streams, and a session of its own:
it outlives a signal to pytest's group.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from consumer.local_broker import processes


@contextmanager
def nodes_end_with_us(folder: Path) -> Iterator[None]:
    """If this process is killed during the block, end the nodes whose data is below the folder."""
    argv = [sys.executable, __file__, str(os.getpid()), str(folder.resolve())]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _end_with(pid: int, folder: Path) -> None:
    with suppress(ProcessLookupError):  # it has ended already
        select.select([os.pidfd_open(pid)], [], [])
    while found := set(_nodes_below(folder)):
        for data_dir in found:
            processes.end_all(data_dir, grace_s=0)


def _nodes_below(folder: Path) -> Iterator[Path]:
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has just ended, or belongs to another user
            for variable in environ.read_bytes().decode(errors="replace").split("\0"):
                name, _, value = variable.partition("=")
                if name == processes.MARK and Path(value).is_relative_to(folder):
                    yield Path(value)


if __name__ == "__main__":
    _end_with(int(sys.argv[1]), Path(sys.argv[2]))
