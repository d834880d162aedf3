"""Removes a folder and everything in it in bounded steps, however many files and levels it has.

A job can leave a million files, or folders in folders thousands of levels deep. So the removal is an iterator: the
event loop takes a few steps, and a thread takes the rest. It needs two descriptors and short paths at
any depth: subfolders are moved up to the top first, so nothing here recurses. Folders that a job has closed are
opened.
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
#: To free this many bytes takes the kernel about as long as to remove one more file.
_BYTES_PER_STEP = 1024**2


async def in_thread(call: Callable[[], T]) -> T:
    """Call it in a thread and wait for its end, even when cancelled: the folder is in use until then."""
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
    """Remove a folder and all in it, at once. Never raises, as `removal`."""
    for _ in removal(folder):
        pass


def removal(folder: Path) -> Iterator[int]:
    """Remove a folder and all in it; before each step yield its cost, 1 for a small file or a folder.

    Never raises: a file that cannot be removed must not change how its job ended. It is logged, and all others go.
    """
    try:
        if stat.S_ISDIR(folder.lstat().st_mode):
            with _opened(folder) as top:
                yield from _Emptying(top).steps()
            folder.rmdir()
        else:  # put there by a job in place of its folder
            yield 1
            folder.unlink()
    except FileNotFoundError:
        pass  # a job may clean up after itself
    except OSError as error:
        log.error("could not remove %s: %s", folder, error, extra={"event": "job_dir_not_emptied"})


@dataclass
class _Emptying:
    """Empties the folder behind the descriptor `top`.

    Mutable state: `fault`, the first thing that could not be removed; `is_changed`, whether anything was since the
    last pass.
    """

    top: int
    fault: OSError | None = None
    is_changed: bool = False

    def __post_init__(self) -> None:
        prefix = secrets.token_hex(8)  # no name that a job may have chosen
        self._names = (f"{prefix}-{number}" for number in count())

    def steps(self) -> Iterator[int]:
        """Remove all in it.

        Raises:
            OSError: the first fault, after everything else was removed.
        """
        yield from self._passes(self.top)
        if self.fault:
            raise self.fault

    def _passes(self, folder: int) -> Iterator[int]:
        """Go through it until nothing changes: a file system may leave out names while others are removed."""
        self.is_changed = True
        while self.is_changed:
            self.is_changed = False
            with os.scandir(folder) as entries:  # lazily: a million names at once would be 100 MiB
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
        except PermissionError:  # a folder that may not be written to may not be moved either
            os.chmod(name, stat.S_IRWXU, dir_fd=folder)
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=self.top)


def _cost(entry: os.DirEntry[str]) -> int:
    with suppress(OSError):
        return 1 + entry.stat(follow_symlinks=False).st_size // _BYTES_PER_STEP
    return 1


@contextmanager
def _opened(name: Path | str, parent: int | None = None) -> Iterator[int]:
    """Open a folder, even one whose permissions were taken away, and give it all of them."""
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
