"""`consumer submit`: its arguments, and the order of its steps."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import uvloop
from rich.console import Console

from consumer.cli.arguments import MAX_SECONDS, add_settings, duration, settings_of, whole
from consumer.cli.broker_url import known_url
from consumer.cli.say import say
from consumer.cli.submit import earlier
from consumer.cli.submit.alone import alone
from consumer.cli.submit.bars import Above
from consumer.cli.submit.earlier import Earlier
from consumer.cli.submit.results import CSV, JSON_LINES, Format, InOrder, Lines, arrange
from consumer.cli.submit.sources import Source, read_sources
from consumer.cli.submit.submit_run import SubmitRun
from consumer.client.request_client import TIMEOUT_S, WINDOW
from consumer.config import units
from consumer.config.settings import Settings
from consumer.errors import EXIT_JOBS_FAILED, ConfigurationError
from consumer.wording import counted

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
    again = results.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        action="store_true",
        help="continue the results in --out: jobs that have a reply there are not submitted again",
    )
    again.add_argument("--overwrite", action="store_true", help="replace the results in --out")
    jobs = command.add_argument_group("the jobs")
    jobs.add_argument(
        "--model",
        metavar="NAME",
        help="model for the signals, if the service has several; default: the only model, or the one named "
        "`default`",
    )
    jobs.add_argument("--direct", action="store_true", help="use RabbitMQ's direct reply-to, not a reply queue")
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
    try:
        return uvloop.run(_run(arguments, settings_of(arguments)))
    except asyncio.CancelledError:  # by `_end_by_signals`
        raise KeyboardInterrupt from None


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    form = CSV if (arguments.out or "").endswith(".csv") else JSON_LINES
    if arguments.resume and not arguments.out:
        raise ConfigurationError("--resume needs the file of results that it continues; add --out FILE")
    out = _file(arguments.out)
    if out and not (arguments.resume or arguments.overwrite):
        earlier.see_nothing_there(out)
    every = list(read_sources(arguments.files, sys.stdin, model=arguments.model, results=out))
    with alone(out) if out else nullcontext():
        if out and not (arguments.resume or arguments.overwrite):
            earlier.see_nothing_there(out)  # another run may have ended while the jobs were read
        return await _submit(arguments, settings, every, out, form)


async def _submit(
    arguments: argparse.Namespace, settings: Settings, every: Sequence[Source], out: Path | None, form: Format
) -> int:
    before = Earlier()
    if out and arguments.resume:
        before = earlier.read(out, form, settings.topology.jobs, is_direct=arguments.direct)
    elif out:
        _say_replaced(out, form, settings)
    sources, failed = before.not_done(every), before.failed(every)
    if arguments.resume:
        _say_done(len(every) - len(sources), len(every), failed, arguments.out)
    _end_by_signals()
    run = SubmitRun(arguments, settings, sources, before, out)
    try:
        with output(arguments.out, form, run.console, resume=arguments.resume) as lines:
            if sources:
                await run.submit(known_url(settings), lines)
    finally:
        try:
            run.keep()
            if out and (arguments.resume or run.submitted.results):
                arrange(out, form, every)
        finally:  # a full disk, or a folder that has become read-only
            run.report()
    failed += sum(not result.succeeded for result in run.submitted.results.values())
    return EXIT_JOBS_FAILED if failed else os.EX_OK


def _file(name: str | None) -> Path | None:
    """Return the file of results if a later run can continue it: not a pipe or a device."""
    path = Path(name) if name else None
    try:
        return path if path and (path.is_file() or not path.exists()) else None
    except OSError:  # a name that is too long, a folder without permission: `output` says so
        return None


def _say_replaced(out: Path, form: Format, settings: Settings) -> None:
    """Say that the jobs of the last run are still queued: --overwrite runs them twice."""
    with suppress(ConfigurationError):  # files that cannot be read are replaced, too
        if left := earlier.read(out, form, settings.topology.jobs, is_direct=False).jobs:
            say(
                f"Without a reply since the last run: {counted(len(left), 'job')}, submitted again now; --resume "
                "would wait for the replies instead"
            )


def _say_done(done: int, total: int, failed: int, out: str) -> None:
    say(f"Resuming: {done} of {total} already answered")
    if failed:
        say(
            f"Failed before: {counted(failed, 'job')}, not submitted again; delete their lines in {out} to submit "
            "them again"
        )


def _end_by_signals() -> None:
    """Let a supervisor's SIGTERM and a closed terminal end the command as Ctrl-C does, and not in the middle.

    They do not raise SIGINT, which a script's shell lets its background commands ignore.
    """
    command = asyncio.current_task()
    assert command  # noqa: S101 - for mypy: every coroutine runs in a task
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, command.cancel)


@contextmanager
def output(name: str | None, form: Format, console: Console, *, resume: bool) -> Iterator[Lines]:
    """Open the output.

    A file gets each result at once, so that a kill loses none; at the end it is put in order. Standard output, a
    pipe or a device gets the results in the order of the jobs.
    """
    if name is None:
        yield InOrder(Above(console) if sys.stdout.isatty() and console.is_terminal else sys.stdout, form)
        return
    try:
        file = Path(name).open("a" if resume else "w", encoding="utf-8")  # noqa: SIM115 - closed below; only opening can fail
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}") from None
    try:
        yield Lines(file, form, head=not file.tell()) if _file(name) else InOrder(file, form)
    finally:
        with suppress(OSError):  # a full disk; each line was flushed, so that is known already
            file.close()
