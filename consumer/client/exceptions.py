"""How a job can fail its caller: an exception for each error code of a reply. Only the client raises them.

To the service a job's ending is a value (job.py); who has asked for a result and gets none wants to be told by
an exception. `retryable` says whether the same job may well succeed at another time: the service has then
already tried it again as often as it may.
"""

from __future__ import annotations

from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.job import ErrorCode
from consumer.wire.write import Reply


class JobFailedError(Exception):
    """A job has ended without a result. Itself only for a code that is newer than this client."""

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
        super().__init__(f"job {self.job_id}: {self.code}: {self.message}")

    def __reduce__(self) -> tuple[type[JobFailedError], tuple[Reply]]:
        """Pickle it, as process pools do with what is raised in them."""
        return type(self), (self.reply,)


class InvalidJobError(JobFailedError):
    """What was sent is no job; the message says what to change."""


class ClassifierError(JobFailedError):
    """The classifier said `ERROR:`, and would say so again."""


class CrashedError(JobFailedError):
    """The classifier ended without an answer; `stderr_tail` has its last words."""


class TimedOutError(JobFailedError):
    """The classifier was still at work when the job's run time was over."""


class OverLimitError(JobFailedError):
    """The classifier went over a limit."""


class InvalidOutputError(JobFailedError):
    """The classifier's answer is not JSON."""


class UnreadableReplyError(Exception):
    """What came in answer to a job is no reply: a service of another version, or not this one."""


class ClientUseError(RuntimeError):
    """Never raised itself; a client is used where or when it cannot work. Nothing was sent."""


class ForkedClientError(ClientUseError):
    """Another process opened the client, and this one is a fork of it."""


class WrongLoopError(ClientUseError):
    """Another event loop opened the client, or the client's own thread would wait for itself."""


class ClosedClientError(ClientUseError, ConnectionLostError):
    """The client is closed."""


class ArgumentError(ValueError):
    """An argument of a call cannot be used, such as a negative timeout. Nothing was sent."""


class UnsendableJobError(ValueError):
    """A job has no form in JSON; the message names the place. Nothing was sent."""


class JobTooLargeError(ConfigurationError):
    """RabbitMQ takes no message of a job's size."""


ERRORS: dict[str, type[JobFailedError]] = {
    ErrorCode.INVALID_JOB: InvalidJobError,
    ErrorCode.CLASSIFIER_ERROR: ClassifierError,
    ErrorCode.CRASHED: CrashedError,
    ErrorCode.TIMED_OUT: TimedOutError,
    ErrorCode.OVER_LIMIT: OverLimitError,
    ErrorCode.INVALID_OUTPUT: InvalidOutputError,
}


def failure(reply: Reply) -> JobFailedError:
    """Make the exception for a reply without an output."""
    code = str(reply.error.code) if reply.error else ""
    return ERRORS.get(code, JobFailedError)(reply)
