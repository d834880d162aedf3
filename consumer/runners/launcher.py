"""One slot's launcher: the process that starts the slot's programs, and with each ends all that it left behind.

Started with the slot's first job, and anew if a job has killed it. The other side, and why the consumer does not
start programs itself, is `classifier/child/launcher.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from consumer.errors import ConfigurationError
from consumer.runners.child import Child
from consumer.runners.fork_client import Forker, NotForkedError, Reaped
from consumer.runners.procfs import Process, descendants
from consumer.runners.programs import own_python

#: Neither the user's folders nor what `site` would add.
_ARGV = own_python.command("classifier.child.launcher", flags=("-I", "-S"))


class Launcher:
    """Starts one program at a time. Mutable state: the process that does it, if there is one."""

    def __init__(self) -> None:
        self._forker: Forker | None = None

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator[Self]:
        """Have one for the block."""
        launcher = cls()
        try:
            yield launcher
        finally:
            await launcher.close()

    async def start(
        self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str], bounds: Mapping[str, int | None]
    ) -> Child:
        """Start a program at the head of a session, so also of a process group, of its own.

        Raises:
            NotForkedError: it cannot be started.
        """
        order = {"argv": argv, "cwd": str(cwd), "environment": environment, "bounds": bounds}
        forker = await self._living()
        try:
            return (await forker.fork(order, with_stdin=False)).child
        except asyncio.CancelledError:
            await self.close()  # it may have been started already
            raise

    async def end(self, child: Child) -> Reaped | None:
        """Bring the program and all that descend from it to an end, asking first; None if the launcher is dead."""
        return await self._forker.end(child) if self._forker else None

    def descendants(self) -> Iterator[Process]:
        """Give every process of the running program, those included that left its group."""
        return descendants(self._forker.pid) if self._forker else iter(())

    async def close(self) -> None:
        """End it, and what it has started."""
        if self._forker:
            await self._forker.close()
            self._forker = None

    async def _living(self) -> Forker:
        if self._forker and self._forker.ended.done():
            await self.close()
        if self._forker is None:
            self._forker = await self._started()
        return self._forker

    async def _started(self) -> Forker:
        try:
            return await Forker.started(_ARGV, {}, complaint="no launcher could be started")
        except ConfigurationError as error:
            raise NotForkedError(str(error)) from None
