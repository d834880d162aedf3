"""Run one program to an `Outcome`: own process group, limits enforced from here, always reaped.

The program is watched, not trusted: it may hang, print without end, ignore SIGTERM or leave children that
hold its stdout. Whatever it does, `run` returns an outcome within the time limit plus the graces below, and
its process group is gone by then. Knows nothing of RabbitMQ, settings or temporary files.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import IO, Any

from consumer.contract import Kind, Line, LineParser, json_fault
from consumer.job import (
    Crashed,
    Failed,
    Interrupted,
    InvalidOutput,
    Outcome,
    OverLimit,
    Succeeded,
    TimedOut,
)

log = logging.getLogger(__name__)

#: After its answer a program gets this long to end by itself: flushing and `atexit` are its business.
LINGER_S = 2.0
#: Between SIGTERM and SIGKILL.
KILL_GRACE_S = 2.0
#: After the group is gone, for what is still in the pipes: only a process that left the group can hold them.
DRAIN_S = 0.5
#: The end of stderr that goes with a crash report.
STDERR_TAIL_BYTES = 4096
CHUNK_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may take: wall time in seconds, bytes of one stdout line, bytes of stdout in all."""

    timeout_s: float
    max_line_bytes: int
    max_stdout_bytes: int


class Cause(Enum):
    """Why we stopped waiting for the program to go on."""

    EXITED = auto()
    ANSWERED = auto()
    OVER_LIMIT = auto()
    TIMED_OUT = auto()
    INTERRUPTED = auto()


