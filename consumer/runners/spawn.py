"""Starts a program of this service that runs for long, such as a forker. It is killed when the consumer dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from consumer.runners.child import Child, pipes


def spawn(
    argv: Sequence[str], *, environment: Mapping[str, str], stdin: int
) -> tuple[subprocess.Popen[bytes], Child]:
    """Start a program as the leader of a new session and process group.

    Raises:
        OSError: it cannot be started, or no descriptor is left to watch it.
    """
    with pipes() as (stdout, stderr):
        program = subprocess.Popen(  # noqa: S603 - Python, and a module of ours
            [*_DIE_WITH_US, *argv],
            stdin=stdin,
            stdout=stdout.theirs,
            stderr=stderr.theirs,
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
    """Return a command line prefix that makes the kernel kill the program when the consumer dies.

    The prefix runs setpriv of util-linux; without setpriv it is empty. A preexec_fn could do the same, but would
    run Python between fork and exec, which is not safe with threads.
    """
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin")
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


_DIE_WITH_US = _die_with_us()
