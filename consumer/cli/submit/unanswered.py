"""Keeps the jobs that RabbitMQ has and that have no reply yet, in a file beside the results, for `--resume`.

The file is a journal. It names the reply queue, which RabbitMQ keeps for a day, and has a line before each publish
of a job and one after RabbitMQ's confirm. Each line is one write to the system, so a killed process leaves all of
them. The next run waits for the replies to confirmed jobs, and never publishes such a job again. Nothing waits for
the disk: after a crash of the machine, the lines of the last seconds may be missing.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any

from consumer.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class UnansweredJob:
    """A job that was published: the place and the digest of its source, and its id.

    `is_confirmed`: RabbitMQ has it, and its reply goes to the reply queue. Otherwise RabbitMQ may have it.
    """

    source: str
    digest: str
    job_id: str
    is_confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The jobs without a reply. `queue`: the jobs queue; `replies`: the reply queue."""

    queue: str
    replies: str
    jobs: tuple[UnansweredJob, ...] = ()


class Journal:
    """Records jobs as they are published.

    `replies` returns the reply queue, and `earlier` the jobs that earlier runs have left.
    Mutable state: `_file`, opened when the first job is published; `_replies`, the reply queue of the last lines.
    """

    def __init__(
        self,
        results: Path,
        queue: str,
        replies: Callable[[], str | None],
        earlier: Callable[[], Iterable[UnansweredJob]] = tuple,
    ) -> None:
        self._results = results
        self._queue = queue
        self._ask_replies = replies
        self._replies = ""
        self._file: FileIO | None = None
        self._earlier = earlier

    @property
    def is_begun(self) -> bool:
        """Whether a job was about to be published."""
        return self._file is not None

    def publishing(self, job: UnansweredJob) -> None:
        """Record a job that is about to be published.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        self._write({"source": job.source, "digest": job.digest, "job_id": job.job_id})

    def confirmed(self, job_id: str) -> None:
        """Record that RabbitMQ has the job.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        self._write({"confirmed": job_id})

    def close(self, left: Iterable[UnansweredJob]) -> None:
        """Replace the file by the jobs that are left, or remove it if there are none."""
        if self._file:
            self._file.close()
        write(self._results, Unanswered(self._queue, self._ask_replies() or "", tuple(left)))

    def _write(self, fields: dict[str, Any]) -> None:
        replies = self._ask_replies() or ""
        path = path_for(self._results)
        try:
            if self._file is None:
                write(self._results, Unanswered(self._queue, replies, tuple(self._earlier())), is_kept_empty=True)
                self._file = FileIO(path, "a")
            elif replies != self._replies:  # the old queue has expired, with the replies to the jobs so far
                _append(self._file, _line(_head(self._queue, replies)))
            self._replies = replies
            _append(self._file, _line(fields))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def path_for(results: Path) -> Path:
    """Return the file beside a file of results."""
    return results.with_name(f"{results.name}.unanswered")


def read(results: Path) -> Unanswered | None:
    """Read the jobs without a reply of the last run; None if it has left none.

    Jobs that were answered may be among them; the file of results shows which. An incomplete last line is dropped:
    that job was not published yet, or counts as not confirmed.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = path_for(results)
    try:
        *lines, _torn = path.read_text(encoding="utf-8").split("\n")
        return _replayed(json.loads(line) for line in lines)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise ConfigurationError(
            f"{path} cannot be read; delete it to submit its jobs again, or run without --resume"
        ) from None


def write(results: Path, left: Unanswered, *, is_kept_empty: bool = False) -> None:
    """Replace the file, or remove it if no job is left, unless `is_kept_empty`.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    path = path_for(results)
    fresh = path.with_name(f"{path.name}.new")
    try:
        if not (left.jobs or is_kept_empty):
            path.unlink(missing_ok=True)
            return
        lines: list[dict[str, Any]] = [_head(left.queue, left.replies)]
        for job in left.jobs:
            lines.append({"source": job.source, "digest": job.digest, "job_id": job.job_id})
            if job.is_confirmed:
                lines.append({"confirmed": job.job_id})
        fresh.write_bytes(b"".join(map(_line, lines)))
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _append(file: FileIO, line: bytes) -> None:
    """Write a whole line. On a disk that fills up, the system writes a part of it without an error."""
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _head(queue: str, replies: str) -> dict[str, Any]:
    return {"queue": queue, "replies": replies}


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _replayed(lines: Iterable[object]) -> Unanswered | None:
    """Return what the lines say in the end.

    Raises:
        ValueError: a line is none of a journal.
    """
    left: Unanswered | None = None
    jobs: dict[str, UnansweredJob] = {}
    for line in lines:
        match line:
            case {"queue": str(queue), "replies": str(replies)}:
                if left and left.replies != replies:
                    jobs = {key: replace(job, is_confirmed=False) for key, job in jobs.items()}
                left = Unanswered(queue, replies)
            case {"source": str(source), "digest": str(digest), "job_id": str(job_id)} if left:
                jobs[job_id] = UnansweredJob(source, digest, job_id, is_confirmed=False)
            case {"confirmed": str(job_id)} if job_id in jobs:
                jobs[job_id] = replace(jobs[job_id], is_confirmed=True)
            case _:
                raise ValueError("no line of a journal")
    return left and replace(left, jobs=tuple(jobs.values()))
