"""Keeps one task for each delivery, from its start to its settlement.

When the service stops, it waits for the tasks within the grace period and ends the rest. It knows nothing about
connections: a task whose delivery is lost ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from consumer.runners.child import DRAIN_S, KILL_GRACE_S

log = logging.getLogger(__name__)

#: The time for interrupted jobs to end: their grace period, and seconds to settle them.
INTERRUPT_S = KILL_GRACE_S + DRAIN_S + 5.0
#: While the service drains, it logs the running jobs again after this time.
LOG_AGAIN_S = 10.0


class Running:
    """The tasks of all deliveries.

    Mutable state: `_tasks`, each with its start, until it ends. `broken` is done when a task has raised an
    exception, which is a bug: its delivery is not settled.
    """

    def __init__(self) -> None:
        self.broken: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tasks: dict[asyncio.Task[None], float] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, handling: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(handling, name=name)
        self._tasks[task] = time.monotonic()
        task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        """Forget an ended task. If it raised, set `broken`: RabbitMQ returns its message when the process ends."""
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) and not self.broken.done():
            self.broken.set_result(error)

    async def wait(self, grace_s: float, forced: asyncio.Event) -> None:
        """Wait until all tasks have ended, `grace_s` seconds have passed, `forced` is set or a task has raised."""
        force = asyncio.create_task(forced.wait(), name="forced")
        give_up = time.monotonic() + grace_s
        while self._tasks and not (force.done() or self.broken.done()):
            left = give_up - time.monotonic()
            if left <= 0:
                break
            self._log(left)
            everything = asyncio.ensure_future(asyncio.wait(self._tasks))
            ends: set[asyncio.Future[Any]] = {everything, force, self.broken}
            await asyncio.wait(ends, timeout=min(left, LOG_AGAIN_S), return_when=asyncio.FIRST_COMPLETED)
            everything.cancel()
        force.cancel()

    def _log(self, left_s: float) -> None:
        now = time.monotonic()
        names = ", ".join(f"{task.get_name()} ({now - began:.1f} s)" for task, began in self._tasks.items())
        log.info(
            "draining: waiting up to %.3g s for running jobs (%d): %s",
            left_s,
            len(self._tasks),
            names,
            extra={"event": "draining"},
        )

    async def end(self, interrupt: Callable[[], None]) -> None:
        """Interrupt the running jobs, so that they return to the queue; cancel the tasks that do not end then."""
        if self._tasks:
            log.warning(
                "ending running jobs (%d); RabbitMQ will redeliver them",
                len(self._tasks),
                extra={"event": "drain_interrupted"},
            )
            interrupt()
            await asyncio.wait(self._tasks, timeout=INTERRUPT_S)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
