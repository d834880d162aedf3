"""Starts the service, consumes, drains and stops. pipeline.py handles the jobs.

At the start the service checks its own side before it connects to RabbitMQ. At a signal it cancels the consumer,
requeues jobs that have not begun, waits for running jobs, ends those that do not finish, and closes. In between,
connections may be lost and restored (supervisor.py) without effect on running jobs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from consumer.config.amqp_url import redacted
from consumer.config.settings import Settings
from consumer.errors import ConnectionLostError
from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.session import Delivery, Session
from consumer.rabbitmq.supervisor import Link
from consumer.runners.child import DRAIN_S, KILL_GRACE_S
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import Runner, open_runner
from consumer.service import resource_gauges
from consumer.service.consumer_info import about
from consumer.service.outcome_cache import Remembered
from consumer.service.pipeline import Pipeline
from consumer.service.settle import Settler
from consumer.service.signals import Signals
from consumer.telemetry.health import Facts, Health
from consumer.telemetry.http_server import serving
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.systemd import Systemd
from consumer.telemetry.tracing import UNTRACED, Tracer, tracing

log = logging.getLogger(__name__)

#: For interrupted jobs to end: their grace period, and time to settle them.
INTERRUPT_S = KILL_GRACE_S + DRAIN_S + 5.0
#: While the service drains, it logs the running jobs again after this time.
TELL_AGAIN_S = 10.0
#: After a lost connection, RabbitMQ redelivers at most a prefetch of messages; several connections may be lost in
#: a row.
REMEMBERED_PER_JOB = 4


def consumer_name() -> str:
    """Name this process, for connection names, consumer tags and error records."""
    return f"{socket.gethostname()}:{os.getpid()}"


def too_powerful(euid: int) -> str | None:
    """Return a warning if the service runs as root; None if it does not."""
    if euid != 0:
        return None
    return (
        "running as root: classifiers run as root too, and most limits do not apply to root; use an unprivileged "
        "user"
    )


async def serve(settings: Settings, urls: Sequence[str]) -> None:
    """Run jobs until a signal stops the service.

    Raises:
        ConfigurationError: a setting or the classifier cannot be used; nothing was consumed.
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError: at the start; nothing was consumed.
    """
    if warning := too_powerful(os.geteuid()):
        log.warning("%s", warning, extra={"event": "runs_as_root"})
    with (
        Signals.installed() as signals,
        tracing(settings.topology.jobs, consumer_name(), is_on=settings.tracing) as tracer,
    ):
        metrics, health = Metrics.from_settings(settings), Health()
        systemd = Systemd(os.environ, health)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(systemd.reporting())
            if settings.http_port is not None:
                pages = serving(health.pages(metrics), settings.http_host, settings.http_port)
                port = await stack.enter_async_context(pages)
                log.info(
                    "health and metrics at http://%s:%d",
                    settings.http_host,
                    port,
                    extra={"event": "http_listening"},
                )
            # Opened after the pages, and closed before them, because removing files may take a while.
            files = await stack.enter_async_context(JobFiles.opened_aside(settings.job_dir))
            if settings.statsd_host is not None or settings.http_port is not None:
                await stack.enter_async_context(resource_gauges.told(metrics, files.folder))
            opening = open_runner(settings, files, os.environ, size=settings.pool_size, metrics=metrics)
            if runner := await _unless_stopped(stack.enter_async_context(opening), signals):
                service = Service(settings, urls, runner, signals, metrics, tracer=tracer, systemd=systemd)
                health.facts = service.facts
                await service.run()
    log.info("stopped", extra={"event": "stopped"})


async def _unless_stopped(opening: Coroutine[Any, Any, Runner], signals: Signals) -> Runner | None:
    """Load the classifier, which may take a minute; return None at once if the service is stopped meanwhile."""
    load = asyncio.create_task(opening, name="load")
    stop = asyncio.create_task(signals.asked.wait(), name="stop")
    await asyncio.wait({load, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not load.done():
        load.cancel()
        await asyncio.wait({load})
    return None if load.cancelled() else load.result()


class Service:
    """One consumer, from its first delivery to its last settlement.

    Mutable state: `_running`, a task for each delivery in progress, with its start time; `_is_declared`, set once
    the queues were declared or found; `_take`, the task that receives deliveries; `_broken`, set by an unexpected
    error.
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
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._settings = settings
        self._runner = runner
        self._signals = signals
        self._topology = settings.topology
        self._metrics = metrics
        self._systemd = systemd
        self._pipeline = Pipeline(
            settings=settings,
            topology=self._topology,
            pool=runner.pool,
            metrics=metrics,
            settler=Settler(topology=self._topology, metrics=metrics, consumer=consumer_name()),
            remembered=Remembered(capacity=max(100, REMEMBERED_PER_JOB * settings.prefetch)),
            tracer=tracer,
        )
        self._limits = BrokerLimits()
        self._link = Link(urls, self._life, changed=self._consuming_changed)
        self._is_declared = False
        self._take: asyncio.Task[None] | None = None
        self._running: dict[asyncio.Task[None], float] = {}
        self._broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def facts(self) -> Facts:
        """Return the facts from which the health is derived."""
        return Facts(
            is_loaded=True,
            is_broken=self._runner.is_broken,
            is_consuming=self._link.consuming,
            is_stopping=self._signals.asked.is_set(),
            overdue=self._runner.pool.overdue(),
            running=len(self._running),
            slots=self._runner.pool.size,
        )

    def _consuming_changed(self, consuming: bool) -> None:
        self._metrics.consuming(consuming)
        self._systemd.report()

    async def run(self) -> None:
        """Handle deliveries until asked to stop, then drain."""
        stop = asyncio.create_task(self._signals.asked.wait(), name="stop")
        reload = asyncio.create_task(self._reload_when_asked(), name="reload")
        link = asyncio.create_task(self._link.run(), name="link")
        ends: set[asyncio.Future[Any]] = {stop, reload, link, self._broken}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in (stop, reload):
                task.cancel()
            if stop.done() and not (link.done() or self._broken.done()):
                await self._drain(link)
        finally:
            self._stop_taking()
            await self._interrupt()
            await self._flush()
            link.cancel()
            await asyncio.wait({stop, reload, link})
        for task in (reload, link):
            if not task.cancelled():
                task.result()
        if self._broken.done():
            raise self._broken.result()

    @asynccontextmanager
    async def _life(self, url: str) -> AsyncIterator[Session]:
        """Open one session: connections, queues and deliveries."""
        opening = Session.open(
            url,
            name=consumer_name(),
            limits=self._limits,
            credentials=self._settings.credentials,
            about=about(self._settings),
        )
        async with opening as broker:
            await self._consume(broker, url)
            self._take = asyncio.create_task(self._take_deliveries(broker), name="take")
            self._take.add_done_callback(self._ended)
            try:
                yield broker
            finally:
                self._take.cancel()

    async def _consume(self, broker: Session, url: str) -> None:
        """Declare or find the queues, the dead-letter exchange first; then start to consume.

        Only the first session creates queues: a queue that is missing later was deleted on purpose.
        """
        if self._settings.declare and not self._is_declared:
            await broker.admin.declare(self._topology)
        else:
            await broker.admin.check(self._topology)
        tag = f"{self._settings.prefix}.{consumer_name().replace(':', '.')}.{secrets.token_hex(3)}"
        jobs = self._topology.jobs
        await broker.consume(jobs, prefetch=self._settings.prefetch, tag=tag, arguments=about(self._settings))
        if not self._is_declared:
            log.info("runs %s", self._runner.description, extra={"event": "runner_opened"})
            log.info(
                "ready: %d slots, jobs from %s at %s",
                self._settings.pool_size,
                jobs,
                redacted(url),
                extra={"event": "ready"},
            )
        self._is_declared = True

    async def _take_deliveries(self, broker: Session) -> None:
        while True:
            self._start(await broker.inbox.get())

    def _stop_taking(self) -> None:
        if self._take:
            self._take.cancel()

    async def _reload_when_asked(self) -> None:
        """Reload at each signal, one reload at a time. A signal during a reload causes another reload."""
        while await self._signals.reload.wait():
            self._signals.reload.clear()
            with self._systemd.reloading():
                await self._runner.reload()

    def _start(self, delivery: Delivery) -> None:
        name = delivery.message.message_id or delivery.message.correlation_id or "(no id)"
        task = asyncio.create_task(self._pipeline.handle(delivery), name=name)
        self._running[task] = time.monotonic()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Remove the task. An error in it is a bug: stop the service, so that RabbitMQ requeues the message."""
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) and not self._broken.done():
            self._broken.set_result(error)

    async def _drain(self, link: asyncio.Task[None]) -> None:
        """Take no more jobs, and wait for the running ones, with or without a connection."""
        self._systemd.report()  # report the stop now, not at the next ping
        # Stop consuming first, then requeue: the other way round RabbitMQ would redeliver the jobs to this
        # consumer.
        self._link.end_with_this_life()
        self._stop_taking()
        if broker := self._link.life:
            with suppress(ConnectionLostError):
                await broker.stop_consuming()
                while not broker.inbox.empty():
                    await broker.inbox.get_nowait().requeue()
        else:
            link.cancel()
            if self._running:
                log.warning(
                    "no connection to RabbitMQ: running jobs may finish, but RabbitMQ will redeliver them",
                    extra={"event": "draining_unconnected"},
                )
        forced = asyncio.create_task(self._signals.forced.wait(), name="forced")
        give_up = time.monotonic() + self._settings.drain_grace_s
        while self._running and not (forced.done() or self._broken.done()):
            left = give_up - time.monotonic()
            if left <= 0:
                break
            self._tell_whom_we_wait_for(left)
            everything = asyncio.ensure_future(asyncio.wait(self._running))
            ends: set[asyncio.Future[Any]] = {everything, forced, self._broken}
            await asyncio.wait(ends, timeout=min(left, TELL_AGAIN_S), return_when=asyncio.FIRST_COMPLETED)
            everything.cancel()
        forced.cancel()

    def _tell_whom_we_wait_for(self, left_s: float) -> None:
        now = time.monotonic()
        names = ", ".join(f"{task.get_name()} ({now - began:.1f} s)" for task, began in self._running.items())
        log.info(
            "draining: waiting up to %.3g s for running jobs (%d): %s",
            left_s,
            len(self._running),
            names,
            extra={"event": "draining"},
        )

    async def _interrupt(self) -> None:
        """End the jobs that still run, and requeue them."""
        if self._running:
            log.warning(
                "ending running jobs (%d); RabbitMQ will redeliver them",
                len(self._running),
                extra={"event": "drain_interrupted"},
            )
            self._runner.interrupt()
            await asyncio.wait(self._running, timeout=INTERRUPT_S)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _flush(self) -> None:
        """Wait until RabbitMQ has all acks: a closing connection may drop them, and a lost ack is a second run."""
        if broker := self._link.life:
            with suppress(ConnectionLostError):
                await broker.flush()
