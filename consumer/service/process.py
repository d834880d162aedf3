"""One process of the service: opens what it needs, serves until a signal, closes everything in the opposite order.

Finds faults of settings, classifier and job folder before it connects to RabbitMQ. Knows nothing about messages.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from consumer.config.settings import Settings
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import Runner, open_runner
from consumer.service import resource_gauges
from consumer.service.consumer_info import consumer_name
from consumer.service.fleet import ConsoleOf
from consumer.service.service import Service
from consumer.service.signals import Signals
from consumer.telemetry.health import Health
from consumer.telemetry.http_server import serving
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.summary import summarised
from consumer.telemetry.systemd import Systemd
from consumer.telemetry.tracer_setup import tracing

log = logging.getLogger(__name__)


def root_warning(euid: int) -> str | None:
    """Return a warning if the service runs as root, else None."""
    if euid != 0:
        return None
    return (
        "running as root: classifiers run as root too, and most limits do not apply to root; use an unprivileged "
        "user"
    )


async def serve(settings: Settings, urls: Sequence[str], console_of: ConsoleOf) -> None:
    """Serve until a signal stops the service. `console_of` finds the management API of a RabbitMQ.

    Raises:
        ConfigurationError: settings, classifier or job folder cannot be used; nothing was consumed.
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError: at the start; nothing was consumed.
    """
    if warning := root_warning(os.geteuid()):
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
            # Opened after the pages and closed before them: the removal of left-over files may take a while, and a
            # probe must get an answer meanwhile.
            files = await stack.enter_async_context(JobFiles.opened_in_thread(settings.job_dir))
            if settings.reports_metrics:
                await stack.enter_async_context(resource_gauges.reporting(metrics, files.folder))
            opening = open_runner(settings, files, os.environ, size=settings.pool_size, metrics=metrics)
            if runner := await _unless_stopped(stack.enter_async_context(opening), signals):
                service = Service(
                    settings, urls, runner, signals, metrics, systemd=systemd, console_of=console_of, tracer=tracer
                )
                health.facts = service.facts
                async with summarised(metrics, service.lines):
                    await service.run()
    log.info("stopped", extra={"event": "stopped"})


async def _unless_stopped(opening: Coroutine[Any, Any, Runner], signals: Signals) -> Runner | None:
    """Load the classifier, which may take a minute. A signal to stop cancels the load; the result is then None."""
    load = asyncio.create_task(opening, name="load")
    stop = asyncio.create_task(signals.asked.wait(), name="stop")
    await asyncio.wait({load, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not load.done():
        load.cancel()
        await asyncio.wait({load})
    return None if load.cancelled() else load.result()
