"""The warm runner: workers run the jobs. They are forked from a process that has imported the classifier.

A worker runs `jobs_per_worker` jobs, each between its own `BEGIN` and `END`. Then a new fork replaces it. The same
happens to a worker that crashes, exceeds a limit, is killed or requests its replacement. The job's file, folder
and environment are those of the exec runner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic_core import to_json

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Interrupted, Job, Outcome
from consumer.runners.batch_run import BatchOutcome, BatchRun, name_of, together
from consumer.runners.environment import base_environment, batch_environment, job_environment
from consumer.runners.files.job_files import JobFiles
from consumer.runners.files.job_folder import JobFolder
from consumer.runners.fork_client import NotForkedError
from consumer.runners.programs import own_python
from consumer.runners.resource_monitor import Folder, Monitor
from consumer.runners.run import Cause, OnProgress
from consumer.runners.worker import WorkerRun
from consumer.runners.worker_pool import Workers
from consumer.telemetry.job_log import JobLog
from consumer.telemetry.metrics import Metrics
from consumer.wording import counted

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The function to call if the settings name none.
OWN_CLASSIFIER = "classifier.classify:classify"
#: The capacity of a pipe (pipe(7)). Writing more would block the event loop until the worker reads.
LONGEST_ORDER = 65_535


@dataclass(frozen=True, slots=True)
class WarmSlot:
    """Runs each job, or several at once, in a worker. Once `interrupt` is done, running jobs are ended at once."""

    workers: Workers
    folder: JobFolder
    settings: Settings
    monitor: Monitor
    interrupt: asyncio.Future[None]

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:
        """Run the job on its file, and remove the file and its folder afterwards."""
        name = f"job {job.request.id}"
        lines = JobLog(name)
        run = WorkerRun(job.request.id, name, self.settings.limits(job.timeout_s), lines, on_progress)
        try:
            path = await self.folder.write_job(job, self.interrupt)
            if not isinstance(path, Path):
                return path
            folder = self.folder.path
            environment = {"TRACEPARENT": None, **job_environment(job, folder)}  # None: not that of the last job
            order = to_json({"id": job.request.id, "path": str(path), "environment": environment})
            return await self._in_worker(run, run.outcome, order, folder, [job]) or Interrupted()
        except NotForkedError as error:
            return Crashed(message=str(error))
        finally:
            lines.close()
            await self.folder.clear()

    async def run_together(self, jobs: Sequence[Job], on_progress: OnProgress = None) -> Sequence[BatchOutcome]:
        """Run jobs at once in one worker, with their files in one folder, and return their outcomes.

        The outcome None means that the job must run alone. If the files cannot be written or no worker can be
        forked, all jobs must run alone. A batch does not wait for disk space; a single job does.
        """
        if self.interrupt.done():
            return [Interrupted()] * len(jobs)
        lines = JobLog(name_of(jobs))
        limits = together(self.settings.limits(min(job.timeout_s for job in jobs)), len(jobs))
        run = BatchRun(jobs, limits, lines, on_progress)
        try:
            folder = self.folder.write_batch(jobs)
            if len(order := _batch_order(run.token, jobs, folder)) > LONGEST_ORDER:
                log.warning(
                    "%d jobs run alone instead of in a batch: their ids are too long for one order",
                    len(jobs),
                    extra={"event": "batch_ids_too_long"},
                )
                return [None] * len(jobs)
            return await self._in_worker(run, run.outcomes, order, folder, jobs) or [Interrupted()] * len(jobs)
        except (NotForkedError, OSError) as error:
            log.warning(
                "%d jobs run alone instead of in a batch: %s", len(jobs), error, extra={"event": "batch_refused"}
            )
            return [None] * len(jobs)
        finally:
            lines.close()
            await self.folder.clear()

    async def _in_worker(
        self,
        run: WorkerRun,
        conclude: Callable[[Cause, int | None], T],
        order: bytes,
        folder: Path,
        jobs: Sequence[Job],
    ) -> T | None:
        """Execute the run in a worker, on the files of its jobs; None if interrupted before a worker was ready."""
        worker = await self.workers.take(jobs=len(jobs))
        if worker is None:
            return None
        try:
            measured = Folder(folder, [len(job.body) for job in jobs])
            return await worker.execute(run, conclude, order, folder=measured, monitor=self.monitor)
        finally:
            self.workers.give_back(worker)


def _batch_order(token: str, jobs: Sequence[Job], folder: Path) -> bytes:
    requests = [job.request for job in jobs]
    return to_json(
        {
            "batch": token,
            "folder": str(folder),
            "jobs": [(request.id, request.attempt, request.traceparent or "") for request in requests],
            "environment": batch_environment(folder),
        }
    )


def description(settings: Settings, *, takes_batches: bool) -> str:
    is_batched = takes_batches and settings.most_together > 1
    at_once = f", up to {settings.most_together} at once" if is_batched else ""
    target = settings.classifier or OWN_CLASSIFIER
    return f"{target} in warm workers, {counted(settings.jobs_per_worker, 'job')} each{at_once}"


@asynccontextmanager
async def opened(  # noqa: PLR0913 - what its slots and workers share
    settings: Settings,
    files: JobFiles,
    environment: Mapping[str, str],
    interrupt: asyncio.Future[None],
    *,
    size: int,
    metrics: Metrics,
) -> AsyncIterator[tuple[Workers, list[WarmSlot]]]:
    """Load the classifier and fork a worker for every slot; end all of them afterwards.

    `metrics` counts forked and ended workers.

    Raises:
        ConfigurationError: the classifier cannot be loaded, or no worker can be forked.
    """
    home = str(files.home())
    child_environment = {**base_environment(settings, environment), "HOME": home, "TMPDIR": home}
    target, monitor = settings.classifier or OWN_CLASSIFIER, Monitor()
    workers = Workers(target, child_environment, settings, size=size, metrics=metrics, interrupt=interrupt)
    try:
        if settings.classifier:
            for words in own_python.hidden_files(own_python.user_path(child_environment)):
                log.warning("%s", words, extra={"event": "import_hidden"})
        await workers.start()
        folders = [JobFolder(files.folder) for _ in range(size)]
        yield workers, [WarmSlot(workers, folder, settings, monitor, interrupt) for folder in folders]
    except NotForkedError as error:
        raise ConfigurationError(f"{error}; lower pool_size, or give this service more memory") from None
    finally:
        await workers.close()
