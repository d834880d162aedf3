"""One slot's launcher: the process that starts the slot's programs, and with each ends all that it left behind.

A program is watched, not trusted: it may hang, print without end, ignore SIGTERM or leave children that hold its
stdout or left its group. Whatever it does, `execute` returns an outcome within the time limit plus the graces of
child.py, and all its processes are gone by then.

The launcher is started with the slot's first job, and anew if a job has killed it. The other side, and why the
consumer does not start programs itself, is `classifier/child/launcher.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from consumer.errors import ConfigurationError
from consumer.job import Crashed, Outcome
from consumer.runners.child import LINGER_S, Child
from consumer.runners.fork_client import Forker, NotForkedError
from consumer.runners.procfs import Process, descendants
from consumer.runners.programs import executable, own_python
from consumer.runners.resource_monitor import Folder, Watch, Watched
from consumer.runners.run import Cause, Run

log = logging.getLogger(__name__)

#: Neither the user's folders nor what `site` would add.
_ARGV = own_python.command("classifier.child.launcher", flags=("-I", "-S"))


class Launcher:
    """Runs one program at a time. Mutable state: the process that starts it, if there is one."""

    def __init__(self, watch: Watch, interrupt: asyncio.Future[None]) -> None:
        """Start nothing yet. `watch` looks at how much programs take; `interrupt` ends the one that runs."""
        self._watch = watch
        self._interrupt = interrupt
        self._forker: Forker | None = None

    @classmethod
    @asynccontextmanager
    async def opened(cls, watch: Watch, interrupt: asyncio.Future[None]) -> AsyncIterator[Self]:
        """Have one for the block."""
        launcher = cls(watch, interrupt)
        try:
            yield launcher
        finally:
            await launcher.close()

    async def execute(
        self,
        run: Run,
        argv: Sequence[str],
        *,
        folder: Folder,
        environment: Mapping[str, str],
        returncode_of: Callable[[int], int] = int,
    ) -> Outcome:
        """Run a program until it answered, ended or had to be killed.

        Args:
            run: takes what the program says; has its limits.
            argv: the program's full path and its arguments.
            folder: its working directory.
            environment: all of its environment.
            returncode_of: what the program's own return code is, where another runs it.

        Returns:
            Any outcome but `Invalid`. A program that cannot be started is `Crashed`. If the caller is
            cancelled, the program is killed and reaped before the cancellation goes on.
        """
        order = {"argv": argv, "cwd": str(folder.path), "environment": environment, "bounds": run.limits.bounds()}
        try:
            forker = await self._living()
            child = await self._started_by(forker, order)
        except NotForkedError as error:
            # The kernel's "No such file" may be about the interpreter, and not about the file that it names.
            fault = executable.fault(Path(argv[0]), environment.get("PATH", os.defpath))
            return Crashed(message=f"the classifier could not be started: {fault or f'{argv[0]}: {error}'}")
        child.listener = run
        run.begin()
        watched = self._watch.begin(Watched(run, child, self._descendants, folder))
        try:
            cause = await run.wait(self._interrupt)
            if cause is Cause.ANSWERED:
                await _linger(child)
        except BaseException:
            child.signal_group(signal.SIGKILL)
            raise
        finally:
            self._watch.end(watched)
            reaped = await forker.end(child)
        if reaped:
            run.note(cpu_s=reaped.cpu_s, peak_bytes=reaped.peak_bytes)
        returncode = returncode_of(reaped.returncode) if reaped else None
        run.finish(returncode)
        return run.concluded(cause, returncode)

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

    async def _started_by(self, forker: Forker, order: Mapping[str, object]) -> Child:
        """Start a program at the head of a session, so also of a process group, of its own.

        Raises:
            NotForkedError: it cannot be started.
        """
        try:
            return await forker.fork(order, with_stdin=False)
        except asyncio.CancelledError:
            await self.close()  # it may have been started already
            raise

    def _descendants(self) -> Iterator[Process]:
        """Give every process of the running program, those included that left its group."""
        return descendants(self._forker.pid) if self._forker else iter(())


async def _linger(child: Child) -> None:
    await asyncio.wait([child.exited], timeout=LINGER_S)
    if not child.exited.done():
        log.warning("pid %d went on after its answer: terminated", child.pid, extra={"event": "program_lingered"})
