"""One slot's folder: a job's files are written when there is room, and removed without holding up the event loop.

The folder (0700) is empty between jobs. A job gets it with its `job.json` (0600), also as working directory.

A full disk is the machine's fault, not the job's: a consumer whose disk is full would be the fastest of all. It
would take one job after another, fail each at once, and spend all of its attempts within seconds. Instead its
slots wait, and take no other job. A million files that a job leaves are removed in a thread, or heartbeats would
be missed. The slot waits for that, so that the disk is not filled faster than it is emptied.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from consumer.job import Job
from consumer.runners.files.removal import in_thread, removal

log = logging.getLogger(__name__)

JOB_FILE = "job.json"
#: Disk full, quota exceeded: passing. Any other reason for which a file cannot be written is not.
FULL = (errno.ENOSPC, errno.EDQUOT)
AGAIN_S = 0.5
#: Then the job goes the way of a failed attempt: where another consumer has room, it is done there.
PATIENCE_S = 60.0
#: A few files, as many jobs leave, are gone in 1 ms; a thread for them would take as long again.
STEPS_AT_ONCE = 100


class JobFolder:
    """Where one slot's jobs live, one after another: empty before each, whatever the one before left.

    An empty folder is used again, since making and removing one costs three times what the job's file does
    (100 against 40 us on ext4). Mutable state: the folder, replaced by a new one when a job has changed it; the
    files that were written there; what is left to remove.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = parent
        self._made: tuple[int, int] | None = None
        self._paths: list[Path] = []
        self._left: Iterator[int] = iter(())

    async def write_job(
        self,
        job: Job,
        interrupt: asyncio.Future[None],
        *,
        patience_s: float = PATIENCE_S,
        again_s: float = AGAIN_S,
    ) -> Path | None:
        """Write a job's file and return its path; None if the interrupt came before there was room.

        Without room it tries again every `again_s` seconds.

        Raises:
            OSError: the file cannot be written, or there was no room for `patience_s` seconds.
        """
        give_up = time.monotonic() + patience_s
        is_told = False
        while not interrupt.done():
            try:
                return self.write({JOB_FILE: job.body}) / JOB_FILE
            except OSError as error:
                if error.errno not in FULL or time.monotonic() >= give_up:
                    raise
                if not is_told:
                    log.warning(
                        "job %s waits for room in job_dir: %s",
                        job.request.id,
                        error.strerror,
                        extra={"event": "job_waiting_for_room"},
                    )
                is_told = True
            await asyncio.wait([interrupt], timeout=again_s)
        return None

    def write_batch(self, jobs: Sequence[Job]) -> Path:
        """Write the files of several jobs, `0.json` and on, and return their folder.

        Raises:
            OSError: one cannot be written.
        """
        return self.write({f"{number}.json": job.body for number, job in enumerate(jobs)})

    async def clear(self) -> None:
        """Remove what was written, and what else jobs have left there: a little at once, much in a thread."""
        self._put_away()
        if self._remove_some():
            await in_thread(self._remove_rest)

    @contextmanager
    def job(self, body: bytes) -> Iterator[Path]:
        """Have one job's file for the block, as a trial: afterwards all is removed, however long that takes.

        Raises:
            OSError: it cannot be written.
        """
        try:
            yield self.write({JOB_FILE: body}) / JOB_FILE
        finally:
            self._put_away()
            self._remove_rest()

    def write(self, files: Mapping[str, bytes]) -> Path:
        """Write files and return their folder, which is to be cleared afterwards.

        Raises:
            OSError: one cannot be written; then none is there.
        """
        self._remove_rest()
        if self._made is None:
            self._make()
        self._paths = [self._folder / name for name in files]
        try:
            for path, body in zip(self._paths, files.values(), strict=True):
                _write(path, body)
        except BaseException:
            self._put_away()
            raise
        return self._folder

    def _make(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slot-", dir=self._parent))
        self._made = _identity(self._folder)

    def _put_away(self) -> None:
        """Remove what was written; if then the folder is not as it was made, all of it is left to remove."""
        if self._made is None:
            return
        with suppress(OSError):  # removed by the job itself, or in a folder that it closed: seen below
            for path in self._paths:
                path.unlink()
        self._paths = []
        if not self._is_as_made():
            self._left = removal(self._folder)
            self._made = None

    def _is_as_made(self) -> bool:
        try:
            with os.scandir(self._folder) as entries:  # the first one: not all of a million
                return _identity(self._folder) == self._made and next(entries, None) is None
        except OSError:  # it is gone, or closed to us
            return False

    def _remove_some(self) -> bool:
        """Remove a bounded part of what is left; return whether there is more."""
        cost = 0
        for step in self._left:
            cost += step
            if cost > STEPS_AT_ONCE:
                return True
        return False

    def _remove_rest(self) -> None:
        """Remove all that is left, however long that takes. May run in a thread, while nothing else does."""
        for _ in self._left:
            pass


def _write(path: Path, body: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(body)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.lstat()
    return found.st_ino, found.st_mode
