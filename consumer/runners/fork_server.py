"""The fork server: one process that has imported the classifier and forks workers from it.

`start` returns once the import is done, or raises with what Python said: a classifier that does not load stops
the service, and not job by job. What it can do beyond that is fork_client.py's. The other side is
`classifier/child/fork_server.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Self

from consumer.escaping import escaped
from consumer.runners.child import Child
from consumer.runners.fork_client import Forker, NotForkedError
from consumer.runners.programs import own_python

log = logging.getLogger(__name__)


#: What to do about a descriptor that workers share.
SHARED_REMEDY = "open it in on_worker_start(), which each worker calls once before its first job"


#: A path's usual length; what is longer is cut.
LONGEST_NAME = 300


class NoWorkerError(Exception):
    """The fork server could not give a worker, or is gone. Another attempt may find it restarted."""


class ForkServer(Forker):
    """One fork server from its start to its end."""

    @classmethod
    async def start(cls, target: str, environment: Mapping[str, str], *, batch: bool = False) -> Self:
        """Start a server and wait until it has imported `target`, a `package.module:function`.

        Raises:
            ConfigurationError: it cannot be started or imported; with the traceback. Or `batch` is asked for, and
                it takes one job at a time.
        """
        batched = ["--batch"] if batch else []
        argv = own_python.command(
            "classifier.child.fork_server", target, *batched, path=own_python.user_path(environment)
        )
        passed = own_python.without_path(environment)
        server = await cls.started(argv, passed, complaint=f"the classifier {target} cannot be loaded")
        if server.threads_lost:
            log.warning(
                "importing %s has started %d threads, which workers do not inherit: compute when called",
                target,
                server.threads_lost,
                extra={"event": "import_started_threads"},
            )
        if server.is_cold:
            log.info(
                "the warm_up of %s started threads, which workers do not inherit: it was loaded again without",
                target,
                extra={"event": "warm_up_skipped"},
            )
        for what in server.shared:
            log.warning(
                "importing %s has opened what all workers share: %s; %s",
                target,
                what,
                SHARED_REMEDY,
                extra={"event": "import_shared"},
            )
        for what in server.reopened:
            log.info(
                "importing %s has opened %s: each worker opens it anew",
                target,
                what,
                extra={"event": "import_reopened"},
            )
        return server

    @property
    def threads_lost(self) -> int:
        """How many threads the import has started, which workers do not inherit."""
        return self.threads - 1

    @property
    def shared(self) -> list[str]:
        """What the import has opened and all workers share, in words: one may get what another has asked for."""
        return [escaped(what, LONGEST_NAME) for what, is_reopened in self.opened if not is_reopened]

    @property
    def reopened(self) -> list[str]:
        """What the import has opened and each worker opens anew, in words."""
        return [escaped(what, LONGEST_NAME) for what, is_reopened in self.opened if is_reopened]

    async def fork_worker(self, *, max_growth: int, bounds: Mapping[str, int | None]) -> Child:
        """Fork a worker that wants to be replaced once it has grown by `max_growth` bytes.

        Raises:
            NoWorkerError
        """
        try:
            return await self.fork({"max_growth": max_growth, "bounds": bounds}, with_stdin=True)
        except NotForkedError as error:
            raise NoWorkerError(f"no worker could be forked: {error}") from None
