"""A classifier that looks for a secret wherever one process may look at another of the same user.

The job says backwards what to look for, so that the job itself is no find. Runs as a program and as a function
in a warm worker; standard library only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


def classify(job: dict[str, Any]) -> dict[str, Any]:
    """Say where the secret stands, what of our ancestors can be read, and what our descriptors lead to."""
    secret = job["drawkcab"][::-1].encode()
    return {
        "found": sorted(str(path) for path in visible() if secret in read(path)),
        "open_to_us": sorted(str(path) for pid in ancestors() for path in hidden(pid) if is_open(path)),
        "ancestors": list(ancestors()),
        "descriptors": sorted(descriptors()),
    }


def visible() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        yield process / "environ"
        yield process / "cmdline"


def hidden(pid: int) -> Iterator[Path]:
    return (Path(f"/proc/{pid}/{name}") for name in ("environ", "mem", "maps", "auxv", "fd"))


def ancestors() -> Iterator[int]:
    """Our parent, its parent, up to the consumer."""
    pid = os.getppid()
    while pid > 1:
        yield pid
        if "consumer" in read(Path(f"/proc/{pid}/comm")).decode():
            return
        pid = int(read(Path(f"/proc/{pid}/stat")).rpartition(b")")[2].split()[1])


def descriptors() -> Iterator[str]:
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        with suppress(FileNotFoundError):  # the one that this list was read through
            yield str(descriptor.readlink())


def read(path: Path) -> bytes:
    with suppress(OSError):
        return path.read_bytes()
    return b""


def is_open(path: Path) -> bool:
    """Whether it can be opened and, as Linux checks that for some only then, read."""
    try:
        if path.name == "fd":
            return bool([entry.readlink() for entry in path.iterdir()])
        with path.open("rb") as file:
            return path.name == "mem" or bool(file.read(1))
    except OSError:
        return False


if __name__ == "__main__":
    print("OUTPUT:", json.dumps(classify(json.loads(Path(sys.argv[-1]).read_text()))))  # noqa: T201 - the contract
