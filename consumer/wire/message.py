"""An AMQP message as this service sees it, and the names of the types and headers that it uses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUCCEEDED_TYPE = "job.succeeded"
FAILED_TYPE = "job.failed"
ERROR_TYPE = "job.error"
PROGRESS_TYPE = "job.progress"
ATTEMPT_HEADER = "attempt"
JOB_ID_HEADER = "job-id"
TIMEOUT_HEADER = "timeout-s"
TRACEPARENT_HEADER = "traceparent"
#: How often a dead letter was published again; on the copies, and on what becomes of them.
REPLAYED_HEADER = "replayed"
PROGRESS_HEADER = "progress"
#: On a copy that is tried again: why it is. The console shows it with the dead letter, and cannot read the errors:
#: RabbitMQ has no basic.get for streams.
LAST_ERROR_HEADER = "last-error"
#: AMQP's short string, which message_id and correlation_id are.
MAX_ID_BYTES = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An AMQP message, coming or going; None where a property is absent. `timestamp` is seconds since the epoch.

    Two properties are missing on purpose, so that no copy of ours can carry them: a foreign `user_id` makes
    RabbitMQ close the channel, and `expiration` is RabbitMQ's own business.
    """

    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None
    timestamp: float | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    priority: int | None = None
    app_id: str | None = None
    #: Of a message that goes: whether it is to survive a restart of RabbitMQ.
    persistent: bool = True
    #: Of a message that came: properties that could not be decoded, and why. They are None above.
    undecodable: Mapping[str, str] = field(default_factory=dict)


class MessageTooLargeError(Exception):
    """RabbitMQ's limit (`max_message_size`) is below the size of a message; the pipeline decides again."""

    def __init__(self, size: int, limit: int | None) -> None:
        super().__init__(f"the result has {size} bytes, RabbitMQ takes at most {limit} (max_message_size)")


def replayed(message: Message) -> int:
    """Read how often the message was replayed: 0 where the header is not there, or not ours."""
    count = message.headers.get(REPLAYED_HEADER)
    return count if type(count) is int and count > 0 else 0
