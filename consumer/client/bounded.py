"""Many questions with a bounded number on their way: the next is taken when one has its answer.

Knows nothing of jobs. Who stops listening, or is told of a fault, leaves nothing on its way.
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
    """Ask about each item, `window` at once; yield the answers as they come.

    To be closed by who stops early (`contextlib.aclosing`). What `ask` raises is raised here, after the answers
    that came with it, and ends the rest.
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
                task.exception()  # one fault is told, the others are not left unseen


def _has_failed(task: asyncio.Task[Any]) -> bool:
    return task.exception() is not None
