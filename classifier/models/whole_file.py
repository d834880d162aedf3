"""Reads and replaces the content of a file in one piece.

It reads only regular files: reading a FIFO or a device may block or never end. It follows no symbolic link out of
the file's folder. It checks the open file and not its name, and reads the content once, so that the checked
content is the content that is used.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

# Opening a FIFO does not wait for its writer, and opening a terminal does not make it the controlling one.
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class UnfitError(Exception):
    """The file must not be read. The message continues a sentence that begins with the file's name."""


class TooLargeError(UnfitError):
    """The file has more bytes than allowed."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file, for a caller that reads a part of it.

    Raises:
        OSError: it cannot be opened.
        UnfitError: it is not a regular file, or is a link out of its folder.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, descriptor)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read(path: Path, *, most: int) -> bytes:
    """Return the whole content, if it has at most `most` bytes.

    Raises:
        OSError: it cannot be opened or read.
        TooLargeError: it is larger.
        UnfitError: as `opened`; or the file changes while it is read.
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
    """Replace the file in one step: a reader sees the whole old or the whole new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, because a rename is atomic only within a file system.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private, but the service may run as another user.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check(path: Path, descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise UnfitError("is not a regular file")
    found = Path(f"/proc/self/fd/{descriptor}").readlink()
    # Links within the folder are allowed: Kubernetes builds volumes from them.
    if not found.is_relative_to(os.path.realpath(path.parent)):
        raise UnfitError(f"leads out of its folder, to {found}: put the file itself there")
