"""The consumer's side of a forker, a process that forks children for it: requests `fork` and `reap`, and ends it.

Launchers and fork servers are forkers. A forked process is a `Child`, but its parent is the forker, not the
consumer. When the consumer closes the socket, or the forker dies, all children of the forker end.
`classifier/child/forking.py` is the other side and describes the messages.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from consumer.errors import ConfigurationError
from consumer.runners.answer import describe_exit
from consumer.runners.child import Child, pipes

log = logging.getLogger(__name__)

#: Most imports take seconds, those of large models some tens of seconds. A longer import has probably hung.
START_TIMEOUT_S = 120.0
#: A fork takes milliseconds. The forker handles one request at a time, and runs no jobs itself.
ANSWER_TIMEOUT_S = 30.0
#: The time for a forker to end its children after its socket was closed.
CLOSE_GRACE_S = 5.0
#: A traceback through a few libraries is 4 KiB.
OUTPUT_TAIL_BYTES = 16384
#: The longest answer lists the files that an import has left open: some tens of paths.
LONGEST_ANSWER = 65_536
#: Enough for a usual command line and environment. The request is a single message of a Unix socket.
LONGEST_REQUEST = 131_072


class NotForkedError(Exception):
    """No process was forked, or the forker has ended. The message has the reason."""


@dataclass(frozen=True, slots=True)
class Reaped:
    """A reaped process: its return code as in `subprocess`, its CPU seconds, and its peak memory in bytes."""

    returncode: int
    cpu_s: float
    peak_bytes: int


class Forker:
    """One forker, from its start to its end.

    Mutable state: `_facts`, the first message of the process; `_answers`, the expected answers in the order of the
    requests; `_unreaped`, the number of children not reaped yet; `ended`, done once the process is dead or its
    socket is closed.
    """

    def __init__(self, program: subprocess.Popen[bytes], child: Child, channel: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._program = program
        self._child = child
        self._channel = channel
        self._facts: Mapping[str, Any] = {}
        self._output = bytearray()
        self._answers: deque[asyncio.Future[dict[str, Any]]] = deque()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._unreaped = 0
        self._unused = asyncio.Event()
        self._unused.set()
        child.listener = self
        channel.setblocking(False)
        self._loop.add_reader(channel, self._on_answer)

    @classmethod
    async def started(cls, argv: Sequence[str], environment: Mapping[str, str], *, complaint: str) -> Self:
        """Start a program that serves as classifier/child/forking.py does, and wait until it is ready.

        Raises:
            ConfigurationError: the program cannot be started, or ends before it is ready. The message is
                `complaint`, the reason and the program's output.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                try:
                    program, child = _spawn(argv, environment, stdin=theirs.fileno())
                except OSError:
                    ours.close()
                    raise
        except OSError as error:
            raise ConfigurationError(f"{complaint}: {error.strerror}") from None
        server = cls(program, child, ours)
        try:
            await server._until_ready(complaint)
        except BaseException:
            await server.close()
            raise
        return server

    async def _until_ready(self, complaint: str) -> None:
        ready = self._expect()
        await asyncio.wait([ready], timeout=START_TIMEOUT_S)
        if ready.done() and ready.exception() is None:
            self._facts = ready.result()
            return
        why = await self._how_it_ended() if ready.done() else f"not done after {START_TIMEOUT_S:g} s"
        printed = self._output.decode("utf-8", "backslashreplace").strip()
        raise ConfigurationError(f"{complaint}, {why}" + (f":\n{printed}" if printed else ""))

    async def _how_it_ended(self) -> str:
        await asyncio.wait([self._child.exited], timeout=CLOSE_GRACE_S)  # its socket closes a moment earlier
        await self._child.end()
        await self._child.drain()
        return describe_exit(self._program.wait())

    @property
    def pid(self) -> int:
        """The pid of the forker."""
        return self._child.pid

    async def fork(self, order: Mapping[str, object], *, with_stdin: bool) -> Child:
        """Fork a child for this order. Its stdin is a pipe or empty.

        Raises:
            NotForkedError: the forker refused, or has ended; or no descriptor is left.
        """
        try:
            with pipes(with_stdin=with_stdin) as made:
                *stdin, stdout, stderr = made
                answer = await self._ask({"fork": order}, [pipe.theirs for pipe in made])
                if "forked" not in answer:
                    raise NotForkedError(str(answer.get("refused")))
                self._unreaped += 1
                self._unused.clear()
                stdin_of_ours = stdin[0].ours if stdin else -1
                return await self._watched(answer["forked"], stdout.ours, stderr.ours, stdin_of_ours)
        except OSError as error:  # out of descriptors
            raise NotForkedError(str(error.strerror)) from None

    async def _watched(self, pid: int, *pipes_of_ours: int) -> Child:
        try:
            return Child(pid, *pipes_of_ours)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            await self._reap(pid)
            raise

    async def end(self, child: Child) -> Reaped | None:
        """End a child (SIGTERM, then SIGKILL), let the forker reap it, and read the rest of its output.

        On return, processes that left the child's group have ended, too. Returns None if the forker is dead.
        """
        await child.end()
        return await self.take(child)

    async def take(self, child: Child) -> Reaped | None:
        """Let the forker reap a dead child, and read the rest of its output. Return None if the forker is dead."""
        child.give_up_number()
        try:
            reaped = await self._reap(child.pid)
            await child.drain()
        finally:
            child.close()
        return reaped

    async def _reap(self, pid: int) -> Reaped | None:
        try:
            answer = await self._ask({"reap": pid}, [])
            return Reaped(int(answer["reaped"]), float(answer["cpu_s"]), int(answer["peak_bytes"]))
        except NotForkedError:
            return None
        finally:
            self._unreaped -= 1
            if self._unreaped == 0:
                self._unused.set()

    async def retire(self) -> None:
        """Close after the last child has been reaped."""
        await self._unused.wait()
        await self.close()

    async def close(self) -> None:
        """End the forker and all its children."""
        self._end()
        await asyncio.wait([self._child.exited], timeout=CLOSE_GRACE_S)
        await self._child.end()
        self._child.close()
        self._program.wait()

    def on_stdout(self, chunk: bytes) -> None:
        """Log the output of the forker, and keep its last `OUTPUT_TAIL_BYTES` for an error message."""
        for line in chunk.splitlines():
            log.debug("fork server: %s", line.decode("utf-8", "backslashreplace"))
        self._output += chunk
        del self._output[:-OUTPUT_TAIL_BYTES]

    on_stderr = on_stdout

    def on_exit(self) -> None:
        """Fail the open requests, because the forker is dead."""
        self._end()

    async def _ask(self, request: dict[str, object], descriptors: Sequence[int]) -> dict[str, Any]:
        if self.ended.done():
            raise NotForkedError("the process that forks has ended")
        content = json.dumps(request).encode()
        if len(content) > LONGEST_REQUEST:
            raise NotForkedError(f"more than {LONGEST_REQUEST} bytes of command line and environment")
        answer = self._expect()
        try:
            socket.send_fds(self._channel, [content], descriptors)
        except OSError:  # the forker has ended, or has read nothing for long
            self._end()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            self._end()
            raise NotForkedError(f"the process that forks did not answer within {ANSWER_TIMEOUT_S:g} s") from None

    def _expect(self) -> asyncio.Future[dict[str, Any]]:
        answer: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._answers.append(answer)
        return answer

    def _on_answer(self) -> None:
        try:
            content = self._channel.recv(LONGEST_ANSWER)
        except BlockingIOError:
            return
        except ConnectionResetError:
            content = b""
        if not content:
            self._end()
        elif not (answer := self._answers.popleft()).done():  # the caller may have been cancelled
            answer.set_result(json.loads(content))

    def _end(self) -> None:
        """Fail the open requests and close the socket. A forker that still runs then ends with its children."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        self._loop.remove_reader(self._channel)
        self._channel.close()
        while self._answers:
            if not (answer := self._answers.popleft()).done():
                answer.set_exception(NotForkedError("the process that forks has ended"))
                answer.exception()  # retrieved: if the caller was cancelled, asyncio would log it


def _spawn(
    argv: Sequence[str], environment: Mapping[str, str], *, stdin: int
) -> tuple[subprocess.Popen[bytes], Child]:
    """Start a forker as the leader of a new session and process group. It is killed when the consumer dies.

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
