"""`consumer submit`: jobs out, results in, bars while they are on their way. Built on the client (client.py).

Where jobs come from is sources.py, where results go results.py. What stands in a file of results
already is not asked again; what was asked and not written is: a job killed between the two runs twice.
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

#: Is told a job's index, its source's name, and how far it is.
OnProgress = Callable[[int, str, Progress], None]


async def submit(
    client: Client,
    sources: Iterable[Source],
    *,
    timeout_s: float,
    window: int = WINDOW,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[tuple[int, SourceResult], None]:
    """Send the jobs, `window` at once; yield each result with its source's index, as they come.

    A job whose reply does not come within `timeout_s` seconds gets a result that says so.

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


async def run(
    client: Client, sources: list[Source], out: Lines, *, timeout_s: float, window: int = WINDOW
) -> list[SourceResult]:
    """Submit all with bars on stderr, write the results; return them in order of arrival."""
    results: list[SourceResult] = []
    console = Console(stderr=True)
    with Bars.shown(len(sources), console) as bars:
        # Each report is a message: asked for only where somebody sees it.
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
