"""One warm worker as the consumer sees it: a forked process that is handed one job at a time, or one batch.

It is fit for another job after a run that it has ended itself; after any other it is brought to an end. The
worker's own side is `classifier/child/worker.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic_core import to_json

from consumer.config.job_limits import Limits, excess_at_end
from consumer.job import Job, Outcome, Unsuccessful, Usage
from consumer.runners.batch_run import BatchRun, Told, conclude_batch, name_of, why_not
from consumer.runners.environment import batch_environment, job_environment
from consumer.runners.exec_run import LINGER_S
from consumer.runners.fork_client import Forked, Reaped
from consumer.runners.fork_server import ForkServer
from consumer.runners.procfs import Meter, Process, descendants, look, peak_bytes
from consumer.runners.resource_monitor import Folder, Watch
from consumer.runners.run import Cause, EnclosedRun, conclude
from consumer.telemetry.job_log import job_log

log = logging.getLogger(__name__)

#: What a pipe holds (pipe(7)): who writes more waits for the worker to read, and all other jobs with it.
LONGEST_ORDER = 65_535


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
        environment = {"TRACEPARENT": None, **job_environment(job, path.parent)}  # not the last job's
        order = to_json({"id": job.request.id, "path": str(path), "environment": environment})
        with job_log(f"job {job.request.id}") as on_log:
            run = EnclosedRun(job.request.id, limits, on_log, job.on_progress)
            watched = Folder(path.parent, [len(job.body)])
            cause, returncode = await self._run(run, order, watched, watch, interrupt)
            outcome = conclude(cause, run, returncode=returncode)
        if isinstance(outcome, Unsuccessful) and not self.gone:  # only these are asked what they have used
            return replace(outcome, usage=self._used(run))
        return outcome

    async def run_batch(
        self, jobs: Sequence[Job], folder: Path, limits: Limits, watch: Watch, interrupt: asyncio.Future[None]
    ) -> list[Told]:
        """Run several jobs at once, whose files are in `folder`. As `run`, where the caller is cancelled.

        Says of each how it ended, or None where it is to be run alone; the log says why.
        """
        with job_log(name_of(jobs)) as on_log:
            run = BatchRun(jobs, limits, on_log)
            if len(order := _batch_order(run, folder)) > LONGEST_ORDER:
                log.warning(
                    "%d jobs run each alone: their ids are too long for one order",
                    len(jobs),
                    extra={"event": "batch_ids_too_long"},
                )
                return [None] * len(jobs)
            watched = Folder(folder, [len(job.body) for job in jobs])
            cause, returncode = await self._run(run, order, watched, watch, interrupt)
        told = conclude_batch(cause, run)
        if alone := told.count(None):
            why = why_not(cause, run, returncode=returncode)
            log.warning(
                "%s: %d of them run again, each alone: %s", run.name, alone, why, extra={"event": "batch_broken"}
            )
        return told

    async def _run(
        self, run: EnclosedRun, order: bytes, folder: Folder, watch: Watch, interrupt: asyncio.Future[None]
    ) -> tuple[Cause, int | None]:
        """Give the order and see the run to its end: by what cause, and the return code if the worker is gone."""
        self._hand_over(order, run)
        returncode = None
        try:
            with watch.over(run, self._child, self._processes, folder, self._before()):
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
        # What it died of by a limit of ours is our doing, though the kernel's hand.
        self.has_died = has_died and not (run.excess or excess_at_end(returncode, run.stderr_tail, run.limits))
        return cause, returncode

    def kill(self) -> None:
        """End the process and its group now; `end` is still to be called."""
        self.jobs_left = 0
        self._child.signal_group(signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it end as a program does, with its `atexit` handlers: it has no job. `end` must still be called."""
        self.jobs_left = 0
        self._close_jobs()

    async def end(self) -> Reaped | None:
        """Bring it to its end, asking first, and have it reaped; None if nobody knows how it ended."""
        self.jobs_left = 0
        if self._jobs < 0:  # dismissed: it is about to end
            await asyncio.wait([self.died], timeout=LINGER_S)
        await self._child.end()
        if self.gone:
            return None
        self.gone = True
        self._close_jobs()
        self._meter.close()
        return await self.server.take(self._child)

    def _close_jobs(self) -> None:
        """It reads on until its jobs end, and then ends itself."""
        if self._jobs >= 0:
            os.close(self._jobs)
            self._jobs = -1

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

    def _hand_over(self, order: bytes, run: EnclosedRun) -> None:
        self._child.listener = run
        self._meter.begin()
        with suppress(BrokenPipeError):  # it died while idle; the run is told by the exit
            os.write(self._jobs, order + b"\n")

    async def _linger(self, run: EnclosedRun) -> None:
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

    def _after(self, run: EnclosedRun) -> None:
        """The run has ended itself. What it wrote to stderr is its own, and not the next one's."""
        self._child.hear_what_is_there()
        if run.retirement:
            log.warning(
                "%s: its worker is replaced: %s", run.name, run.retirement, extra={"event": "worker_retired"}
            )
            self.jobs_left = 0


def _batch_order(run: BatchRun, folder: Path) -> bytes:
    requests = [job.request for job in run.jobs]
    return to_json(
        {
            "batch": run.token,
            "folder": str(folder),
            "jobs": [(request.id, request.attempt, request.traceparent or "") for request in requests],
            "environment": batch_environment(folder),
        }
    )
