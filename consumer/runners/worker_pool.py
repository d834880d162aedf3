"""The workers of all slots: keeps them ready, hands them out, replaces them.

After every change, the pool computes from its state how many workers to fork. So it handles a worker on its last
job, a dead worker and a failed fork in the same way. One fork server is in service at a time. A reload starts a
second one, and switches to it once it has forked a worker for every slot.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Mapping
from contextvars import Context
from typing import Any

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.runners.fork_client import NotForkedError
from consumer.runners.fork_server import ForkServer
from consumer.runners.worker import Worker
from consumer.telemetry.log_format import without_traceback
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Workers:
    """Hands out workers, the most recently used one first, because its memory is still in the CPU's caches.

    Mutable state: `server`, the fork server in service; `_idle`, ready workers; `_held`, workers that run a job;
    `_forking`, tasks that fork a worker; `_waiting`, the futures of waiting jobs; `_ending`, tasks that end
    workers and servers; `is_broken`, whether the last fork failed; `renewed`, set when another fork server is in
    service.
    """

    def __init__(  # noqa: PLR0913 - all by name; what the runner and its workers share
        self,
        target: str,
        environment: Mapping[str, str],
        settings: Settings,
        *,
        size: int,
        metrics: Metrics,
        interrupt: asyncio.Future[None],
    ) -> None:
        """Start nothing yet: `start` forks `size` workers. `metrics` counts forked and ended workers.

        Once `interrupt` is done, no job waits for a worker any more, and running jobs are ended at once.
        """
        self._target = target
        self._environment = environment
        self._size = size
        self._metrics = metrics
        self._interrupt = interrupt
        interrupt.add_done_callback(self._end_waiting)
        self._jobs = settings.jobs_per_worker
        self._batch = settings.needs_batches
        # The kernel's limit also counts memory that earlier jobs have left. At most half of it may be left, so
        # that a job can use the other half.
        self._max_growth = min(settings.max_worker_growth_bytes, settings.max_memory_bytes // 2)
        self._bounds = settings.limits(settings.longest_timeout_s).bounds(jobs=settings.jobs_per_worker)
        self.server: ForkServer | None = None
        self._changing = asyncio.Lock()
        self._idle: list[Worker] = []
        self._held: set[Worker] = set()
        self._waiting: deque[asyncio.Future[Worker | None]] = deque()
        self._forking: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[object]] = set()
        self.is_broken = False
        self.renewed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Workers {len(self._held)} held, {len(self._idle)} idle, {len(self._forking)} forking>"

    @property
    def takes_batches(self) -> bool:
        """Whether the loaded function accepts several jobs at once. A reload may change it."""
        return self.server is not None and self.server.takes_batches

    async def start(self) -> None:
        """Load the classifier and fork a worker for every slot. A second call is a reload.

        The old workers stay in service until the new ones are ready. If the reload fails, they stay. A running job
        finishes in its worker.

        Raises:
            ConfigurationError: the classifier cannot be loaded.
            NotForkedError: the workers could not be forked.
        """
        async with self._changing:
            server = await self._new_server()
            fresh: list[Worker] = []
            try:
                while len(fresh) < self._size:
                    fresh.append(await self._fork_from(server))
            except BaseException:
                for worker in fresh:
                    self._discard(worker)
                await server.close()
                raise
            outdated, self._idle = self._idle, []
            self._serve_from(server)
        for worker in outdated:
            self._discard(worker)
        for worker in fresh:
            self._offer(worker)

    async def take(self, *, jobs: int = 1) -> Worker | None:
        """Return a ready worker, for one job or for several at once; None if interrupted while waiting.

        A batch may exceed the number of jobs that the worker has left: it is then the worker's last.

        Raises:
            NotForkedError: no worker could be forked.
        """
        worker = self._handed_out(self._idle.pop()) if self._idle else await self._wait()
        if worker and jobs > 1:
            worker.jobs_left -= jobs - 1
            self._top_up()
        return worker

    def give_back(self, worker: Worker) -> None:
        """Take a worker back, and either keep it for another job or end it."""
        self._held.discard(worker)
        if worker.jobs_left > 0 and worker.server is self.server and not worker.died.done():
            self._offer(worker)
        else:
            self._discard(worker)
            self._top_up()

    async def close(self) -> None:
        """End all workers and the fork server. No job may hold or wait for a worker any more."""
        for task in self._forking:
            task.cancel()
        for worker in (*self._idle, *self._held):
            self._discard(worker)
        self._idle.clear()
        if self.server:
            self._in_background(self.server.retire(), name="retire fork server")
        while tasks := self._forking | self._ending:
            await asyncio.wait(tasks)

    async def _wait(self) -> Worker | None:
        if self._interrupt.done():
            return None
        waiting: asyncio.Future[Worker | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._top_up()
        try:
            return await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled() and (worker := waiting.result()):
                self.give_back(worker)
            raise

    def _end_waiting(self, _: asyncio.Future[None]) -> None:
        """Let `take` return None to all waiting jobs."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _offer(self, worker: Worker) -> None:
        """Give a worker to a waiting job, or keep it for the next."""
        while self._waiting:
            if not (waiting := self._waiting.popleft()).done():
                waiting.set_result(self._handed_out(worker))
                return
        self._idle.append(worker)

    def _handed_out(self, worker: Worker) -> Worker:
        self._held.add(worker)
        worker.jobs_left -= 1
        self._top_up()  # if this is its last job, the replacement is forked while the job runs
        return worker

    def _missing(self) -> int:
        """Count missing workers: every slot needs one that is idle, being forked, or staying after its job."""
        staying = sum(worker.jobs_left > 0 and worker.server is self.server for worker in self._held)
        return self._size - staying - len(self._idle) - len(self._forking)

    def _top_up(self) -> None:
        for _ in range(self._missing()):
            # An empty context: the worker's later jobs must not inherit that of the current job.
            task = asyncio.create_task(self._fork(), name="fork", context=Context())
            self._forking.add(task)
            task.add_done_callback(self._forking.discard)

    async def _fork(self) -> None:
        try:
            worker = await self._fork_from(await self._live_server())
        except (NotForkedError, ConfigurationError) as error:
            self._no_longer_forking()
            self.is_broken = True
            self._metrics.count("workers.refused")
            # No second attempt here, which could become a loop: the next job makes one.
            what, traceback = without_traceback(str(error))
            log.error("%s", what, extra={"event": "worker_unavailable", **traceback})
            self._fail_next_waiting(NotForkedError(str(error)))
            return
        self._no_longer_forking()
        if worker.server is self.server and (self._waiting or self._missing() > 0):
            self._offer(worker)
        else:  # a reload meanwhile has forked a worker for every slot
            self._discard(worker)

    def _no_longer_forking(self) -> None:
        """Remove this task from `_forking` before its worker is offered, because that may start the next fork."""
        if this := asyncio.current_task():
            self._forking.discard(this)

    async def _fork_from(self, server: ForkServer) -> Worker:
        child = await server.fork_worker(max_growth=self._max_growth, bounds=self._bounds)
        try:
            worker = Worker(server, child, jobs=self._jobs, interrupt=self._interrupt)
        except OSError as error:
            await server.end(child)
            raise NotForkedError(f"no worker could be forked: {error.strerror}") from None
        self.is_broken = False
        self._metrics.count("workers.forked")
        worker.died.add_done_callback(lambda _: self._on_death(worker))
        return worker

    def _fail_next_waiting(self, error: NotForkedError) -> None:
        while self._waiting:
            if not (waiting := self._waiting.popleft()).done():
                waiting.set_exception(error)
                return

    def _on_death(self, worker: Worker) -> None:
        """Replace a worker that died while idle.

        A worker that never ran a job is not replaced, because its replacement could die as well, without end.
        """
        if worker in self._idle:
            self._idle.remove(worker)
            worker.has_died = True
            log.warning("worker %d died while it was idle", worker.pid, extra={"event": "worker_died_idle"})
            has_worked = worker.jobs_left < self._jobs
            self._discard(worker)
            if has_worked:
                self._top_up()

    def _discard(self, worker: Worker) -> None:
        """Dismiss a worker and end it in the background. Called once for every worker."""
        self._metrics.count("workers.died" if worker.has_died else "workers.retired")
        if not worker.gone:
            worker.dismiss()
            self._in_background(worker.end(), name=f"end worker {worker.pid}")

    async def _live_server(self) -> ForkServer:
        async with self._changing:
            server = self.server
            if server is None or server.ended.done():
                log.error("the fork server has died; starting another", extra={"event": "fork_server_died"})
                server = await self._new_server()
                self._serve_from(server)
                self._metrics.count("forkserver.restarted")
        return server

    async def _new_server(self) -> ForkServer:
        return await ForkServer.start(self._target, self._environment, batch=self._batch)

    def _serve_from(self, server: ForkServer) -> None:
        outdated, self.server = self.server, server
        self.renewed.set()
        if outdated:
            self._in_background(outdated.retire(), name="retire fork server")

    def _in_background(self, work: Coroutine[Any, Any, object], *, name: str) -> None:
        task = asyncio.create_task(work, name=name, context=Context())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
