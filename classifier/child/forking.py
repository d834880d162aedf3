"""Forks a process on request, reaps it on request, and leaves no process behind. Standard library only.

The consumer sends requests over a Unix socket (SOCK_SEQPACKET), one JSON object per message. `{"fork": order}`
comes with the child's pipes; the reply is `{"forked": pid}` or `{"refused": reason}`. The consumer sends `{"reap":
pid}` after that child has died; the reply is `{"reaped": exit code, "cpu_s", "peak_bytes"}`. When the socket
closes, the server and all its descendants end.

The server reaps a child only on request. Until then, the kernel does not give the dead child's process id to
another process, so the consumer can still signal its process group.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from classifier.child import confinement

Order: TypeAlias = dict[str, Any]
Become: TypeAlias = Callable[[Order, list[int]], NoReturn]

#: Enough for a command line and an environment; consumer/runners/fork_client.py sends no more.
_LONGEST_REQUEST: Final = 131_072
_PIPES: Final = 3


class Server:
    """Handles one request after another. Mutable state: `_forked`, the children that are not reaped yet."""

    def __init__(self, channel: socket.socket, become: Become) -> None:
        """Use `channel` for requests; a forked child calls `become` with its order and its pipes."""
        self._channel = channel
        self._become = become
        self._forked: set[int] = set()

    def serve(self) -> None:
        """Answer requests until the consumer closes the socket."""
        while request := self._receive():
            match request:
                case {"fork": dict(order), "pipes": list(pipes)}:
                    self.send(self.fork(order, pipes))
                case {"reap": int(pid)}:
                    self.send(self.reap(pid))
                case _:
                    raise ValueError(f"not a request: {request}")

    def end_all(self) -> None:
        """Kill all forked children, and the processes that they left behind."""
        for pid in self._forked:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self._forked.clear()
        self._end_orphans()

    def send(self, answer: dict[str, object]) -> None:
        """Send one message; ignore a closed socket."""
        with suppress(BrokenPipeError, ConnectionResetError):  # the next read returns the end
            self._channel.send(json.dumps(answer).encode())

    def fork(self, order: Order, pipes: list[int]) -> dict[str, object]:
        """Fork a child for the order; return the reply to the request."""
        server = os.getpid()  # read before the fork: the child's parent changes when this process dies
        try:
            pid = os.fork()
        except OSError as refused:  # out of memory or of processes: the consumer handles it
            return {"refused": str(refused)}
        if pid == 0:
            confinement.die_with(server)
            self._channel.close()
            self._become(order, pipes)
        for pipe in pipes:
            os.close(pipe)
        self._forked.add(pid)
        return {"forked": pid}

    def reap(self, pid: int) -> dict[str, object]:
        """Reap a dead child, end the processes that it left behind, and return the resources that all used."""
        _, status, used = os.wait4(pid, 0)
        self._forked.discard(pid)
        cpu_s = used.ru_utime + used.ru_stime + self._end_orphans()
        code = os.waitstatus_to_exitcode(status)
        return {"reaped": code, "cpu_s": cpu_s, "peak_bytes": used.ru_maxrss * 1024}

    def _receive(self) -> dict[str, Any] | None:
        content, pipes, _, _ = socket.recv_fds(self._channel, _LONGEST_REQUEST, _PIPES)
        for pipe in pipes:  # recv_fds of Python 3.11 ignores the flag MSG_CMSG_CLOEXEC
            os.set_inheritable(pipe, False)
        if not content:
            return None
        return {**json.loads(content), **({"pipes": list(pipes)} if pipes else {})}

    def _end_orphans(self) -> float:
        """Kill orphans: processes that left their child's group and outlived it; return their CPU seconds.

        This process is a subreaper, so it is their parent now. This method kills all orphans before it waits for
        any, and repeats this until none is left, so that a process that keeps forking does not escape.
        """
        cpu_s = 0.0
        while strangers := confinement.children() - self._forked:
            for pid in strangers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in strangers:
                with suppress(ChildProcessError):
                    used = os.wait4(pid, 0)[2]
                    cpu_s += used.ru_utime + used.ru_stime
        return cpu_s


def take_socket() -> socket.socket:
    """Hide the socket from user code: make stdin empty, and send prints to stderr until the fork."""
    channel = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as empty:
        os.dup2(empty.fileno(), 0)
    os.dup2(2, 1)
    return channel


def serve(server: Server, **facts: object) -> None:
    """Serve, as the subreaper of all descendants, until the socket closes; then end the remaining descendants.

    The first message, `{"ready": threads}`, also contains `facts`.
    """
    confinement.outlive_parent()  # from now on the closed socket ends this process and all descendants
    confinement.adopt_orphans()
    try:
        server.send({"ready": confinement.threads(), **facts})
        server.serve()
    finally:
        server.end_all()
