"""A delivery and the queues around it, without a RabbitMQ: what is published and settled is kept in its order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.wire.message import Message

#: What happened, in order: ("publish", queue), ("ask", queue) and the settlements.
Events = list[tuple[str, str]]


class SettledTwiceError(Exception):
    """RabbitMQ closes the channel over this (PRECONDITION_FAILED, unknown delivery tag)."""


@dataclass
class FakePublisher:
    """Takes every message, but for the queues in `faults`, which answer with a fault or raise.

    A queue with a fault is not there, if it is asked for. `expendable`: where what was published may be given up.
    """

    events: Events = field(default_factory=list)
    faults: dict[str, str | Exception] = field(default_factory=dict)
    taken: dict[str, list[Message]] = field(default_factory=dict)
    expendable: set[str] = field(default_factory=set)

    async def publish(self, message: Message, queue: str) -> str | None:
        await asyncio.sleep(0)  # the real one waits for a confirm: whatever should come later must wait for it
        match self.faults.get(queue):
            case Exception() as error:
                raise error
            case str() as fault:
                return fault
            case None:
                self.events.append(("publish", queue))
                self.taken.setdefault(queue, []).append(message)
                return None

    async def publish_at_most_once(self, message: Message, queue: str) -> None:
        await asyncio.sleep(0)
        if isinstance(fault := self.faults.get(queue), Exception):
            raise fault
        self.events.append(("report", queue))
        self.taken.setdefault(queue, []).append(message)

    async def has_queue(self, name: str) -> bool:
        await asyncio.sleep(0)
        self.events.append(("ask", name))
        if isinstance(fault := self.faults.get(name), Exception):
            raise fault
        return fault is None


@dataclass
class FakeSession:
    """The same queues, while a session lasts."""

    rabbitmq: FakePublisher
    lifetime: Lifetime

    async def publish(self, message: Message, queue: str) -> str | None:
        self.lifetime.raise_if_ended()
        return await self.rabbitmq.publish(message, queue)

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        self.rabbitmq.expendable.add(queue)
        return await self.publish(message, queue)

    async def publish_at_most_once(self, message: Message, queue: str) -> None:
        self.lifetime.raise_if_ended()
        await self.rabbitmq.publish_at_most_once(message, queue)

    async def has_queue(self, name: str) -> bool:
        self.lifetime.raise_if_ended()
        return await self.rabbitmq.has_queue(name)


@dataclass
class FakeDelivery:
    """A delivery that remembers its one settlement and refuses a second, or any once its lifetime is over."""

    message: Message
    rabbitmq: FakePublisher
    redelivered: bool = False
    consumer: str = ""
    lifetime: Lifetime = field(default_factory=Lifetime)
    settlement: str | None = None

    @property
    def publisher(self) -> FakeSession:
        return FakeSession(self.rabbitmq, self.lifetime)

    @property
    def admin(self) -> FakeSession:
        return FakeSession(self.rabbitmq, self.lifetime)

    def while_alive(self) -> Waiting:
        return Waiting(self.lifetime)

    async def ack(self) -> None:
        self._settle("ack")

    async def dead_letter(self) -> None:
        self._settle("dead-letter")

    async def requeue(self) -> None:
        self._settle("requeue")

    def _settle(self, settlement: str) -> None:
        self.lifetime.raise_if_ended()
        if self.settlement:
            raise SettledTwiceError(f"{self.settlement}, then {settlement}")
        self.settlement = settlement
        self.rabbitmq.events.append(("settle", settlement))
