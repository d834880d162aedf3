"""The private folder in which jobs live as files, and its removal whatever happened.

Each consumer process makes one folder (0700) below `job_dir` and holds an flock on it for as long as it
lives; each slot has a folder inside (0700) that is empty between jobs. A job gets it with its `job.json`
(0600), also as working directory. The kernel drops the lock of a killed process, so at the next start a folder
nobody holds is known to be a left-over: by owner, not by age. Folders of other users are never touched.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from consumer.errors import ConfigurationError

log = logging.getLogger(__name__)

FOLDER_PREFIX = "rabbitmq-classifier-"
JOB_FILE = "job.json"
#: Disk full, quota exceeded: passing. Any other reason for which a file cannot be written is not.
FULL = (errno.ENOSPC, errno.EDQUOT)


class JobFiles:
    """Owns this process's folder from `open` to `close`."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def open(cls, job_dir: Path) -> Self:
        """Sweep what killed predecessors left, then make our folder.

        Both under a lock on `job_dir`, so that no other consumer sees our folder before we hold it.

        Raises:
            ConfigurationError: `job_dir` cannot be made or written to, or is full.
        """
        try:
            job_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(job_dir):
                _sweep(job_dir)
                files = cls._made_in(job_dir)
        except OSError as error:
            raise ConfigurationError(_complaint(job_dir, error)) from None
        try:
            trial = files.folder / JOB_FILE
            trial.write_bytes(b"{}")  # a full disk may still take folders
            trial.unlink()
        except OSError as error:
            files.close()
            raise ConfigurationError(_complaint(job_dir, error)) from None
        return files

    @classmethod
    def _made_in(cls, job_dir: Path) -> Self:
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=job_dir)).absolute()
        return cls(folder, _lock(folder))

    @classmethod
    @contextmanager
    def opened(cls, job_dir: Path) -> Iterator[Self]:
        """Open for the block.

        Raises:
            ConfigurationError: as `open`.
        """
        files = cls.open(job_dir)
        try:
            yield files
        finally:
            files.close()

    def folder_of_slot(self) -> JobFolder:
        """Give a place for the jobs of one slot; it is made on disk with the first job."""
        return JobFolder(self.folder)

    def home(self) -> Path:
        """Make a folder that lasts as long as ours, for what a classifier writes while it is loaded.

        Raises:
            ConfigurationError: there is no room for it.
        """
        try:
            return Path(tempfile.mkdtemp(prefix="home-", dir=self.folder))
        except OSError as error:
            raise ConfigurationError(_complaint(self.folder.parent, error)) from None

    def close(self) -> None:
        """Remove our folder and give up the lock."""
        remove_tree(self.folder)
        os.close(self._lock)


def _complaint(job_dir: Path, error: OSError) -> str:
    """Say why no job's file can be written, and what to do."""
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
    return os.path.lexists(path) and not os.path.isdir(path)  # noqa: PTH112 - Path's raises where it may not look


class JobFolder:
    """Where one slot's jobs live, one after another: empty before each, whatever the one before left.

    An empty folder is used again, since making and removing one costs three times what the job's file does
    (100 against 40 us on ext4). Mutable state: the folder, replaced by a new one when a job has changed it.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = parent
        self._path = parent / JOB_FILE
        self._made: tuple[int, int] | None = None

    @contextmanager
    def job(self, body: bytes) -> Iterator[Path]:
        """Write one job's file; yield its path; on every ending remove it and all that was left around it.

        Raises:
            OSError: it cannot be written.
        """
        if self._made is None:
            self._make()
        try:
            self._write(self._path, body)
            yield self._path
        finally:
            self._clear([self._path])

    @contextmanager
    def batch(self, bodies: Sequence[bytes]) -> Iterator[Path]:
        """Write the files of several jobs, `0.json` and on; yield their folder, and clear it as after one job.

        Raises:
            OSError: one cannot be written.
        """
        if self._made is None:
            self._make()
        paths = [self._folder / f"{number}.json" for number in range(len(bodies))]
        try:
            for path, body in zip(paths, bodies, strict=True):
                self._write(path, body)
            yield self._folder
        finally:
            self._clear(paths)

    def _make(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slot-", dir=self._parent))
        self._path = self._folder / JOB_FILE
        self._made = _identity(self._folder)

    def _write(self, path: Path, body: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            left = memoryview(body)
            while left:
                left = left[file.write(left) :]

    def _clear(self, paths: Sequence[Path]) -> None:
        with suppress(OSError):  # removed by the job itself, or in a folder that it closed: seen below
            for path in paths:
                path.unlink()
        if not self._is_as_made():
            remove_tree(self._folder)
            self._made = None

    def _is_as_made(self) -> bool:
        try:
            return _identity(self._folder) == self._made and not any(self._folder.iterdir())
        except OSError:  # it is gone, or closed to us
            return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.lstat()
    return found.st_ino, found.st_mode


def remove_tree(folder: Path) -> None:
    """Remove a folder and all in it, even where a classifier took away its own permissions.

    Never raises: a file that cannot be removed must not change how its job ended. `close` tries once more.
    """
    try:
        if folder.is_symlink() or folder.is_file():  # put there by a job in place of its folder
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except FileNotFoundError:
        pass  # a job may clean up after itself
    except PermissionError:
        _make_removable(folder)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        log.error("could not remove %s: %s", folder, error)


def _make_removable(folder: Path) -> None:
    folder.chmod(stat.S_IRWXU)
    for parent, folders, _ in os.walk(folder):  # from the top: a folder is opened up before it is entered
        for name in folders:
            if not (path := Path(parent, name)).is_symlink():
                path.chmod(stat.S_IRWXU)


def _sweep(job_dir: Path) -> None:
    for folder in job_dir.glob(FOLDER_PREFIX + "*"):
        with suppress(BlockingIOError, FileNotFoundError):  # its owner lives; or it has just gone
            if _is_ours(folder):
                folder.chmod(stat.S_IRWXU)  # a classifier may have closed it
                os.close(_lock(folder))
                remove_tree(folder)


def _is_ours(folder: Path) -> bool:
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _lock(folder: Path) -> int:
    """Lock a folder for as long as the returned descriptor, which no child inherits, stays open.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _locked(job_dir: Path) -> Iterator[None]:
    descriptor = os.open(job_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
