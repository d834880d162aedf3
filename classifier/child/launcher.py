"""Starts programs for one slot, one after another, and ends all processes that a program left behind.

Run as `python -m classifier.child.launcher`, with a socket as stdin; `classifier/child/forking.py` describes the
protocol. An order is `{"argv", "cwd", "environment", "bounds"}`. Standard library only.

The launcher is a separate process, because a program's child may leave its group and its session. When that
child's parent ends, its nearest subreaper becomes its new parent. The consumer runs many jobs and could not assign
such a child to a job. A launcher runs one job at a time, so every descendant belongs to that job.

The launcher has one thread and runs no user code, so its forks can safely set limits before they call exec.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Final, NoReturn

from classifier.child import confinement, forking

#: A shell's exit code for a program that cannot be started; the reason is sent through the pipe.
_EXIT_NOT_STARTED: Final = 127


class ProgramForker(forking.Server):
    """Forks children that run programs. Mutable state: `_failure`, the pipe that reports a failed exec."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__(channel, self._run)
        self._failure = -1

    def fork(self, order: forking.Order, pipes: list[int]) -> dict[str, object]:
        """Fork and start the program; return when it has started or failed to start."""
        reading, self._failure = os.pipe()  # a successful exec closes it, like all descriptors of this process
        answer = super().fork(order, pipes)
        os.close(self._failure)
        with os.fdopen(reading, "rb") as failure:
            reason = failure.read()
        if not reason:
            return answer
        self.reap(int(str(answer["forked"])))
        return {"refused": reason.decode()}

    def _run(self, order: forking.Order, pipes: list[int]) -> NoReturn:
        try:
            _become(order, pipes)
        except OSError as error:
            os.write(self._failure, str(error.strerror).encode())
        except BaseException:  # noqa: BLE001 - a fork must not continue as a second launcher
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(_EXIT_NOT_STARTED)


def _become(order: forking.Order, pipes: list[int]) -> NoReturn:
    os.setsid()
    for number, pipe in enumerate(pipes, start=1):
        os.dup2(pipe, number)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program would inherit that
        signal.signal(ignored, signal.SIG_DFL)
    os.chdir(order["cwd"])
    confinement.confine(order["bounds"])
    os.execve(order["argv"][0], order["argv"], order["environment"])  # noqa: S606 - deliberately without a shell


def main() -> None:
    forking.serve(ProgramForker(forking.take_socket()))


if __name__ == "__main__":
    main()
