"""`consumer try`: runs a job and shows its outcome, or measures how long many jobs run. Needs no RabbitMQ."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import uvloop

from consumer.capacity import measure
from consumer.cli.arguments import add_settings, read_file, settings_of, whole
from consumer.cli.progress_line import progress
from consumer.cli.submit.sources import DATA_SUFFIXES, read_sources, split_jobs
from consumer.config.settings import Settings
from consumer.errors import EXIT_JOBS_FAILED, ConfigurationError, InputError
from consumer.service.dry_run import Attempt, attempt, line, report

EXAMPLES = (
    "consumer try job.json --classifier mine:classify",
    "consumer try jobs.jsonl --repeat 100 --times times.json",
)
#: Runs of each job; more is a typing error.
MAX_REPEAT = 1_000_000


def describe(command: argparse.ArgumentParser) -> None:
    """Add the flags."""
    command.add_argument("file", metavar="JOB.json", help="the job; `-`: standard input")
    command.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    timing = command.add_argument_group("to measure run times for `consumer plan`")
    timing.add_argument(
        "--times",
        type=Path,
        metavar="FILE",
        help="write the run times to FILE; JOB.json may then contain many jobs, as for `submit`; default: none",
    )
    timing.add_argument(
        "--repeat", type=whole(1, MAX_REPEAT), metavar="N", help="with --times: run every job N times; default: 1"
    )
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Run the job, or time many of them; return the exit code."""
    return uvloop.run(_run(arguments, settings_of(arguments)))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.times and arguments.json:
        raise ConfigurationError("--json is for one job: `plan --json` shows what --times has measured")
    if arguments.times:
        return await _time_jobs(arguments, settings)
    if arguments.repeat:
        raise ConfigurationError("--repeat needs --times FILE, the file for the run times")
    body = _one_job(arguments.file)
    done = await (_as_json if arguments.json else _as_lines)(body, settings)
    return os.EX_OK if done.succeeded else EXIT_JOBS_FAILED


async def _as_lines(body: bytes, settings: Settings) -> Attempt:
    done = await attempt(body, settings, lambda kind, text: print(line(kind, text), flush=True))
    print("\n".join(report(done, shutil.get_terminal_size().columns if sys.stdout.isatty() else None)))
    return done


async def _as_json(body: bytes, settings: Settings) -> Attempt:
    """Print one document; what a failed job wrote to stderr is in its reply."""
    heard: list[tuple[str, str]] = []
    done = await attempt(body, settings, lambda kind, text: heard.append((kind, text)))
    (_, runs), *lines = heard
    printed = [{"kind": kind, "text": text} for kind, text in lines]
    print(json.dumps({"runs": runs, "printed": printed, **done.facts}, indent=2))
    return done


async def _time_jobs(arguments: argparse.Namespace, settings: Settings) -> int:
    bodies = [source.body for source in read_sources([arguments.file], sys.stdin)]
    measure.see_writable(arguments.times)
    repeat = arguments.repeat or 1
    with progress("loads the classifier ...") as show:
        count = len(bodies) * repeat
        times, failed = await measure.measure(
            bodies, repeat, settings, lambda number: show(f"run {number} of {count} ...")
        )
    measure.save(times, arguments.times)
    print(measure.summary(times, failed))
    return EXIT_JOBS_FAILED if failed else os.EX_OK


def _one_job(name: str) -> bytes:
    """Read the job. A file of many jobs or signals is refused: as one job it would only be bad JSON."""
    if name == "-":
        return sys.stdin.buffer.read()
    body = read_file(Path(name))
    if Path(name).suffix.lower() in DATA_SUFFIXES:
        first = f"classifier jobs {name} | head -1 | consumer try -"
        raise InputError(
            f"{name} contains signals, and `try` runs one job: `{first}` runs its first, "
            f"`consumer submit {name}` all"
        )
    if (count := len([*split_jobs(name, body)])) > 1:
        raise InputError(
            f"{name} contains {count} jobs, and `try` runs one: `head -1 {name} | consumer try -` runs its first, "
            f"`consumer submit {name}` all"
        )
    return body
