"""Files whose content is read in one piece and replaced in one piece.

What is opened is a regular file in the folder where it was looked for: never a FIFO or a device, which may hang
its reader or feed it without end, and never what a symbolic link outside of that folder leads to. Checks are of
the open file and not of its name, and the content is read once: nobody can exchange what was checked for what is
used.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

# Opening a FIFO does not wait for its writer, and opening a terminal does not make it ours.
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class UnfitError(Exception):
    """What has this name is not a file to be read. The message goes on after the name."""


class TooLargeError(UnfitError):
    """The file has more bytes than may be read."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The open file, for who reads a part of it.

    Raises:
        OSError: it cannot be opened.
        UnfitError: it is not a regular file, or not in its folder.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read(path: Path, *, most: int) -> bytes:
    """The whole content, of `most` bytes at most.

    Raises:
        OSError: it cannot be opened or read.
        TooLargeError: it is larger.
        UnfitError: as `opened`; or it changes while it is read.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise TooLargeError(f"has {size:,} bytes, and may have {most:,}")
        content = file.read(size + 1)
    if len(content) != size:
        raise UnfitError("changed while it was read: try again when it is complete")
    return content


def write(path: Path, content: bytes) -> None:
    """Replace the file in one step: a reader sees the old content or the new, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is one step only within a file system.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes it private, and a service runs as another user than its trainer.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UnfitError("is not a regular file")
    found = Path(f"/proc/self/fd/{descriptor}").readlink()
    # Links within the folder are in order: Kubernetes makes volumes of them.
    if not found.is_relative_to(os.path.realpath(path.parent)):
        raise UnfitError(f"leads out of its folder, to {found}: put the file itself there")
