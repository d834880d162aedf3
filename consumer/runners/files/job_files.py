"""The private folder for the files of all jobs, and its removal, also after a crash.

Each consumer process makes one folder (0700) below `job_dir` and holds an flock on it until it ends. Each slot has
a folder inside (job_folder.py). The kernel releases the lock of a killed process. So the next start recognises a
left-over folder by its missing lock, and removes it. Folders of other users are never touched.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

from consumer.errors import ConfigurationError
from consumer.runners.files.job_folder import FULL, JOB_FILE
from consumer.runners.files.removal import in_thread, remove_tree

FOLDER_PREFIX = "rabbitmq-classifier-"


class JobFiles:
    """Owns this process's folder from `open` to `close`, or to the end of a `with` block."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def open(cls, job_dir: Path) -> Self:
        """Remove folders that killed consumers have left, then make this process's folder.

        A lock on `job_dir` covers both steps, so that no other consumer sees the new folder before it is locked.

        Raises:
            ConfigurationError: `job_dir` cannot be created or written to, or is full.
        """
        try:
            job_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(job_dir):
                _sweep(job_dir)
                folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=job_dir)).absolute()
                files = cls(folder, _lock(folder))
        except OSError as error:
            raise ConfigurationError(_complaint(job_dir, error)) from None
        try:
            trial = files.folder / JOB_FILE
            trial.write_bytes(b"{}")  # a full disk may still accept folders
            trial.unlink()
        except OSError as error:
            files.close()
            raise ConfigurationError(_complaint(job_dir, error)) from None
        return files

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @classmethod
    @asynccontextmanager
    async def opened_in_thread(cls, job_dir: Path) -> AsyncIterator[Self]:
        """Open and close in a thread, because a predecessor may have left many files to remove.

        Raises:
            ConfigurationError: as `open`.
        """
        files = await in_thread(partial(cls.open, job_dir))
        try:
            yield files
        finally:
            await in_thread(files.close)

    def home(self) -> Path:
        """Make a folder for files that a classifier writes while it is loaded, removed with this process's folder.

        Raises:
            ConfigurationError: there is no space for it.
        """
        try:
            return Path(tempfile.mkdtemp(prefix="home-", dir=self.folder))
        except OSError as error:
            raise ConfigurationError(_complaint(self.folder.parent, error)) from None

    def close(self) -> None:
        """Remove this process's folder and release the lock."""
        remove_tree(self.folder)
        os.close(self._lock)


def _complaint(job_dir: Path, error: OSError) -> str:
    """Explain why no job file can be written, and what to do."""
    if error.errno in FULL:
        reason, remedy = (
            f"is full ({error.strerror})",
            "free some space, or name another folder (CONSUMER_JOB_DIR)",
        )
    else:
        in_the_way = next(filter(_is_no_folder, (job_dir, *job_dir.parents)), None)
        reason = f"cannot be used: {f'{in_the_way} is not a folder' if in_the_way else error.strerror}"
        remedy = "name a folder that this user may write to (CONSUMER_JOB_DIR)"
    return f"job_dir {str(job_dir)!r} {reason}; {remedy}"


def _is_no_folder(path: Path) -> bool:
    return os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises PermissionError


def _sweep(job_dir: Path) -> None:
    for folder in job_dir.glob(FOLDER_PREFIX + "*"):
        with suppress(BlockingIOError, FileNotFoundError):  # its owner runs, or it has just been removed
            if _is_ours(folder):
                folder.chmod(stat.S_IRWXU)  # a classifier may have removed the permissions
                os.close(_lock(folder))
                remove_tree(folder)


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _lock(folder: Path, flags: int = fcntl.LOCK_NB) -> int:
    """Lock a folder until the returned descriptor is closed. No child inherits the descriptor.

    Raises:
        BlockingIOError: another process holds it; only with LOCK_NB.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(job_dir: Path) -> Iterator[None]:
    descriptor = _lock(job_dir, flags=0)
    try:
        yield
    finally:
        os.close(descriptor)
