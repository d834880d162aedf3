"""One slot's launcher: the process that starts the slot's programs and ends the processes that they leave behind.

A program is not trusted: it may hang, print without end, ignore SIGTERM, or leave children that hold its stdout or
have left its group. In all cases `execute` returns an outcome within the time limit plus the grace periods of
child.py, and all processes of the program have ended by then.

The consumer starts the launcher for the slot's first job, and starts a new one if a job has killed it. The other
side is `classifier/child/launcher.py`, which also explains why the consumer does not start programs itself.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from consumer.errors import ConfigurationError
from consumer.job import Crashed, Outcome
from consumer.runners.child import LINGER_S, Child
from consumer.runners.fork_client import Forker, NotForkedError
from consumer.runners.procfs import Process, descendants
from consumer.runners.programs import executable, own_python
from consumer.runners.resource_monitor import Folder, Monitor, MonitoredRun
from consumer.runners.run import Cause, Run

log = logging.getLogger(__name__)

#: The command line of the launcher. Python then searches neither the user's folders nor those of `site`.
_ARGV = own_python.command("classifier.child.launcher", flags=("-I", "-S"))


class Launcher:
    """Runs one program at a time. Mutable state: `_forker`, the launcher's process, if it has been started."""

    def __init__(self, monitor: Monitor, interrupt: asyncio.Future[None]) -> None:
        """Start no process yet. `monitor` samples the usage of programs; `interrupt` ends the running program."""
        self._monitor = monitor
        self._interrupt = interrupt
        self._forker: Forker | None = None

    async def execute(
        self,
        run: Run,
        argv: Sequence[str],
        *,
        folder: Folder,
        environment: Mapping[str, str],
        returncode_of: Callable[[int], int] = int,
    ) -> Outcome:
        """Run a program until it answers, ends or is killed.

        Args:
            run: receives the program's output, and holds the limits.
            argv: the program's full path and its arguments.
            folder: its working directory.
            environment: its whole environment.
            returncode_of: derives the program's return code from that of a wrapper, such as bubblewrap.

        Returns:
            Any outcome except `Invalid`; `Crashed` if the program cannot be started. If the caller is cancelled,
            the program is killed and reaped before the cancellation continues.
        """
        order = {"argv": argv, "cwd": str(folder.path), "environment": environment, "bounds": run.limits.bounds()}
        try:
            forker = await self._live_forker()
            child = await forker.fork(order, with_stdin=False)
        except asyncio.CancelledError:
            await self.aclose()  # the program may have been started already
            raise
        except (ConfigurationError, NotForkedError) as error:
            # The kernel's "No such file" may mean the interpreter and not the program.
            fault = executable.fault(Path(argv[0]), environment.get("PATH", os.defpath))
            return Crashed(message=f"the classifier could not be started: {fault or f'{argv[0]}: {error}'}")
        child.listener = run
        run.begin()
        monitored = self._monitor.begin(MonitoredRun(run, child, self._descendants, folder))
        try:
            cause = await run.wait(self._interrupt)
            if cause is Cause.ANSWERED:
                await _linger(child)
        except BaseException:
            child.signal_group(signal.SIGKILL)
            raise
        finally:
            self._monitor.end(monitored)
            reaped = await forker.end(child)
        if reaped:
            run.note(cpu_s=reaped.cpu_s, peak_bytes=reaped.peak_bytes)
        returncode = returncode_of(reaped.returncode) if reaped else None
        run.finish(returncode)
        return run.outcome(cause, returncode)

    async def aclose(self) -> None:
        """End the launcher's process, if it runs, and all its children."""
        if self._forker:
            await self._forker.close()
            self._forker = None

    async def _live_forker(self) -> Forker:
        if self._forker and self._forker.ended.done():
            await self.aclose()
        if self._forker is None:
            self._forker = await Forker.started(_ARGV, {}, complaint="no launcher could be started")
        return self._forker

    def _descendants(self) -> Iterator[Process]:
        """Yield every process of the running program, including processes that have left its group."""
        return descendants(self._forker.pid) if self._forker else iter(())


async def _linger(child: Child) -> None:
    await asyncio.wait([child.exited], timeout=LINGER_S)
    if not child.exited.done():
        log.warning(
            "pid %d did not end after its answer: terminated", child.pid, extra={"event": "program_lingered"}
        )
