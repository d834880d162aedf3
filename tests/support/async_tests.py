"""Runs async tests, each in its own event loop. A test must leave no task behind."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec

import uvloop

from support.waiting import PATIENCE_S

P = ParamSpec("P")


def runs_async(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Decorate an async test: it runs in a new event loop, of the kind that the commands use.

    The test fails if a task is left, or if asyncio reports an error, such as an exception that no code retrieved.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        complaints: list[dict[str, object]] = []

        async def body() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
            async with asyncio.timeout(PATIENCE_S):
                await test(*args, **kwargs)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.sleep(0)  # a task that was just cancelled ends in the next turn of the loop
            assert not {task for task in left if not task.done()}

        uvloop.run(body())
        assert complaints == []

    return run


def never() -> asyncio.Future[None]:
    """Return a future for an interrupt that never happens."""
    return asyncio.get_running_loop().create_future()
