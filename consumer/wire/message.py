"""The AMQP message of this service, and the names of the types and headers that it uses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from consumer.values import value

SUCCEEDED_TYPE = "job.succeeded"
FAILED_TYPE = "job.failed"
ERROR_TYPE = "job.error"
PROGRESS_TYPE = "job.progress"
ATTEMPT_HEADER = "attempt"
JOB_ID_HEADER = "job-id"
TIMEOUT_HEADER = "timeout-s"
TRACEPARENT_HEADER = "traceparent"
#: Header: how often a dead letter was replayed. Copies carry it, and so do retries and dead letters of copies.
REPLAYED_HEADER = "replayed"
PROGRESS_HEADER = "progress"
#: Header on the copy for a retry: the reason for the retry. The console shows it with the dead letter. It cannot
#: show the stream of error records, because RabbitMQ has no basic.get for streams.
LAST_ERROR_HEADER = "last-error"
#: The length of AMQP's short string, the type of message_id and correlation_id.
MAX_ID_BYTES = 255


@value(frozen=True, slots=True, kw_only=True)
class Message:
    """An incoming or outgoing AMQP message; None for an absent property. `timestamp` is seconds since the epoch.

    Two properties are missing on purpose, so that no copy can carry them: RabbitMQ closes the channel over the
    `user_id` of another user, and it handles `expiration` by itself.
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
    #: Of an outgoing message: whether it survives a restart of RabbitMQ.
    persistent: bool = True
    #: Of an incoming message: properties that could not be decoded, and why. Their values above are None.
    undecodable: Mapping[str, str] = field(default_factory=dict)


class MessageTooLargeError(Exception):
    """A message exceeds RabbitMQ's limit (`max_message_size`); the pipeline then decides again."""

    def __init__(self, size: int, limit: int | None) -> None:
        super().__init__(f"the result has {size} bytes, RabbitMQ takes at most {limit} (max_message_size)")


def replayed(message: Message) -> int:
    """Read how often the message was replayed: 0 if the header is missing, or was not set by this service."""
    count = message.headers.get(REPLAYED_HEADER)
    return count if type(count) is int and count > 0 else 0
