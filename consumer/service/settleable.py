"""The interfaces of a delivery for this package.

`rabbitmq/delivery.py` implements `Settleable`, and fakes in tests do, too.
"""

from __future__ import annotations

from typing import Protocol

from consumer.rabbitmq.connection_scope import Waiting
from consumer.wire.message import Message


class Publishing(Protocol):
    """Publishes replies, retries, error records and progress. `rabbitmq/publisher.py` implements it."""

    async def publish(self, message: Message, queue: str) -> str | None:
        """Publish; return None after RabbitMQ's confirm, or the reason why the queue did not get the message."""

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        """Publish like `publish`. If RabbitMQ does not confirm, give the message up and keep the connection."""

    async def publish_at_most_once(self, message: Message, queue: str) -> None:
        """Publish a message that may be lost; the caller does not learn whether it arrived."""


class QueueLookup(Protocol):
    """Finds out whether a queue exists. `rabbitmq/admin.py` implements it."""

    async def has_queue(self, name: str) -> bool:
        """Return False if RabbitMQ has no queue, and no direct reply-to address, of that name."""


class Settleable(Protocol):
    """A message that must be answered and settled once, while its connection exists.

    After the connection is lost, every method raises ConnectionLostError.
    """

    @property
    def message(self) -> Message:
        """The delivered message."""

    @property
    def redelivered(self) -> bool:
        """Whether a consumer, perhaps this one, received it before."""

    @property
    def consumer(self) -> str:
        """The tag of the consumer that received it."""

    @property
    def publisher(self) -> Publishing:
        """The publisher of the session that delivered the message."""

    @property
    def admin(self) -> QueueLookup:
        """The part of the same session that finds queues."""

    def while_alive(self) -> Waiting:
        """Return a context manager that ends the waits in its block when the message can no longer be settled."""

    async def ack(self) -> None:
        """Ack: RabbitMQ deletes the message."""

    async def dead_letter(self) -> None:
        """Reject: RabbitMQ moves the message to the dead-letter exchange."""

    async def requeue(self) -> None:
        """Requeue: RabbitMQ returns the message to the queue."""
