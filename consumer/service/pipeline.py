"""The path of one message: read → look up → run in a slot → decide → publish → settle.

A delivery ends with its connection, but a run continues. The outcome of the run is cached, and answers the
redelivery. Nothing more is published for the lost delivery, because the redelivery will publish it. settle.py
publishes and settles.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from consumer.config.settings import Settings
from consumer.disposition import decide
from consumer.errors import ConnectionLostError
from consumer.job import Abandoned, Interrupted, Invalid, Job, Outcome, Request
from consumer.runners.pool import Pool
from consumer.service.fetching import Fetching, is_ahead
from consumer.service.outcome_cache import Identity, OutcomeCache
from consumer.service.progress import Reporter
from consumer.service.running import Running
from consumer.service.settle import Answers, Settler
from consumer.service.settleable import Settleable
from consumer.telemetry import log_context
from consumer.telemetry.job_lines import JobLines
from consumer.telemetry.log_context import JobContext
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.tracing import UNTRACED, Tracer
from consumer.wire.read import read_message
from consumer.wire.reply_address import CALLERS_OWN_PREFIXES
from consumer.wire.topology import Topology
from consumer.wire.write import progress_report

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Handles deliveries. `default_model` returns the model of jobs that name none; a reload may change it.

    Mutable state: `running`, a future outcome for each job that waits or runs; `outcomes`, the recent ones.
    """

    settings: Settings
    topology: Topology
    pool: Pool
    fetching: Fetching
    metrics: Metrics
    lines: JobLines
    settler: Settler
    outcomes: OutcomeCache
    tracer: Tracer = UNTRACED
    default_model: Callable[[], str | None] = lambda: None
    running: dict[Identity, asyncio.Future[Outcome]] = field(default_factory=dict)

    async def handle_all(self, next_delivery: Callable[[], Awaitable[Settleable]], running: Running) -> None:
        """Start a task for each delivery; `running` keeps it until the delivery is settled."""
        while True:
            delivery = await next_delivery()
            name = delivery.message.message_id or delivery.message.correlation_id or "(no id)"
            running.start(self.handle(delivery), name)

    async def handle(self, delivery: Settleable) -> None:
        """Handle one delivery and settle it exactly once. If its connection is lost, do not settle it."""
        received_at = time.monotonic()
        request, job = read_message(
            delivery.message, self.topology, self.settings.job_rules, default_model=self.default_model()
        )
        context = log_context.begin(request)
        self.metrics.received(request, is_ahead=is_ahead(delivery.consumer))
        identity: Identity | None = None
        outcome: Outcome
        with self.tracer.receiving(request, len(delivery.message.body)) as context.trace:
            try:
                if isinstance(job, Invalid):
                    outcome = job
                else:
                    identity, context.model = Identity.of(job), job.model
                    outcome = await self._look_up(delivery, job, identity) or await self._run_in_a_slot(
                        delivery, job, identity, context
                    )
                decided = decide(outcome, attempt=request.attempt, max_attempts=self.settings.max_attempts)
                request = context.trace.answers(request, outcome, decided)
                answers = Answers(delivery, identity, self.outcomes)
                outcome, settlement = await self.settler.settle(answers, request, outcome, decided)
            except ConnectionLostError as error:
                self._report_lost(request, context, error)
                return
            context.trace.settled(outcome, settlement)
        now = time.monotonic()
        self.metrics.ended(outcome, settlement, total_s=now - received_at)
        self.lines.settled(request, outcome, settlement, received_at=received_at, now=now)

    async def _look_up(self, delivery: Settleable, job: Job, identity: Identity) -> Outcome | None:
        """Return the outcome of a job that need not run: it ran recently, it runs now, or its caller has gone.

        Waiting for a run holds no slot, and a run never waits: redeliveries may fill the whole prefetch while
        their runs fill the pool.
        """
        if delivery.redelivered:
            known = self.outcomes.find(identity)
            if known is None and (run := self.running.get(identity)):
                log.info(
                    "job %s was redelivered while it runs: waiting for its outcome",
                    job.request.id,
                    extra={"event": "job_redelivered"},
                )
                with delivery.while_alive(), self.fetching.counts_as_running(delivery):
                    await asyncio.wait({run})
                known = None if run.cancelled() else run.result()  # cancelled: lost before it had a slot
            if known is not None:
                self.metrics.count("jobs.remembered")
                return known
        if await self._is_abandoned(delivery, job.request.reply_to):
            log.info("job %s does not run: its caller has gone", job.request.id, extra={"event": "job_abandoned"})
            return Abandoned()
        return None

    async def _is_abandoned(self, delivery: Settleable, reply_to: str | None) -> bool:
        """Whether the caller's queue no longer exists. The check takes place before the run, and holds no slot."""
        if not (self.settings.drop_if_caller_gone and reply_to and reply_to.startswith(CALLERS_OWN_PREFIXES)):
            return False
        return not await delivery.admin.has_queue(reply_to)

    async def _run_in_a_slot(
        self, delivery: Settleable, job: Job, identity: Identity, context: JobContext
    ) -> Outcome:
        """Run the job, and keep the run and its outcome where a redelivery finds them.

        Jobs fetched ahead wait here for a slot. So do new jobs after a reconnect, while runs from the lost
        connection still hold slots.
        """
        run = self.running[identity] = asyncio.get_running_loop().create_future()
        reporter = self._reporter(delivery, job.request)
        context.trace.waits()
        try:
            with delivery.while_alive() as waiting:

                def begins(job: Job, slot: int) -> Job:
                    waiting.over()
                    self.fetching.begins(delivery)
                    self.lines.started(job, slot)
                    return context.trace.runs(job, slot)

                # A job returns once at most, or it could go round without end.
                outcome = await self.pool.run(job, reporter, begins, may_return=not delivery.redelivered)
            run.set_result(outcome)
        finally:
            self.fetching.ended(delivery)
            run.cancel()  # has no effect if it has a result
            if self.running.get(identity) is run:
                del self.running[identity]
            if reporter:
                await reporter.close()
        if not isinstance(outcome, Interrupted):
            self.outcomes.add(identity, outcome)
        return outcome

    def _reporter(self, delivery: Settleable, request: Request) -> Reporter | None:
        """Make a reporter if the job asks for progress and names a reply queue; the results queue gets none."""
        address = request.reply_to
        if not request.wants_progress or address is None or address == self.topology.results:
            return None
        return Reporter(
            lambda progress: delivery.publisher.publish_at_most_once(progress_report(request, progress), address)
        )

    def _report_lost(self, request: Request, context: JobContext, error: ConnectionLostError) -> None:
        """Log that the delivery cannot be settled: RabbitMQ will redeliver the job."""
        self.metrics.lost()
        context.trace.lost(error)
        log.warning(
            "job %s is not settled and will be redelivered: %s",
            request.id,
            error,
            extra={"event": "job_not_settled"},
        )
