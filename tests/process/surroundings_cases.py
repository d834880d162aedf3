"""Classifier functions that look around: what test_child_world.py runs both runners on."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classifier.contract import JobError

Job = dict[str, Any]


def dispatch(job: Job) -> object:
    """Do what the job's `case` names."""
    chosen: Callable[[Job], object] = globals()[job["case"]]
    return chosen(job)


def echo(job: Job) -> Job:
    return job


def status(_: Job) -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limits(_: Job) -> dict[str, tuple[int, int]]:
    return {
        name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
        for name in ("core", "data", "cpu", "fsize")
    } | {"file": resource.getrlimit(resource.RLIMIT_FSIZE)}


def descriptors(_: Job) -> dict[str, str]:
    """Name what is open, pipes by their kind only."""
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names
    found = {link.name: str(link.readlink()) for link in links if link.exists()}
    return {name: "pipe" if target.startswith("pipe:") else target for name, target in found.items()}


def descriptors_of_a_native_child(_: Job) -> list[str]:
    """system(3) closes nothing, as subprocess does."""
    ctypes.CDLL(None).system(b"ls /proc/self/fd > listed")
    return Path("listed").read_text().split()


def modes(_: Job) -> dict[str, str]:
    Path("made").touch()
    paths = {"folder": ".", "job": "job.json", "made": "made"}
    return {name: f"{Path(path).stat().st_mode & 0o777:o}" for name, path in paths.items()}


def uses_and_fails(job: Job) -> None:
    used = bytearray(b"x") * job["bytes"]
    until = time.process_time() + job["cpu_s"]
    while time.process_time() < until:
        pass
    raise JobError(f"used {len(used)} bytes")


def segfaults(_: Job) -> object:
    return ctypes.string_at(0)


def has_children_that_grow(job: Job) -> None:
    for _number in range(job["number"]):
        if os.fork() == 0:
            used = bytearray(b"x") * job["bytes"]
            time.sleep(20)
            os._exit(len(used) and 99)
    time.sleep(20)


def shares_with_children(job: Job) -> int:
    """Longer than the service takes to look, twice."""
    shared = bytearray(b"x") * job["bytes"]
    pids = [os.fork() for _number in range(job["number"])]
    if 0 in pids:
        time.sleep(0.6)
        os._exit(0)
    for pid in pids:
        os.waitpid(pid, 0)
    return int(shared.count(b"x") == len(shared))


# From inside a sandbox


def which_can_be_read(job: Job) -> dict[str, bool]:
    return {path: os.access(path, os.R_OK) for path in job["paths"]}


def which_can_be_written(job: Job) -> dict[str, bool]:
    return {path: _can_be_made(Path(path)) for path in job["paths"]}


def _can_be_made(path: Path) -> bool:
    try:
        path.touch()
    except OSError:
        return False
    return True


def lists_beside_its_folder(_: Job) -> list[str]:
    """Longer than the other slot's job takes to begin."""
    time.sleep(0.5)
    return [path.name for path in Path.cwd().parent.iterdir()]


def connects(job: Job) -> bool:
    try:
        socket.create_connection(("127.0.0.1", job["port"]), timeout=1.0).close()
    except OSError:
        return False
    return True


def processes(_: Job) -> int:
    return sum(path.name.isdecimal() for path in Path("/proc").iterdir())
