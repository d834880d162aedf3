"""One warm worker as the consumer sees it: a forked process that is handed one job at a time, or one batch.

It is fit for another job after a run that it has ended itself; after any other it is brought to an end. The
worker's own side is `classifier/child/worker.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from consumer.config.job_limits import excess_at_end
from consumer.runners.child import LINGER_S, Child
from consumer.runners.fork_client import Reaped
from consumer.runners.fork_server import ForkServer
from consumer.runners.procfs import Meter, Process, descendants, look, peak_bytes
from consumer.runners.resource_monitor import Folder, Watch, Watched
from consumer.runners.run import Cause, EnclosedRun

log = logging.getLogger(__name__)

T = TypeVar("T")


class Worker:
    """A worker from its fork to its end.

    Mutable state: `jobs_left`, counted down by who hands it jobs, none once it is not fit for another; `gone`
    once it has been ended and reaped; `has_died`, if nobody had ended it.
    """

    def __init__(self, server: ForkServer, child: Child, *, jobs: int, interrupt: asyncio.Future[None]) -> None:
        """Take over a forked process, whose stdin takes orders. `interrupt` ends at once what runs.

        Raises:
            OSError: no descriptor is left to measure it.
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
        """The number of its process, and of its group."""
        return self._child.pid

    @property
    def died(self) -> asyncio.Future[None]:
        """Done when the process is dead, whatever the reason."""
        return self._child.exited

    async def execute(self, run: EnclosedRun[T], order: bytes, folder: Folder, watch: Watch) -> T:
        """Give the order for a run and see it to its end; say how it ended.

        If the caller is cancelled, the worker is killed.
        """
        self._hand_over(order, run)
        watched = watch.begin(Watched(run, self._child, self._processes, folder, self._before()))
        returncode = None
        try:
            cause = await run.wait(self._interrupt)
            if cause is Cause.ANSWERED and not run.ended.done():
                await self._linger(run)
            watch.end(watched)
            has_died = self.died.done()
            if run.ended.done() and cause is Cause.ANSWERED:  # without an answer the END is not the worker's own
                self._after(run)
            else:
                returncode = await self._end(run)
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            watch.end(watched)
            self._child.listener = None
        run.finish(returncode)
        # What it died of by a limit of ours is our doing, though the kernel's hand.
        self.has_died = has_died and not (run.excess or excess_at_end(returncode, run.stderr_tail, run.limits))
        return run.told(cause, returncode, None if self.gone else partial(self._measure, run))

    def kill(self) -> None:
        """End the process and its group now; `end` is still to be called."""
        self.jobs_left = 0
        self._child.signal_group(signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it end as a program does, with its `atexit` handlers: it has no job. `end` must still be called.

        It reads on until its jobs end, and then ends itself.
        """
        self.jobs_left = 0
        self._child.close_stdin()

    async def end(self) -> Reaped | None:
        """Bring it to its end, asking first, and have it reaped; None if nobody knows how it ended."""
        self.jobs_left = 0
        if self._child.stdin < 0:  # dismissed: it is about to end
            await asyncio.wait([self.died], timeout=LINGER_S)
        await self._child.end()
        if self.gone:
            return None
        self.gone = True
        self._meter.close()
        return await self.server.take(self._child)

    async def _end(self, run: EnclosedRun[Any]) -> int | None:
        reaped = await self.end()
        if reaped is None:
            return None
        run.note(cpu_s=reaped.cpu_s - self._meter.cpu_s, peak_bytes=reaped.peak_bytes)
        return reaped.returncode

    def _processes(self) -> Iterator[Process]:
        """Give what runs the job: this process and all that descend from it, as it is their subreaper."""
        if own := look(self.pid):
            yield own
        yield from descendants(self.pid)

    def _before(self) -> Process:
        """What is not the job's: memory that came with the fork, CPU time of the jobs before."""
        return replace(self._meter.at_birth, cpu_s=self._meter.cpu_s)

    def _measure(self, run: EnclosedRun[Any]) -> None:
        with suppress(ProcessLookupError):
            run.note(cpu_s=self._meter.now().cpu_s - self._meter.cpu_s, peak_bytes=peak_bytes(self.pid))

    def _hand_over(self, order: bytes, run: EnclosedRun[Any]) -> None:
        self._child.listener = run
        self._meter.begin()
        run.begin()
        with suppress(BrokenPipeError):  # it died while idle; the run is told by the exit
            os.write(self._child.stdin, order + b"\n")
        if self.died.done():  # which was seen before anybody listened
            run.hear_end()

    async def _linger(self, run: EnclosedRun[Any]) -> None:
        """The function has answered by itself and goes on: to flush and to tidy up, which is its business."""
        if run.excess is None:
            ends = {run.ended, self.died}
            await asyncio.wait(ends, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        if not run.ended.done() and not self.died.done():
            log.warning(
                "%s went on after its answer: worker %d terminated",
                run.name,
                self.pid,
                extra={"event": "worker_lingered"},
            )

    def _after(self, run: EnclosedRun[Any]) -> None:
        """The run has ended itself. What it wrote to stderr is its own, and not the next one's."""
        self._child.hear_what_is_there()
        if run.retirement:
            log.warning(
                "%s: its worker is replaced: %s", run.name, run.retirement, extra={"event": "worker_retired"}
            )
            self.jobs_left = 0
