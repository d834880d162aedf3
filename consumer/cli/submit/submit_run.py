"""One run of `consumer submit`: what it takes over from earlier runs, what it does, and what it leaves."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from rich.console import Console

from consumer.cli.say import say
from consumer.cli.submit import summary
from consumer.cli.submit.bars import Bars
from consumer.cli.submit.earlier import Earlier
from consumer.cli.submit.results import Lines, SourceResult
from consumer.cli.submit.sources import Source
from consumer.cli.submit.submission import Submitted, submit, watch
from consumer.cli.submit.unanswered import Journal, UnansweredJob
from consumer.client.client import Client
from consumer.client.rpc_channel import Address
from consumer.config.settings import Settings
from consumer.wording import counted


def is_pipe(stream: TextIO) -> bool:
    """Return whether another program reads what is written."""
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # closed, or no file
        return False


class SubmitRun:
    """One run of the command.

    `queued`: the ids of the jobs that an earlier run has published, by the index of the source. `doubtful`: the
    ids of the jobs that it may have published.
    Mutable state: `submitted`, what has become of the jobs so far; `address`, the address for replies.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        settings: Settings,
        sources: Sequence[Source],
        earlier: Earlier,
        out: Path | None,
    ) -> None:
        self.arguments = arguments
        self.settings = settings
        self.sources = sources
        self.earlier = earlier
        self.console = Console(stderr=True)
        # What reads from a pipe often writes to the same terminal, in the middle of the bars.
        self.has_bars = self.console.is_terminal and bool(arguments.out or not is_pipe(sys.stdout))
        self.queued = earlier.ids(sources, confirmed=True)
        self.doubtful = earlier.ids(sources, confirmed=False)
        self.address = Address(
            is_direct=arguments.direct,
            is_resumable=out is not None and not arguments.direct,
            queue=earlier.replies,
        )
        self.journal: Journal | None = None
        if out and self.address.is_resumable:
            self.journal = Journal(out, settings.topology.jobs, lambda: self.address.queue, self._from_earlier)
        self.submitted = Submitted(queued=dict(self.queued), doubtful=dict(self.doubtful), journal=self.journal)

    async def submit(self, url: str, out: Lines) -> None:
        """Submit the jobs, and wait for the replies to those of the earlier run."""
        client = Client(self.settings.topology.jobs, window=self.arguments.window)
        for index, job_id in self.queued.items():
            client.expect(self.sources[index].body, job_id, self.earlier.replies)
        for index, job_id in self.doubtful.items():
            client.expect(self.sources[index].body, job_id, None)
        async with client.connected(url, self.address, self.settings.credentials):
            self._say_published_before()
            try:
                await self._submit(client, out)
            finally:
                self.address.is_needed = self.address.is_resumable and bool(self._left())

    async def _submit(self, client: Client, out: Lines) -> None:
        """Submit all jobs and write their results. Whatever ends it, `submitted` is complete."""
        with Bars.shown(len(self.sources), self.console, is_shown=self.has_bars) as bars:

            def record(index: int, result: SourceResult) -> None:
                out.add(index, result)
                self.submitted.results[index] = result
                bars.ended(index, succeeded=result.succeeded)

            submitting = submit(
                client,
                self.sources,
                record,
                timeout_s=self.arguments.timeout,
                submitted=self.submitted,
                earlier={**self.queued, **self.doubtful},
                # Each progress report is a message: requested only if it is shown.
                on_progress=bars.progress if self.has_bars else None,
            )
            work = asyncio.create_task(submitting, name="submit")
            watching = asyncio.create_task(watch(client, self.submitted), name="watch consumers")
            try:
                await asyncio.wait({work})
            finally:
                await client.finish()
                for task in (work, watching):
                    task.cancel()
                await asyncio.wait({work, watching})
                out.flush()
        work.result()

    def _say_published_before(self) -> None:
        is_kept = self.address.queue == self.earlier.replies
        if self.queued:
            gone = "submitted again, because the reply queue has expired"
            what = "waiting for the replies" if is_kept else gone
            say(f"Published before: {counted(len(self.queued), 'job')}, {what}")
        if self.doubtful:
            say(
                f"Perhaps published before: {counted(len(self.doubtful), 'job')}, submitted again: RabbitMQ "
                "had not confirmed them, or their reply queue has expired, so they may run twice"
            )

    def _left(self) -> list[UnansweredJob]:
        """List the jobs whose replies may still arrive, with those of the earlier run that were not asked for."""
        asked = {source.key for source in self.sources}
        return [
            *self.submitted.left(self.sources),
            *(job for job in self._from_earlier() if (job.source, job.digest) not in asked),
        ]

    def _from_earlier(self) -> list[UnansweredJob]:
        """List the jobs of earlier runs. If their reply queue has expired, they count as not confirmed."""
        is_kept = self.address.queue == self.earlier.replies
        return [job if is_kept else replace(job, is_confirmed=False) for job in self.earlier.jobs.values()]

    def _has_begun(self) -> bool:
        """Return whether a job was published or answered, or there was none to publish."""
        return bool(self.submitted.results or self.submitted.queued or not self.sources)

    def keep(self) -> None:
        """Write the jobs without a reply for a later run; leave the file alone if none was submitted."""
        if self.journal and (self.journal.is_begun or self._has_begun()):
            self.journal.close(self._left())

    def report(self) -> None:
        """Print what has become of the jobs; nothing if an error has stopped the command before the first one."""
        if not self._has_begun():
            return
        results = [result for _, result in sorted(self.submitted.results.items())]
        out = self.arguments.out
        if results:
            summary.show(results, out=out, dead=self.settings.topology.dead, console=self.console)
        elif out and not self.sources:
            say(f"Nothing to submit; results: {out}")
        left = summary.Left(
            total=len(self.sources),
            answered=sum(result.reply is not None for result in results),
            queued=len(self.submitted.queued),
            doubtful=len(self.submitted.doubtful),
        )
        if left.queued or left.doubtful or len(results) < left.total:
            summary.show_left(left, is_kept=self.address.is_resumable, argv=sys.argv)
