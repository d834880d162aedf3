"""`consumer submit`: its arguments, and which of the jobs have no result yet."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from consumer.cli.arguments import MAX_SECONDS, add_settings, duration, settings_of, whole
from consumer.cli.broker_url import known_url
from consumer.cli.event_loop import run_async
from consumer.cli.submit import submission, summary, unanswered
from consumer.cli.submit.bars import Above
from consumer.cli.submit.results import CSV, JSON_LINES, Format, InOrder, Lines, done_before
from consumer.cli.submit.sources import Source, read_sources
from consumer.cli.submit.unanswered import Unanswered, UnansweredJob
from consumer.client.client import Client
from consumer.client.request_client import TIMEOUT_S, WINDOW, open_caller
from consumer.client.rpc_channel import Address
from consumer.config import units
from consumer.config.settings import Settings
from consumer.errors import EXIT_JOBS_FAILED, ConfigurationError

HELP = "publish jobs and wait for their replies"
EXAMPLES = (
    "consumer submit jobs.jsonl --out results.jsonl",
    "consumer submit signals.csv --model pumps --out results.csv --resume",
)
#: Each is a request in memory, here and in the queue; more at once are not faster.
MAX_WINDOW = 100_000
MIN_TIMEOUT_S = 0.001


def describe(command: argparse.ArgumentParser) -> None:
    """Add the flags."""
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="file with one job, with one job per line, or with signals (.csv, .npz, .ts or .tsv); folder or "
        "pattern of such files; `-`: standard input",
    )
    results = command.add_argument_group("the results")
    results.add_argument(
        "--out",
        metavar="FILE",
        help="file for the results, CSV if it ends with .csv, otherwise JSON lines; default: standard output",
    )
    results.add_argument(
        "--resume",
        action="store_true",
        help="continue the results in --out: jobs that have a reply there are not submitted again; new results "
        "are written in the order of arrival",
    )
    jobs = command.add_argument_group("the jobs")
    jobs.add_argument(
        "--model",
        metavar="NAME",
        help="model for the signals, if the service has several; default: the only model, or the one named "
        "`default`",
    )
    jobs.add_argument("--direct", action="store_true", help="use direct reply-to instead of a reply queue")
    jobs.add_argument(
        "--window",
        type=whole(1, MAX_WINDOW),
        default=WINDOW,
        metavar="N",
        help="number of jobs that wait for a reply at once",
    )
    jobs.add_argument(
        "--timeout",
        type=duration(MIN_TIMEOUT_S, MAX_SECONDS),
        default=units.shown("timeout_s", TIMEOUT_S),
        metavar="TIME",
        help="time to wait for a reply",
    )
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Submit the jobs that have no result yet; return the exit code."""
    return run_async(_run(arguments, settings_of(arguments)))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    sources = list(read_sources(arguments.files, sys.stdin, model=arguments.model))
    form = CSV if (arguments.out or "").endswith(".csv") else JSON_LINES
    failed_before = 0
    if arguments.resume:
        sources, failed_before = _not_done(sources, arguments.out, form)
    # A supervisor's SIGTERM and a closed terminal end the command as Ctrl-C does, and not in the middle.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, signal.raise_signal, signal.SIGINT)
    run = _Run(arguments, settings, sources)
    try:
        with _output(arguments.out, form, run.console, resume=arguments.resume) as out:
            if sources:
                await run.submit(known_url(settings), out)
    finally:
        run.keep()
        run.report()
    failed = sum(not result.succeeded for result in run.submitted.results.values())
    return EXIT_JOBS_FAILED if failed + failed_before else os.EX_OK