async def run(  # noqa: PLR0913 - all by name; each is one thing the caller decides
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    limits: Limits,
    on_log: Callable[[str], None],
    interrupt: asyncio.Event,
) -> Outcome:
    """Run a program until it answered, ended or had to be killed.

    Args:
        argv: the program's full path and its arguments.
        cwd: its working directory.
        environment: all of its environment.
        limits: what it may take.
        on_log: gets the text of each `LOG:` line.
        interrupt: when set, the program is killed and the outcome is `Interrupted`.

    Returns:
        Any outcome but `Invalid`. A program that cannot be started is `Crashed`. If the caller is
        cancelled, the group is killed and reaped before the cancellation goes on.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        child = Child(_spawn(argv, cwd, environment), limits, on_log)
    except OSError as error:
        return Crashed(message=f"the classifier could not be started: {argv[0]}: {error.strerror}")
    try:
        cause = await _await_cause(child, limits.timeout_s, interrupt)
        await child.end(linger=cause is Cause.ANSWERED)
    finally:
        child.kill_and_reap()
    return conclude(cause, child, limits, run_s=loop.time() - started)


async def _await_cause(child: Child, timeout_s: float, interrupt: asyncio.Event) -> Cause:
    interrupted = asyncio.ensure_future(interrupt.wait())
    ends: set[asyncio.Future[Any]] = {child.settled, interrupted}
    try:
        await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        interrupted.cancel()
    if child.settled.done():
        return child.settled.result()
    return Cause.INTERRUPTED if interrupt.is_set() else Cause.TIMED_OUT


def conclude(cause: Cause, child: Child, limits: Limits, *, run_s: float) -> Outcome:
    """Say how the run ended. The first answer decides, whatever happened after it.

    Except what a program says once we told it to stop: an `ERROR: terminated` from its SIGTERM handler is not
    the job's fault.
    """
    stderr_tail = child.stderr_tail
    if child.answer and cause in (Cause.ANSWERED, Cause.EXITED):
        return _judge(child.answer, stderr_tail, run_s)
    if cause is Cause.EXITED and child.excess:  # found in the pipe after the program's end
        cause = Cause.OVER_LIMIT
    match cause:
        case Cause.INTERRUPTED:
            return Interrupted(run_s=run_s)
        case Cause.TIMED_OUT:
            message = f"killed after {limits.timeout_s:g} s without an answer (job_timeout_s)"
            return TimedOut(message=message, stderr_tail=stderr_tail, run_s=run_s)
        case Cause.OVER_LIMIT:
            return OverLimit(message=f"killed: {child.excess}", stderr_tail=stderr_tail, run_s=run_s)
        case _:
            return Crashed(message=_crash(child), stderr_tail=stderr_tail, run_s=run_s)


def _crash(child: Child) -> str:
    """setpriv, which starts the program, says on stderr that it could not."""
    if child.stderr_tail.startswith("setpriv: failed to execute "):
        return (
            f"the classifier could not be started: {child.stderr_tail.removeprefix('setpriv: failed to execute ')}"
        )
    return f"{describe_exit(child.returncode)} without an OUTPUT: or ERROR: line"


def _judge(answer: Line, stderr_tail: str, run_s: float) -> Outcome:
    if answer.kind is Kind.ERROR:
        message = answer.text or "the classifier gave no reason"
        return Failed(message=message, stderr_tail=stderr_tail, run_s=run_s)
    if fault := json_fault(answer.content):
        message = f"the OUTPUT: line is not JSON: {fault}"
        return InvalidOutput(message=message, stderr_tail=stderr_tail, run_s=run_s)
    return Succeeded(output=answer.content, run_s=run_s)


def describe_exit(returncode: int | None) -> str:
    """Put a return code as `subprocess` gives it into words."""
    if returncode is None:
        return "still running"
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-returncode}"


def _spawn(argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the program at the head of a session, so also of a process group, of its own."""
    return subprocess.Popen(  # noqa: S603 - running the operator's program is what this is for
        [*_DIE_WITH_US, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )


def _die_with_us() -> tuple[str, ...]:
    """The kernel ends a child whose consumer was killed, if util-linux's setpriv is there to ask for it.

    Asking in a preexec_fn instead would run Python between fork and exec, which is not safe with threads.
    """
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


_DIE_WITH_US = _die_with_us()


def _pidfd_or_end(process: subprocess.Popen[bytes]) -> int:
    """Out of descriptors is the one way to fail here; the program must not stay behind then."""
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


class Child:
    """One running program: reads its pipes, notices its end, kills its group.

    Mutable state: the parser, `answer` and the stderr tail change when the loop finds bytes in a pipe;
    `settled` gets its one result from whichever comes first: the answer, a limit, the exit.
    """

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits, on_log: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        self.answer: Line | None = None
        self.settled: asyncio.Future[Cause] = loop.create_future()
        self._process = process
        self._pidfd = _pidfd_or_end(process)
        self._parser = LineParser(max_line_bytes=limits.max_line_bytes, max_total_bytes=limits.max_stdout_bytes)
        self._stderr = bytearray()
        self._on_log = on_log
        self._exited: asyncio.Future[None] = loop.create_future()
        self._drained: dict[int, asyncio.Future[None]] = {}
        loop.add_reader(self._pidfd, self._on_exit)
        self._watch(process.stdout, self._on_stdout)
        self._watch(process.stderr, self._on_stderr)

    @property
    def returncode(self) -> int | None:
        """As `subprocess` gives it: negative for a signal; None until reaped."""
        return self._process.returncode

    @property
    def excess(self) -> str | None:
        """The limit that was passed, in words."""
        return self._parser.excess

    @property
    def stderr_tail(self) -> str:
        """The last bytes of stderr as text."""
        return self._stderr.decode("utf-8", "backslashreplace").strip()

    async def end(self, *, linger: bool) -> None:
        """Bring the program and its group to an end, and read what they had already printed."""
        if linger:
            await self._exit_within(LINGER_S)
        if not self._exited.done():
            if linger:
                log.warning("pid %d went on after its answer: terminated", self._process.pid)
            self._signal_group(signal.SIGTERM)
            await self._exit_within(KILL_GRACE_S)
        # The leader may be gone, its children not: they hold stdout open, and would outlive the job.
        self._signal_group(signal.SIGKILL)
        await asyncio.wait([self._exited])
        await asyncio.wait(self._drained.values(), timeout=DRAIN_S)

    def kill_and_reap(self) -> None:
        """Leave nothing: no process, no zombie, no descriptor. Does not wait longer than a SIGKILL takes."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self._take_unfinished_line()
        loop = asyncio.get_running_loop()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                loop.remove_reader(pipe)
                pipe.close()
        loop.remove_reader(self._pidfd)
        os.close(self._pidfd)

    async def _exit_within(self, seconds: float) -> None:
        await asyncio.wait([self._exited], timeout=seconds)

    def _signal_group(self, number: signal.Signals) -> None:
        """Until it is reaped the leader, even dead, keeps the group's number from being given to others."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _watch(self, pipe: IO[bytes] | None, on_chunk: Callable[[bytes], None]) -> None:
        if pipe is None:
            raise TypeError("a child's stdout and stderr are always pipes")
        descriptor = pipe.fileno()
        os.set_blocking(descriptor, False)
        self._drained[descriptor] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(descriptor, self._read, descriptor, on_chunk)

    def _read(self, descriptor: int, on_chunk: Callable[[bytes], None]) -> None:
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        if chunk:
            on_chunk(chunk)
        else:
            asyncio.get_running_loop().remove_reader(descriptor)
            self._drained[descriptor].set_result(None)

    def _on_exit(self) -> None:
        """The leader is dead but not reaped. What it printed before may still be in the pipe: read that first."""
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._exited.set_result(None)
        self._settle(Cause.EXITED)

    def _on_stdout(self, chunk: bytes) -> None:
        for line in self._parser.feed(chunk):
            self._take(line)
        if self._parser.excess:
            self._settle(Cause.OVER_LIMIT)

    def _on_stderr(self, chunk: bytes) -> None:
        self._stderr += chunk
        del self._stderr[:-STDERR_TAIL_BYTES]

    def _take(self, line: Line) -> None:
        if line.kind is Kind.LOG:
            self._on_log(line.text)
        elif line.kind.answers and self.answer is None:
            self.answer = line
            self._settle(Cause.ANSWERED)
        elif line.content:  # our SDK begins each protocol line with a line break
            log.debug("pid %d, outside the contract: %s", self._process.pid, line.text)

    def _take_unfinished_line(self) -> None:
        """A last line without its newline counts, unless a signal may have cut it short."""
        line = self._parser.finish()
        if line and (self._process.returncode or 0) >= 0:
            self._take(line)

    def _settle(self, cause: Cause) -> None:
        if not self.settled.done():
            self.settled.set_result(cause)
