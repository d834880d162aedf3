"""Submits jobs with the client, and collects their results, with progress bars meanwhile.

A job whose result is in the file of results is not submitted again. At every end, also by Ctrl-C or after a lost
connection, `Submitted` has what was answered, and what RabbitMQ has and did not answer yet (unanswered.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console

from consumer.cli.submit.bars import Bars
from consumer.cli.submit.results import Lines, SourceResult
from consumer.cli.submit.sources import Source
from consumer.client.bounded import windowed
from consumer.client.client import Client
from consumer.client.exceptions import JobTooLargeError, NoReplyError, UnreadableReplyError
from consumer.client.pending_request import new_job_id
from consumer.client.request_client import WINDOW
from consumer.job import Progress

#: After so long without a result, the command looks whether the queue has a consumer.
STALLED_S = 2.0
NOTHING_EARLIER: Mapping[int, str] = {}

#: Receives a job's index, the name of its source, and its progress.
OnProgress = Callable[[int, str, Progress], None]
#: Receives a job's index and its result.
Record = Callable[[int, SourceResult], None]


@dataclass
class Submitted:
    """What has become of the jobs so far.

    Mutable state, by the index of the source: `results`; `queued`, the ids of the jobs that RabbitMQ has and whose
    reply has not arrived.
    """

    results: dict[int, SourceResult] = field(default_factory=dict)
    queued: dict[int, str] = field(default_factory=dict)


async def submit(  # noqa: PLR0913 - all by name, with defaults
    client: Client,
    sources: Sequence[Source],
    record: Record,
    *,
    timeout_s: float,
    window: int = WINDOW,
    queued: dict[int, str] | None = None,
    earlier: Mapping[int, str] = NOTHING_EARLIER,
    on_progress: OnProgress | None = None,
) -> None:
    """Submit the jobs, `window` at once; record each result with the index of its source as soon as it arrives.

    A job without a reply within `timeout_s` seconds gets a result that says so.

    Args:
        client: publishes the jobs.
        sources: the jobs.
        record: receives each result.
        timeout_s: how long to wait for a reply, in seconds.
        window: how many jobs may wait for a reply at once.
        queued: receives the id of each job that RabbitMQ has, until its reply arrives.
        earlier: the ids of the jobs that an earlier run has published, by index. They take no room of the window.
        on_progress: receives progress.

    Raises:
        ConfigurationError, ConnectionLostError: as `Client.request`.
    """
    ids = {} if queued is None else queued

    async def ask(numbered: tuple[int, Source]) -> None:
        """Ask for one result and record it, without a pause in between in which a Ctrl-C could lose the result."""
        index, source = numbered
        job_id = earlier.get(index) or new_job_id()
        try:
            reply = await client.request(
                source.body,
                job_id=job_id,
                timeout_s=timeout_s,
                on_progress=partial(on_progress, index, source.name) if on_progress else None,
                on_published=lambda: ids.update({index: job_id}),
            )
            result = SourceResult(source, reply)
        except NoReplyError as error:  # its reply may still arrive
            record(index, SourceResult(source, None, str(error)))
            return
        except (JobTooLargeError, UnreadableReplyError) as error:  # the fault of this job alone
            result = SourceResult(source, None, str(error))
        ids.pop(index, None)
        record(index, result)

    earlier_first = sorted(enumerate(sources), key=lambda numbered: numbered[0] not in earlier)
    async with aclosing(windowed(ask, earlier_first, window + len(earlier))) as coming:
        async for _ in coming:
            pass


async def run(  # noqa: PLR0913 - all by name
    client: Client,
    sources: Sequence[Source],
    out: Lines,
    submitted: Submitted,
    *,
    earlier: Mapping[int, str],
    timeout_s: float,
    window: int,
) -> None:
    """Submit all jobs with bars on stderr, and write their results. Whatever ends it, `submitted` is complete."""
    console = Console(stderr=True)
    with Bars.shown(len(sources), console) as bars:

        def record(index: int, result: SourceResult) -> None:
            submitted.results[index] = result
            out.add(index, result)
            bars.ended(index, succeeded=result.succeeded)

        submitting = submit(
            client,
            sources,
            record,
            timeout_s=timeout_s,
            window=window,
            queued=submitted.queued,
            earlier=earlier,
            # Each progress report is a message: requested only if it is shown.
            on_progress=bars.progress if console.is_terminal else None,
        )
        work = asyncio.create_task(submitting, name="submit")
        watch = asyncio.create_task(_watch(client, submitted, console), name="watch consumers")
        try:
            await asyncio.wait({work})
        finally:
            await client.finish()
            for task in (work, watch):
                task.cancel()
            await asyncio.wait({work, watch})
            out.flush()
    work.result()


async def _watch(client: Client, submitted: Submitted, console: Console) -> None:
    """Say once that no consumer takes the jobs, whenever nothing was answered for a while."""
    is_said = False
    while True:
        before = len(submitted.results)
        await asyncio.sleep(STALLED_S)
        if len(submitted.results) == before:
            is_alone = await client.count_consumers() == 0
            if is_alone and not is_said:
                console.print(
                    f"No consumer takes jobs from {client.queue}: they wait until one starts (`consumer run`)",
                    markup=False,
                    highlight=False,
                )
            is_said = is_alone
