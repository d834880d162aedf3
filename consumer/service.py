"""The service's life: start, consume, drain, stop. Knows when things happen, not what becomes of a job.

Start: what can be wrong with our own side is found before RabbitMQ hears of us. Stop, after a signal: cancel the
consumer, hand back what has not begun, wait for what runs, end what does not finish, close. In this version a
lost connection ends the process with its own exit code; whoever supervises it starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from consumer.broker import Broker
from consumer.child import DRAIN_S, KILL_GRACE_S
from consumer.errors import ConnectionLostError
from consumer.jobfiles import JobFiles
from consumer.metrics import Metrics
from consumer.pipeline import Pipeline
from consumer.pool import Pool
from consumer.runner import Runner, open_runner
from consumer.settings import Settings, redacted
from consumer.topology import Topology

log = logging.getLogger(__name__)

#: After running jobs were told to end: their kill grace, and time to tell RabbitMQ.
INTERRUPT_S = KILL_GRACE_S + DRAIN_S + 5.0


class Signals:
    """SIGTERM and SIGINT: the first asks (`asked`), the second forces (`forced`). SIGHUP: `reload`."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.reload = asyncio.Event()

    def receive(self, number: signal.Signals) -> None:
        """Take one signal."""
        if self.asked.is_set():
            log.warning("%s again: stopping at once", number.name)
            self.forced.set()
        else:
            log.info("%s: stopping; once more to stop at once", number.name)
            self.asked.set()

    @classmethod
    @contextmanager
    def installed(cls) -> Iterator[Signals]:
        """Receive the signals for the block."""
        loop, signals = asyncio.get_running_loop(), cls()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, signals.receive, number)
        loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
        try:
            yield signals
        finally:
            for number in (*numbers, signal.SIGHUP):
                loop.remove_signal_handler(number)


def consumer_name() -> str:
    """Say which process this is: shown as connection name, consumer tag and in error records."""
    return f"{socket.gethostname()}:{os.getpid()}"


async def serve(settings: Settings, url: str) -> None:
    """Take jobs until a signal says stop.

    Raises:
        ConfigurationError: something of ours cannot work; nothing was consumed.
        BrokerUnreachableError, BrokerRefusedError: nothing was consumed.
        ConnectionLostError: what was running is ended, RabbitMQ will deliver it again.
    """
    with Signals.installed() as signals, JobFiles.opened(settings.job_dir) as files:
        async with (
            open_runner(settings, files, os.environ, size=settings.pool_size) as runner,
            Broker.open(url, name=consumer_name()) as broker,
        ):
            service = Service(settings, broker, runner, signals)
            await service.start(url)
            await service.run()
    log.info("stopped")


class Service:
    """One consumer from its first delivery to its last settlement.

    Mutable state: `_running`, the tasks that each hold one delivery; a task takes itself out when it ends.
    """

    def __init__(self, settings: Settings, broker: Broker, runner: Runner, signals: Signals) -> None:
        self._settings = settings
        self._broker = broker
        self._runner = runner
        self._signals = signals
        self._topology = Topology(settings.prefix, settings.max_attempts)
        self._pipeline = Pipeline(
            settings=settings,
            topology=self._topology,
            pool=Pool(runner.slots),
            publisher=broker,
            metrics=Metrics.from_settings(settings),
            consumer=consumer_name(),
        )
        self._running: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self, url: str) -> None:
        """Make sure of the queues, the dead-letter exchange first of all; then let deliveries come."""
        if self._settings.declare:
            await self._broker.declare(self._topology)
        else:
            await self._broker.check(self._topology)
        tag = f"{consumer_name().replace(':', '.')}.{secrets.token_hex(3)}"
        prefetch = self._settings.pool_size
        await self._broker.consume(self._topology.jobs, prefetch=prefetch, tag=f"{self._settings.prefix}.{tag}")
        log.info("runs %s", self._runner.description)
        log.info("ready: %d slots, jobs from %s at %s", prefetch, self._topology.jobs, redacted(url))

    async def run(self) -> None:
        """Handle deliveries until asked to stop, then drain; on a lost connection end what runs and raise."""
        stop = asyncio.create_task(self._signals.asked.wait(), name="stop")
        take = asyncio.create_task(self._take_deliveries(), name="take")
        reload = asyncio.create_task(self._reload_when_asked(), name="reload")
        lost = asyncio.create_task(self._broker.lost(), name="lost")
        ends: set[asyncio.Future[Any]] = {stop, take, reload, lost, self._broken}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stop, take, reload):
                task.cancel()
        try:
            if stop.done() and not (lost.done() or self._broken.done()):
                await self._drain(lost)
        finally:
            await self._interrupt()
        self._raise_what_ended_us((take, reload), lost)

    async def _take_deliveries(self) -> None:
        while True:
            delivery = await self._broker.inbox.get()
            self._start(self._pipeline.handle(delivery), name=repr(delivery.message.message_id))

    async def _reload_when_asked(self) -> None:
        """One reload at a time; a signal that comes during one asks for another."""
        while await self._signals.reload.wait():
            self._signals.reload.clear()
            await self._runner.reload()

    def _start(self, handling: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(handling, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A handler that raises left its message unsettled; only a new connection gives it back."""
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._broken.done():
            self._broken.set_result(error)

    async def _drain(self, lost: asyncio.Task[str]) -> None:
        # First no new ones, then back with what has not begun: the other way round RabbitMQ sends them again.
        await self._broker.stop_consuming()
        while not self._broker.inbox.empty():
            await self._broker.inbox.get_nowait().requeue()
        if not self._running:
            return
        grace = self._settings.drain_grace_s
        names = ", ".join(sorted(task.get_name() for task in self._running))
        log.info("waiting up to %g s for %d running: %s", grace, len(self._running), names)
        forced = asyncio.create_task(self._signals.forced.wait(), name="forced")
        everything = asyncio.ensure_future(asyncio.wait(self._running))
        ends: set[asyncio.Future[Any]] = {everything, forced, lost, self._broken}
        await asyncio.wait(ends, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        everything.cancel()

    async def _interrupt(self) -> None:
        """End what still runs; its jobs go back to the queue."""
        if self._running:
            log.warning("ending %d running; RabbitMQ will deliver them again", len(self._running))
            self._pipeline.interrupt.set_result(None)
            await asyncio.wait(self._running, timeout=INTERRUPT_S)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def _raise_what_ended_us(self, own: Iterable[asyncio.Task[None]], lost: asyncio.Task[str]) -> None:
        for task in own:
            if task.done() and not task.cancelled():
                task.result()
        if self._broken.done():
            raise self._broken.result()
        if lost.done():
            raise ConnectionLostError(f"{lost.result()}; what was not settled will be delivered again")
        lost.cancel()
