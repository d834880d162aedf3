"""The two nouns that everything else passes on: what is asked (`Job`) and how it ended (`Outcome`).

Frozen and valid from birth; imports none of our other files. An outcome is a value, one class per ending, so
that the disposition table can name every one of them and nothing is decided by catching exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self


class ErrorCode(StrEnum):
    """Why a job has no result: the word a producer acts on. It stands in the reply and in the error record.

    Each has its `meaning`, one sentence, which goes into the published contract (asyncapi.py).
    """

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:  # without one: to find a member by its code
        """Make a member that is its code and knows its meaning."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    INVALID_JOB = (
        "invalid_job",
        "The message is not a job: not a JSON object, too large, or a property that cannot be used.",
    )
    CLASSIFIER_ERROR = (
        "classifier_error",
        "The classifier said ERROR, or its result holds half a character: this job fails and would fail again.",
    )
    CRASHED = (
        "crashed",
        "The classifier ended without an answer: by a signal, by an exit, or it could not be started.",
    )
    TIMED_OUT = "timed_out", "The classifier was still at work when its run time was over, and was killed."
    OVER_LIMIT = (
        "over_limit",
        "The classifier went over one of the limits on what it may take or print, and was killed.",
    )
    INVALID_OUTPUT = "invalid_output", "The classifier's OUTPUT line is not JSON."
    UNROUTABLE_REPLY = (
        "unroutable_reply",
        "The reply could not be delivered to the queue in reply_to. Only in error records: nobody could be told.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who asks, and where the answer goes: known for every delivery, even one whose body is no job.

    `reply_to` is None where the producer named no queue, or none we may write to.
    `sent_at` is the producer's timestamp in seconds since the epoch. `attempt` counts from 1,
    and anew in each of the job's lives: `replayed` is how often it was brought back from the dead letters.
    """

    id: str
    correlation_id: str
    reply_to: str | None = None
    attempt: int = 1
    replayed: int = 0
    sent_at: float | None = None
    traceparent: str | None = None
    wants_progress: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, from 0 to 1, and what it is at."""

    fraction: float
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A validated request: `body` is the JSON object as it came, decoded, `timeout_s` the run time it may take.

    `model` is what the object names by that key, for the log; None if that is no name.
    """

    request: Request
    body: bytes
    timeout_s: float
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended. Never made itself: each ending below is one. `run_s` is the run's wall time in seconds."""

    run_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded(Outcome):
    """The classifier answered; `output` is its JSON, checked and passed on byte for byte."""

    output: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run has used: CPU seconds, its most bytes of memory, the signal that ended it; None: not known."""

    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    signal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsuccessful(Outcome):
    """An ending without a result. Never made itself. `retryable`: another attempt may end differently."""

    code: ClassVar[ErrorCode]
    retryable: ClassVar[bool] = False
    message: str
    stderr_tail: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Unsuccessful):
    """The classifier said `ERROR:`, or answered with what cannot be sent; it would do so again."""

    code = ErrorCode.CLASSIFIER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid(Unsuccessful):
    """The delivery is not a job; nothing ran."""

    code = ErrorCode.INVALID_JOB


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed(Unsuccessful):
    """The classifier ended without an answer."""

    code = ErrorCode.CRASHED
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidOutput(Crashed):
    """The classifier's answer is not JSON: treated as a crash, told apart by its code."""

    code = ErrorCode.INVALID_OUTPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(Unsuccessful):
    """The run time was over and the classifier was killed."""

    code = ErrorCode.TIMED_OUT
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OverLimit(Unsuccessful):
    """The classifier went over a limit and was killed."""

    code = ErrorCode.OVER_LIMIT
    retryable = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Unroutable(Unsuccessful):
    """The job ended, and the queue its reply belongs in does not take it. Never the outcome of a run itself."""

    code = ErrorCode.UNROUTABLE_REPLY


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned(Outcome):
    """The caller has gone, and nobody else can get the reply; nothing ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted(Outcome):
    """We are stopping and ended the run ourselves; the job goes back to the queue untouched."""
