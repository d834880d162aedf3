"""Starts the service, consumes, drains and stops. pipeline.py handles the jobs.

At the start the service checks its own side before it connects to RabbitMQ. At a signal it cancels the consumer,
requeues jobs that have not begun, waits for running jobs, ends those that do not finish, and closes. In between,
connections may be lost and restored (supervisor.py) without effect on running jobs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from consumer.config.amqp_url import redacted
from consumer.config.settings import Settings
from consumer.errors import ConnectionLostError
from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.session import Session
from consumer.rabbitmq.supervisor import Supervisor
from consumer.runners.runner import Runner
from consumer.service import fleet
from consumer.service.consumer_info import about, arguments, consumer_name
from consumer.service.fetching import Fetching
from consumer.service.fleet import ConsoleOf
from consumer.service.outcome_cache import OutcomeCache
from consumer.service.pipeline import Pipeline
from consumer.service.queue_gauges import measured
from consumer.service.running import Running
from consumer.service.settle import Settler
from consumer.service.signals import Signals
from consumer.service.starvation import Starvation
from consumer.telemetry.health import Facts
from consumer.telemetry.job_lines import JobLines
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.systemd import Systemd
from consumer.telemetry.tracing import UNTRACED, Tracer
from consumer.wording import counted

log = logging.getLogger(__name__)

#: After a lost connection, RabbitMQ redelivers the jobs that ran but were not settled: at most one job or batch
#: for each slot. Several connections may be lost in a row.
REMEMBERED_PER_JOB = 4


class Service:
    """One consumer, from its first delivery to its last settlement.

    Mutable state: `_is_declared`, set once the queues were declared or found; `_fetch`, the tasks of a session:
    they receive deliveries, adjust the prefetch, and watch and measure the queues.
    """

    def __init__(  # noqa: PLR0913 - all that `serve` has opened for it
        self,
        settings: Settings,
        urls: Sequence[str],
        runner: Runner,
        signals: Signals,
        metrics: Metrics,
        *,
        systemd: Systemd,
        console_of: ConsoleOf,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._signals = signals
        self._topology = settings.topology
        self._metrics = metrics
        self._systemd = systemd
        self._console_of = console_of
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._fetching = Fetching(self._topology.jobs, runner.pool, metrics, look_ahead=settings.look_ahead)
        self.lines = JobLines(settings.log_jobs, consumer_name())
        most_running = runner.pool.size * runner.pool.most_together
        self._pipeline = Pipeline(
            settings=settings,
            topology=self._topology,
            pool=runner.pool,
            fetching=self._fetching,
            metrics=metrics,
            lines=self.lines,
            settler=Settler(topology=self._topology, metrics=metrics, consumer=self.lines.consumer),
            outcomes=OutcomeCache(capacity=max(100, REMEMBERED_PER_JOB * most_running)),
            tracer=tracer,
            default_model=lambda: runner.default_model,
        )
        self._limits = BrokerLimits()
        self._supervisor = Supervisor(urls, self._open_session, changed=self._consuming_changed)
        self._is_declared = False
        self._fetch: list[asyncio.Task[None]] = []
        self._running = Running()
        self._starvation = Starvation(self._topology.jobs, lambda: len(self._running) < runner.pool.size)

    def facts(self) -> Facts:
        return Facts(
            is_loaded=True,
            is_broken=self._runner.is_broken,
            is_consuming=self._supervisor.consuming,
            is_stopping=self._signals.asked.is_set(),
            overdue=self._runner.pool.overdue(),
            running=len(self._running),
            slots=self._runner.pool.size,
            fault=self._supervisor.fault,
        )

    def _consuming_changed(self, consuming: bool) -> None:
        self._metrics.consuming(consuming)
        self._systemd.report()

    async def run(self) -> None:
        """Handle deliveries until asked to stop, then drain."""
        stop = asyncio.create_task(self._signals.asked.wait(), name="stop")
        reload = asyncio.create_task(self._reload_when_asked(), name="reload")
        supervision = asyncio.create_task(self._supervisor.run(), name="supervision")
        ends: set[asyncio.Future[Any]] = {stop, reload, supervision, self._running.broken}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (stop, reload):
                task.cancel()
            if stop.done() and not (supervision.done() or self._running.broken.done()):
                await self._drain(supervision)
        finally:
            self._stop_taking()
            await self._running.end(self._runner.interrupt)
            await self._flush()
            supervision.cancel()
            await asyncio.wait({stop, reload, supervision})
        for task in (reload, supervision):
            if not task.cancelled():
                task.result()
        if self._running.broken.done():
            raise self._running.broken.result()

    @asynccontextmanager
    async def _open_session(self, url: str) -> AsyncIterator[Session]:
        """Open one session: connections, queues and consumers."""
        opening = Session.open(
            url,
            name=consumer_name(),
            limits=self._limits,
            credentials=self._settings.credentials,
            about=about(self._settings),
        )
        async with opening as broker:
            is_first = not self._is_declared
            await self._declare(broker)
            jobs = await broker.admin.depth(self._topology.jobs) if is_first else None
            await self._consume(broker, url)
            self._fetch = [
                asyncio.create_task(self._pipeline.handle_all(broker.inbox.get, self._running), name="take"),
                asyncio.create_task(self._fetching.adjust(), name="adjust prefetch"),
                asyncio.create_task(self._describe_when_renewed(), name="describe"),
                asyncio.create_task(self._starvation.watch(broker), name="starvation"),
            ]
            if self._settings.reports_metrics:
                depths = measured(broker.admin, broker.publisher, self._topology, self._metrics)
                self._fetch.append(asyncio.create_task(depths, name="queue depths"))
            if jobs and jobs.consumers:  # before this one
                us = fleet.described(consumer_name(), self._arguments())
                comparison = fleet.report_differences(self._console_of, url, self._topology.jobs, us)
                self._fetch.append(asyncio.create_task(comparison, name="compare"))
            for task in self._fetch:
                task.add_done_callback(self._running.ended)
            try:
                yield broker
            finally:
                self._stop_taking()

    async def _declare(self, broker: Session) -> None:
        """Declare or find the queues, the dead-letter exchange first.

        Only the first session creates queues: a queue that is missing later was deleted on purpose.
        """
        if self._settings.declare and not self._is_declared:
            await broker.admin.declare(self._topology)
        else:
            await broker.admin.check(self._topology)

    async def _consume(self, broker: Session, url: str) -> None:
        tag = f"{self._settings.prefix}.{consumer_name().replace(':', '.')}.{secrets.token_hex(3)}"
        jobs = self._topology.jobs
        await self._fetching.start(broker, tag, self._arguments())
        if not self._is_declared:
            log.info("runs %s", self._runner.description, extra={"event": "runner_opened"})
            log.info(
                "ready: %s, jobs from %s at %s",
                counted(self._settings.pool_size, "slot"),
                jobs,
                redacted(url),
                extra={"event": "ready"},
            )
        self._is_declared = True

    def _arguments(self) -> dict[str, str]:
        return arguments(self._settings, self._runner.loaded, self._since)

    async def _describe_when_renewed(self) -> None:
        while await self._runner.renewed.wait():
            self._runner.renewed.clear()
            await self._fetching.describe(self._arguments())

    def _stop_taking(self) -> None:
        for task in self._fetch:
            task.cancel()

    async def _reload_when_asked(self) -> None:
        """Reload at each signal, one reload at a time. A signal during a reload causes another reload."""
        while await self._signals.reload.wait():
            self._signals.reload.clear()
            with self._systemd.reloading():
                await self._runner.reload()

    async def _drain(self, supervision: asyncio.Task[None]) -> None:
        """Take no more jobs, and wait for the running ones, with or without a connection."""
        self._systemd.report()  # report the stop now, not at the next ping
        # Stop consuming first, then requeue: the other way round RabbitMQ would redeliver the jobs to this
        # consumer.
        self._supervisor.end_with_this_session()
        self._stop_taking()
        if session := self._supervisor.session:
            with suppress(ConnectionLostError):
                await session.stop_consuming()
                self._runner.pool.return_waiting(even_again=True)
                while not session.inbox.empty():
                    await session.inbox.get_nowait().requeue()
        else:
            supervision.cancel()
            if self._running:
                log.warning(
                    "no connection to RabbitMQ: running jobs may finish, but RabbitMQ will redeliver them",
                    extra={"event": "draining_unconnected"},
                )
        await self._running.wait(self._settings.drain_grace_s, self._signals.forced)

    async def _flush(self) -> None:
        """Wait until RabbitMQ has all acks.

        A closing connection may drop them, and a lost ack causes a second run.
        """
        if session := self._supervisor.session:
            with suppress(ConnectionLostError):
                await session.flush()
