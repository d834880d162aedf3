"""Run one program to an `Outcome`: own process group, limits enforced from here, always reaped.

The program is watched, not trusted: it may hang, print without end, ignore SIGTERM or leave children that
hold its stdout. Whatever it does, `run_program` returns an outcome within the time limit plus the graces
below and in child.py, and its process group is gone by then. Knows nothing of RabbitMQ, settings or
temporary files.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from consumer.child import Child, pipes
from consumer.job import Crashed, Outcome
from consumer.run import Cause, Limits, OnProgress, Run, conclude

log = logging.getLogger(__name__)

#: After its answer a program gets this long to end by itself: flushing and `atexit` are its business.
LINGER_S = 2.0


async def run_program(  # noqa: PLR0913 - all by name; each is one thing the caller decides
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    limits: Limits,
    on_log: Callable[[str], None],
    on_progress: OnProgress = None,
    interrupt: asyncio.Future[None],
) -> Outcome:
    """Run a program until it answered, ended or had to be killed.

    Args:
        argv: the program's full path and its arguments.
        cwd: its working directory.
        environment: all of its environment.
        limits: what it may take.
        on_log: gets the text of each `LOG:` line.
        on_progress: hears of each `PROGRESS:` line before the answer.
        interrupt: when done, the program is killed and the outcome is `Interrupted`.

    Returns:
        Any outcome but `Invalid`. A program that cannot be started is `Crashed`. If the caller is
        cancelled, the group is killed and reaped before the cancellation goes on.
    """
    try:
        program, child = spawn(argv, cwd=cwd, environment=environment)
    except OSError as error:
        return Crashed(message=f"the classifier could not be started: {argv[0]}: {error.strerror}")
    child.listener = run = Run(limits, on_log, on_progress)
    try:
        cause = await run.wait(interrupt)
        if cause is Cause.ANSWERED:
            await _linger(child)
        await child.end()
    finally:
        child.signal_group(signal.SIGKILL)
        child.close()
        returncode = program.wait()
    run.finish(returncode)
    return could_not_start(run) or conclude(cause, run, returncode=returncode)


async def _linger(child: Child) -> None:
    await asyncio.wait([child.exited], timeout=LINGER_S)
    if not child.exited.done():
        log.warning("pid %d went on after its answer: terminated", child.pid)


def could_not_start(run: Run) -> Crashed | None:
    """Tell whether setpriv, which starts the program, said on stderr that it could not."""
    failure = "setpriv: failed to execute "
    if run.answer or not run.stderr_tail.startswith(failure):
        return None
    return Crashed(
        message=f"the classifier could not be started: {run.stderr_tail.removeprefix(failure)}",
        stderr_tail=run.stderr_tail,
        run_s=run.age_s,
    )


def spawn(
    argv: Sequence[str], *, cwd: Path | None, environment: Mapping[str, str], stdin: int = subprocess.DEVNULL
) -> tuple[subprocess.Popen[bytes], Child]:
    """Start a program at the head of a session, so also of a process group, of its own.

    Raises:
        OSError: it cannot be started, or no descriptor is left to watch it.
    """
    with pipes() as (stdout, stderr):
        program = subprocess.Popen(  # noqa: S603 - running the operator's program is what this is for
            [*_DIE_WITH_US, *argv],
            stdin=stdin,
            stdout=stdout.theirs,
            stderr=stderr.theirs,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        try:
            return program, Child(program.pid, stdout.ours, stderr.ours)
        except OSError:
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()
            raise


def _die_with_us() -> tuple[str, ...]:
    """The kernel ends a child whose consumer was killed, if util-linux's setpriv is there to ask for it.

    Asking in a preexec_fn instead would run Python between fork and exec, which is not safe with threads.
    """
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


_DIE_WITH_US = _die_with_us()
