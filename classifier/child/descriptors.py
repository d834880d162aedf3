"""Finds descriptors that an import left open, which all workers would share, and reopens them where possible.

After a fork, all workers share the offset of an open file and the stream of a socket, so one worker would read
data that another expects. Each worker reopens files and folders that are open for reading only, under the same
numbers and at the same offsets. All other shared descriptors are only reported. Standard library only; changes no
offset that user code relies on.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

#: Devices that workers may share: one read does not affect another.
_STATELESS: Final = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
#: The first bytes of a database (sqlite.org/fileformat.html). SQLite forbids a connection on both sides of a fork.
_SQLITE: Final = b"SQLite format 3\0"
#: O_PATH from asm-generic/fcntl.h, for a descriptor that only names a file. Python before 3.12 does not document
#: it.
_O_PATH: Final = getattr(os, "O_PATH", 0o10000000)
_LONGEST_NAME: Final = 300


class Opened(NamedTuple):
    """A descriptor that workers would share.

    `what`: its description, with its path or peer; `is_reopened`: whether a worker can reopen it; `flags` and
    `offset`: how to reopen it; `twins`: other descriptors that share its offset.
    """

    number: int
    what: str
    is_reopened: bool
    flags: int = 0
    offset: int = 0
    twins: tuple[int, ...] = ()


def present() -> Mapping[int, str]:
    """Return the target of each open descriptor of this process, by number."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are enough
        with suppress(OSError):  # the descriptor that reads this folder is closed by now
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115 - as above
    return found


def opened_since(before: Mapping[int, str]) -> list[Opened]:
    """List the descriptors opened since `before`, a result of `present`, that workers must not share.

    Workers may share a descriptor if no job depends on its offset or its data: a file open for appending only (a
    log), a descriptor that only names a file (O_PATH), or a device such as /dev/urandom.
    """
    new = {number: link for number, link in present().items() if before.get(number) != link}
    found = list(_shared(new))
    return _without_twins([one for one in found if one.is_reopened]) + [
        one for one in found if not one.is_reopened
    ]


def reopen(files: Sequence[Opened]) -> None:
    """Reopen each file under the same numbers and at the same offset, so that this process has its own offset."""
    for file in files:
        anew = os.open(f"/proc/self/fd/{file.number}", file.flags | os.O_CLOEXEC)
        os.lseek(anew, file.offset, os.SEEK_SET)
        for number in (file.number, *file.twins):
            os.dup2(anew, number, inheritable=os.get_inheritable(number))
        os.close(anew)


def _shared(new: Mapping[int, str]) -> Iterator[Opened]:
    for number, link in sorted(new.items()):
        with suppress(OSError):  # a thread has closed it meanwhile
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            if (one := _if_shared(number, link, flags)) and not flags & _O_PATH:
                yield one


def _if_shared(number: int, link: str, flags: int) -> Opened | None:
    mode, name = os.fstat(number).st_mode, link[:_LONGEST_NAME]
    is_read_only = flags & os.O_ACCMODE == os.O_RDONLY
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        if is_read_only:
            return _read_only(number, name, flags)
        if flags & os.O_ACCMODE == os.O_WRONLY and flags & os.O_APPEND:
            return None  # O_APPEND: the kernel puts each write at the end of the file
        return Opened(number, f"{_file(number, name)}, open for writing", is_reopened=False)
    if stat.S_ISCHR(mode) and link in _STATELESS:
        return None
    if stat.S_ISSOCK(mode):
        return Opened(number, _socket(number), is_reopened=False)
    kind = "pipe" if stat.S_ISFIFO(mode) else "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else ""
    return Opened(number, f"{kind} {name}".strip(), is_reopened=False)


def _read_only(number: int, name: str, flags: int) -> Opened:
    what = _file(number, name)
    if what.startswith("database"):
        return Opened(number, what, is_reopened=False)
    flags &= ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    try:
        os.close(os.open(f"/proc/self/fd/{number}", flags | os.O_CLOEXEC))
        offset = os.lseek(number, 0, os.SEEK_CUR)
    except OSError as refused:  # for example, it was opened by another user
        return Opened(number, f"{what}, which cannot be opened again ({refused.strerror})", is_reopened=False)
    return Opened(number, what, is_reopened=True, flags=flags, offset=offset)


def _file(number: int, name: str) -> str:
    if stat.S_ISDIR(os.fstat(number).st_mode):
        return f"folder {name}"
    with suppress(OSError):  # not open for reading
        if os.pread(number, len(_SQLITE), 0) == _SQLITE:
            return f"database {name}"
    return f"database {name}" if name.endswith((".sqlite", ".sqlite3", ".db")) else f"file {name}"


def _socket(number: int) -> str:
    """Describe a socket by its peer, or by the address on which it listens."""
    with socket.socket(fileno=os.dup(number)) as known:
        with suppress(OSError):
            return f"socket connected to {_address(known.getpeername())}"
        with suppress(OSError):
            return f"socket at {_address(known.getsockname())}"
    return "socket"


def _address(address: object) -> str:
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case bytes(name) | str(name) if name:
            return os.fsdecode(name).replace("\0", "@")[:_LONGEST_NAME]
        case _:
            return "a socket without a name"


def _without_twins(files: Sequence[Opened]) -> list[Opened]:
    """Merge descriptors that share an offset, as after dup(2), so that `reopen` gives them one new offset."""
    joined: list[Opened] = []
    for file in files:
        for place, first in enumerate(joined):
            if _share_offset(first, file):
                joined[place] = first._replace(twins=(*first.twins, file.number))
                break
        else:
            joined.append(file)
    return joined


def _share_offset(one: Opened, other: Opened) -> bool:
    if not os.path.sameopenfile(one.number, other.number) or one.offset != other.offset or "folder" in one.what:
        return False
    os.lseek(one.number, one.offset + 1, os.SEEK_SET)
    moved = os.lseek(other.number, 0, os.SEEK_CUR) != other.offset
    os.lseek(one.number, one.offset, os.SEEK_SET)
    return moved
