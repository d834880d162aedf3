"""`consumer submit`: files of jobs in, replies out as JSON lines, a progress bar while they are on their way.

A job is sent as it stands in the file, even one that is no JSON: the service is the one judge. Results come out
in the order of the input, each as soon as all before it are there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from pydantic_core import from_json
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from consumer.client import Client
from consumer.errors import ConfigurationError
from consumer.messages import Reply

#: Enough to keep any pool busy over one round trip, few enough that Ctrl-C leaves little behind.
WINDOW = 64


@dataclass(frozen=True, slots=True)
class Source:
    """A job's bytes and where they stand: `file`, or `file:line`."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one source: the reply, or None and the reason why none came."""

    source: Source
    reply: Reply | None
    fault: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is an output."""
        return self.reply is not None and self.reply.status == "succeeded"

    def line(self) -> str:
        """The result as one line of JSON."""
        if self.reply is None:
            fields: dict[str, Any] = {
                "status": "no_reply",
                "error": {"code": "no_reply", "message": self.fault},
            }
        else:
            fields = self.reply.model_dump(mode="json", exclude={"error" if self.succeeded else "output"})
        return json.dumps({"source": self.source.name, **fields})


def read_sources(names: Iterable[str], stdin: TextIO) -> Iterator[Source]:
    """Read the jobs of all files; `-` is standard input.

    A file holds one job, or a job per line (JSON lines).

    Raises:
        ConfigurationError: a file cannot be read, or holds nothing.
    """
    for name in names:
        try:
            content = stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{name} cannot be read: {error.strerror}") from None
        sources = list(split_jobs(name, content))
        if not sources:
            raise ConfigurationError(f"{name} holds no job")
        yield from sources


def split_jobs(name: str, content: bytes) -> Iterator[Source]:
    """Tell one job, perhaps over many lines, from a job per line: there the first line is JSON by itself."""
    lines = [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    if len(lines) > 1 and _is_json(lines[0][1]):
        yield from (Source(f"{name}:{number}", line) for number, line in lines)
    elif lines:
        yield Source(name, content)


def _is_json(content: bytes) -> bool:
    try:
        from_json(content)
    except ValueError:
        return False
    return True


async def submit(
    client: Client, sources: Iterable[Source], *, timeout_s: float, window: int = WINDOW
) -> AsyncIterator[tuple[int, Result]]:
    """Send the jobs, `window` at once; yield each result with its source's index, as they come.

    A job whose reply does not come within `timeout_s` seconds gets a result that says so.

    Raises:
        ConfigurationError, ConnectionLostError: as `Client.request`.
    """
    numbered = enumerate(sources)
    asked = {asyncio.create_task(_ask(client, *pair, timeout_s)) for pair in islice(numbered, window)}
    try:
        while asked:
            done, asked = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            asked |= {asyncio.create_task(_ask(client, *pair, timeout_s)) for pair in islice(numbered, len(done))}
            for task in sorted(done, key=_has_failed):  # what came is yielded before a lost connection is told
                yield task.result()
    finally:
        for task in asked:
            task.cancel()


def _has_failed(task: asyncio.Task[tuple[int, Result]]) -> bool:
    return task.exception() is not None


async def _ask(client: Client, index: int, source: Source, timeout_s: float) -> tuple[int, Result]:
    try:
        return index, Result(source, await client.request(source.body, timeout_s=timeout_s))
    except TimeoutError:
        return index, Result(source, None, f"no reply within {timeout_s:g} s; is a consumer running?")


class InOrder:
    """Writes results in the order of their sources, each as soon as all before it are there."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next = 0
        self._early: dict[int, Result] = {}

    def add(self, index: int, result: Result) -> None:
        """Take one result; write what can be written."""
        self._early[index] = result
        while self._next in self._early:
            self._write(self._early.pop(self._next))
            self._next += 1

    def flush(self) -> None:
        """Write what is left, with gaps: after an interruption what came is worth keeping."""
        for index in sorted(self._early):
            self._write(self._early.pop(index))

    def _write(self, result: Result) -> None:
        self._out.write(result.line() + "\n")
        self._out.flush()


async def run(
    client: Client, sources: list[Source], out: TextIO, *, timeout_s: float, window: int = WINDOW
) -> list[Result]:
    """Submit all with a progress bar on stderr, write the results; return them in order of arrival."""
    results: list[Result] = []
    failed = 0
    ordered = InOrder(out)
    with _progress() as bar:
        task = bar.add_task("jobs", total=len(sources), failed=0)
        try:
            async for index, result in submit(client, sources, timeout_s=timeout_s, window=window):
                results.append(result)
                ordered.add(index, result)
                failed += not result.succeeded
                bar.update(task, advance=1, failed=failed)
        finally:
            ordered.flush()
    return results


class _Rate(ProgressColumn):
    """Jobs per second over rich's sliding window; nothing is known before the second reply."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("- jobs/s" if speed is None else f"{speed:.1f} jobs/s")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.completed} of {task.total} jobs"),
        BarColumn(),
        _Rate(),
        TextColumn("failed {task.fields[failed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
