"""Stand-ins for RabbitMQ and for a slot that several test files share, and small tools around them.

A fake keeps the rules of the thing that it stands for: a delivery that is settled twice raises.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec

from consumer.cli.event_loop import run_async
from consumer.job import Job, Outcome
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.runners.run import OnProgress
from consumer.telemetry import log_context
from consumer.wire.message import Message

P = ParamSpec("P")
NOBODY = 65534
#: Seconds that no test takes unless something hangs.
PATIENCE_S = 60.0
#: What happened, in order: ("publish", queue), ("ask", queue) and the settlements.
Events = list[tuple[str, str]]


def runs_async(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own, of the kind that the commands use; see that no task is left.

    And that asyncio has nothing to complain of, such as an exception that nobody has asked for.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        complaints: list[dict[str, object]] = []

        async def body() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
            async with asyncio.timeout(PATIENCE_S):
                await test(*args, **kwargs)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.sleep(0)  # a task that was just cancelled ends in the next turn of the loop
            assert not {task for task in left if not task.done()}

        run_async(body())
        assert complaints == []

    return run


def never() -> asyncio.Future[None]:
    """Make an interrupt that does not come."""
    return asyncio.get_running_loop().create_future()


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Give a new folder, as a user whom permissions stop: root's own tests would pass whatever the modes are."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        folder = Path(tempfile.mkdtemp())
        try:
            yield folder
        finally:
            folder.chmod(0o700)
            shutil.rmtree(folder)
    finally:
        if is_root:
            os.seteuid(0)


@contextmanager
def jobs_told() -> Iterator[list[dict[str, log_context.Field]]]:
    """Collect, of each record that is logged in the block, what it knows of its job."""
    told: list[dict[str, log_context.Field]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's signature
            told.append(log_context.fields())

    listener, root = Listener(), logging.getLogger()
    root.addHandler(listener)
    yield told
    root.removeHandler(listener)


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

    async def tell(self, message: Message, queue: str) -> None:
        await asyncio.sleep(0)
        if isinstance(fault := self.faults.get(queue), Exception):
            raise fault
        self.events.append(("tell", queue))
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

    async def tell(self, message: Message, queue: str) -> None:
        self.lifetime.raise_if_ended()
        await self.rabbitmq.tell(message, queue)

    async def has_queue(self, name: str) -> bool:
        self.lifetime.raise_if_ended()
        return await self.rabbitmq.has_queue(name)


@dataclass
class FakeDelivery:
    """A delivery that remembers its one settlement and refuses a second, or any once its lifetime is over."""

    message: Message
    rabbitmq: FakePublisher
    redelivered: bool = False
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


@dataclass
class FakeSlot:
    """Ends every job in the given way, at once."""

    outcome: Outcome | Exception
    jobs: list[Job] = field(default_factory=list)

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:  # noqa: ARG002 - Slot's signature
        self.jobs.append(job)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class HeldSlot:
    """Runs each job until the test says how it ends; `jobs` holds what it has begun."""

    jobs: list[Job] = field(default_factory=list)
    ending: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:  # noqa: ARG002 - Slot's signature
        self.jobs.append(job)
        self.begun.set()
        return await asyncio.shield(self.ending)
