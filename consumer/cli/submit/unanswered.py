"""Keeps the jobs that RabbitMQ has and that have no reply yet, in a file beside the results, for `--resume`.

The file names the reply queue, which RabbitMQ keeps for a day, and the id of each job. The next run waits for
these replies instead of publishing the jobs again. A killed process writes no such file; its jobs run again.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from consumer.errors import ConfigurationError


class UnansweredJob(BaseModel):
    """A published job: the place and the digest of its source, and its id."""

    source: str
    digest: str
    job_id: str


class Unanswered(BaseModel):
    """The jobs without a reply. `queue`: the jobs queue; `replies`: the reply queue."""

    queue: str
    replies: str
    jobs: list[UnansweredJob]


def path_for(results: Path) -> Path:
    """Return the file beside a file of results."""
    return results.with_name(f"{results.name}.unanswered")


def read(results: Path) -> Unanswered | None:
    """Read the jobs without a reply of the last run; None if it has left none.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    path = path_for(results)
    try:
        return Unanswered.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise ConfigurationError(
            f"{path} cannot be read; delete it to submit its jobs again, or run without --resume"
        ) from None


def write(results: Path, left: Unanswered | None) -> None:
    """Replace the file, or remove it if no job is left.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    path = path_for(results)
    try:
        if left is None or not left.jobs:
            path.unlink(missing_ok=True)
        else:
            fresh = path.with_name(f"{path.name}.new")
            fresh.write_text(left.model_dump_json(indent=1), encoding="utf-8")
            fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
