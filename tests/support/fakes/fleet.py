"""Consumers of one queue in virtual time: the pools and the fetching are real, RabbitMQ and the slots are fakes.

The fake RabbitMQ follows the rule that matters here: a consumer of lower priority gets a job only while every
consumer of normal priority has reached its prefetch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field

from consumer.job import Interrupted, Job, Outcome, Request, Succeeded
from consumer.runners.pool import Pool
from consumer.runners.run import OnProgress
from consumer.service.fetching import Fetching, is_ahead
from consumer.telemetry.metrics import Metrics

#: Two durations in seconds: from the end of a run until RabbitMQ has the ack, and of a delivery.
SETTLING_S, DELIVERY_S = 0.002, 0.001


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(eq=False)
class Sent:
    """One published job. `came` and `ended`: times; `returns`: how often it returned to the queue."""

    run_s: float
    came: float
    ended: float = -1.0
    returns: int = 0
    is_ahead: bool = False
    #: For each wait at a consumer: the seconds in which any slot of the fleet was free.
    unfair_s: list[float] = field(default_factory=list)


@dataclass(eq=False)
class OpenConsumer:
    """An AMQP consumer in the fake RabbitMQ."""

    member: Member
    tag: str
    prefetch: int
    priority: int
    unsettled: int = 0


@dataclass(frozen=True, eq=False)
class FleetDelivery:
    """The part of a delivery that fetching needs."""

    consumer: str
    redelivered: bool


class FleetQueue:
    """The fake RabbitMQ with one queue. `open`: its consumers; the last one was served most recently."""

    def __init__(self) -> None:
        self.jobs: deque[Sent] = deque()
        self.open: list[OpenConsumer] = []
        self.members: list[Member] = []
        self.failures: list[BaseException] = []
        self._free_s = 0.0
        self._free_since: float | None = None

    def publish(self, job: Sent) -> None:
        self.jobs.append(job)
        self.serve()

    def give_back(self, job: Sent) -> None:
        self.jobs.appendleft(job)
        self.serve()

    def serve(self) -> None:
        while self.jobs:
            with_room = [one for one in self.open if one.unsettled < one.prefetch]
            if not with_room:
                return
            served = max(with_room, key=lambda one: one.priority)  # the first of several
            self.open.remove(served)
            self.open.append(served)
            served.unsettled += 1
            job = self.jobs.popleft()
            job.is_ahead = is_ahead(served.tag)
            asyncio.get_running_loop().call_later(DELIVERY_S, served.member.handle, job, served)

    def watch(self) -> None:
        """Measure the time in which any slot is free: it holds no job, and no job that is being settled."""
        is_free = any(one.pool.busy + one.settling < one.pool.size for one in self.members)
        if self._free_since is not None:
            self._free_s += now() - self._free_since
        self._free_since = now() if is_free else None

    def free_s(self) -> float:
        self.watch()
        return self._free_s


@dataclass
class TimedSlot:
    """Runs each job for the seconds in its body, divided by `speed`."""

    speed: float

    async def run(self, job: Job, _on_progress: OnProgress = None) -> Outcome:
        run_s = float(job.body) / self.speed
        await asyncio.sleep(run_s)
        return Succeeded(output=b"1", run_s=run_s)


class Member:
    """One consumer process of the fleet."""

    def __init__(self, queue: FleetQueue, slots: int, speed: float = 1.0, *, look_ahead: bool = True) -> None:
        self.queue = queue
        self.pool = Pool([TimedSlot(speed)] * slots, Metrics(), clock=now)
        self.fetching = Fetching("jobs", self.pool, Metrics(), look_ahead=look_ahead, clock=now)
        self.settling = 0
        self.tasks: set[asyncio.Task[None]] = set()
        queue.members.append(self)

    async def start(self, name: str) -> None:
        await self.fetching.start(self, name, {})
        self._begin(self.fetching.adjust())

    async def consume(self, _queue: str, *, prefetch: int, tag: str, arguments: Mapping[str, str | int]) -> None:
        assert prefetch > 0, "RabbitMQ takes 0 as unlimited"
        await asyncio.sleep(DELIVERY_S)
        priority = arguments.get("x-priority", 0)
        assert isinstance(priority, int)
        self.queue.open.append(OpenConsumer(self, tag, prefetch, priority))
        self.queue.serve()

    async def cancel(self, tag: str) -> None:
        (cancelled,) = [one for one in self.queue.open if one.member is self and one.tag == tag]
        self.queue.open.remove(cancelled)
        await asyncio.sleep(DELIVERY_S)

    def handle(self, job: Sent, by: OpenConsumer) -> None:
        self._begin(self._handle(job, by))

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._handled)

    def _handled(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            self.queue.failures.extend(filter(None, [task.exception()]))

    async def _handle(self, job: Sent, by: OpenConsumer) -> None:
        delivery = FleetDelivery(by.tag, redelivered=job.returns > 0)
        free_before = self.queue.free_s()

        def begins(asked: Job, _slot: int) -> Job:
            job.unfair_s.append(self.queue.free_s() - free_before)
            self.fetching.begins(delivery)
            return asked

        asked = Job(request=Request(id="1", correlation_id="1"), body=str(job.run_s).encode(), timeout_s=60)
        outcome = await self.pool.run(asked, None, begins, may_return=not delivery.redelivered)
        self.fetching.ended(delivery)
        if isinstance(outcome, Interrupted):
            by.unsettled -= 1
            job.unfair_s.append(self.queue.free_s() - free_before)
            job.returns += 1
            self.queue.give_back(job)
            return
        job.ended = now()
        self.settling += 1
        self.queue.watch()
        await asyncio.sleep(SETTLING_S)
        self.settling -= 1
        by.unsettled -= 1
        self.queue.watch()
        self.queue.serve()


class Fleet:
    """Consumers of one queue, to which `work_off` publishes jobs."""

    def __init__(self, *members: tuple[int, float], look_ahead: bool = True) -> None:
        """`members`: the number and the speed of each consumer's slots. `idle_s`: the result of `_watch`."""
        self.queue = FleetQueue()
        self.members = [Member(self.queue, slots, speed, look_ahead=look_ahead) for slots, speed in members]
        self.idle_s = 0.0

    async def _watch(self) -> None:
        """Measure the longest time for which a member had a free slot while jobs were in the queue."""
        since: dict[Member, float] = {}
        while True:
            for member in self.members:
                if self.queue.jobs and member.pool.busy + member.settling < member.pool.size:
                    self.idle_s = max(self.idle_s, now() - since.setdefault(member, now()))
                else:
                    since.pop(member, None)
            await asyncio.sleep(0.003)

    async def work_off(self, jobs: Iterable[tuple[float, float]]) -> list[Sent]:
        """Publish each job at its time, and return the jobs when all have ended.

        `jobs`: pairs of the time of the publish and the run time, in seconds.
        """
        sent = [Sent(run_s, came) for came, run_s in jobs]
        for number, member in enumerate(self.members):
            await member.start(f"member{number}")
        began = now()
        watching = asyncio.create_task(self._watch())
        for job in sent:
            await asyncio.sleep(began + job.came - now())
            self.queue.publish(job)
        while any(job.ended < 0 for job in sent) and not self.queue.failures:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.1)
        if self.queue.failures:
            raise self.queue.failures[0]
        watching.cancel()
        for job in sent:
            job.came += began
        for member in self.members:
            for task in member.tasks:
                task.cancel()
        return sent
