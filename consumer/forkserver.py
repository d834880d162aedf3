"""Our side of the fork server: one process that has imported the classifier and forks workers from it.

`start` returns once the import is done, or raises with what Python said: a classifier that does not load stops
the service, and not job by job. What the server can do is `fork` and `reap`; when it is closed, or dies, all
its workers end with it. The other side is `classifier/forkserver.py`, where the messages are described.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from consumer.child import Child, Pipe, pipes
from consumer.errors import ConfigurationError
from consumer.process import spawn
from consumer.run import describe_exit

log = logging.getLogger(__name__)

#: Most imports take seconds; large models some tens. What takes longer is more likely to hang.
START_TIMEOUT_S = 120.0
#: A fork takes milliseconds. The server answers nothing else while it forks or reaps, and never computes.
ANSWER_TIMEOUT_S = 30.0
#: After its socket was closed, for the server to end its workers.
CLOSE_GRACE_S = 5.0
#: A traceback through a few libraries is 4 KiB.
OUTPUT_TAIL_BYTES = 16384
LONGEST_ANSWER = 4096


class NoWorkerError(Exception):
    """The fork server could not give a worker, or is gone. Another attempt may find it restarted."""


@dataclass(frozen=True, slots=True)
class Forked:
    """A worker as it was born: the process, and our end of the pipe that it takes jobs from."""

    child: Child
    jobs: int


class ForkServer:
    """One fork server from its start to its end.

    Mutable state: the answers we wait for, in the order of the requests; the number of workers that are forked and
    not reaped; `ended` is done when the process is dead or its socket closed, whichever is seen first.
    """

    def __init__(self, program: subprocess.Popen[bytes], child: Child, channel: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._program = program
        self._child = child
        self._channel = channel
        self._output = _Output()
        self._answers: deque[asyncio.Future[dict[str, Any]]] = deque()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        #: Of the server once the import was done. Workers inherit only one of them.
        self.threads = 1
        self._workers = 0
        self._unused = asyncio.Event()
        self._unused.set()
        child.listener = self
        channel.setblocking(False)
        self._loop.add_reader(channel, self._on_answer)

    @classmethod
    async def start(cls, target: str, environment: Mapping[str, str]) -> Self:
        """Start a server and wait until it has imported `target`, a `package.module:function`.

        Raises:
            ConfigurationError: it cannot be started or imported; with the traceback.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = (sys.executable, "-m", "classifier.forkserver", target)
        with theirs:
            try:
                program, child = spawn(argv, cwd=None, environment=environment, stdin=theirs.fileno())
            except OSError as error:
                ours.close()
                raise ConfigurationError(f"the fork server could not be started: {error.strerror}") from None
        server = cls(program, child, ours)
        try:
            await server._until_ready(target)
        except BaseException:
            await server.close()
            raise
        return server

    async def _until_ready(self, target: str) -> None:
        ready = self._expect()
        await asyncio.wait([ready], timeout=START_TIMEOUT_S)
        if ready.done() and ready.exception() is None:
            self.threads = int(ready.result()["ready"])
            if self.threads > 1:
                log.warning(
                    "importing %s has started %d threads, which workers do not inherit: compute when called",
                    target,
                    self.threads - 1,
                )
            return
        why = await self._how_it_ended() if ready.done() else f"not done after {START_TIMEOUT_S:g} s"
        raise ConfigurationError(f"the classifier {target} cannot be loaded, {why}{self._output.shown()}")

    async def _how_it_ended(self) -> str:
        await asyncio.wait([self._child.exited], timeout=CLOSE_GRACE_S)  # its socket closes a moment before
        await self._child.end()
        return describe_exit(self._program.wait())

    async def fork(self, *, max_growth: int) -> Forked:
        """Fork a worker that wants to be replaced once it has grown by `max_growth` bytes.

        Raises:
            NoWorkerError
        """
        try:
            with pipes(to_child=1, from_child=2) as (jobs, stdout, stderr):
                theirs = [jobs.theirs, stdout.theirs, stderr.theirs]
                answer = await self._ask({"fork": max_growth}, theirs)
                if "forked" not in answer:
                    raise NoWorkerError(f"no worker could be forked: {answer.get('refused')}")
                self._workers += 1
                self._unused.clear()
                return Forked(await self._watched(answer["forked"], stdout, stderr), jobs.ours)
        except OSError as error:  # out of descriptors
            raise NoWorkerError(f"no worker could be forked: {error.strerror}") from None

    async def _watched(self, pid: int, stdout: Pipe, stderr: Pipe) -> Child:
        try:
            return Child(pid, stdout.ours, stderr.ours)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            await self.reap(pid)
            raise

    async def reap(self, pid: int) -> int | None:
        """Take a dead worker's return code, as `subprocess` gives it; None if the server is dead itself."""
        try:
            return int((await self._ask({"reap": pid}, []))["reaped"])
        except NoWorkerError:
            return None
        finally:
            self._workers -= 1
            if self._workers == 0:
                self._unused.set()

    async def retire(self) -> None:
        """Close once the last worker is reaped."""
        await self._unused.wait()
        await self.close()

    async def close(self) -> None:
        """End the server and whatever it has forked."""
        self._end()
        await asyncio.wait([self._child.exited], timeout=CLOSE_GRACE_S)
        await self._child.end()
        self._child.close()
        self._program.wait()

    def hear_stdout(self, chunk: bytes) -> None:
        """Take what the import prints; the server sends its stdout to stderr."""
        self._output.hear(chunk)

    hear_stderr = hear_stdout

    def hear_end(self) -> None:
        """The process is dead."""
        self._end()

    async def _ask(self, request: dict[str, object], descriptors: Sequence[int]) -> dict[str, Any]:
        if self.ended.done():
            raise NoWorkerError("the fork server has ended")
        answer = self._expect()
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode()], descriptors)
        except OSError:  # it is gone, or has stopped reading: a request is small, and few are on their way
            self._end()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            self._end()
            raise NoWorkerError(f"the fork server did not answer within {ANSWER_TIMEOUT_S:g} s") from None

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
        elif not (answer := self._answers.popleft()).done():  # whoever asked may have been cancelled
            answer.set_result(json.loads(content))

    def _end(self) -> None:
        """No more requests. Without its socket a living server ends, and its workers with it."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        self._loop.remove_reader(self._channel)
        self._channel.close()
        while self._answers:
            if not (answer := self._answers.popleft()).done():
                answer.set_exception(NoWorkerError("the fork server has ended"))


class _Output:
    """What the fork server prints while it imports: logged line by line, the end kept for a failure."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def hear(self, chunk: bytes) -> None:
        for line in chunk.splitlines():
            log.debug("fork server: %s", line.decode("utf-8", "backslashreplace"))
        self._tail += chunk
        del self._tail[:-OUTPUT_TAIL_BYTES]

    def shown(self) -> str:
        text = self._tail.decode("utf-8", "backslashreplace").strip()
        return f":\n{text}" if text else ""
