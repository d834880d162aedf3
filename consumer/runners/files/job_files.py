"""The private folder in which jobs live as files, and its removal whatever happened.

Each consumer process makes one folder (0700) below `job_dir` and holds an flock on it for as long as it
lives; each slot has a folder inside (0700) that is empty between jobs. A job gets it with its `job.json`
(0600), also as working directory. The kernel drops the lock of a killed process, so at the next start a folder
nobody holds is known to be a left-over: by owner, not by age. Folders of other users are never touched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from consumer.errors import ConfigurationError
from consumer.runners.files.removal import removal, remove_tree

FOLDER_PREFIX = "rabbitmq-classifier-"
JOB_FILE = "job.json"
#: Disk full, quota exceeded: passing. Any other reason for which a file cannot be written is not.
FULL = (errno.ENOSPC, errno.EDQUOT)
#: A few files, as many jobs leave, are gone in 1 ms; a thread for them would take as long again.
STEPS_AT_ONCE = 100


def batch_files(bodies: Sequence[bytes]) -> dict[str, bytes]:
    """Name the files of a batch's jobs, `0.json` and on."""
    return {f"{number}.json": body for number, body in enumerate(bodies)}


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
        self._made: tuple[int, int] | None = None
        self._left: Iterator[int] = iter(())

    @contextmanager
    def job(self, body: bytes) -> Iterator[Path]:
        """Write one job's file; yield its path; on every ending remove it and all that was left around it.

        Raises:
            OSError: it cannot be written.
        """
        try:
            with self.lent({JOB_FILE: body}) as folder:
                yield folder / JOB_FILE
        finally:
            self.remove_rest()

    @contextmanager
    def batch(self, bodies: Sequence[bytes]) -> Iterator[Path]:
        """Write the files of several jobs; yield their folder, and clear it as after one job.

        Raises:
            OSError: one cannot be written.
        """
        try:
            with self.lent(batch_files(bodies)) as folder:
                yield folder
        finally:
            self.remove_rest()

    @contextmanager
    def lent(self, files: Mapping[str, bytes]) -> Iterator[Path]:
        """Write files and yield their folder. Whatever else is in it afterwards stays for `remove_some` to remove.

        Raises:
            OSError: one cannot be written.
        """
        self.remove_rest()
        if self._made is None:
            self._make()
        paths = [self._folder / name for name in files]
        try:
            for path, body in zip(paths, files.values(), strict=True):
                self._write(path, body)
            yield self._folder
        finally:
            self._clear(paths)

    def remove_some(self) -> bool:
        """Remove what the last job has left, a bounded part of it; return whether there is more."""
        cost = 0
        for step in self._left:
            cost += step
            if cost > STEPS_AT_ONCE:
                return True
        return False

    def remove_rest(self) -> None:
        """Remove all of it, however long that takes. May be called in a thread, while nothing else is."""
        for _ in self._left:
            pass

    def _make(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slot-", dir=self._parent))
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
            self._left = removal(self._folder)
            self._made = None

    def _is_as_made(self) -> bool:
        try:
            with os.scandir(self._folder) as entries:  # the first one: not all of a million
                return _identity(self._folder) == self._made and next(entries, None) is None
        except OSError:  # it is gone, or closed to us
            return False


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.lstat()
    return found.st_ino, found.st_mode


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
