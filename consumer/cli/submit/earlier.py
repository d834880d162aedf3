"""What earlier runs of `consumer submit` have left for this one: results, and jobs that RabbitMQ has or may have.

A job with a reply in the file of results is not submitted again. For a job that RabbitMQ has confirmed, the run
waits for the reply. Files with results are never overwritten by accident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from consumer.cli.submit import unanswered
from consumer.cli.submit.results import Format, done_before
from consumer.cli.submit.sources import Key, Source
from consumer.cli.submit.unanswered import UnansweredJob
from consumer.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier runs have left.

    `answered`: whether each job with a reply has succeeded; `jobs`: the jobs without one that were published;
    `replies`: the queue of their replies.
    """

    answered: Mapping[Key, bool] = field(default_factory=dict)
    jobs: Mapping[Key, UnansweredJob] = field(default_factory=dict)
    replies: str | None = None

    def not_done(self, sources: Sequence[Source]) -> list[Source]:
        """Return the sources without a reply."""
        return [source for source in sources if source.key not in self.answered]

    def failed(self, sources: Sequence[Source]) -> int:
        """Count the sources whose reply has no result."""
        return [self.answered.get(source.key) for source in sources].count(False)

    def ids(self, sources: Sequence[Source], *, confirmed: bool) -> dict[int, str]:
        """Return the ids of those sources that RabbitMQ has, or that it may have, by index."""
        found = {index: self.jobs.get(source.key) for index, source in enumerate(sources)}
        return {index: job.job_id for index, job in found.items() if job and job.is_confirmed == confirmed}


def read(results: Path, form: Format, queue: str, *, is_direct: bool) -> Earlier:
    """Read what earlier runs have left, and remove from the results the lines of jobs that have no reply.

    Raises:
        ConfigurationError: a file cannot be read, or is about another jobs queue than `queue`.
    """
    answered = done_before(results, form)
    left = None if is_direct else unanswered.read(results)
    if left is None:
        return Earlier(answered)
    if left.jobs and left.queue != queue:
        raise ConfigurationError(
            f"{unanswered.path_for(results)} has jobs in {left.queue}, not in {queue}; pass the same `prefix`, or "
            "delete the file"
        )
    jobs = {(job.source, job.digest): job for job in left.jobs}
    return Earlier(answered, {key: job for key, job in jobs.items() if key not in answered}, left.replies)


def see_nothing_there(results: Path) -> None:
    """Refuse to overwrite results, or the record of jobs that wait for their replies.

    Raises:
        ConfigurationError
    """
    for path in (results, unanswered.path_for(results)):
        if _size(path):
            raise ConfigurationError(
                f"{path} exists; pass --resume to continue these results, --overwrite to replace them, or another "
                "--out"
            )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:  # a name that is too long, a folder without permission
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
