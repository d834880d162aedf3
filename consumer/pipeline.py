"""One message from delivery to settlement: read, slot, run, decide, reply, settle.

The one place that settles, and it settles last: a reply is confirmed by RabbitMQ before the job is acked, so a
crash between the two gives a second reply with the same job id, never a lost one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

from consumer.disposition import BURY, Disposition, Settlement, decide, decide_unroutable
from consumer.job import Invalid, Job, Outcome, Request, Unroutable, Unsuccessful
from consumer.messages import Message, error_record, read_job, read_request, reply, retry_copy
from consumer.metrics import Metrics
from consumer.pool import Pool
from consumer.runner import Slot
from consumer.settings import Settings
from consumer.topology import Topology

log = logging.getLogger(__name__)


class Delivery(Protocol):
    """A message that wants to be settled once."""

    @property
    def message(self) -> Message:
        """What was delivered."""

    async def ack(self) -> None:
        """RabbitMQ forgets the message."""

    async def dead_letter(self) -> None:
        """RabbitMQ moves the message to the dead-letter exchange."""

    async def requeue(self) -> None:
        """RabbitMQ puts the message back."""


class Publisher(Protocol):
    """Publishes with confirms."""

    async def publish(self, message: Message, queue: str) -> str | None:
        """Return None once RabbitMQ has the message, or why the queue did not get it."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What handling a message needs. `interrupt` ends all running jobs; `consumer` names us in error records."""

    settings: Settings
    topology: Topology
    pool: Pool[Slot]
    publisher: Publisher
    metrics: Metrics
    consumer: str
    interrupt: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def handle(self, delivery: Delivery) -> None:
        """Take one delivery to its settlement: exactly one on every path."""
        started = time.monotonic()
        request = read_request(delivery.message, self.topology)
        self.metrics.received(request)
        job = self._read_job(delivery, request)
        outcome = job if isinstance(job, Invalid) else await self._run(job)
        decided = decide(outcome, attempt=request.attempt, max_attempts=self.settings.max_attempts)
        settlement = await self._settle(delivery, request, outcome, decided)
        self.metrics.ended(outcome, settlement, total_s=time.monotonic() - started)
        _report(request, outcome, settlement)

    def _read_job(self, delivery: Delivery, request: Request) -> Job | Invalid:
        return read_job(
            delivery.message,
            request,
            max_body_bytes=self.settings.max_body_bytes,
            timeout_s=self.settings.job_timeout_s,
            longest_timeout_s=self.settings.longest_timeout_s,
        )

    async def _run(self, job: Job) -> Outcome:
        """Prefetch equals the pool's size, so this never waits long for a slot."""
        async with self.pool.slot() as slot:
            self.metrics.slots(busy=self.pool.busy, size=self.pool.size)
            outcome = await slot.run(job, self.interrupt)
        self.metrics.slots(busy=self.pool.busy, size=self.pool.size)
        return outcome

    async def _settle(
        self, delivery: Delivery, request: Request, outcome: Outcome, decided: Disposition
    ) -> Settlement:
        """Publish what the decision asks for, then tell RabbitMQ. A publish that fails changes the decision."""
        if decided.settlement is Settlement.RETRY and not await self._retry(delivery, request):
            decided = BURY
        if decided.reply and request.reply_to:
            fault = await self.publisher.publish(reply(request, outcome), request.reply_to)
            if fault:
                self.metrics.unroutable()
                log.warning("job %s: the reply was not delivered: %s", request.id, fault)
                decided = decide_unroutable(decided, request.reply_to)
                outcome = _with_fault(outcome, fault)
        if decided.records and isinstance(outcome, Unsuccessful):
            await self._record(request, outcome)
        match decided.settlement:
            case Settlement.ACK | Settlement.RETRY:
                await delivery.ack()
            case Settlement.DEAD_LETTER:
                await delivery.dead_letter()
            case Settlement.REQUEUE:
                await delivery.requeue()
        return decided.settlement

    async def _retry(self, delivery: Delivery, request: Request) -> bool:
        queue = self.topology.retry(request.attempt)
        fault = await self.publisher.publish(retry_copy(delivery.message, request), queue)
        if fault:
            log.error("job %s cannot be tried again: %s; create it, or start with `declare`", request.id, fault)
        return fault is None

    async def _record(self, request: Request, outcome: Unsuccessful) -> None:
        """A record that finds no stream is only logged: the dead-lettered job itself is what must not be lost."""
        record = error_record(request, outcome, consumer=self.consumer)
        if fault := await self.publisher.publish(record, self.topology.errors):
            log.error("job %s leaves no error record: %s", request.id, fault)


def _with_fault(outcome: Outcome, fault: str) -> Outcome:
    """A job that had a result is dead-lettered for its reply alone; one that had none keeps its own reason."""
    return outcome if isinstance(outcome, Unsuccessful) else Unroutable(message=fault, run_s=outcome.run_s)


def _report(request: Request, outcome: Outcome, settlement: Settlement) -> None:
    ending = type(outcome).__name__
    if isinstance(outcome, Unsuccessful):
        log.warning("job %s: %s, %s: %s", request.id, ending, settlement.value, outcome.message)
    else:
        log.info("job %s: %s, %s after %.0f ms", request.id, ending, settlement.value, outcome.run_s * 1000)
