"""One warm worker as the consumer sees it: a forked process that is handed one job at a time.

It is fit for another job after a run that it has ended itself; after any other it is brought to an end. The
worker's own side is `classifier/worker.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic_core import to_json

from consumer.environment import job_environment
from consumer.forker import Forked, Reaped
from consumer.forkserver import ForkServer
from consumer.job import Job, Outcome, OverLimit, Unsuccessful, Usage
from consumer.joblog import job_log
from consumer.limits import Limits
from consumer.process import LINGER_S
from consumer.procfs import Meter, Process, descendants, look, peak_bytes
from consumer.run import Cause, EnclosedRun, conclude
from consumer.watch import Watch

log = logging.getLogger(__name__)


class Worker:
    """A worker from its fork to its end.

    Mutable state: `jobs_left`, counted down by who hands it jobs, none once it is not fit for another; `gone`
    once it has been ended and reaped; `has_died`, if nobody had ended it.
    """

    def __init__(self, server: ForkServer, forked: Forked, *, jobs: int) -> None:
        """Take over what was forked.

        Raises:
            OSError: no descriptor is left to measure it.
        """
        self._meter = Meter(forked.child.pid)
        self.server = server
        self.jobs_left = jobs
        self._child = forked.child
        self._jobs = forked.stdin
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

    async def run(
        self, job: Job, path: Path, limits: Limits, watch: Watch, interrupt: asyncio.Future[None]
    ) -> Outcome:
        """Run a job to its outcome. If the caller is cancelled, the worker is killed."""
        with job_log(job.request.id) as on_log:
            run = EnclosedRun(job.request.id, limits, on_log, job.on_progress)
            return await self._run(run, job, path, watch, interrupt)

    async def _run(
        self, run: EnclosedRun, job: Job, path: Path, watch: Watch, interrupt: asyncio.Future[None]
    ) -> Outcome:
        self._hand_over(job, path, run)
        returncode = None
        try:
            with watch.over(run, self._child, self._processes, path.parent, self._before()):
                cause = await run.wait(interrupt)
                if cause is Cause.ANSWERED and not run.ended.done():
                    await self._linger(run)
            has_died = self.died.done()
            if run.ended.done() and cause is Cause.ANSWERED:  # without an answer the END is not the worker's own
                self._after(run)
            else:
                returncode = await self._end(run)
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            self._child.listener = None
        run.finish(returncode)
        outcome = conclude(cause, run, returncode=returncode)
        self.has_died = has_died and not isinstance(outcome, OverLimit)
        if isinstance(outcome, Unsuccessful) and not self.gone:  # only these are asked what they have used
            return replace(outcome, usage=self._used(run))
        return outcome

    def kill(self) -> None:
        """End the process and its group now; `end` is still to be called."""
        self.jobs_left = 0
        self._child.signal_group(signal.SIGKILL)

    async def end(self) -> Reaped | None:
        """Bring it to its end, asking first, and have it reaped; None if nobody knows how it ended."""
        self.jobs_left = 0
        await self._child.end()
        if self.gone:
            return None
        self.gone = True
        os.close(self._jobs)
        self._meter.close()
        return await self.server.take(self._child)

    async def _end(self, run: EnclosedRun) -> int | None:
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

    def _used(self, run: EnclosedRun) -> Usage:
        with suppress(ProcessLookupError):
            run.note(cpu_s=self._meter.now().cpu_s - self._meter.cpu_s, peak_bytes=peak_bytes(self.pid))
        return run.usage(None)

    def _hand_over(self, job: Job, path: Path, run: EnclosedRun) -> None:
        self._child.listener = run
        self._meter.begin()
        environment = {"TRACEPARENT": None, **job_environment(job, path.parent)}  # not the last job's
        order = {"id": job.request.id, "path": str(path), "environment": environment}
        with suppress(BrokenPipeError):  # it died while idle; the run is told by the exit
            os.write(self._jobs, to_json(order) + b"\n")

    async def _linger(self, run: EnclosedRun) -> None:
        """The function has answered by itself and goes on: to flush and to tidy up, which is its business."""
        if run.excess is None:
            ends = {run.ended, self.died}
            await asyncio.wait(ends, timeout=LINGER_S, return_when=asyncio.FIRST_COMPLETED)
        if not run.ended.done() and not self.died.done():
            log.warning("job %s went on after its answer: worker %d terminated", run.job_id, self.pid)

    def _after(self, run: EnclosedRun) -> None:
        """The run has ended itself. What it wrote to stderr is its own, and not the next one's."""
        self._child.hear_what_is_there()
        if run.retirement:
            log.warning("job %s: its worker is replaced: %s", run.job_id, run.retirement)
            self.jobs_left = 0
