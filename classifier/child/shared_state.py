"""What an import leaves to all workers beside descriptors: memory that they all write to, and running processes.

A mapping with MAP_SHARED stays one memory across a fork, even when its file is closed, so that a job finds what
another one wrote. A child process answers whoever asks, and the fork server ends it with the first worker that it
reaps. Both are only reported. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from classifier.child import confinement
from classifier.child.descriptors import Opened

#: Of /proc/self/maps: from, to, rights, offset, device, inode, path. Only what is shared and can be written to.
_SHARED: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) .w.s [0-9a-f]+ \S+ \d+ *(.*)")
#: Locks between processes, which are there to be shared: multiprocessing makes them, and tqdm with it.
_LOCK: Final = "/dev/shm/sem."  # noqa: S108 - as the C library names them
_NAMELESS: Final = "/dev/zero (deleted)"


def found(opened: Sequence[Opened]) -> list[str]:
    """Describe what workers share, but for what is `opened` already, by its path."""
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
