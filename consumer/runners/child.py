"""A process at the head of a group of its own: its output heard, its end noticed, its group killed.

Waiting is on a pidfd and on non-blocking pipes: no thread per child. Until somebody reaps it, and that is
whoever started it, its number stays its own even when it is dead, so that signals to its group reach no other.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

#: After its answer a classifier gets this long to end by itself: flushing and `atexit` are its business.
LINGER_S = 2.0
#: Between SIGTERM and SIGKILL.
KILL_GRACE_S = 2.0
#: After all are gone, for what is still in the pipes: only who escaped a launcher that was killed can hold them.
DRAIN_S = 0.5
CHUNK_BYTES = 65536


class Listener(Protocol):
    """Hears what a child says."""

    def hear_stdout(self, chunk: bytes) -> None:
        """Take the next bytes of stdout."""

    def hear_stderr(self, chunk: bytes) -> None:
        """Take the next bytes of stderr."""

    def hear_end(self) -> None:
        """The process is dead; there may still be bytes of it in the pipes."""


class Pipe(NamedTuple):
    """The two ends of a pipe between us and a child."""

    ours: int
    theirs: int


@contextmanager
def pipes(*, to_child: int = 0, from_child: int = 2) -> Iterator[list[Pipe]]:
    """Make pipes, those to the child first. After the block its ends are closed here; on an error all are."""
    made: list[Pipe] = []
    try:
        for number in range(to_child + from_child):
            reading, writing = os.pipe()
            made.append(Pipe(writing, reading) if number < to_child else Pipe(reading, writing))
        yield made
    except BaseException:
        for pipe in made:
            os.close(pipe.ours)
        raise
    finally:
        for pipe in made:
            os.close(pipe.theirs)


class Child:
    """One process, not reaped yet, the reading ends of its stdout and stderr, and the writing end of its stdin.

    Mutable state: `stdin`, -1 where it has none, or none any more; `listener`, nobody between a worker's jobs;
    `exited` and the pipes' ends are done once the loop has seen them.
    """

    def __init__(self, pid: int, stdout: int, stderr: int, stdin: int = -1) -> None:
        """Take over the descriptors, and watch.

        Raises:
            OSError: no descriptor is left for a pidfd; those given are still the caller's then.
        """
        self.pid = pid
        self.stdin = stdin
        self.listener: Listener | None = None
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(pid)
        self._pipes = {stdout: self._loop.create_future(), stderr: self._loop.create_future()}
        self._stderr = stderr
        self._number_is_ours = True
        self._closed = False
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._pidfd, self._on_exit)
        for pipe, hear in ((stdout, self._hear_stdout), (stderr, self._hear_stderr)):
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read, pipe, hear)

    async def end(self) -> None:
        """Bring the process and its group to an end, asking first."""
        if not self.exited.done():
            self.signal_group(signal.SIGTERM)
            await asyncio.wait([self.exited], timeout=KILL_GRACE_S)
        # The leader may be gone, its children not: they hold stdout open, and would outlive the job.
        self.signal_group(signal.SIGKILL)
        await asyncio.wait([self.exited])

    async def drain(self) -> None:
        """Hear what it had printed before its end."""
        await asyncio.wait(self._pipes.values(), timeout=DRAIN_S)

    def give_up_number(self) -> None:
        """Signal nobody any more: it is about to be reaped, and from then on its number may be another's."""
        self._number_is_ours = False

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and all that is still in its group."""
        if not self._number_is_ours:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # just forked, and not yet at the head of its group
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def hear_what_is_there(self) -> None:
        """Read stderr now: what was written before something seen on stdout must not come after it."""
        self._read(self._stderr, self._hear_stderr)

    def close_stdin(self) -> None:
        """Let it read the end of its stdin."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Stop watching."""
        self.give_up_number()
        self.close_stdin()
        if self._closed:
            return
        self._closed = True
        for descriptor in (self._pidfd, *self._pipes):
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def _read(self, pipe: int, hear: Callable[[bytes], None]) -> None:
        try:
            chunk = os.read(pipe, CHUNK_BYTES)
        except BlockingIOError:
            return
        if chunk:
            hear(chunk)
        elif not self._pipes[pipe].done():
            self._loop.remove_reader(pipe)
            self._pipes[pipe].set_result(None)

    def _hear_stdout(self, chunk: bytes) -> None:
        if self.listener:
            self.listener.hear_stdout(chunk)

    def _hear_stderr(self, chunk: bytes) -> None:
        if self.listener:
            self.listener.hear_stderr(chunk)

    def _on_exit(self) -> None:
        """Dead but not reaped. What it printed before may still be in the pipe: `end` reads that."""
        self._loop.remove_reader(self._pidfd)
        self.exited.set_result(None)
        if self.listener:
            self.listener.hear_end()
