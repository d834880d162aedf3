"""Runs many requests with a bounded number in flight: when one is answered, the next starts.

Knows nothing about jobs. If the caller stops early or a request raises, the others are cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def windowed(
    ask: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], window: int
) -> AsyncGenerator[R, None]:
    """Call `ask` for each item, `window` at the same time; yield the answers as they arrive.

    A caller that stops early must close the generator (`contextlib.aclosing`). An exception of `ask` is raised
    after the answers that arrived with it, and cancels the remaining requests.
    """
    coming = iter(items)
    asked = {asyncio.create_task(ask(item)) for item in islice(coming, window)}
    done: set[asyncio.Task[R]] = set()
    try:
        while asked:
            done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            asked |= {asyncio.create_task(ask(item)) for item in islice(coming, len(done))}
            for task in sorted(done, key=_has_failed):
                yield task.result()
    finally:
        for task in asked:
            task.cancel()
        if asked:
            await asyncio.wait(asked)
        for task in done:
            if not task.cancelled():
                task.exception()  # one exception is raised; this marks the others as retrieved


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.exception() is not None
