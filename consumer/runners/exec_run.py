"""Run one program to an `Outcome`: own process group, limits enforced from here, nobody left behind.

The program is watched, not trusted: it may hang, print without end, ignore SIGTERM or leave children that
hold its stdout or left its group. Whatever it does, `run_program` returns an outcome within the time limit plus
the graces below and in child.py, and all its processes are gone by then. Knows nothing of RabbitMQ, settings or
temporary files.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from consumer.config.job_limits import Limits
from consumer.job import Crashed, Outcome
from consumer.runners.child import Child
from consumer.runners.fork_client import NotForkedError
from consumer.runners.launcher import Launcher
from consumer.runners.programs import executable
from consumer.runners.resource_monitor import Folder, Watch
from consumer.runners.run import Cause, OnProgress, Run, conclude

log = logging.getLogger(__name__)

#: After its answer a program gets this long to end by itself: flushing and `atexit` are its business.
LINGER_S = 2.0


async def run_program(  # noqa: PLR0913 - all by name; each is one thing the caller decides
    argv: Sequence[str],
    *,
    launcher: Launcher,
    watch: Watch,
    cwd: Path,
    input_bytes: int = 0,
    environment: Mapping[str, str],
    limits: Limits,
    on_log: Callable[[str], None],
    on_progress: OnProgress = None,
    interrupt: asyncio.Future[None],
    returncode_of: Callable[[int], int] = int,
) -> Outcome:
    """Run a program until it answered, ended or had to be killed.

    Args:
        argv: the program's full path and its arguments.
        launcher: what starts it, and runs no other meanwhile.
        watch: what looks at how much it takes.
        cwd: its working directory.
        input_bytes: how much the job file holds that is in there.
        environment: all of its environment.
        limits: what it may take.
        on_log: gets the text of each `LOG:` line.
        on_progress: hears of each `PROGRESS:` line before the answer.
        interrupt: when done, the program is killed and the outcome is `Interrupted`.
        returncode_of: what the program's own return code is, where another runs it.

    Returns:
        Any outcome but `Invalid`. A program that cannot be started is `Crashed`. If the caller is
        cancelled, the program is killed and reaped before the cancellation goes on.
    """
    try:
        child = await launcher.start(argv, cwd=cwd, environment=environment, bounds=limits.bounds())
    except NotForkedError as error:
        # The kernel's "No such file" may be about the interpreter, and not about the file that it names.
        fault = executable.fault(Path(argv[0]), environment.get("PATH", os.defpath))
        return Crashed(message=f"the classifier could not be started: {fault or f'{argv[0]}: {error}'}")
    child.listener = run = Run(limits, on_log, on_progress)
    try:
        with watch.over(run, child, launcher.descendants, Folder(cwd, [input_bytes])):
            cause = await run.wait(interrupt)
            if cause is Cause.ANSWERED:
                await _linger(child)
    except BaseException:
        child.signal_group(signal.SIGKILL)
        raise
    finally:
        reaped = await launcher.end(child)
    if reaped:
        run.note(cpu_s=reaped.cpu_s, peak_bytes=reaped.peak_bytes)
    returncode = returncode_of(reaped.returncode) if reaped else None
    run.finish(returncode)
    return conclude(cause, run, returncode=returncode)


async def _linger(child: Child) -> None:
    await asyncio.wait([child.exited], timeout=LINGER_S)
    if not child.exited.done():
        log.warning("pid %d went on after its answer: terminated", child.pid, extra={"event": "program_lingered"})
