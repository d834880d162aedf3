"""Measures every few seconds the memory of the consumer and the free space of its disk.

A thread measures, because the kernel visits every page of memory. It never measures per job, and not at all if no
metrics are collected. Each measurement also sends all other gauges again, so that a reader can distinguish a
steady consumer from one that has stopped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from consumer.runners.procfs import descendants, proportional_bytes, usage_of
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

#: Seconds: twice per interval of statsd (usually 10 s), so that each interval has a value. A measurement takes 4
#: ms of CPU for a process of 180 MiB.
PERIOD_S = 5.0


def memory_bytes(pid: int) -> int:
    """Return the memory of a process and all its descendants; shared memory counts once."""
    own = usage_of(pid)
    return sum(map(proportional_bytes, [*([own] if own else []), *descendants(pid)]))


@asynccontextmanager
async def reporting(metrics: Metrics, folder: Path) -> AsyncIterator[None]:
    """Measure repeatedly during the block: this process's memory, and the free space on the disk of the folder."""
    task = asyncio.create_task(_report(metrics, folder), name="vitals")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()  # raises: it ends only by a bug


async def _report(metrics: Metrics, folder: Path) -> None:
    while True:
        try:
            free = shutil.disk_usage(folder).free
            metrics.vitals(memory_bytes=await asyncio.to_thread(memory_bytes, os.getpid()), free_bytes=free)
        except OSError as error:  # the disk is gone, or no descriptor is left: jobs report it themselves
            log.debug("vitals not measured: %s", error)
        await asyncio.sleep(PERIOD_S)
