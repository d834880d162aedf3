"""One message from delivery to settlement: read, slot, run, decide, reply, settle.

The one place that settles, and it settles last: a reply is confirmed by RabbitMQ before the job is acked, so a
crash between the two gives a second reply with the same job id, never a lost one.

A delivery dies with its connection, a run does not. The run's outcome is remembered, and answers the redelivery;
so is what RabbitMQ has confirmed by then, and that is not published again. For a delivery that is gone nothing
new is published, as the one that follows it will do so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

from consumer.config.settings import Settings
from consumer.disposition import BURY, Disposition, Settlement, decide, decide_unroutable
from consumer.errors import ConnectionLostError
from consumer.job import (
    Abandoned,
    Interrupted,
    Invalid,
    Job,
    Outcome,
    OverLimit,
    Request,
    Unroutable,
    Unsuccessful,
)
from consumer.runners.batch_pool import BatchPool
from consumer.runners.pool import Pool
from consumer.runners.runner import Slot
from consumer.service.outcome_cache import Identity, Remembered, Sent
from consumer.service.progress import reporting
from consumer.service.stuck_slots import Due
from consumer.telemetry import log_context
from consumer.telemetry.log_context import JobContext
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import UNTRACED, Tracer
from consumer.wire.messages import (
    Message,
    MessageTooLargeError,
    error_record,
    progress_report,
    read_job,
    read_request,
    reply,
    retry_copy,
)
from consumer.wire.reply_address import CALLERS_OWN_PREFIXES
from consumer.wire.topology import Topology

log = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class Answers:
    """What is published for one delivery, but not again what this process had confirmed for the one before it.

    `identity` is None for what was no job, and is always published.
    """

    delivery: Settleable
    identity: Identity | None
    remembered: Remembered

    async def publish(self, message: Message, queue: str) -> str | None:
        """Return None once RabbitMQ has the message, or why the queue did not get it."""
        sent = Sent(queue, message.correlation_id, message.type)
        if self.identity and self.delivery.redelivered and self.remembered.has_sent(self.identity, sent):
            return None
        fault = await self.delivery.publish(message, queue)
        if self.identity and fault is None:
            self.remembered.note_sent(self.identity, sent)
        return fault


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What handling a message needs. `interrupt` ends all running jobs; `consumer` names us in error records.

    Mutable state: `running`, the outcomes to come; `remembered`, those of before; `due`, when each run must have
    ended.
    """

    settings: Settings
    topology: Topology
    pool: Pool[Slot] | BatchPool
    metrics: Metrics
    consumer: str
    remembered: Remembered
    tracer: Tracer = UNTRACED
    running: dict[Identity, asyncio.Future[Outcome]] = field(default_factory=dict)
    due: Due = field(default_factory=Due)
    interrupt: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def handle(self, delivery: Settleable) -> None:
        """Take one delivery to its settlement: exactly one on every path, none where its connection is lost."""
        started = time.monotonic()
        request = read_request(delivery.message, self.topology, reply_to_allowed=self.settings.reply_to_allowed)
        context = log_context.begin(request)
        self.metrics.received(request)
        with self.tracer.receiving(request, len(delivery.message.body)) as context.trace:
            try:
                outcome, settlement = await self._handled(delivery, request, context)
            except ConnectionLostError as error:
                # The one place that knows: what cannot be settled need not be. RabbitMQ delivers it again.
                self.metrics.lost()
                context.trace.lost(error)
                log.warning("job %s is not settled and will be delivered again: %s", request.id, error)
                return
            context.trace.settled(outcome, settlement)
        self.metrics.ended(outcome, settlement, total_s=time.monotonic() - started)
        _report(request, outcome, settlement)

    async def _handled(
        self, delivery: Settleable, request: Request, context: JobContext
    ) -> tuple[Outcome, Settlement]:
        """Run it, decide, answer; return what was settled."""
        job = self._read_job(delivery, request)
        outcome: Outcome
        identity = None
        if isinstance(job, Invalid):
            outcome = job
        else:
            identity = Identity.of(job)
            context.model = job.model
            outcome = await self._outcome(delivery, job, identity, context)
        decided = decide(outcome, attempt=request.attempt, max_attempts=self.settings.max_attempts)
        answers = Answers(delivery, identity, self.remembered)
        return await self._settle(answers, context.trace.answers(request, outcome, decided), outcome, decided)

    def _read_job(self, delivery: Settleable, request: Request) -> Job | Invalid:
        return read_job(
            delivery.message,
            request,
            max_body_bytes=self.settings.max_body_bytes,
            timeout_s=self.settings.job_timeout_s,
            longest_timeout_s=self.settings.longest_timeout_s,
        )

    async def _outcome(self, delivery: Settleable, job: Job, identity: Identity, context: JobContext) -> Outcome:
        """Run the job, but one that comes again only if it neither runs here now nor did so lately.

        Who waits for a run holds no slot, and a run waits for nobody: redeliveries may fill the whole prefetch
        while their runs fill the pool.
        """
        if delivery.redelivered:
            known = self.remembered.find(identity)
            if known is None and (run := self.running.get(identity)):
                log.info("job %s came again while it runs: waiting for its outcome", job.request.id)
                with delivery.while_alive():
                    known = await asyncio.shield(run)
            if known is not None:
                self.metrics.remembered()
                return known
        if await self._is_abandoned(delivery, job.request.reply_to):
            log.info("job %s does not run: its caller has gone", job.request.id)
            return Abandoned()
        return await self._run(delivery, job, identity, context)

    async def _is_abandoned(self, delivery: Settleable, reply_to: str | None) -> bool:
        """Ask before a run only: afterwards the reply itself finds out. Who asks holds no slot."""
        if not (self.settings.drop_if_caller_gone and reply_to and reply_to.startswith(CALLERS_OWN_PREFIXES)):
            return False
        return not await delivery.has_queue(reply_to)

    async def _run(self, delivery: Settleable, job: Job, identity: Identity, context: JobContext) -> Outcome:
        """Without batches prefetch is the size of the pool: then only runs without a connection are waited for."""
        context.trace.waits()
        with delivery.while_alive() as waiting:
            async with self.pool.slot() as slot:
                waiting.over()
                context.slot = self.pool.number(slot)
                job = context.trace.runs(job, context.slot)
                self.metrics.slots(busy=self.pool.busy, size=self.pool.size)
                with self.due.within(job.timeout_s):
                    async with self._told(delivery, job) as told:
                        outcome = await self._run_known(slot, told, identity)
        self.metrics.slots(busy=self.pool.busy, size=self.pool.size)
        return outcome

    def _told(self, delivery: Settleable, job: Job) -> AbstractAsyncContextManager[Job]:
        """Publish the progress of a job that asks for it and names a reply queue: the results are for replies."""
        request = job.request
        address = request.reply_to
        if not request.wants_progress or address is None or address == self.topology.results:
            return nullcontext(job)
        return reporting(job, lambda progress: delivery.tell(progress_report(request, progress), address))

    async def _run_known(self, slot: Slot, job: Job, identity: Identity) -> Outcome:
        """Run the job where a redelivery finds it, and leave its outcome there."""
        run = self.running[identity] = asyncio.get_running_loop().create_future()
        try:
            outcome = await slot.run(job, self.interrupt)
            run.set_result(outcome)
        finally:
            run.cancel()  # does nothing to one that has its result
            if self.running.get(identity) is run:
                del self.running[identity]
        if not isinstance(outcome, Interrupted):
            self.remembered.add(identity, outcome)
        return outcome

    async def _settle(
        self, answers: Answers, request: Request, outcome: Outcome, decided: Disposition
    ) -> tuple[Outcome, Settlement]:
        """Publish what the decision asks for, then tell RabbitMQ. A publish that fails changes the decision."""
        if decided.settlement is Settlement.RETRY and not await self._retry(answers, request, outcome):
            decided = BURY
        recorded = outcome
        if decided.reply and request.reply_to:
            try:
                fault = await answers.publish(reply(request, outcome), request.reply_to)
            except MessageTooLargeError as error:
                return await self._settle(
                    answers, request, OverLimit(message=str(error), run_s=outcome.run_s), BURY
                )
            if fault:
                self.metrics.unroutable()
                log.warning("job %s: the reply was not delivered: %s", request.id, fault)
                decided = decide_unroutable(decided, request.reply_to)
                recorded = _with_fault(outcome, fault)
        if decided.records and isinstance(recorded, Unsuccessful):
            await self._record(answers, request, recorded)
        delivery = answers.delivery
        match decided.settlement:
            case Settlement.ACK | Settlement.RETRY:
                await delivery.ack()
            case Settlement.DEAD_LETTER:
                await delivery.dead_letter()
            case Settlement.REQUEUE:
                await delivery.requeue()
        return outcome, decided.settlement

    async def _retry(self, answers: Answers, request: Request, outcome: Outcome) -> bool:
        queue = self.topology.retry(request.attempt)
        fault = await answers.publish(retry_copy(answers.delivery.message, request, outcome), queue)
        if fault:
            log.error("job %s cannot be tried again: %s; create it, or start with `declare`", request.id, fault)
        return fault is None

    async def _record(self, answers: Answers, request: Request, outcome: Unsuccessful) -> None:
        """A record that finds no stream is only logged: the dead-lettered job itself is what must not be lost."""
        record = error_record(request, outcome, consumer=self.consumer)
        if fault := await answers.publish(record, self.topology.errors):
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
