"""Ends the private nodes of a test run that was killed.

A node has its own session, so it outlives a killed pytest, whose fixtures cannot end it. A second process, the
watcher, waits for the end of pytest and then ends every node below the run's folder. The watcher has its own
session and none of pytest's streams, so a signal to pytest's group does not end it.
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
    with suppress(ProcessLookupError):  # the process has ended already
        select.select([os.pidfd_open(pid)], [], [])
    while found := set(_nodes_below(folder)):
        for data_dir in found:
            processes.end_all(data_dir, grace_s=0)


def _nodes_below(folder: Path) -> Iterator[Path]:
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # the process has just ended, or belongs to another user
            for variable in environ.read_bytes().decode(errors="replace").split("\0"):
                name, _, value = variable.partition("=")
                if name == processes.MARK and Path(value).is_relative_to(folder):
                    yield Path(value)


if __name__ == "__main__":
    _end_with(int(sys.argv[1]), Path(sys.argv[2]))
