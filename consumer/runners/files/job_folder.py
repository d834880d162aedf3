"""One slot's folder: writes a job's files once there is space, and removes them without blocking the event loop.

The folder (0700) is empty between jobs. During a job it holds `job.json` (0600) and is the working directory.

A full disk is not the job's fault. If a consumer failed each job at once while its disk is full, it would be the
fastest consumer of the queue, and would use up all attempts of many jobs within seconds. So its slots wait, and
take no other job. If a job leaves a million files, a thread removes them, because the event loop must send
heartbeats. The slot waits for the removal, so that jobs do not fill the disk faster than it is emptied.
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

from consumer.job import Crashed, Interrupted, Job
from consumer.runners.files.removal import in_thread, removal

log = logging.getLogger(__name__)

JOB_FILE = "job.json"
#: Disk full and quota exceeded: these faults may pass. All others are permanent.
FULL = (errno.ENOSPC, errno.EDQUOT)
AGAIN_S = 0.5
#: After this wait the attempt fails, and the job is retried, perhaps by a consumer with space.
PATIENCE_S = 60.0
#: Most jobs leave a few files, which are removed in 1 ms. The start of a thread would take as long again.
STEPS_AT_ONCE = 100


class JobFolder:
    """The folder for the jobs of one slot, empty before each job.

    An empty folder is reused, because making and removing one takes longer than the job's file (100 and 40 us on
    ext4). Paths are text here: of 23 us for the file of a job, pathlib took 3. Mutable state: `_folder`, replaced
    if a job has changed it, with `_job_file` inside; `_made`, its identity when it was made; `_paths`, the files
    written there; `_left`, the removal still to do.
    """

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._folder = self._job_file = parent
        self._made: tuple[int, int] | None = None
        self._paths: list[str] = []
        self._left: Iterator[int] = iter(())

    async def write_job(
        self,
        job: Job,
        interrupt: asyncio.Future[None],
        *,
        patience_s: float = PATIENCE_S,
        again_s: float = AGAIN_S,
    ) -> Path | Interrupted | Crashed:
        """Write a job's file and return its path; without space, try again every `again_s` seconds.

        Return the job's outcome if it was interrupted, if there was no space for `patience_s` seconds, or if the
        file cannot be written: that is not the job's fault, so another consumer may run it.
        """
        give_up = time.monotonic() + patience_s
        is_logged = False
        while not interrupt.done():
            try:
                self.write({JOB_FILE: job.body})
            except OSError as error:
                if error.errno not in FULL or time.monotonic() >= give_up:
                    return Crashed(message=f"the job's file could not be written (job_dir): {error.strerror}")
                if not is_logged:
                    log.warning(
                        "job %s waits for free space in job_dir: %s",
                        job.request.id,
                        error.strerror,
                        extra={"event": "job_waiting_for_room"},
                    )
                is_logged = True
            else:
                return self._job_file
            await asyncio.wait([interrupt], timeout=again_s)
        return Interrupted()

    def write_batch(self, jobs: Sequence[Job]) -> Path:
        """Write the files of several jobs, `0.json` and on, and return their folder.

        Raises:
            OSError: a file cannot be written.
        """
        return self.write({f"{number}.json": job.body for number, job in enumerate(jobs)})

    async def clear(self) -> None:
        """Empty the folder: remove a few files directly, and many in a thread."""
        self._put_away()
        if self._remove_some():
            await in_thread(self._remove_rest)

    @property
    def path(self) -> Path:
        """The folder of the files that were last written."""
        return self._folder

    @contextmanager
    def job(self, body: bytes) -> Iterator[Path]:
        """For a trial run: write one job's file, and keep it during the block. Afterwards empty the folder.

        Raises:
            OSError: the file cannot be written.
        """
        try:
            self.write({JOB_FILE: body})
            yield self._job_file
        finally:
            self._put_away()
            self._remove_rest()

    def write(self, files: Mapping[str, bytes]) -> Path:
        """Write files and return their folder. The caller must `clear` it.

        Raises:
            OSError: a file cannot be written; the others have been removed.
        """
        self._remove_rest()
        if self._made is None:
            self._make()
        self._paths = [f"{self._folder}/{name}" for name in files]
        try:
            for path, body in zip(self._paths, files.values(), strict=True):
                _write(path, body)
        except BaseException:
            self._put_away()
            raise
        return self._folder

    def _make(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="slot-", dir=self._parent))
        self._job_file = self._folder / JOB_FILE
        self._made = _identity(str(self._folder))

    def _put_away(self) -> None:
        """Remove the written files. If the folder is not as it was made, schedule all of it for removal."""
        if self._made is None:
            return
        with suppress(OSError):  # the job has removed a file, or permissions; `_is_as_made` notices the latter
            for path in self._paths:
                os.unlink(path)  # noqa: PTH108 - see the class
        self._paths = []
        if not self._is_as_made():
            self._left = removal(self._folder)
            self._made = None

    def _is_as_made(self) -> bool:
        folder = str(self._folder)
        try:
            with os.scandir(folder) as entries:  # reads only the first entry of perhaps a million
                return _identity(folder) == self._made and next(entries, None) is None
        except OSError:  # removed, or without permissions
            return False

    def _remove_some(self) -> bool:
        """Do a bounded part of the removal; return whether there is more to do."""
        cost = 0
        for step in self._left:
            cost += step
            if cost > STEPS_AT_ONCE:
                return True
        return False

    def _remove_rest(self) -> None:
        """Finish the removal, however long that takes. May run in a thread if nothing else uses the folder."""
        for _ in self._left:
            pass


def _write(path: str, body: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while body:
            body = body[os.write(descriptor, body) :]
    finally:
        os.close(descriptor)


def _identity(folder: str) -> tuple[int, int]:
    found = os.lstat(folder)
    return found.st_ino, found.st_mode
