"""Submits jobs with the client, and collects their results, with progress bars meanwhile.

A job whose result is in the file of results is not submitted again. A job that was submitted, but whose result was
not written before the command was killed, runs twice.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from functools import partial

from rich.console import Console

from consumer.cli.submit.bars import Bars
from consumer.cli.submit.results import Lines, SourceResult
from consumer.cli.submit.sources import Source
from consumer.client.bounded import windowed
from consumer.client.client import WINDOW, Client
from consumer.client.exceptions import JobTooLargeError, UnreadableReplyError
from consumer.job import Progress

#: Receives a job's index, the name of its source, and its progress.
OnProgress = Callable[[int, str, Progress], None]


async def submit(
    client: Client,
    sources: Iterable[Source],
    *,
    timeout_s: float,
    window: int = WINDOW,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[tuple[int, SourceResult], None]:
    """Submit the jobs, `window` at once; yield each result with the index of its source, in order of arrival.

    A job without a reply within `timeout_s` seconds gets a result that says so.

    Raises:
        ConfigurationError, ConnectionLostError: as `Client.request`.
    """
    ask = partial(_ask, client, timeout_s, on_progress)
    async with aclosing(windowed(ask, enumerate(sources), window)) as coming:
        async for numbered in coming:
            yield numbered


async def _ask(
    client: Client, timeout_s: float, on_progress: OnProgress | None, numbered: tuple[int, Source]
) -> tuple[int, SourceResult]:
    index, source = numbered
    told = partial(on_progress, index, source.name) if on_progress else None
    try:
        reply = await client.request(source.body, timeout_s=timeout_s, on_progress=told)
    except TimeoutError:
        return index, SourceResult(source, None, f"no reply within {timeout_s:g} s; is a consumer running?")
    except (JobTooLargeError, UnreadableReplyError) as error:  # the fault of this job alone
        return index, SourceResult(source, None, str(error))
    return index, SourceResult(source, reply)


async def run(  # noqa: PLR0913 - two are keywords
    client: Client,
    sources: list[Source],
    out: Lines,
    console: Console,
    *,
    timeout_s: float,
    window: int = WINDOW,
) -> list[SourceResult]:
    """Submit all jobs with bars on the console, and write their results; return them in order of arrival."""
    results: list[SourceResult] = []
    with Bars.shown(len(sources), console) as bars:
        # Each progress report is a message: requested only if it is shown.
        on_progress = bars.progress if console.is_terminal else None
        coming = submit(client, sources, timeout_s=timeout_s, window=window, on_progress=on_progress)
        try:
            async with aclosing(coming):
                async for index, result in coming:
                    results.append(result)
                    out.add(index, result)
                    bars.ended(index, succeeded=result.succeeded)
        finally:
            out.flush()
    return results
