"""`consumer submit`: its arguments, and which of the jobs have no result yet."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from consumer.cli.arguments import MAX_SECONDS, add_settings, duration, settings_of, whole
from consumer.cli.broker_url import known_url
from consumer.cli.event_loop import run_async
from consumer.cli.submit import submission
from consumer.cli.submit.bars import Above
from consumer.cli.submit.results import CSV, JSON_LINES, Format, InOrder, Lines, SourceResult, done_before
from consumer.cli.submit.sources import Source, read_sources
from consumer.client.client import WINDOW, Client
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
        help="model for the signals, if the service has several; default: the only one, or `default`",
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
        default="5m",
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
    if arguments.resume:
        sources = _not_done(sources, arguments.out, form)
    console = Console(stderr=True)
    with _output(arguments.out, form, console, resume=arguments.resume) as out:
        results = await _submit(arguments, settings, sources, out, console) if sources else []
    failed = sum(not result.succeeded for result in results)
    print(f"{len(results)} jobs: {len(results) - failed} succeeded, {failed} failed", file=sys.stderr)
    return EXIT_JOBS_FAILED if failed else os.EX_OK


def _not_done(sources: list[Source], out: str | None, form: Format) -> list[Source]:
    if out is None:
        raise ConfigurationError("--resume needs the file of results that it continues; add --out FILE")
    before = done_before(Path(out), form)
    left = [source for source in sources if (source.name, source.digest) not in before]
    print(f"Resuming: {len(sources) - len(left)} of {len(sources)} already answered", file=sys.stderr)
    return left


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


async def _submit(
    arguments: argparse.Namespace, settings: Settings, sources: list[Source], out: Lines, console: Console
) -> list[SourceResult]:
    opening = Client.open(
        known_url(settings),
        queue=settings.topology.jobs,
        direct=arguments.direct,
        credentials=settings.credentials,
        window=arguments.window,
    )
    async with opening as client:
        return await submission.run(
            client, sources, out, console, timeout_s=arguments.timeout, window=arguments.window
        )
