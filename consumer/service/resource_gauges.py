"""What the consumer takes of its machine, measured every few seconds: memory, and the room that is left on disk.

Measured in a thread, as the kernel looks at every page of memory; never for each job, and not at all where nobody
reads the numbers. Every other gauge is told again with them, so that who reads can tell one that is steady from a
consumer that has gone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from consumer.runners.procfs import descendants, look, proportional_bytes
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

#: Twice in a flush of statsd's usual 10 s: so none is without a gauge. Costs 4 ms of CPU for 180 MiB of a process.
PERIOD_S = 5.0


def memory_bytes(pid: int) -> int:
    """Give the memory of a process and all that descend from it, what they share counted once."""
    own = look(pid)
    return sum(map(proportional_bytes, [*([own] if own else []), *descendants(pid)]))


@asynccontextmanager
async def told(metrics: Metrics, folder: Path) -> AsyncIterator[None]:
    """Measure now and again, for the block: our memory, and the room on the disk of the folder."""
    task = asyncio.create_task(_tell(metrics, folder), name="vitals")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()  # raises: it ends by a bug only


async def _tell(metrics: Metrics, folder: Path) -> None:
    while True:
        try:
            free = shutil.disk_usage(folder).free
            metrics.vitals(memory_bytes=await asyncio.to_thread(memory_bytes, os.getpid()), free_bytes=free)
        except OSError as error:  # a disk that has gone, or no descriptor left: jobs say so themselves
            log.debug("vitals not measured: %s", error)
        await asyncio.sleep(PERIOD_S)
