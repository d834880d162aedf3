"""What this package needs of a delivery: interfaces that `rabbitmq/session.py` implements, and fakes in tests."""

from __future__ import annotations

from typing import Protocol

from consumer.rabbitmq.connection_scope import Waiting
from consumer.wire.message import Message


class Publishing(Protocol):
    """Publishes what answers a message; `rabbitmq/publisher.py` is the real one."""

    async def publish(self, message: Message, queue: str) -> str | None:
        """Return None once RabbitMQ has the message, or the reason why the queue did not get it."""

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        """Publish like `publish`. If RabbitMQ does not confirm, give the message up and keep the connection."""

    async def publish_at_most_once(self, message: Message, queue: str) -> None:
        """Publish a message that may be lost; the caller does not learn whether it was."""


class QueueLookup(Protocol):
    """Knows which queues there are; `rabbitmq/admin.py` is the real one."""

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
        """The administration of the same session, which looks queues up."""

    def while_alive(self) -> Waiting:
        """Limit the waits of the block to the time in which the message can be settled."""

    async def ack(self) -> None:
        """Ack: RabbitMQ deletes the message."""

    async def dead_letter(self) -> None:
        """Reject: RabbitMQ moves the message to the dead-letter exchange."""

    async def requeue(self) -> None:
        """Requeue: RabbitMQ returns the message to the queue."""
