"""The types of the client's arguments and results: jobs, signals, results and progress.

Pure: knows no connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.client.exceptions import UnsendableJobError
from consumer.client.plain_json import plain, samples
from consumer.job import Progress

OnProgress = Callable[[Progress], None] | None


class HasToList(Protocol):
    """An array of numpy or of another library."""

    def tolist(self) -> list[float]:
        """Return the numbers of the array."""


Signal = Iterable[float] | HasToList
Job = Signal | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a job. `output` is the classifier's JSON, `run_ms` its run time; `attempt` counts from 1.

    `consumer` names the consumer that ran the job, as host and process: `consumer status` lists what each runs.
    """

    job_id: str
    output: Any
    attempt: int
    run_ms: float
    consumer: str | None = None

    @property
    def label(self) -> str:
        """The label, as returned by the classifier that comes with the service."""
        return str(self.output["label"])


@dataclass(frozen=True, slots=True)
class Done:
    """One of many jobs, after its end. `index`: its position; `error`: the reason if it has no result."""

    index: int
    job: Job
    error: Exception | None = None
    _result: Result | None = None

    def result(self) -> Result:
        """Return the result, or raise the error."""
        if self._result is None:
            raise self.error or AssertionError("neither a result nor an error")
        return self._result


def as_job(job: Job, model: str | None) -> Mapping[str, Any]:
    """Make a job from a signal; return a job unchanged.

    Raises:
        UnsendableJobError: `job` is neither a job nor a signal.
    """
    if isinstance(job, Mapping):
        return job
    return {"signal": samples(job), **({"model": model} if model else {})}


def as_body(job: Mapping[str, Any]) -> bytes:
    """Format a job as JSON, with values of numpy and pandas as numbers, texts and lists.

    Raises:
        UnsendableJobError: JSON cannot express a value; the message names its place.
    """
    if not isinstance(job, Mapping):
        raise UnsendableJobError(f"a job is a mapping, not {type(job).__name__}; for a signal use classify")
    return json.dumps(plain(job, "job"), allow_nan=False).encode()
