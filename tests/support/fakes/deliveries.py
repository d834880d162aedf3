"""Fakes of a delivery and of RabbitMQ's queues. They record every publish and settlement in order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.wire.message import Message

#: The events in order: ("publish", queue), ("report", queue), ("ask", queue) and ("settle", settlement).
Events = list[tuple[str, str]]


class SettledTwiceError(Exception):
    """A delivery was settled twice.

    RabbitMQ would close the channel (PRECONDITION_FAILED, unknown delivery tag).
    """


@dataclass
class FakePublisher:
    """Accepts every message, except for the queues in `faults`, which return a fault or raise an exception.

    `has_queue` returns False for a queue with a fault. `taken`: the accepted messages by queue. `expendable`: the
    queues to which messages were published that may be given up.
    """

    events: Events = field(default_factory=list)
    faults: dict[str, str | Exception] = field(default_factory=dict)
    taken: dict[str, list[Message]] = field(default_factory=dict)
    expendable: set[str] = field(default_factory=set)

    async def publish(self, message: Message, queue: str) -> str | None:
        await asyncio.sleep(0)  # the real publisher waits for a confirm, so later steps must wait for this call
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
    """The interface of a session to the same queues. It raises after the end of its lifetime."""

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
    """A delivery that stores its settlement. It refuses a second one, and any after the end of its lifetime."""

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
