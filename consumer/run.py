"""One run of a classifier as its parent sees it: what it has said so far, what decides it, and the outcome.

Whoever reads the pipes feeds a `Run`; whoever watches the clock and the process settles it. The first cause
counts, and `conclude` turns it into an `Outcome`. No I/O, no process: the same for a program per job and for a
warm worker, whose lines count only between its `BEGIN` and `END`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from consumer.contract import Kind, Line, LineParser, json_fault, read_progress
from consumer.job import (
    Crashed,
    Failed,
    Interrupted,
    InvalidOutput,
    Outcome,
    OverLimit,
    Progress,
    Succeeded,
    TimedOut,
)

log = logging.getLogger(__name__)

OnProgress = Callable[[Progress], None] | None

#: The end of stderr that goes with a crash report.
STDERR_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may take: wall time in seconds, bytes of one stdout line, bytes of stdout in all."""

    timeout_s: float
    max_line_bytes: int
    max_stdout_bytes: int


class Cause(Enum):
    """Why we stopped waiting for the run to go on."""

    EXITED = auto()
    ANSWERED = auto()
    OVER_LIMIT = auto()
    TIMED_OUT = auto()
    INTERRUPTED = auto()


class Run:
    """What the classifier has said, and the first cause that ends our waiting.

    Mutable state: the parser, `answer` and the tail of stderr grow with the bytes that are heard; `cause` gets
    its one result from whichever comes first: the answer, a limit, the exit, the clock, the interruption.
    """

    def __init__(self, limits: Limits, on_log: Callable[[str], None], on_progress: OnProgress = None) -> None:
        self.limits = limits
        self.answer: Line | None = None
        self._loop = asyncio.get_running_loop()
        self._started = time.monotonic()  # a loop's own clock may stand still within a turn
        self._cause: asyncio.Future[Cause] = self._loop.create_future()
        self._parser = LineParser(max_line_bytes=limits.max_line_bytes, max_total_bytes=limits.max_stdout_bytes)
        self._stderr = bytearray()
        self._on_log = on_log
        self._on_progress = on_progress

    @property
    def excess(self) -> str | None:
        """The limit that was passed, in words."""
        return self._parser.excess

    @property
    def stderr_tail(self) -> str:
        """The last bytes of stderr as text."""
        return self._stderr.decode("utf-8", "backslashreplace").strip()

    @property
    def age_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    async def wait(self, interrupt: asyncio.Future[None]) -> Cause:
        """Wait for the first cause; the clock runs only here, and so does the interruption."""
        timer = self._loop.call_later(self.limits.timeout_s, self.settle, Cause.TIMED_OUT)
        interrupt.add_done_callback(self._on_interrupt)
        try:
            return await self._cause
        finally:
            timer.cancel()
            interrupt.remove_done_callback(self._on_interrupt)

    def settle(self, cause: Cause) -> None:
        """Take the cause, unless there was one before."""
        if not self._cause.done():
            self._cause.set_result(cause)

    def hear_stdout(self, chunk: bytes) -> None:
        """Take the next bytes of stdout."""
        for line in self._parser.feed(chunk):
            self.take(line)
        if self._parser.excess:
            self.settle(Cause.OVER_LIMIT)

    def hear_stderr(self, chunk: bytes) -> None:
        """Take the next bytes of stderr; only the last are kept."""
        self._stderr += chunk
        del self._stderr[:-STDERR_TAIL_BYTES]

    def hear_end(self) -> None:
        """The process is dead; there may still be bytes of it in the pipes."""
        self.settle(Cause.EXITED)

    def finish(self, returncode: int | None) -> None:
        """Take the unfinished last line once the pipes are empty: it counts, unless a signal may have cut it."""
        line = self._parser.finish()
        if line and returncode is not None and returncode >= 0:
            self.take(line)

    def take(self, line: Line) -> None:
        """Take one line of stdout."""
        if line.kind is Kind.LOG:
            self._on_log(line.text)
        elif line.kind.answers and self.answer is None:
            self.answer = line
            self.settle(Cause.ANSWERED)
        elif line.kind is Kind.PROGRESS and self._on_progress and (progress := read_progress(line.content)):
            if self.answer is None:
                self._on_progress(progress)
        elif line.content:  # our SDK begins each protocol line with a line break
            log.debug("outside the contract, or not asked for: %s", line.text)

    def _on_interrupt(self, _: asyncio.Future[None]) -> None:
        self.settle(Cause.INTERRUPTED)


class EnclosedRun(Run):
    """A run in a warm worker: only what stands between `BEGIN: id` and `END: id` is this job's.

    Mutable state besides: `ended` is done once `END` has come; `retirement` is the reason why the worker wants
    to be replaced.
    """

    def __init__(
        self, job_id: str, limits: Limits, on_log: Callable[[str], None], on_progress: OnProgress = None
    ) -> None:
        super().__init__(limits, on_log, on_progress)
        self.job_id = job_id
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.retirement: str | None = None
        self._id = job_id.encode().strip()  # as the parser strips what follows a prefix
        self._begun = False

    def take(self, line: Line) -> None:
        """Take one line of stdout."""
        if not self._begun or self.ended.done():
            self._begun = self._begun or (line.kind is Kind.BEGIN and line.content == self._id)
        elif line.kind is Kind.END and line.content == self._id:
            self.ended.set_result(None)
        elif line.kind is Kind.RETIRE:
            self.retirement = line.text
        else:
            super().take(line)


def conclude(cause: Cause, run: Run, *, returncode: int | None) -> Outcome:
    """Say how the run ended. The first answer decides, whatever happened after it.

    Except what a program says once we told it to stop: an `ERROR: terminated` from its SIGTERM handler is not
    the job's fault. `returncode` is as `subprocess` gives it, None where nobody was left to tell it.
    """
    run_s, stderr_tail = run.age_s, run.stderr_tail
    if run.answer and cause in (Cause.ANSWERED, Cause.EXITED):
        return _judge(run.answer, stderr_tail, run_s)
    if cause is Cause.EXITED and run.excess:  # found in the pipe after the program's end
        cause = Cause.OVER_LIMIT
    match cause:
        case Cause.INTERRUPTED:
            return Interrupted(run_s=run_s)
        case Cause.TIMED_OUT:
            message = f"killed after {run.limits.timeout_s:g} s without an answer (job_timeout_s)"
            return TimedOut(message=message, stderr_tail=stderr_tail, run_s=run_s)
        case Cause.OVER_LIMIT:
            return OverLimit(message=f"killed: {run.excess}", stderr_tail=stderr_tail, run_s=run_s)
        case _:
            message = f"{describe_exit(returncode)} without an OUTPUT: or ERROR: line"
            return Crashed(message=message, stderr_tail=stderr_tail, run_s=run_s)


def _judge(answer: Line, stderr_tail: str, run_s: float) -> Outcome:
    if answer.kind is Kind.ERROR:
        message = answer.text or "the classifier gave no reason"
        return Failed(message=message, stderr_tail=stderr_tail, run_s=run_s)
    if fault := json_fault(answer.content):
        message = f"the OUTPUT: line is not JSON: {fault}"
        return InvalidOutput(message=message, stderr_tail=stderr_tail, run_s=run_s)
    return Succeeded(output=answer.content, run_s=run_s)


def describe_exit(returncode: int | None) -> str:
    """Put a return code as `subprocess` gives it into words: negative for a signal."""
    if returncode is None:
        return "ended together with the fork server"
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-returncode}"
