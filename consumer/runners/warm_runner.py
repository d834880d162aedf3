"""The warm runner: jobs go to workers that were forked from a process which has imported the classifier.

A worker runs `jobs_per_worker` jobs, each enclosed in its own `BEGIN` and `END`, and is then replaced by a fork;
so is one that crashes, passes a limit, is killed or asks to be retired. The job's file, folder and environment
are those of the exec runner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Interrupted, Job, Outcome
from consumer.runners.batch_run import Told, together
from consumer.runners.environment import base_environment
from consumer.runners.files.job_files import JobFiles, JobFolder, batch_files
from consumer.runners.files.room import emptied, file_of
from consumer.runners.fork_server import NoWorkerError
from consumer.runners.programs import own_python
from consumer.runners.resource_monitor import Watch
from consumer.runners.worker_pool import Workers
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

#: Called where the settings name no other function.
OWN_CLASSIFIER = "classifier.classify:classify"


@dataclass(frozen=True, slots=True)
class WarmSlot:
    """Runs each job in a worker."""

    workers: Workers
    folder: JobFolder
    settings: Settings
    watch: Watch

    async def run(self, job: Job, interrupt: asyncio.Future[None]) -> Outcome:
        """Run the job on its file, which is gone with all around it when this returns."""
        try:
            async with file_of(self.folder, job.request.id, job.body, interrupt) as path:
                worker = await self.workers.take(interrupt) if path else None
                if path is None or worker is None:
                    return Interrupted()
                limits = self.settings.limits(job.timeout_s)
                try:
                    return await worker.run(job, path, limits, self.watch, interrupt)
                finally:
                    self.workers.give_back(worker)
        except NoWorkerError as error:
            return Crashed(message=str(error))
        except OSError as error:  # not the job's fault: another consumer may do better
            return Crashed(message=f"the job's file could not be written (job_dir): {error.strerror}")

    async def run_together(self, jobs: Sequence[Job], interrupt: asyncio.Future[None]) -> Sequence[Told]:
        """Run several jobs at once, in one worker, on their files in one folder; None for each to be run alone.

        Alone a job waits for room for its file, and is told why no worker could be forked: none of that here.
        """
        if interrupt.done():
            return [Interrupted()] * len(jobs)
        limits = together(self.settings.limits(min(job.timeout_s for job in jobs)), len(jobs))
        try:
            files = batch_files([job.body for job in jobs])
            async with emptied(self.folder):
                with self.folder.lent(files) as folder:
                    if (worker := await self.workers.take(interrupt, jobs=len(jobs))) is None:
                        return [Interrupted()] * len(jobs)
                    try:
                        return await worker.run_batch(jobs, folder, limits, self.watch, interrupt)
                    finally:
                        self.workers.give_back(worker)
        except (NoWorkerError, OSError) as error:
            log.warning("%d jobs are run each alone: %s", len(jobs), error, extra={"event": "batch_refused"})
            return [None] * len(jobs)


class WarmRunner:
    """Slots that share a pool of workers."""

    def __init__(self, workers: Workers, slots: list[WarmSlot], description: str, metrics: Metrics) -> None:
        self.slots = slots
        self._metrics = metrics
        self.description = description
        self.workers = workers

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        files: JobFiles,
        environment: Mapping[str, str],
        *,
        size: int,
        metrics: Metrics | None = None,
    ) -> AsyncIterator[Self]:
        """Load the classifier, fork a worker for every slot; end them all afterwards.

        `metrics` is told how workers come and go; without, nobody is.

        Raises:
            ConfigurationError: the classifier does not load, or no worker can be forked.
        """
        target = settings.classifier or OWN_CLASSIFIER
        home = str(files.home())
        child_environment = {**base_environment(settings, environment), "HOME": home, "TMPDIR": home}
        metrics = metrics or Metrics()
        workers = Workers(target, child_environment, settings, size=size, metrics=metrics)
        watch = Watch()
        slots = [WarmSlot(workers, files.folder_of_slot(), settings, watch) for _ in range(size)]
        try:
            if settings.classifier:
                for words in own_python.hidden_files(child_environment[own_python.PATH_VARIABLE]):
                    log.warning("%s", words, extra={"event": "import_hidden"})
            await workers.start()
            at_once = f", up to {settings.batch_size} at once" if settings.batch_size > 1 else ""
            description = f"{target} in warm workers, {settings.jobs_per_worker} jobs each{at_once}"
            yield cls(workers, slots, description, metrics)
        except NoWorkerError as error:
            raise ConfigurationError(f"{error}; lower pool_size, or give this service more memory") from None
        finally:
            await workers.close()

    @property
    def is_broken(self) -> bool:
        """Whether the last worker that was wanted could not be had."""
        return self.workers.is_broken

    async def reload(self) -> None:
        """Load code and models anew; on a failure the old ones go on serving."""
        log.info("reloading the classifier", extra={"event": "reloading"})
        try:
            await self.workers.start()
        except (ConfigurationError, NoWorkerError) as error:
            self._metrics.count("reloads.failed")
            for line in str(error).splitlines():  # a traceback; a record is one line
                log.error(
                    "not reloaded, the old classifier goes on serving: %s", line, extra={"event": "reload_failed"}
                )
        else:
            self._metrics.count("reloads.succeeded")
            log.info("reloaded: new jobs go to new workers", extra={"event": "reloaded"})
