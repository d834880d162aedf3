"""A child process that leads its own process group: reads its output, notices its end, kills its group.

It waits on a pidfd and on non-blocking pipes, without a thread per child. The kernel keeps the pid of a dead
process until its parent reaps it. Until then a signal to the group cannot reach another process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Protocol

#: The time that a classifier has to end after its answer, for example to flush and to run `atexit` handlers.
LINGER_S = 2.0
#: The time between SIGTERM and SIGKILL.
KILL_GRACE_S = 2.0
#: The time to read the rest of the pipes after all processes have ended. Only a process that escaped from a killed
#: launcher can hold a pipe open for longer.
DRAIN_S = 0.5
CHUNK_BYTES = 65536


class Listener(Protocol):
    """Receives the output of a child, and its end."""

    def on_stdout(self, chunk: bytes) -> None:
        """Handle the next bytes of stdout."""

    def on_stderr(self, chunk: bytes) -> None:
        """Handle the next bytes of stderr."""

    def on_exit(self) -> None:
        """Handle the end of the process. The pipes may still hold some of its output."""


class Pipe(NamedTuple):
    """The two ends of a pipe between the consumer and a child."""

    ours: int
    theirs: int


@contextmanager
def pipes(*, with_stdin: bool = False) -> Iterator[list[Pipe]]:
    """Make the pipes for a child's stdout and stderr, and before them one for its stdin if `with_stdin` is set.

    At its end the block closes the child's ends; after an error it closes all ends.
    """
    made: list[Pipe] = []
    try:
        for is_stdin in [True, False, False] if with_stdin else [False, False]:
            reading, writing = os.pipe()
            made.append(Pipe(writing, reading) if is_stdin else Pipe(reading, writing))
        yield made
    except BaseException:
        for pipe in made:
            os.close(pipe.ours)
        raise
    finally:
        for pipe in made:
            os.close(pipe.theirs)


class Child:
    """One process that is not reaped yet, with the consumer's ends of its stdin, stdout and stderr.

    Mutable state: `stdin`, -1 if the child has none or it was closed; `listener`, None between the jobs of a
    worker; `exited`, done once the process is dead; `_pipes`, a future for each pipe, done at its end of file.
    """

    def __init__(self, pid: int, stdout: int, stderr: int, stdin: int = -1) -> None:
        """Take over the descriptors and start to watch.

        Raises:
            OSError: no descriptor is left for a pidfd. The caller then still owns the given descriptors.
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
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            self._loop.add_reader(pipe, self._read, pipe)

    async def end(self) -> None:
        """End the process and its group: SIGTERM, then SIGKILL after `KILL_GRACE_S`."""
        if not self.exited.done():
            self.signal_group(signal.SIGTERM)
            await asyncio.wait([self.exited], timeout=KILL_GRACE_S)
        # Children may outlive the leader. They would hold stdout open, and outlive the job.
        self.signal_group(signal.SIGKILL)
        await asyncio.wait([self.exited])

    async def drain(self) -> None:
        """Read the rest of the output of the ended process, for at most `DRAIN_S`."""
        await asyncio.wait(self._pipes.values(), timeout=DRAIN_S)

    def give_up_number(self) -> None:
        """Stop sending signals. The caller is about to reap the process, and the kernel may then reuse its pid."""
        self._number_is_ours = False

    def signal_group(self, number: signal.Signals) -> None:
        if not self._number_is_ours:
            return
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # just forked, and not yet the leader of its group
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def read_stderr_now(self) -> None:
        """Read the present content of stderr, so that it is not taken for output of the next job."""
        self._read(self._stderr)

    def close_stdin(self) -> None:
        """Close the child's stdin: the child reads the end of file."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Stop watching, and close all descriptors."""
        self.give_up_number()
        self.close_stdin()
        if self._closed:
            return
        self._closed = True
        for descriptor in (self._pidfd, *self._pipes):
            self._loop.remove_reader(descriptor)
            os.close(descriptor)

    def _read(self, pipe: int) -> None:
        try:
            chunk = os.read(pipe, CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            if not self._pipes[pipe].done():
                self._loop.remove_reader(pipe)
                self._pipes[pipe].set_result(None)
        elif self.listener and pipe == self._stderr:
            self.listener.on_stderr(chunk)
        elif self.listener:
            self.listener.on_stdout(chunk)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self.exited.set_result(None)
        if self.listener:
            self.listener.on_exit()
