"""The client's exceptions, one for each error code of a reply. Only the client raises them.

In the service a job's outcome is a value (job.py), but a caller expects a result or an exception. `retryable`:
whether the same job may succeed at another time; the service has then already retried it as often as allowed.
"""

from __future__ import annotations

from functools import partial

from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.job import ErrorCode
from consumer.rabbitmq.confirms import ALARM
from consumer.wire.write import Reply
from consumer.wording import counted


class JobFailedError(Exception):
    """A job has ended without a result. A subclass is raised, except for a code that is newer than this client."""

    def __init__(self, reply: Reply) -> None:
        if reply.error is None:
            raise TypeError(f"job {reply.job_id} has succeeded")
        self.reply = reply
        self.job_id = reply.job_id
        self.code = str(reply.error.code)
        self.message = reply.error.message
        self.retryable = reply.error.retryable
        self.stderr_tail = reply.error.stderr_tail
        self.attempt = reply.attempt
        self.consumer = reply.consumer
        super().__init__(f"job {self.job_id}: {self.code}: {self.message}")

    def __reduce__(self) -> tuple[type[JobFailedError], tuple[Reply]]:
        """Support pickle, which process pools use for exceptions."""
        return type(self), (self.reply,)


class InvalidJobError(JobFailedError):
    """The message is not a valid job; the exception names the remedy."""


class ClassifierError(JobFailedError):
    """The classifier printed `ERROR:`; a retry would not help."""


class CrashedError(JobFailedError):
    """The classifier ended without an answer; `stderr_tail` has the end of its stderr."""


class TimedOutError(JobFailedError):
    """The classifier exceeded the job's run time."""


class OverLimitError(JobFailedError):
    """The classifier exceeded a limit."""


class InvalidOutputError(JobFailedError):
    """The output of the classifier is not JSON."""


class NoReplyError(TimeoutError):
    """No reply arrived in time. The job is not cancelled: if RabbitMQ has it, it still waits or runs.

    `is_published`: whether RabbitMQ has confirmed the job; `is_connected`: whether the client was connected at the
    end; `is_blocked`: whether a memory or disk alarm kept RabbitMQ from accepting messages then; `consumers`: how
    many consumers the jobs queue has, None if that is not known.
    """

    def __init__(  # noqa: PLR0913 - all facts of the message, most by name
        self,
        job_id: str,
        timeout_s: float,
        queue: str,
        *,
        is_published: bool,
        consumers: int | None,
        is_connected: bool = True,
        is_blocked: bool = False,
    ) -> None:
        self.job_id = job_id
        self.timeout_s = timeout_s
        self.queue = queue
        self.is_published = is_published
        self.consumers = consumers
        self.is_connected = is_connected
        self.is_blocked = is_blocked
        super().__init__(f"job {job_id}: {self._what()} within {timeout_s:g} s; {self._why()}")

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickle, which process pools use for exceptions."""
        make = partial(
            NoReplyError,
            is_published=self.is_published,
            consumers=self.consumers,
            is_connected=self.is_connected,
            is_blocked=self.is_blocked,
        )
        return make, (self.job_id, self.timeout_s, self.queue)

    def _what(self) -> str:
        return "no reply" if self.is_published else "RabbitMQ has not confirmed it"

    def _why(self) -> str:
        if not self.is_connected:
            return "the client has no connection to RabbitMQ now, and tries to reconnect"
        if self.is_blocked:
            return ALARM if self.is_published else f"{ALARM}; it may accept the job after the alarm"
        if self.consumers is None:
            return f"RabbitMQ did not tell how many consumers {self.queue} has"
        if self.consumers == 0:
            return f"{self.queue} has no consumer: jobs wait there until one starts"
        has = f"{self.queue} has {counted(self.consumers, 'consumer')}"
        return f"{has}: the job waits or runs" if self.is_published else f"{has}: the queue may be full"


class UnreadableReplyError(Exception):
    """The reply to a job cannot be read: it is from a service of another version, or from another program."""


class ClientUseError(RuntimeError):
    """Base class: the client cannot be used in this process, event loop or state. Nothing was sent."""


class ForkedClientError(ClientUseError):
    """Another process opened the client, and this one is a fork of it."""


class WrongLoopError(ClientUseError):
    """Another event loop opened the client, or the client's own thread would wait for itself."""


class ClosedClientError(ClientUseError, ConnectionLostError):
    """The client is closed."""


class ArgumentError(ValueError):
    """An argument of a call cannot be used, such as a negative timeout. Nothing was sent."""


class UnsendableJobError(ValueError):
    """JSON cannot express the job; the message names the place. Nothing was sent."""


class JobTooLargeError(ConfigurationError):
    """RabbitMQ accepts no message of the job's size."""


ERRORS: dict[str, type[JobFailedError]] = {
    ErrorCode.INVALID_JOB: InvalidJobError,
    ErrorCode.CLASSIFIER_ERROR: ClassifierError,
    ErrorCode.CRASHED: CrashedError,
    ErrorCode.TIMED_OUT: TimedOutError,
    ErrorCode.OVER_LIMIT: OverLimitError,
    ErrorCode.INVALID_OUTPUT: InvalidOutputError,
}


def failure(reply: Reply) -> JobFailedError:
    """Make the exception for the reply of a failed job."""
    code = str(reply.error.code) if reply.error else ""
    return ERRORS.get(code, JobFailedError)(reply)
