"""One run of a classifier as the consumer sees it: its output so far, the cause that ends it, and its outcome.

A `Child` passes its output to a `Run`. A run ends by an answer, an exceeded limit, the exit of the process, the
time limit or an interruption. The first of these causes counts, and `outcome` turns it into an `Outcome`. A `Run`
does no I/O and starts no process. `WorkerRun` in worker.py extends it for warm workers.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import replace
from enum import Enum, auto
from typing import TypeAlias

from consumer.config.job_limits import Limits, excess_at_end
from consumer.job import (
    Crashed,
    Interrupted,
    Outcome,
    OverLimit,
    OverOutput,
    Progress,
    TimedOut,
    Unsuccessful,
    Usage,
)
from consumer.runners.answer import describe_exit, judged, signal_name, what_followed
from consumer.runners.output_parser import ContractLine, LineKind, LineParser, read_progress

log = logging.getLogger(__name__)

#: Receives the progress of a run; None if no producer asked for it. It returns at once and never raises.
OnProgress: TypeAlias = Callable[[Progress], None] | None


class Cause(Enum):
    """Why the consumer stopped waiting for the run."""

    EXITED = auto()
    ANSWERED = auto()
    OVER_LIMIT = auto()
    TIMED_OUT = auto()
    INTERRUPTED = auto()


class Run:
    """The output of the classifier, and the first cause that ends the run.

    Mutable state:

    * The parser, `answer` and the tail of stderr change with the output.
    * A message may quote three lines: `discarded`, a second answer; `_last`, the last line up to the answer;
      `_misspelt`, the last line that looks like a misspelt answer.
    * `_cause` is set once.
    * `_cpu_s` and `_peak_bytes` are the maxima of all measurements.
    * `measure` is set at the end if the process still runs. It is called if the outcome needs the usage.
    """

    def __init__(self, limits: Limits, on_log: Callable[[str], None], on_progress: OnProgress = None) -> None:
        self.limits = limits
        self.answer: ContractLine | None = None
        self.discarded: ContractLine | None = None
        self.measure: Callable[[], None] | None = None
        self._last: ContractLine | None = None
        self._misspelt: ContractLine | None = None
        self._is_cut = False
        self._loop = asyncio.get_running_loop()
        self._started = time.monotonic()  # not loop.time(), which may stand still within a turn
        self._cause: asyncio.Future[Cause] = self._loop.create_future()
        self._parser = LineParser(max_line_bytes=limits.max_line_bytes, max_total_bytes=limits.max_stdout_bytes)
        self._stderr = bytearray()
        self._excess: str | None = None
        self._cpu_s: float | None = None
        self._peak_bytes: int | None = None
        self._on_log = on_log
        self._context = copy_context()
        self._on_progress = on_progress

    @property
    def excess(self) -> str | None:
        """A description of the exceeded limit; None if there is none."""
        return self._parser.excess or self._excess

    @property
    def stderr_tail(self) -> str:
        return self._stderr.decode("utf-8", "backslashreplace").strip()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._started

    def begin(self) -> None:
        """Start to measure the run time."""
        self._started = time.monotonic()

    async def wait(self, interrupt: asyncio.Future[None]) -> Cause:
        """Wait for the first cause. Only during this wait can the run time out or be interrupted."""
        timer = self._loop.call_later(self.limits.timeout_s, self.end, Cause.TIMED_OUT)
        interrupt.add_done_callback(self._on_interrupt)
        try:
            return await self._cause
        finally:
            timer.cancel()
            interrupt.remove_done_callback(self._on_interrupt)

    def end(self, cause: Cause) -> None:
        """Record why the run ends, unless a reason is already recorded."""
        if not self._cause.done():
            self._cause.set_result(cause)

    def on_stdout(self, chunk: bytes) -> None:
        """Parse the next bytes of stdout, in the context of the job, so that log records carry its id."""
        self._context.run(self._parse, chunk)

    def _parse(self, chunk: bytes) -> None:
        for line in self._parser.feed(chunk):
            self.take(line)
        if self._parser.excess:
            self.end(Cause.OVER_LIMIT)

    def on_stderr(self, chunk: bytes) -> None:
        """Keep only the last `stderr_tail_bytes`."""
        self._stderr += chunk
        del self._stderr[: -self.limits.stderr_tail_bytes]

    def exceed(self, words: str) -> None:
        """End the run, because it exceeds a limit that `words` describes. The first description counts."""
        self._excess = self._excess or words
        self.end(Cause.OVER_LIMIT)

    def note(self, *, cpu_s: float, peak_bytes: int) -> None:
        """Record a measurement of the usage so far. The maximum of all measurements counts."""
        self._cpu_s = max(self._cpu_s or 0.0, cpu_s)
        self._peak_bytes = max(self._peak_bytes or 0, peak_bytes)

    def usage(self, returncode: int | None) -> Usage:
        number = -returncode if returncode is not None and returncode < 0 else None
        name = signal_name(number) if number else None
        cpu_s = None if self._cpu_s is None else round(self._cpu_s, 3)
        return Usage(cpu_s=cpu_s, peak_memory_bytes=self._peak_bytes, signal=name)

    def on_exit(self) -> None:
        self.end(Cause.EXITED)

    def finish(self, returncode: int | None) -> None:
        """Parse a last line without a newline, once the pipes are empty.

        The line counts only if the process exited by itself, because a signal may have cut the line off.
        """
        if (line := self._parser.finish()) is None:
            return
        if returncode is not None and returncode >= 0:
            self.take(line)
        elif self.answer is None:
            self._last, self._is_cut = line, True

    def take(self, line: ContractLine) -> None:
        if self.answer is None and (line.kind is not LineKind.OTHER or line.content):
            self._last = line
            if line.is_misspelt_answer:
                self._misspelt = line
        if line.kind is LineKind.LOG:
            self._on_log(line.text)
        elif line.kind.answers and self.answer is None:
            self.answer = line
            self.end(Cause.ANSWERED)
        elif line.kind.answers and self.discarded is None:
            self.discarded = line
        elif line.kind is LineKind.PROGRESS and self._on_progress and (progress := read_progress(line.content)):
            if self.answer is None:
                self._on_progress(progress)
        elif line.content and log.isEnabledFor(logging.DEBUG):  # escaping 16 MiB takes seconds
            log.debug("outside the contract, or not asked for: %s", line.text, extra={"event": "output_ignored"})

    def misspelt_answer(self) -> str:
        """Quote the line that was probably meant as the answer; empty if no line looks like an answer."""
        if self._misspelt:
            return (
                f"; on stdout the line {self._misspelt.quoted} is no answer: OUTPUT: or ERROR: must begin a line; "
                "print a line break first"
            )
        if self._last and self._is_cut and (self._last.kind.answers or self._last.is_misspelt_answer):
            return f"; the last line on stdout, {self._last.quoted}, has no line break at its end: print one"
        return ""

    def best_explanation(self) -> str:
        """Quote the line that best explains the missing answer; empty if nothing was printed."""
        return self.misspelt_answer() or (
            f"; the last line on stdout is {self._last.quoted}" if self._last else ""
        )

    def outcome(self, cause: Cause, returncode: int | None) -> Outcome:
        """Return the outcome of the run. The first answer decides, whatever happened after it.

        An answer does not count if the consumer had already stopped the program: an `ERROR: terminated` from a
        SIGTERM handler is not the job's fault. `returncode` is as in `subprocess`; None if it is unknown.
        """
        if self.answer and cause in (Cause.ANSWERED, Cause.EXITED):
            was_stopped = returncode in (-signal.SIGTERM, -signal.SIGKILL)
            afterwards = what_followed(self.discarded, was_stopped=was_stopped)
            outcome = judged(self.answer, run_s=self.age_s, afterwards=afterwards)
        else:
            outcome = self._unanswered(cause, returncode)
        if isinstance(outcome, Unsuccessful):
            if self.measure:
                self.measure()
            return replace(outcome, stderr_tail=self.stderr_tail, usage=self.usage(returncode))
        if self._stderr and log.isEnabledFor(logging.DEBUG):
            for line in self.stderr_tail.splitlines():  # for an unsuccessful job, the reply has these lines
                log.debug("stderr: %s", line, extra={"event": "stderr_line"})
        return outcome

    def _unanswered(self, cause: Cause, returncode: int | None) -> Outcome:
        # A limit may be found only now: by the output that was read after the end, or by the exit.
        excess = self.excess or excess_at_end(returncode, self.stderr_tail, self.limits)
        if cause is Cause.EXITED and excess:
            cause = Cause.OVER_LIMIT
        match cause:
            case Cause.INTERRUPTED:
                return Interrupted(run_s=self.age_s)
            case Cause.TIMED_OUT:
                message = f"killed after {self.limits.timeout_s:g} s without an answer (job_timeout_s)"
                return TimedOut(message=message + self.misspelt_answer(), run_s=self.age_s)
            case Cause.OVER_LIMIT:
                kind = OverOutput if self._parser.excess else OverLimit
                return kind(message=f"killed: {excess}", run_s=self.age_s)
            case _:
                message = f"{describe_exit(returncode)} without an OUTPUT: or ERROR: line"
                return Crashed(message=message + self.best_explanation(), run_s=self.age_s)

    def _on_interrupt(self, _: asyncio.Future[None]) -> None:
        self.end(Cause.INTERRUPTED)
