"""The path of one message: read → look up → run in a slot → decide → publish → settle.

A delivery dies with its connection, a run does not. The run's outcome is cached and answers the redelivery. For a
delivery that is gone nothing new is published, as the redelivery that follows will do so. settle.py publishes and
settles.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from consumer.config.settings import Settings
from consumer.disposition import Settlement, decide
from consumer.errors import ConnectionLostError
from consumer.job import Abandoned, Interrupted, Invalid, Job, Outcome, Request, Unsuccessful
from consumer.runners.batch_pool import BatchPool
from consumer.runners.pool import Pool
from consumer.runners.runner import Slot
from consumer.service.delivery import Settleable
from consumer.service.outcome_cache import Identity, Remembered
from consumer.service.progress import reporting
from consumer.service.settle import Answers, Settler
from consumer.service.stuck_slots import Due
from consumer.telemetry import log_context
from consumer.telemetry.log_context import JobContext
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import UNTRACED, Tracer
from consumer.wire.read import read_job, read_request
from consumer.wire.reply_address import CALLERS_OWN_PREFIXES
from consumer.wire.topology import Topology
from consumer.wire.write import progress_report

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What handling a message needs. `interrupt` ends all running jobs.

    Mutable state: `running`, the outcomes to come; `remembered`, those of before; `due`, when each run must have
    ended.
    """

    settings: Settings
    topology: Topology
    pool: Pool[Slot] | BatchPool
    metrics: Metrics
    settler: Settler
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
                outcome, settlement = await self._process(delivery, request, context)
            except ConnectionLostError as error:
                # The one place that knows: what cannot be settled need not be. RabbitMQ delivers it again.
                self.metrics.lost()
                context.trace.lost(error)
                log.warning(
                    "job %s is not settled and will be delivered again: %s",
                    request.id,
                    error,
                    extra={"event": "job_not_settled"},
                )
                return
            context.trace.settled(outcome, settlement)
        self.metrics.ended(outcome, settlement, total_s=time.monotonic() - started)
        _report(request, outcome, settlement)

    async def _process(
        self, delivery: Settleable, request: Request, context: JobContext
    ) -> tuple[Outcome, Settlement]:
        """Read, look up, run, decide, settle; return what the producer was told, and the settlement."""
        job = read_job(delivery.message, request, self.settings.job_rules)
        if isinstance(job, Invalid):
            return await self._settle(Answers(delivery, None, self.remembered), request, job, context)
        identity = Identity.of(job)
        context.model = job.model
        outcome = await self._look_up(delivery, job, identity) or await self._run(delivery, job, identity, context)
        return await self._settle(Answers(delivery, identity, self.remembered), request, outcome, context)

    async def _settle(
        self, answers: Answers, request: Request, outcome: Outcome, context: JobContext
    ) -> tuple[Outcome, Settlement]:
        decided = decide(outcome, attempt=request.attempt, max_attempts=self.settings.max_attempts)
        request = context.trace.answers(request, outcome, decided)
        return await self.settler.settle(answers, request, outcome, decided)

    async def _look_up(self, delivery: Settleable, job: Job, identity: Identity) -> Outcome | None:
        """Return the outcome of a job that need not run: it ran lately, it runs now, or its caller has gone.

        Waiting for a run holds no slot, and a run never waits: redeliveries may fill the whole prefetch while
        their runs fill the pool.
        """
        if delivery.redelivered:
            known = self.remembered.find(identity)
            if known is None and (run := self.running.get(identity)):
                log.info(
                    "job %s came again while it runs: waiting for its outcome",
                    job.request.id,
                    extra={"event": "job_redelivered"},
                )
                with delivery.while_alive():
                    known = await asyncio.shield(run)
            if known is not None:
                self.metrics.count("jobs.remembered")
                return known
        if await self._is_abandoned(delivery, job.request.reply_to):
            log.info("job %s does not run: its caller has gone", job.request.id, extra={"event": "job_abandoned"})
            return Abandoned()
        return None

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


def _report(request: Request, outcome: Outcome, settlement: Settlement) -> None:
    ending = type(outcome).__name__
    told = {"event": "job_settled", "outcome": ending, "settlement": settlement.value}
    if isinstance(outcome, Unsuccessful):
        log.warning("job %s: %s, %s: %s", request.id, ending, settlement.value, outcome.message, extra=told)
    else:
        log.info(
            "job %s: %s, %s after %.0f ms", request.id, ending, settlement.value, outcome.run_s * 1000, extra=told
        )
