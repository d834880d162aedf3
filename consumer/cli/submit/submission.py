"""Submits jobs with the client, and collects their results.

A job whose result is in the file of results is not submitted again. At every end, also by Ctrl-C or after a lost
connection, `Submitted` has what was answered, and what RabbitMQ has and did not answer yet (unanswered.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from consumer.cli.say import say
from consumer.cli.submit.results import SourceResult
from consumer.cli.submit.sources import Source
from consumer.cli.submit.unanswered import Journal, UnansweredJob
from consumer.client.bounded import windowed
from consumer.client.client import Client
from consumer.client.exceptions import JobTooLargeError, NoReplyError, UnreadableReplyError
from consumer.client.pending_request import new_job_id
from consumer.errors import ConfigurationError
from consumer.job import Progress
from consumer.wire.write import Reply

#: After so long without a result, the command looks whether the queue has a consumer.
STALLED_S = 2.0
NOTHING_EARLIER: Mapping[int, str] = {}

#: Receives a job's index, the name of its source, and its progress.
OnProgress = Callable[[int, str, Progress], None]
#: Receives a job's index and its result.
Record = Callable[[int, SourceResult], None]


@dataclass
class Submitted:
    """What has become of the jobs so far; `journal`, if there is one, records it for a later run.

    Mutable state, each by the index of a job's source (sources.py): `results`; `queued`, the id of a job that
    RabbitMQ has and whose reply has not arrived; `doubtful`, the id of a job that is published and not yet
    confirmed.
    """

    results: dict[int, SourceResult] = field(default_factory=dict)
    queued: dict[int, str] = field(default_factory=dict)
    doubtful: dict[int, str] = field(default_factory=dict)
    journal: Journal | None = None

    def publishing(self, index: int, source: Source, job_id: str) -> None:
        """Note that a job is about to be published."""
        if self.journal:
            self.journal.publishing(UnansweredJob(source.name, source.digest, job_id))
        if index not in self.queued:  # otherwise RabbitMQ has it, and only its reply was lost
            self.doubtful[index] = job_id

    def published(self, index: int, job_id: str) -> None:
        """Note that RabbitMQ has a job."""
        self.doubtful.pop(index, None)
        self.queued[index] = job_id
        if self.journal:
            self.journal.confirmed(job_id)

    def ended(self, index: int) -> None:
        """Note that no reply to a job is missing."""
        self.doubtful.pop(index, None)
        self.queued.pop(index, None)

    def left(self, sources: Sequence[Source]) -> list[UnansweredJob]:
        """List the jobs that RabbitMQ has or may have."""
        return [
            UnansweredJob(sources[index].name, sources[index].digest, job_id, is_confirmed=index in self.queued)
            for index, job_id in {**self.doubtful, **self.queued}.items()
        ]


async def submit(  # noqa: PLR0913 - all by name, with defaults
    client: Client,
    sources: Sequence[Source],
    record: Record,
    *,
    timeout_s: float,
    submitted: Submitted | None = None,
    earlier: Mapping[int, str] = NOTHING_EARLIER,
    on_progress: OnProgress | None = None,
) -> None:
    """Submit the jobs; record each result with the index of its source as soon as it arrives.

    As many jobs as the client's window wait for a reply at once. A job without a reply within `timeout_s` seconds
    gets a result that says so.

    Args:
        client: publishes the jobs.
        sources: the jobs.
        record: receives each result.
        timeout_s: how long to wait for a reply, in seconds.
        submitted: receives what becomes of the jobs, except their results.
        earlier: the ids of the jobs that an earlier run has published, by index. They take no room of the window.
        on_progress: receives progress.

    Raises:
        ConfigurationError, ConnectionLostError: as `Client.request`.
    """
    so_far = submitted or Submitted()

    async def ask(numbered: tuple[int, Source]) -> None:
        """Ask for one result and record it before the reply is acked: if that fails, RabbitMQ keeps the reply."""
        index, source = numbered
        job_id = earlier.get(index) or new_job_id()

        def store(reply: Reply) -> None:
            record(index, SourceResult(source, reply))
            so_far.ended(index)

        try:
            await client.request(
                source.body,
                job_id=job_id,
                timeout_s=timeout_s,
                on_progress=partial(on_progress, index, source.name) if on_progress else None,
                on_publishing=lambda: so_far.publishing(index, source, job_id),
                on_published=lambda: so_far.published(index, job_id),
                on_reply=store,
            )
        except NoReplyError as error:  # its reply may still arrive
            record(index, SourceResult(source, None, str(error)))
        except (JobTooLargeError, UnreadableReplyError) as error:  # the fault of this job alone
            so_far.ended(index)
            record(index, SourceResult(source, None, str(error)))
        except ConfigurationError:  # RabbitMQ has refused it, or the journal is full after its confirm
            so_far.doubtful.pop(index, None)
            raise

    earlier_first = sorted(enumerate(sources), key=lambda numbered: numbered[0] not in earlier)
    async with aclosing(windowed(ask, earlier_first, client.window + len(earlier))) as coming:
        async for _ in coming:
            pass


async def watch(client: Client, submitted: Submitted) -> None:
    """Say once that no consumer takes the jobs, whenever nothing was answered for a while."""
    is_said = False
    while True:
        before = len(submitted.results)
        await asyncio.sleep(STALLED_S)
        if len(submitted.results) == before:
            is_alone = await client.count_consumers() == 0
            if is_alone and not is_said:
                say(f"No consumer takes jobs from {client.queue}: they wait until one starts (`consumer run`)")
            is_said = is_alone
