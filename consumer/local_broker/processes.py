"""Finds and ends the processes of a private node, by the data folder in their environment.

Only /proc shows whether a node runs, never a file. So this module finds a left-over process, however the node
died, and never touches another program that now has the same process number.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from consumer.local_broker.files import LocalBrokerError

#: The variable that holds the data folder in the environment of the node's processes, and of no others.
MARK = "CONSUMER_LOCAL_BROKER"
POLL_S = 0.05
KILL_S = 10


def found(data_dir: Path) -> dict[int, str]:
    """Return the living processes of this folder's node: process number -> program name."""
    mark = f"{MARK}={data_dir}".encode()
    owned = {}
    for process in Path("/proc").glob("[0-9]*"):
        # An unreadable process has just ended or belongs to another user. A zombie's environment is empty.
        with suppress(OSError):
            if mark in _environ(process).split(b"\0"):
                owned[int(process.name)] = (process / "comm").read_text().strip()
    return owned


def _environ(process: Path) -> bytes:
    """Read a process's environment. During an exec it is empty for some microseconds: then read it again."""
    for _ in range(3):
        environ = (process / "environ").read_bytes()
        if environ or not (process / "exe").exists():  # kernel threads and zombies have no program
            break
        time.sleep(0.001)
    return environ


def is_alive(pid: int) -> bool:
    """Return whether an identified process still runs; reap it if it was a child of this process."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def end_all(data_dir: Path, grace_s: float) -> bool:
    """End every process of this folder's node; the server first, because it needs epmd until it ends."""
    owned = found(data_dir)
    servers = [pid for pid, program in owned.items() if program == "beam.smp"]
    _send(signal.SIGTERM, servers)
    _wait_until(lambda: not any(is_alive(pid) for pid in servers), grace_s)
    deadline = time.monotonic() + KILL_S
    while left := found(data_dir):
        if time.monotonic() > deadline:
            raise LocalBrokerError(f"processes {sorted(left)} of the node in {data_dir} cannot be killed")
        _send(signal.SIGKILL, left)
        _wait_until(lambda: not found(data_dir), 1)
    for pid in owned:
        is_alive(pid)  # is_alive reaps a dead child
    return bool(owned)


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _send(number: signal.Signals, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
