"""One warm worker as the consumer sees it: a forked process that runs one job or one batch at a time.

Lines of a run count only between the worker's `BEGIN` and `END`. A worker that has answered and written `END` may
run another job. After any other run, the consumer ends the worker. batch_run.py extends `WorkerRun` for batches.
The worker's own side is `classifier/child/worker.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

from consumer.config.job_limits import Limits, excess_at_end
from consumer.runners.child import LINGER_S, Child
from consumer.runners.fork_client import Reaped
from consumer.runners.fork_server import ForkServer
from consumer.runners.output_parser import ContractLine, LineKind
from consumer.runners.procfs import Meter, Process, descendants, peak_bytes, usage_of
from consumer.runners.resource_monitor import Folder, Monitor, MonitoredRun
from consumer.runners.run import Cause, OnProgress, Run

log = logging.getLogger(__name__)

T = TypeVar("T")


class WorkerRun(Run):
    """A run between `BEGIN: enclosing` and `END: enclosing`. `name` is for the log.

    Mutable state besides that of Run: `ended`, done once `END` was read; `retirement`, the reason with which the
    worker requests its replacement; `_begun`, set once `BEGIN` was read.
    """

    def __init__(
        self,
        enclosing: str,
        name: str,
        limits: Limits,
        on_log: Callable[[str], None],
        on_progress: OnProgress = None,
    ) -> None:
        super().__init__(limits, on_log, on_progress)
        self.name = name
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.retirement: str | None = None
        self._enclosing = enclosing.encode().strip()  # the parser strips the content, too
        self._begun = False

    def misspelt_answer(self) -> str:
        """Quote a line as in Run.

        If the worker had not begun the job, explain that the function is not at fault.
        """
        if self._begun:
            return super().misspelt_answer()
        return "; the worker had not begun the job: on_worker_start() may still be running"

    def take(self, line: ContractLine) -> None:
        if not self._begun or self.ended.done():
            self._begun = self._begun or (line.kind is LineKind.BEGIN and line.content == self._enclosing)
        elif line.kind is LineKind.END and line.content == self._enclosing:
            self.ended.set_result(None)
        elif line.kind is LineKind.RETIRE:
            self.retirement = line.text
        else:
            super().take(line)


class Worker:
    """A worker, from its fork to its end.

    Mutable state: `jobs_left`, counted down by Workers, and 0 once it must not run another job; `gone`, set once
    it has been ended and reaped; `has_died`, set if it ended although the consumer did not end it.
    """

    def __init__(self, server: ForkServer, child: Child, *, jobs: int, interrupt: asyncio.Future[None]) -> None:
        """Take over a forked process, which reads orders from its stdin. `interrupt` ends its run at once.

        Raises:
            OSError: no descriptor is left to measure the process.
        """
        self._meter = Meter(child.pid)
        self.server = server
        self.jobs_left = jobs
        self._child = child
        self._interrupt = interrupt
        self.gone = False
        self.has_died = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def died(self) -> asyncio.Future[None]:
        """Done when the process is dead, whatever the reason."""
        return self._child.exited

    async def execute(
        self,
        run: WorkerRun,
        conclude: Callable[[Cause, int | None], T],
        order: bytes,
        *,
        folder: Folder,
        monitor: Monitor,
    ) -> T:
        """Send the order for a run, wait for its end, and return the result of `conclude(cause, returncode)`.

        If the caller is cancelled, the worker is killed.
        """
        self._send(order, run)
        monitored = monitor.begin(MonitoredRun(run, self._child, self._processes, folder, self._meter.before))
        returncode = None
        try:
            cause = await run.wait(self._interrupt)
            if cause is Cause.ANSWERED and not run.ended.done():
                await self._linger(run)
            monitor.end(monitored)
            has_died = self.died.done()
            if run.ended.done() and cause is Cause.ANSWERED:  # an END without an answer was printed by the job
                self._retire_if_requested(run)
            else:
                returncode = await self._end(run)
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            monitor.end(monitored)
            self._child.listener = None
        run.finish(returncode)
        # A worker that the kernel ended by a limit of this service has not died by itself.
        self.has_died = has_died and not (run.excess or excess_at_end(returncode, run.stderr_tail, run.limits))
        run.measure = None if self.gone else partial(self._measure, run)
        return conclude(cause, returncode)

    def kill(self) -> None:
        """Kill the process and its group now. The caller must still `end`."""
        self.jobs_left = 0
        self._child.signal_group(signal.SIGKILL)

    def dismiss(self) -> None:
        """Close the stdin of an idle worker, so that it ends like a program, with its `atexit` handlers.

        The caller must still `end`.
        """
        self.jobs_left = 0
        self._child.close_stdin()

    async def end(self) -> Reaped | None:
        """End the worker (SIGTERM, then SIGKILL), and let the fork server reap it.

        Returns None if it was reaped before, or if the fork server is dead.
        """
        self.jobs_left = 0
        if self._child.stdin < 0:  # dismissed: it is about to end by itself
            await asyncio.wait([self.died], timeout=LINGER_S)
        await self._child.end()
        if self.gone:
            return None
        self.gone = True
        self._meter.close()
        return await self.server.take(self._child)

    async def _end(self, run: WorkerRun) -> int | None:
        reaped = await self.end()
        if reaped is None:
            return None
        run.note(cpu_s=reaped.cpu_s - self._meter.cpu_s, peak_bytes=reaped.peak_bytes)
        return reaped.returncode

    def _processes(self) -> Iterator[Process]:
        """Yield all processes of the job: the worker, which is their subreaper, and its descendants."""
        if own := usage_of(self.pid):
            yield own
        yield from descendants(self.pid)

    def _measure(self, run: WorkerRun) -> None:
        with suppress(ProcessLookupError):
            run.note(cpu_s=self._meter.now().cpu_s - self._meter.cpu_s, peak_bytes=peak_bytes(self.pid))

    def _send(self, order: bytes, run: WorkerRun) -> None:
        self._child.listener = run
        self._meter.begin()
        run.begin()
        with suppress(BrokenPipeError):  # it died while idle: the run ends with the exit
            os.write(self._child.stdin, order + b"\n")
        if self.died.done():  # perhaps before the run became the listener
            run.on_exit()

    async def _linger(self, run: WorkerRun) -> None:
        """Wait up to `LINGER_S` for the end of a run that has answered. It may flush and clean up."""
        if run.excess is None:
            ends = {run.ended, self.died}
            await asyncio.wait(ends, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        if not run.ended.done() and not self.died.done():
            log.warning(
                "%s did not end after its answer: worker %d terminated",
                run.name,
                self.pid,
                extra={"event": "worker_lingered"},
            )

    def _retire_if_requested(self, run: WorkerRun) -> None:
        """Read the rest of stderr, which belongs to this run, and retire the worker if it has requested it."""
        self._child.read_stderr_now()
        if run.retirement:
            log.warning(
                "%s: its worker is replaced: %s", run.name, run.retirement, extra={"event": "worker_retired"}
            )
            self.jobs_left = 0
