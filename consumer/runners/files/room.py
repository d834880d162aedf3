"""A job's files, written as soon as there is room for them, and removed without holding up the event loop.

A full disk is the machine's fault, not the job's: a consumer whose disk is full would be the fastest of all. It
would take one job after another, fail each at once, and spend all of its attempts within seconds. Instead its
slots wait, and take no other job. A million files that a job leaves are removed in a thread, or heartbeats would
be missed. The slot waits for that, so that the disk is not filled faster than it is emptied.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from consumer.runners.files.job_files import FULL, JOB_FILE, JobFiles, JobFolder

log = logging.getLogger(__name__)

T = TypeVar("T")

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
    async with emptied(folder), _written(folder, job_id, body, interrupt, patience_s) as path:
        yield path


@asynccontextmanager
async def emptied(folder: JobFolder) -> AsyncIterator[None]:
    """Remove after the block, on every ending, what jobs have left in it: a little at once, much in a thread."""
    try:
        yield
    finally:
        if folder.remove_some():
            await _in_thread(folder.remove_rest)


@asynccontextmanager
async def opened_aside(job_dir: Path) -> AsyncIterator[JobFiles]:
    """Open this process's folder for the block, as `JobFiles.opened`. What a predecessor left may be much, too.

    Raises:
        ConfigurationError: `job_dir` cannot be used.
    """
    files = await _in_thread(partial(JobFiles.open, job_dir))
    try:
        yield files
    finally:
        await _in_thread(files.close)


async def _in_thread(call: Callable[[], T]) -> T:
    """Call it in a thread and wait for its end, even when cancelled: the folder is in use until then."""
    calling = asyncio.get_running_loop().run_in_executor(None, call)
    cancelled = None
    while not calling.done():
        try:
            await asyncio.wait({calling})
        except asyncio.CancelledError as error:
            cancelled = error
    result = calling.result()
    if cancelled:
        raise cancelled
    return result


@asynccontextmanager
async def _written(
    folder: JobFolder, job_id: str, body: bytes, interrupt: asyncio.Future[None], patience_s: float
) -> AsyncIterator[Path | None]:
    with ExitStack() as written:
        give_up = asyncio.get_running_loop().time() + patience_s
        path, is_told = None, False
        while path is None and not interrupt.done():
            try:
                path = written.enter_context(folder.lent({JOB_FILE: body})) / JOB_FILE
            except OSError as error:
                if error.errno not in FULL or asyncio.get_running_loop().time() >= give_up:
                    raise
                if not is_told:
                    log.warning(
                        "job %s waits for room in job_dir: %s",
                        job_id,
                        error.strerror,
                        extra={"event": "job_waiting_for_room"},
                    )
                is_told = True
                await asyncio.wait([interrupt], timeout=AGAIN_S)
        yield path
