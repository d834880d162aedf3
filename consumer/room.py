"""A job's file, written as soon as there is room for it: a full disk is the machine's fault, not the job's.

Without this a consumer whose disk is full would be the fastest of all: it would take one job after another, fail
each at once, and spend all of its attempts within seconds. Instead its slots wait, and take no other job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from consumer.jobfiles import FULL, JobFolder

log = logging.getLogger(__name__)

AGAIN_S = 0.5
#: Then the job goes the way of a failed attempt: where another consumer has room, it is done there.
PATIENCE_S = 60.0


@asynccontextmanager
async def file_of(
    folder: JobFolder, job_id: str, body: bytes, interrupt: asyncio.Future[None], *, patience_s: float = PATIENCE_S
) -> AsyncIterator[Path | None]:
    """Write a job's file for the block, as `JobFolder.job`; None if the interrupt came before there was room.

    Raises:
        OSError: the file cannot be written, or there was no room for `patience_s` seconds.
    """
    with ExitStack() as written:
        give_up = asyncio.get_running_loop().time() + patience_s
        path, is_told = None, False
        while path is None and not interrupt.done():
            try:
                path = written.enter_context(folder.job(body))
            except OSError as error:
                if error.errno not in FULL or asyncio.get_running_loop().time() >= give_up:
                    raise
                if not is_told:
                    log.warning("job %s waits for room in job_dir: %s", job_id, error.strerror)
                is_told = True
                await asyncio.wait([interrupt], timeout=AGAIN_S)
        yield path
