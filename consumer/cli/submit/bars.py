"""Shows progress bars on a terminal: one for all jobs, and one for each of a few jobs that report progress.

The progress text of a classifier is foreign, so it is escaped.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from consumer import job
from consumer.escaping import escaped

#: More would not fit on the screen.
MAX_BARS = 8
NAME_CHARACTERS = 30
TEXT_CHARACTERS = 60


class Bars:
    """All bars. Mutable state: `_of`, the bars of single jobs, by index; `_failed`, how many jobs have failed."""

    def __init__(self, overall: Progress, jobs: Progress, total: int) -> None:
        self._overall = overall
        self._jobs = jobs
        self._all = overall.add_task("jobs", total=total, failed=0)
        self._of: dict[int, TaskID] = {}
        self._failed = 0

    @classmethod
    @contextmanager
    def shown(cls, total: int, console: Console) -> Iterator[Bars]:
        """Show the bars during the block."""
        overall, jobs = _overall(console), _jobs(console)
        try:
            with Live(Group(jobs, overall), console=console), _log_above():
                yield cls(overall, jobs, total)
        finally:
            if not console.is_terminal:
                console.print()  # there, rich prints the last state without the end of the line

    def progress(self, index: int, name: str, progress: job.Progress) -> None:
        """Show the progress of one job."""
        if index not in self._of:
            if len(self._of) == MAX_BARS:
                return
            self._of[index] = self._jobs.add_task(escaped(name, NAME_CHARACTERS), total=1.0, text="")
        text = escaped(progress.text, TEXT_CHARACTERS)
        self._jobs.update(self._of[index], completed=progress.fraction, text=text)

    def ended(self, index: int, *, succeeded: bool) -> None:
        """Count one job that has ended, and remove its bar."""
        self._failed += not succeeded
        self._overall.update(self._all, advance=1, failed=self._failed)
        bar = self._of.pop(index, None)
        if bar is not None:  # the first one's number is 0
            self._jobs.remove_task(bar)


@contextmanager
def _log_above() -> Iterator[None]:
    """Write log records above the bars: through the stderr that rich has installed."""
    handlers = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    before = [handler.stream for handler in handlers]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)


class _Rate(ProgressColumn):
    """Jobs per second since the start. In rich's sliding window, two that end together look like thousands."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.finished_time if task.finished else task.elapsed
        rate = f"{task.completed / elapsed_s:.1f}" if task.completed and elapsed_s else "-"
        return Text(f"{rate} jobs/s")


def _overall(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.completed} of {task.total} jobs"),
        BarColumn(),
        _Rate(),
        TextColumn("failed {task.fields[failed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _jobs(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[text]}", markup=False),
        console=console,
    )
