"""Import the classifier once, then fork workers on request. Standard library only around the user's import.

`python -m classifier.forkserver package.module:function`, with a Unix socket (SOCK_SEQPACKET) as stdin: one JSON
object a message. `{"ready": threads}` says that the import is done. `{"fork": growth}` comes with three pipes
(stdin, stdout, stderr) and is answered by `{"forked": pid}`; `{"reap": pid}`, sent once that worker is dead, by
`{"reaped": exit code}`. The end of the socket ends the server and every process that descends from it.

It never calls the function: threads of OpenMP and BLAS that a computation starts do not survive a fork. Nothing
is reaped unasked, so that a dead worker's number stays its own until its group has been signalled.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from classifier import contract, process, worker

Function: TypeAlias = Callable[[dict[str, Any]], object]

#: More than any request; a longer one cannot come from our consumer.
_LONGEST_REQUEST: Final = 4096
_PIPES: Final = 3


class Server:
    """Answers one request after another. Mutable state: the workers that were forked and not reaped."""

    def __init__(self, channel: socket.socket, function: Function) -> None:
        self._channel = channel
        self._function = function
        self._workers: set[int] = set()

    def serve(self) -> None:
        """Answer requests until the other side is gone."""
        while request := self._receive():
            match request:
                case {"fork": int(growth), "pipes": list(pipes)}:
                    self._send(self._fork(growth, pipes))
                case {"reap": int(pid)}:
                    self._send({"reaped": self._reap(pid)})
                case _:
                    raise ValueError(f"not a request: {request}")

    def end_all(self) -> None:
        """Kill what was forked, and what that left behind."""
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._workers.clear()
        self._end_strangers()

    def _receive(self) -> dict[str, Any] | None:
        content, pipes, _, _ = socket.recv_fds(self._channel, _LONGEST_REQUEST, _PIPES, socket.MSG_CMSG_CLOEXEC)
        if not content:
            return None
        return {**json.loads(content), **({"pipes": list(pipes)} if pipes else {})}

    def _send(self, answer: dict[str, object]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # then the next read finds the end
            self._channel.send(json.dumps(answer).encode())

    def _fork(self, growth: int, pipes: list[int]) -> dict[str, object]:
        try:
            pid = os.fork()
        except OSError as refused:  # out of memory or of processes: the consumer knows what to do then
            return {"refused": str(refused)}
        if pid == 0:
            self._become_worker(growth, pipes)
        for pipe in pipes:
            os.close(pipe)
        self._workers.add(pid)
        return {"forked": pid}

    def _become_worker(self, growth: int, pipes: list[int]) -> NoReturn:
        self._channel.close()
        worker.serve(self._function, pipes, max_growth=growth)

    def _reap(self, pid: int) -> int:
        _, status = os.waitpid(pid, 0)
        self._workers.discard(pid)
        self._end_strangers()
        return os.waitstatus_to_exitcode(status)

    def _end_strangers(self) -> None:
        """End orphans of dead workers: they left the worker's group, and came to us since we are a subreaper."""
        while strangers := process.children() - self._workers:
            for pid in strangers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def main(target: str) -> None:
    """Load the function, say so, serve.

    An exception is the user's, and Python's own traceback tells it best; a `LoadError` needs none.
    """
    channel = _take_socket()
    try:
        function = load(target)
    except contract.LoadError as refused:
        sys.exit(str(refused))
    process.outlive_parent()  # from here on the socket's end tells us, and the workers' children end with them
    process.adopt_orphans()
    gc.collect()
    gc.freeze()  # a collection in a worker would write to every page that holds an object, and so copy it
    channel.send(json.dumps({"ready": process.threads()}).encode())
    server = Server(channel, function)
    try:
        server.serve()
    finally:
        server.end_all()


def load(target: str) -> Function:
    """Import `package.module:function`, and call the module's `preload()` if it has one.

    `preload` is where a classifier reads its models, once for all workers.
    """
    module_name, _, name = target.partition(":")
    module = importlib.import_module(module_name)
    function: Function = getattr(module, name)
    if callable(preload := getattr(module, "preload", None)):
        preload()
    return function


def _take_socket() -> socket.socket:
    """Move the socket out of the user's reach: stdin becomes empty, and prints go to stderr until we fork."""
    channel = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as empty:
        os.dup2(empty.fileno(), 0)
    os.dup2(2, 1)
    return channel


if __name__ == "__main__":
    main(sys.argv[1])
