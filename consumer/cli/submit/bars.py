"""Shows progress bars on a terminal: one for all jobs, and one for each of a few jobs that report progress.

Nothing is shown, and nothing written, if stderr is no terminal. Log records and results that go to the same
terminal appear above the bars. The progress text of a classifier is foreign, so it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.constrain import Constrain
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
from consumer.cli.progress_line import log_above
from consumer.escaping import escaped

#: More would not fit on the screen.
MAX_BARS = 8
NAME_CHARACTERS = 30
TEXT_CHARACTERS = 60
#: Columns that stay free at the right edge, for `^C` and the cursor. Otherwise `^C` would begin another line, the
#: next refresh would begin a line too low, and a second copy of the bars would remain.
ECHO_CHARACTERS = 3


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
    def shown(cls, total: int, console: Console, *, is_shown: bool = True) -> Iterator[Bars]:
        """Show the bars during the block, if they are wanted and the console is a terminal."""
        overall, jobs = _overall(console), _jobs(console)
        bars = cls(overall, jobs, total)
        if not (is_shown and console.is_terminal):
            yield bars
            return
        narrow = Constrain(Group(jobs, overall), console.width - ECHO_CHARACTERS)
        # Results that go to stdout are not redirected: a file gets them from here, a terminal by `above`.
        with Live(narrow, console=console, redirect_stdout=False), log_above():
            yield bars

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


class Above:
    """A stream whose lines appear above the bars, each whole: a terminal wraps it, so it can be copied."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str, /) -> None:
        """Write to the terminal of the bars."""
        self._console.out(text, end="", highlight=False)

    def flush(self) -> None:
        """Pass on what was written: the console has done it."""


class _Rate(ProgressColumn):
    """Jobs per second since the start. In rich's sliding window, two that end together look like thousands."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.finished_time if task.finished else task.elapsed
        rate = f"{task.completed / elapsed_s:.1f}" if task.completed and elapsed_s else "-"
        return Text(f"{rate} jobs/s")


def _overall(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.completed} of {task.total} jobs"),
        BarColumn(bar_width=None),
        _Rate(),
        TextColumn("failed {task.fields[failed]}"),
        TextColumn("after"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        expand=True,
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