class _Run:
    """One run of the command: what it takes over from an earlier one, and what it leaves to the next.

    `earlier`: the jobs that the earlier run has left without a reply; `ids`: the ids of those that are submitted
    now, by the index of the source. Mutable state: `submitted`, what has become of the jobs so far; `address`, the
    address for replies.
    """

    def __init__(self, arguments: argparse.Namespace, settings: Settings, sources: Sequence[Source]) -> None:
        self.arguments = arguments
        self.settings = settings
        self.sources = sources
        self.console = Console(stderr=True)
        self.out = Path(arguments.out) if arguments.out else None
        self.earlier = self._earlier()
        known = {(job.source, job.digest): job.job_id for job in self.earlier.jobs} if self.earlier else {}
        found = {index: known.get((source.name, source.digest)) for index, source in enumerate(sources)}
        self.ids = {index: job_id for index, job_id in found.items() if job_id}
        self.submitted = submission.Submitted(queued=dict(self.ids))
        self.address = Address(
            is_direct=arguments.direct,
            is_resumable=self.out is not None and not arguments.direct,
            queue=self.earlier.replies if self.earlier else None,
        )

    def _earlier(self) -> Unanswered | None:
        """Read what the earlier run has left, if this one continues it."""
        left = unanswered.read(self.out) if self.out and not self.arguments.direct else None
        if left is None or self.arguments.resume:
            if left and left.queue != self.settings.topology.jobs:
                raise ConfigurationError(
                    f"{unanswered.path_for(self.out or Path())} has jobs in {left.queue}, not in "
                    f"{self.settings.topology.jobs}; pass the same `prefix`, or delete the file"
                )
            return left
        print(
            f"Without a reply since the last run: {summary.jobs(len(left.jobs))}, submitted again now; --resume "
            "would wait for the replies instead",
            file=sys.stderr,
        )
        return None

    async def submit(self, url: str, out: Lines) -> None:
        """Submit the jobs, and wait for the replies to those of the earlier run."""
        client = Client(self.settings.topology.jobs, window=self.arguments.window)
        for index, job_id in self.ids.items():
            client.expect(self.sources[index].body, job_id, str(self.address.queue))
        open_line = partial(open_caller, self.address, self.settings.credentials)
        async with client.connected(url, open_line):
            if self.ids:
                is_kept = self.earlier and self.address.queue == self.earlier.replies
                gone = "submitted again, because the reply queue has expired"
                what = "waiting for the replies" if is_kept else gone
                print(f"Published before: {summary.jobs(len(self.ids))}, {what}", file=sys.stderr)
            try:
                await submission.run(
                    client,
                    self.sources,
                    out,
                    self.submitted,
                    self.console,
                    earlier=self.ids,
                    timeout_s=self.arguments.timeout,
                    window=self.arguments.window,
                )
            finally:
                self.address.is_needed = self.address.is_resumable and bool(self._left())

    def _left(self) -> list[UnansweredJob]:
        """List the jobs whose replies may still arrive, with those of the earlier run that were not asked for."""
        left = [
            UnansweredJob(source=self.sources[index].name, digest=self.sources[index].digest, job_id=job_id)
            for index, job_id in self.submitted.queued.items()
        ]
        if self.earlier and self.address.queue == self.earlier.replies:
            asked = set(self.ids.values())
            left += [job for job in self.earlier.jobs if job.job_id not in asked]
        return left

    def _has_begun(self) -> bool:
        """Return whether RabbitMQ has jobs, or had nothing to do."""
        return bool(self.submitted.results or self.submitted.queued or not self.sources)

    def keep(self) -> None:
        """Write the jobs without a reply for a later run; leave the file alone if none was submitted."""
        if self.out and not self.arguments.direct and self._has_begun():
            left = Unanswered(
                queue=self.settings.topology.jobs, replies=self.address.queue or "", jobs=self._left()
            )
            unanswered.write(self.out, left)

    def report(self) -> None:
        """Print what has become of the jobs; nothing if an error has stopped the command before the first one."""
        results = [result for _, result in sorted(self.submitted.results.items())]
        queued = len(self.submitted.queued)
        if not self._has_begun():
            return
        if results or not self.sources:
            summary.show(results, out=self.arguments.out, dead=self.settings.topology.dead, console=self.console)
        left = summary.Left(len(self.sources), sum(result.reply is not None for result in results), queued)
        if queued or len(results) < left.total:
            summary.show_left(left, is_kept=self.address.is_resumable, argv=sys.argv, console=self.console)


def _not_done(sources: list[Source], out: str | None, form: Format) -> tuple[list[Source], int]:
    """Return the sources without a reply in the file, and how many of the others have failed."""
    if out is None:
        raise ConfigurationError("--resume needs the file of results that it continues; add --out FILE")
    before = done_before(Path(out), form)
    known = [before.get((source.name, source.digest)) for source in sources]
    left = [source for source, succeeded in zip(sources, known, strict=True) if succeeded is None]
    failed = known.count(False)
    print(f"Resuming: {len(sources) - len(left)} of {len(sources)} already answered", file=sys.stderr)
    if failed:
        print(
            f"Failed before: {summary.jobs(failed)}, not submitted again; delete their lines in {out} to submit "
            "them again",
            file=sys.stderr,
        )
    return left, failed


@contextmanager
def _output(name: str | None, form: Format, console: Console, *, resume: bool) -> Iterator[Lines]:
    """Open the output: in the order of the jobs, or to resume in order of arrival: then a kill loses nothing."""
    if name is None:
        yield InOrder(Above(console) if sys.stdout.isatty() and console.is_terminal else sys.stdout, form)
        return
    try:
        file = Path(name).open("a" if resume else "w", encoding="utf-8")  # noqa: SIM115 - closed below; only opening can fail
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}") from None
    with file:
        yield Lines(file, form, head=not file.tell()) if resume else InOrder(file, form)
