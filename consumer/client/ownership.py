"""Restricts a client to the process and the event loop that opened it.

A fork copies a client without the thread or the loop that runs it. A call would wait for ever, and a close would
write to the socket, or change the epoll set, that the parent still uses. So in a child, a call raises at once, and
a close does nothing.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from consumer.client.exceptions import ForkedClientError, WrongLoopError


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that opened a client."""

    pid: int = field(default_factory=os.getpid)

    @property
    def is_here(self) -> bool:
        """Whether this is the process that opened the client, and not a fork of it."""
        return os.getpid() == self.pid

    def check(self) -> None:
        """Raise unless this is the process that opened the client.

        Raises:
            ForkedClientError
        """
        if not self.is_here:
            raise ForkedClientError(
                f"process {self.pid} opened this client and process {os.getpid()} is a fork of it, without "
                "the client's thread and connection; open a client in each process, after the fork"
            )


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Raise unless `loop` runs the caller.

    Raises:
        WrongLoopError
    """
    if running_loop() is not loop:
        raise WrongLoopError(
            "another event loop opened this client; use it in that loop and thread only, open one in each loop, "
            "or use BlockingClient, which any thread may call"
        )


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
