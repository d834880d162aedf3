"""A session that gets no jobs although some are ready ends, once; any other session stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from support.fakes import virtual_time

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.admin import Depth
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.service.starvation import CHECKS, PERIOD_S, Starvation

LONG_S = 20 * CHECKS * PERIOD_S
QUEUE = "ours.jobs"


@dataclass
class Rabbit:
    """A session, and RabbitMQ behind it.

    Mutable state: `received`; `depths`, what it answers by turns; `asked`, how often; `lifetime`.
    """

    depths: list[Depth | ConnectionLostError | None]
    received: int = 0
    asked: int = 0
    lifetime: Lifetime = field(default_factory=Lifetime)

    @property
    def admin(self) -> Rabbit:
        return self

    async def depth(self, name: str) -> Depth | None:
        assert name == QUEUE
        self.asked += 1
        answer = self.depths[self.asked % len(self.depths)]
        if isinstance(answer, ConnectionLostError):
            raise answer
        return answer

    async def deliver(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.received += 1


READY = Depth(ready=1, consumers=1)


async def ends_within(starvation: Starvation, session: Rabbit, seconds: float) -> bool:
    watch = asyncio.create_task(starvation.watch(session))
    await asyncio.wait({watch}, timeout=seconds)  # it returns when the session has ended
    watch.cancel()
    await asyncio.wait({watch})
    return session.lifetime.ended.done()


def test_it_ends_when_jobs_are_ready_and_none_arrives() -> None:
    async def scenario() -> None:
        session = Rabbit([READY])
        assert not await ends_within(Starvation(QUEUE, lambda: True), session, CHECKS * PERIOD_S - 1)
        assert await ends_within(Starvation(QUEUE, lambda: True), session, CHECKS * PERIOD_S + 1)
        assert QUEUE in session.lifetime.ended.result()

    virtual_time.run(scenario())


@pytest.mark.parametrize(
    ("depths", "has_room"),
    [
        pytest.param([READY], lambda: False, id="every slot is taken"),
        pytest.param([Depth(ready=0, consumers=1)], lambda: True, id="no job is ready"),
        pytest.param([READY, Depth(ready=0, consumers=1)], lambda: True, id="jobs come and go"),
        pytest.param([Depth()], lambda: True, id="this user may not ask"),
        pytest.param([None], lambda: True, id="the queue was deleted"),
        pytest.param([READY, ConnectionLostError("late")], lambda: True, id="RabbitMQ does not always answer"),
    ],
)
def test_it_stays(depths: list[Depth | ConnectionLostError | None], has_room: Callable[[], bool]) -> None:
    async def scenario() -> bool:
        return await ends_within(Starvation(QUEUE, has_room), Rabbit(depths), LONG_S)

    assert not virtual_time.run(scenario())


def test_while_jobs_arrive_it_stays_and_rabbitmq_is_not_asked() -> None:
    async def scenario() -> None:
        session = Rabbit([READY])
        delivering = asyncio.create_task(session.deliver(every_s=PERIOD_S / 2))
        assert not await ends_within(Starvation(QUEUE, lambda: True), session, LONG_S)
        assert not session.asked
        delivering.cancel()

    virtual_time.run(scenario())


def test_a_consumer_that_starves_rightly_reconnects_once_until_a_job_arrives() -> None:
    async def scenario() -> None:
        starvation = Starvation(QUEUE, lambda: True)
        assert await ends_within(starvation, Rabbit([READY]), LONG_S)
        session = Rabbit([READY])
        assert not await ends_within(starvation, session, LONG_S)
        session.received += 1
        assert await ends_within(starvation, session, LONG_S)

    virtual_time.run(scenario())
