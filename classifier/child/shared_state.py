"""Finds what else an import leaves to all workers: memory that they all write to, and running processes.

A mapping with MAP_SHARED stays one memory across a fork, even after its file is closed, so a job reads data of
another job. A child process answers every worker, and the fork server ends it with the first worker that it reaps.
Both are only reported. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from classifier.child import confinement
from classifier.child.descriptors import Opened

#: A line of /proc/self/maps: from, to, rights, offset, device, inode, path. Only shared and writable mappings.
_SHARED: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) .w.s [0-9a-f]+ \S+ \d+ *(.*)")
#: Locks between processes, which are meant to be shared: multiprocessing makes them, and so tqdm does.
_LOCK: Final = "/dev/shm/sem."  # noqa: S108 - as the C library names them
_NAMELESS: Final = "/dev/zero (deleted)"


def found(opened: Sequence[Opened]) -> list[str]:
    """Describe what workers share, except files in `opened`, which are reported already, by their paths."""
    return [*_memory(opened), *map(_process, sorted(confinement.children()))]


def _memory(opened: Sequence[Opened]) -> list[str]:
    known = {one.what for one in opened}
    text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="backslashreplace")
    sizes: dict[str, int] = {}
    for first, end, path in _SHARED.findall(text):
        if not path.startswith(_LOCK) and not any(path in what for what in known if path):
            sizes[path] = sizes.get(path, 0) + int(end, 16) - int(first, 16)
    return [f"memory of {size:,} bytes{_behind(path)} that is mapped for writing" for path, size in sizes.items()]


def _behind(path: str) -> str:
    return "" if path in ("", _NAMELESS) else f" of {path}"


def _process(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:  # it has ended
        name = "that has ended"
    return f"process {pid} ({name})"
