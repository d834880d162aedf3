"""Opens and closes the runner that the settings select. A runner runs jobs in slots.

The exec runner (exec_runner.py) starts a new program per job, in any language. The warm runner (warm_runner.py)
hands jobs to workers, forked from a process that has imported the classifier. Both follow the same contract.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from consumer.config.passed_variables import missing
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.runners import exec_runner, warm_runner
from consumer.runners.batch_pool import BatchPool
from consumer.runners.files.job_files import JobFiles
from consumer.runners.fork_client import NotForkedError
from consumer.runners.fork_server import ForkServer
from consumer.runners.pool import Pool
from consumer.runners.worker_pool import Workers
from consumer.telemetry.log_format import without_traceback
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runner:
    """Runs jobs in the slots of its pool.

    `description`: a short text that names the classifier and its runner; `workers`: the workers of the warm
    runner, None for the exec runner; `renewed`: set when other code or models are loaded, by a reload or a restart
    of the fork server, and cleared by the code that waits for it. Never set for the exec runner.
    """

    pool: Pool
    description: str
    metrics: Metrics
    interrupted: asyncio.Future[None]
    workers: Workers | None = None
    renewed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_broken(self) -> bool:
        """Whether the last fork of a worker failed. Always False for the exec runner, which forks no workers."""
        return self.workers is not None and self.workers.is_broken

    @property
    def server(self) -> ForkServer | None:
        """The fork server in service, which describes what it has loaded. None for the exec runner."""
        return self.workers.server if self.workers else None

    @property
    def loaded(self) -> str:
        """The loaded code and models, with digests.

        Empty for the exec runner: each job starts the program anew.
        """
        return self.server.loaded if self.server else ""

    @property
    def default_model(self) -> str | None:
        """The model of jobs that name none. None if it is unknown, as for programs and users' functions."""
        return self.server.default_model if self.server else None

    def interrupt(self) -> None:
        """End running jobs, and begin no further ones. The outcome of all these jobs is `Interrupted`."""
        if not self.interrupted.done():
            self.interrupted.set_result(None)

    async def reload(self) -> None:
        """Load new code and models; if this fails, keep the old ones and log the reason."""
        if self.workers is None:
            log.info("nothing to reload: each job starts the program anew", extra={"event": "reload_needless"})
            return
        log.info("reloading the classifier", extra={"event": "reloading"})
        try:
            await self.workers.start()
        except (ConfigurationError, NotForkedError) as error:
            self.metrics.count("reloads.failed")
            cause, traceback = without_traceback(str(error))
            log.error(
                "not reloaded, the old classifier stays in service: %s",
                cause,
                extra={"event": "reload_failed", **traceback},
            )
        else:
            self.metrics.count("reloads.succeeded")
            log.info("reloaded: new jobs go to new workers", extra={"event": "reloaded"})


@asynccontextmanager
async def open_runner(
    settings: Settings,
    files: JobFiles,
    environment: Mapping[str, str],
    *,
    size: int,
    metrics: Metrics | None = None,
) -> AsyncIterator[Runner]:
    """Open a runner with `size` slots; end its processes afterwards.

    `metrics` counts busy slots, and forked and ended workers.

    Raises:
        ConfigurationError: the program does not exist, the classifier cannot be loaded, or no worker can be
            forked.
    """
    if absent := missing(settings.pass_environment, environment):
        log.warning(
            "pass_environment names %s, which is not set here: the classifier does not receive it",
            ", ".join(absent),
            extra={"event": "environment_absent"},
        )
    metrics, interrupted = metrics or Metrics(), asyncio.get_running_loop().create_future()
    if settings.command:
        program = exec_runner.Program.from_settings(settings, environment)
        async with exec_runner.opened(program, files, interrupted, size=size) as slots:
            yield Runner(Pool(slots, metrics), program.description, metrics, interrupted)
        return
    async with warm_runner.opened(settings, files, environment, interrupted, size=size, metrics=metrics) as (
        workers,
        warm,
    ):
        pool = BatchPool(
            warm,
            metrics,
            lambda: settings.most_together if workers.takes_batches else 1,  # a reload may change it
            longest_s=settings.longest_batch_s,
        )
        description = warm_runner.description(settings, takes_batches=workers.takes_batches)
        yield Runner(pool, description, metrics, interrupted, workers, workers.renewed)
