"""A job's `PROGRESS:` lines on their way to who asked for them: a few a second at most, the last one wins.

Lost progress is no loss: it is published without anybody waiting, never twice, and given up with the first
connection. Nothing of it comes after the reply, as the reporter is closed before that is published, and by the
same channel. A job neither waits for it nor fails over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from consumer.errors import ConnectionLostError
from consumer.job import Progress

log = logging.getLogger(__name__)

#: Faster than this no eye follows, and a hundred jobs at once still cost RabbitMQ little.
PAUSE_S = 0.25


class Reporter:
    """Publishes the progress of one job.

    Mutable state: `_latest`, what has not been published yet; `_sending`, the task that publishes, while there
    was something to publish lately. After a fault it stays, so that no other is started.
    """

    def __init__(self, publish: Callable[[Progress], Awaitable[None]], pause_s: float = PAUSE_S) -> None:
        self._publish = publish
        self._pause_s = pause_s
        self._latest: Progress | None = None
        self._sending: asyncio.Task[None] | None = None

    def __call__(self, progress: Progress) -> None:
        """Take what is so far; what was not published before is out of date."""
        self._latest = progress
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="progress")

    async def close(self) -> None:
        """Nothing is published after this returns."""
        if self._sending:
            self._sending.cancel()
            await asyncio.wait({self._sending})

    async def _send(self) -> None:
        while (latest := self._latest) is not None:
            self._latest = None
            try:
                await self._publish(latest)
            except ConnectionLostError as error:
                log.debug("no more progress: %s", error)
                return
            await asyncio.sleep(self._pause_s)
        self._sending = None
