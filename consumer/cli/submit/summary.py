"""Tells at the end of `consumer submit` what has become of the jobs, on stderr: counts, failures, what is left.

Reasons are foreign text, so they are escaped.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.cli.say import say
from consumer.cli.submit.results import NO_REPLY, SourceResult
from consumer.escaping import escaped
from consumer.wording import counted

REASON_CHARACTERS = 500
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")


def show(results: Sequence[SourceResult], *, out: str | None, dead: str, console: Console) -> None:
    """Print how many jobs succeeded and failed, and where to look; and for failures, a row for each code."""
    failed = [result for result in results if not result.succeeded]
    silent = sum(result.code == NO_REPLY for result in failed)
    succeeded = len(results) - len(failed)
    counts = f"{counted(len(results), 'job')}: {succeeded} succeeded, {len(failed) - silent} failed"
    say(counts + (f", {silent} without a reply" if silent else ""))
    if failed:
        console.print(_table(failed))
    if failed or out:
        say(f"results: {out or 'standard output'}")
    if len(failed) > silent:
        say(f"dead letters: `consumer dead-letters list` shows those of {dead}")
    if len(rows := _by_consumer(results)) > 1:
        say(f"failed by consumer: {', '.join(rows)}; `consumer status` shows what each runs")


def _table(failed: Iterable[SourceResult]) -> Table:
    by_code: dict[str, list[SourceResult]] = {}
    for result in failed:
        by_code.setdefault(result.code, []).append(result)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("code", no_wrap=True)
    table.add_column("jobs", justify="right", no_wrap=True)
    table.add_column("first job", overflow="fold")
    table.add_column("its reason", overflow="fold")
    for code, some in sorted(by_code.items(), key=lambda item: -len(item[1])):
        cells = (code, str(len(some)), some[0].source.name, some[0].reason)
        table.add_row(*(Text(escaped(cell, REASON_CHARACTERS)) for cell in cells))
    return table


def _by_consumer(results: Iterable[SourceResult]) -> list[str]:
    """Count the failures of each consumer: one that runs another classifier may be the only one that fails."""
    ended: dict[str, list[bool]] = {}
    for result in results:
        if result.reply and result.reply.consumer:
            ended.setdefault(result.reply.consumer, []).append(result.succeeded)
    return [
        f"{escaped(name, REASON_CHARACTERS)} {some.count(False)} of {len(some)}"
        for name, some in sorted(ended.items())
    ]


class Left(NamedTuple):
    """How many jobs there were, have a reply, and wait or run without one.

    `doubtful`: how many RabbitMQ may have, because it has not confirmed them.
    """

    total: int
    answered: int
    queued: int
    doubtful: int = 0


def show_left(left: Left, *, is_kept: bool, argv: Sequence[str]) -> None:
    """Print what has no reply yet, and the command that continues.

    Args:
        left: the numbers.
        is_kept: whether RabbitMQ keeps the replies for a later run.
        argv: the arguments of this process.
    """
    doubtful = f"{left.doubtful} not confirmed by RabbitMQ, " if left.doubtful else ""
    say(
        f"{left.answered} of {counted(left.total, 'job')} answered, {left.queued} queued or running without "
        f"a reply, {doubtful}{left.total - left.answered - left.queued - left.doubtful} not submitted"
    )
    if is_kept:
        kept = "RabbitMQ keeps the replies for a day, and no queued job runs twice. " if left.queued else ""
        say(f"{kept}Continue with\n  {again(argv)}")
    elif left.queued:
        say("Their replies are lost; with --out FILE and without --direct, a later run receives them")


def again(argv: Sequence[str]) -> str:
    """Format the command that resumes, without passwords."""
    words = [_PASSWORD.sub(r"\1:***@", word) for word in argv[1:] if word != "--overwrite"]
    if "--resume" not in words:
        words.insert(words.index("submit") + 1 if "submit" in words else 0, "--resume")
    return shlex.join(["consumer", *words])
