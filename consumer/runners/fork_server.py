"""The fork server: one process that imports the classifier and forks workers.

`start` returns after the import, or raises an error with Python's traceback: a classifier that cannot be loaded
stops the start of the service. `Forker` in fork_client.py sends all requests. The other side is
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
from consumer.wording import counted

log = logging.getLogger(__name__)

#: The remedy for a descriptor that workers share.
SHARED_REMEDY = "open it in on_worker_start(), which each worker calls once before its first job"
#: Characters of a path or peer in a message. Longer ones are cut.
LONGEST_NAME = 300
#: Characters of the name of a model or of a module's file. Longer ones are cut.
LONGEST_LOADED = 40


class ForkServer(Forker):
    """One fork server, from its start to its end."""

    @classmethod
    async def start(cls, target: str, environment: Mapping[str, str], *, batch: bool = False) -> Self:
        """Start a server and wait until it has imported `target`, a `package.module:function`.

        Raises:
            ConfigurationError: the server cannot be started, or `target` cannot be imported (with the traceback),
                or `batch` is set and the function takes only one job at a time.
        """
        batched = ["--batch"] if batch else []
        argv = own_python.command(
            "classifier.child.fork_server", target, *batched, path=own_python.user_path(environment)
        )
        passed = own_python.without_path(environment)
        server = await cls.started(argv, passed, complaint=f"the classifier {target} cannot be loaded")
        if server.threads_lost:
            log.warning(
                "importing %s has started %s, which workers do not inherit: compute in the function, "
                "not in the import",
                target,
                counted(server.threads_lost, "thread"),
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
                "importing %s has opened a descriptor that all workers share: %s; %s",
                target,
                what,
                SHARED_REMEDY,
                extra={"event": "import_shared"},
            )
        for what in server.reopened:
            log.info(
                "importing %s has opened %s: each worker reopens it",
                target,
                what,
                extra={"event": "import_reopened"},
            )
        return server

    @property
    def threads_lost(self) -> int:
        """The number of threads that the import has started. Workers do not inherit them."""
        return int(self._facts["ready"]) - 1

    @property
    def is_cold(self) -> bool:
        """Whether `warm_up` was left out, because it starts threads."""
        return bool(self._facts["cold"])

    @property
    def takes_batches(self) -> bool:
        """Whether the function accepts several jobs at once."""
        return bool(self._facts["batches"])

    @property
    def loaded(self) -> str:
        """The loaded code and models, with digests."""
        parts = self._facts["loaded"]
        return ", ".join(f"{escaped(name, LONGEST_LOADED)} {digest}" for name, digest in parts)

    @property
    def default_model(self) -> str | None:
        """The model of jobs that name none. None if it is unknown, as for users' functions."""
        model: str | None = self._facts["default_model"]
        return model

    @property
    def shared(self) -> list[str]:
        """Descriptions of resources that the import opened and all workers share.

        Through such a resource, a job may receive data of another job.
        """
        return [escaped(what, LONGEST_NAME) for what, is_reopened in self._facts["opened"] if not is_reopened]

    @property
    def reopened(self) -> list[str]:
        """Descriptions of the files that the import opened and each worker reopens."""
        return [escaped(what, LONGEST_NAME) for what, is_reopened in self._facts["opened"] if is_reopened]

    async def fork_worker(self, *, max_growth: int, bounds: Mapping[str, int | None]) -> Child:
        """Fork a worker that requests its replacement once it has grown by `max_growth` bytes.

        Raises:
            NotForkedError: the fork server refused, or has died; or no descriptor is left.
        """
        try:
            return await self.fork({"max_growth": max_growth, "bounds": bounds}, with_stdin=True)
        except NotForkedError as error:
            raise NotForkedError(f"no worker could be forked: {error}") from None
