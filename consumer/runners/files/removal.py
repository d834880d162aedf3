"""Removes a folder and everything in it in bounded steps, however many files and levels it has.

A job can leave a million files, or folders nested thousands of levels deep. So the removal is an iterator: the
event loop takes a few steps, and a thread takes the rest. Subfolders are first moved up to the top. So the removal
does not recurse, and needs only two descriptors and short paths at any depth. It restores permissions that a job
has taken from a folder.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Freeing this many bytes takes the kernel about as long as removing one more file.
_BYTES_PER_STEP = 1024**2


async def in_thread(call: Callable[[], T]) -> T:
    """Run `call` in a thread and wait for its end, even if cancelled, because the folder is in use until then."""
    calling = asyncio.get_running_loop().run_in_executor(None, call)
    cancelled = None
    while not calling.done():
        try:
            await asyncio.wait({calling})
        except asyncio.CancelledError as error:
            cancelled = error
    result = calling.result()
    if cancelled:
        raise cancelled
    return result


def remove_tree(folder: Path) -> None:
    """Remove a folder and everything in it at once. Like `removal`, it never raises."""
    for _ in removal(folder):
        pass


def removal(folder: Path) -> Iterator[int]:
    """Remove a folder and everything in it; before each step yield its cost, 1 for a small file or a folder.

    Never raises, because a file that cannot be removed must not change the job's outcome. The fault is logged, and
    all other files are removed.
    """
    try:
        if stat.S_ISDIR(folder.lstat().st_mode):
            with _opened(folder) as top:
                yield from _Emptying(top).steps()
            folder.rmdir()
        else:  # a file or link that a job has put in place of its folder
            yield 1
            folder.unlink()
    except FileNotFoundError:
        pass  # a job may clean up after itself
    except OSError as error:
        log.error("could not remove %s: %s", folder, error, extra={"event": "job_dir_not_emptied"})


@dataclass
class _Emptying:
    """Empties the folder behind the descriptor `top`.

    Mutable state: `fault`, the first error; `is_changed`, whether the current pass has removed anything.
    """

    top: int
    fault: OSError | None = None
    is_changed: bool = False

    def __post_init__(self) -> None:
        prefix = secrets.token_hex(8)  # random, so that no job can have chosen this name
        self._names = (f"{prefix}-{number}" for number in count())

    def steps(self) -> Iterator[int]:
        """Empty the folder.

        Raises:
            OSError: the first error, raised after everything else was removed.
        """
        yield from self._passes(self.top)
        if self.fault:
            raise self.fault

    def _passes(self, folder: int) -> Iterator[int]:
        """Repeat until a pass removes nothing: a file system may skip names while others are removed."""
        self.is_changed = True
        while self.is_changed:
            self.is_changed = False
            with os.scandir(folder) as entries:  # lazily: a list of a million names takes 100 MiB
                for entry in entries:
                    yield _cost(entry)
                    try:
                        yield from self._remove(entry, folder)
                    except FileNotFoundError:
                        pass
                    except OSError as error:
                        self.fault = self.fault or error

    def _remove(self, entry: os.DirEntry[str], folder: int) -> Iterator[int]:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=folder)
        elif folder != self.top:
            self._move_up(entry.name, folder)
        else:
            with _opened(entry.name, folder) as below:
                yield from self._passes(below)
            os.rmdir(entry.name, dir_fd=folder)
        self.is_changed = True

    def _move_up(self, name: str, folder: int) -> None:
        new = next(self._names)
        try:
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=self.top)
        except PermissionError:  # a folder without write permission cannot be moved
            os.chmod(name, stat.S_IRWXU, dir_fd=folder)
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=self.top)


def _cost(entry: os.DirEntry[str]) -> int:
    with suppress(OSError):
        return 1 + entry.stat(follow_symlinks=False).st_size // _BYTES_PER_STEP
    return 1


@contextmanager
def _opened(name: Path | str, parent: int | None = None) -> Iterator[int]:
    """Open a folder, and restore all permissions of its owner."""
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=parent)
    except PermissionError:
        os.chmod(name, stat.S_IRWXU, dir_fd=parent)
        descriptor = os.open(name, _FLAGS, dir_fd=parent)
    try:
        if ~os.fstat(descriptor).st_mode & stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)
        yield descriptor
    finally:
        os.close(descriptor)
