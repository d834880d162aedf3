"""The two central values: a request to classify (`Job`), and how its run ended (`Outcome`).

Both are frozen, and valid after construction. Of the service, this module imports only `values`. Each outcome has
its own class, so that the disposition table covers all outcomes, and no decision depends on catching exceptions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

from consumer.values import value


class ErrorCode(StrEnum):
    """Why a job has no result. Producers read the code in the reply, operators in the error record.

    Each code has a `meaning`, one sentence, which is part of the published contract (schemas.py).
    """

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:  # no meaning: a member is looked up by its code
        """Make a member whose value is the code, with its meaning as an attribute."""
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
        "The classifier printed ERROR, or its result contains half a character: the job would fail again.",
    )
    CRASHED = (
        "crashed",
        "The classifier ended without an answer: it exited, was killed by a signal, or could not be started.",
    )
    TIMED_OUT = "timed_out", "The classifier exceeded its time limit and was killed."
    OVER_LIMIT = (
        "over_limit",
        "The classifier exceeded another limit, such as memory, CPU time or output, and was killed.",
    )
    INVALID_OUTPUT = "invalid_output", "The classifier's OUTPUT line is not JSON."
    UNROUTABLE_REPLY = (
        "unroutable_reply",
        "The reply could not be delivered to the queue in reply_to. Only in error records, as there is no reply.",
    )


@value(frozen=True, slots=True, kw_only=True)
class Request:
    """The properties of a message, known for every delivery, even if the body is no job.

    `reply_to` is None if the producer named a queue that the service may not write to. `sent_at` is the producer's
    timestamp, in seconds since the epoch. `attempt` counts from 1, and again from 1 after each replay. `replayed`
    counts the replays from the dead letters.
    """

    id: str
    correlation_id: str
    reply_to: str | None = None
    attempt: int = 1
    replayed: int = 0
    sent_at: float | None = None
    traceparent: str | None = None
    wants_progress: bool = False


@value(frozen=True, slots=True)
class Progress:
    """The progress of a job, from 0 to 1, and a description of its current step."""

    fraction: float
    text: str = ""


@value(frozen=True, slots=True, kw_only=True)
class Job:
    """A validated request. `body` is the decoded JSON object, otherwise unchanged; `timeout_s` is its time limit.

    `model` is for the log: the value of the key `model` in the object, or the default model if the job names none.
    It is None if neither is known, or the value is not a name.
    """

    request: Request
    body: bytes
    timeout_s: float
    model: str | None = None


@value(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended: one of the subclasses below. `run_s` is the run's wall time in seconds."""

    run_s: float = 0.0


@value(frozen=True, slots=True, kw_only=True)
class Succeeded(Outcome):
    """The classifier printed a result. `output` is its JSON, checked, and passed on byte for byte."""

    output: bytes


@value(frozen=True, slots=True, kw_only=True)
class Usage:
    """The usage of a run: CPU seconds, peak memory in bytes, and the signal that ended it; None: not known."""

    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    signal: str | None = None


@value(frozen=True, slots=True, kw_only=True)
class Unsuccessful(Outcome):
    """A job without a result: one of the subclasses below. `retryable`: another attempt may succeed."""

    code: ClassVar[ErrorCode]
    retryable: ClassVar[bool] = False
    message: str
    stderr_tail: str = ""
    usage: Usage = Usage()


@value(frozen=True, slots=True, kw_only=True)
class Failed(Unsuccessful):
    """The classifier printed `ERROR:`, or a result that no reply can hold. It would do so again."""

    code = ErrorCode.CLASSIFIER_ERROR


@value(frozen=True, slots=True, kw_only=True)
class Invalid(Unsuccessful):
    """The delivery is not a job; nothing ran."""

    code = ErrorCode.INVALID_JOB


@value(frozen=True, slots=True, kw_only=True)
class Crashed(Unsuccessful):
    """The classifier ended without an answer."""

    code = ErrorCode.CRASHED
    retryable = True


@value(frozen=True, slots=True, kw_only=True)
class InvalidOutput(Crashed):
    """The classifier's result is not JSON. Handled like a crash, but with its own code."""

    code = ErrorCode.INVALID_OUTPUT


@value(frozen=True, slots=True, kw_only=True)
class TimedOut(Unsuccessful):
    """The classifier exceeded its time limit and was killed."""

    code = ErrorCode.TIMED_OUT
    retryable = True


@value(frozen=True, slots=True, kw_only=True)
class OverLimit(Unsuccessful):
    """The classifier exceeded a limit other than its time limit, such as memory, and was killed."""

    code = ErrorCode.OVER_LIMIT
    retryable = True


@value(frozen=True, slots=True, kw_only=True)
class OverOutput(OverLimit):
    """The result, or all that the classifier printed, is too large.

    The same job would print as much again, so it has one attempt.
    """

    retryable = False


@value(frozen=True, slots=True, kw_only=True)
class Unroutable(Unsuccessful):
    """The job succeeded, but its reply could not be delivered. Never the outcome of a run itself."""

    code = ErrorCode.UNROUTABLE_REPLY


@value(frozen=True, slots=True, kw_only=True)
class Abandoned(Outcome):
    """The job did not run, because its caller has disconnected and the reply queue no longer exists."""


@value(frozen=True, slots=True, kw_only=True)
class Interrupted(Outcome):
    """The job did not run or its run was ended, because the service stops or its slots hold long jobs.

    The job returns to the queue unchanged.
    """
