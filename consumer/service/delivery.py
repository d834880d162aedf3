"""A delivery as the path of one message needs it. `rabbitmq/session.py` has the real one, tests have fakes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from consumer.wire.message import Message


class BoundedWait(Protocol):
    """A wait that ends with the connection, unless it is over before."""

    def over(self) -> None:
        """What was waited for is there."""


class Settleable(Protocol):
    """A message that wants to be answered and settled once, while its connection is there.

    Afterwards everything here raises ConnectionLostError.
    """

    @property
    def message(self) -> Message:
        """What was delivered."""

    @property
    def redelivered(self) -> bool:
        """Whether somebody had it before, perhaps ourselves."""

    async def publish(self, message: Message, queue: str) -> str | None:
        """Return None once RabbitMQ has the message, or why the queue did not get it."""

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        """Publish the same way; but if RabbitMQ does not confirm, give the message up and keep the connection."""

    async def tell(self, message: Message, queue: str) -> None:
        """Publish what may be lost; whether it was, nobody hears."""

    async def has_queue(self, name: str) -> bool:
        """Return False if RabbitMQ has no queue, and no direct reply-to address, of that name."""

    def while_alive(self) -> AbstractContextManager[BoundedWait]:
        """Let the block wait no longer than the message can be settled."""

    async def ack(self) -> None:
        """RabbitMQ forgets the message."""

    async def dead_letter(self) -> None:
        """RabbitMQ moves the message to the dead-letter exchange."""

    async def requeue(self) -> None:
        """RabbitMQ puts the message back."""
