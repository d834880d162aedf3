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
    ended: asyncio.Queue[asyncio.Task[R]] = asyncio.Queue()
    asked = _started(ask, islice(coming, window), ended)
    done: list[asyncio.Task[R]] = []
    try:
        while asked:
            # `asyncio.wait` would look at all requests each time: 20,000 in flight would keep the CPU busy.
            done = [await ended.get()]
            done += [ended.get_nowait() for _ in range(ended.qsize())]
            asked.difference_update(done)
            asked |= _started(ask, islice(coming, len(done)), ended)
            for task in sorted(done, key=lambda task: task.exception() is not None):
                yield task.result()
    finally:
        for task in asked:
            task.cancel()
        if asked:
            await asyncio.wait(asked)
        for task in (*done, *asked):
            if not task.cancelled():
                task.exception()  # one exception is raised; this marks the others as retrieved


def _started(
    ask: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], ended: asyncio.Queue[asyncio.Task[R]]
) -> set[asyncio.Task[R]]:
    started = {asyncio.create_task(ask(item)) for item in items}
    for task in started:
        task.add_done_callback(ended.put_nowait)
    return started
