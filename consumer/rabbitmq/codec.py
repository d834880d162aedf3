"""Converts AMQP's properties to a `Message` and back, and keeps the limits that RabbitMQ has reported.

This module needs no connection. Only it knows pamqp's field names.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType

from aio_pika import DeliveryMode
from aio_pika.exceptions import ChannelPreconditionFailed
from pamqp.commands import Basic

from consumer._version import PRODUCT, VERSION
from consumer.rabbitmq.address_breaker import Unreachable
from consumer.rabbitmq.pamqp_patch import Undecodable
from consumer.wire.message import Message

APP_ID = f"{PRODUCT} {VERSION}"

_PROPERTIES = tuple(Basic.Properties.attributes())
_TOO_LARGE = re.compile(r"message size (?:\d+) is larger than configured max size (\d+)")


def received(properties: Basic.Properties, body: bytes) -> Message:
    """Convert a delivery to a `Message`.

    Its `undecodable` has the properties that could not be decoded, and why.
    """
    undecodable = _take_undecodable(properties)
    return Message(
        body=body,
        headers=properties.headers or {},
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        type=properties.message_type,
        timestamp=properties.timestamp.timestamp() if properties.timestamp else None,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        priority=properties.priority,
        app_id=properties.app_id,
        undecodable=undecodable,
    )


def _take_undecodable(properties: Basic.Properties) -> dict[str, str]:
    """Remove the properties that could not be decoded; return each with the reason."""
    found = {name: value for name in _PROPERTIES if type(value := getattr(properties, name)) is Undecodable}
    for name in found:
        setattr(properties, name, None)
    return {name.replace("message_type", "type"): value.why for name, value in found.items()}


def properties(message: Message) -> Basic.Properties:
    """Convert a `Message` to properties.

    Always sets the delivery mode: with the library's default, messages would not survive a restart of RabbitMQ.
    """
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        delivery_mode=DeliveryMode.PERSISTENT if message.persistent else DeliveryMode.NOT_PERSISTENT,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=datetime.fromtimestamp(message.timestamp or time.time(), UTC),
        message_type=message.type,
        app_id=message.app_id or APP_ID,
    )


@dataclass
class BrokerLimits:
    """Limits of RabbitMQ that only its errors reveal. Each error costs a channel.

    Mutable state: `max_message_bytes`, None until RabbitMQ has refused a message; `unreachable`, addresses at
    which RabbitMQ fails; `refusing`, queues that refused their last message; `silent`, queues that did not confirm
    their last message.
    """

    max_message_bytes: int | None = None
    unreachable: Unreachable = field(default_factory=Unreachable)
    refusing: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)

    def refuses(self, message: Message) -> bool:
        """Return whether RabbitMQ is known to refuse a message of this size."""
        return self.max_message_bytes is not None and len(message.body) > self.max_message_bytes

    def learned(self) -> _Learned:
        """Return a context manager for a publish. It stores the limit that RabbitMQ's error names, if any."""
        return _Learned(self)


class _Learned:
    """The context manager of `BrokerLimits.learned`. A class is faster than a generator (connection_scope.py)."""

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, ChannelPreconditionFailed) and (found := _TOO_LARGE.search(str(error))):
            self._limits.max_message_bytes = int(found[1])
