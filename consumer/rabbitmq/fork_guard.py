"""Keeps a fork of this process from disturbing the connections to RabbitMQ that it inherits.

A fork has the same sockets and, in a coroutine, the same epoll set. When a child leaves `asyncio.run`, it cancels
aiormq's tasks. They would write a close to the socket, and shut it down for the parent as well. So each child
first replaces its sockets by unconnected ones, and gives its copies of the event loops their own epoll sets.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import aio_pika
from aiormq import TransportFactory
from aiormq.connection import TCPTransportFactory, TLSTransportFactory
from yarl import URL

_writers: WeakSet[asyncio.StreamWriter] = WeakSet()
_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


class ForkSafeConnection(aio_pika.Connection):
    """A connection whose socket is replaced in every forked child of this process."""

    def __init__(self, url: URL, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as aio-pika's
        super().__init__(url, *args, **kwargs)
        self.kwargs["transport_factory"] = _RecordingFactory(self.url)

    def __del__(self) -> None:
        """Do nothing, because connection.py closes every connection.

        aio-pika's method would start a coroutine in the thread that collects the garbage. After failed connection
        attempts, the log would have a RuntimeWarning.
        """


class _RecordingFactory(TransportFactory):
    def __init__(self, url: URL) -> None:
        self._factory = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()

    async def create(  # the parameters are aiormq's
        self,
        url: URL,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await self._factory.create(url, **kwargs)
        _writers.add(writer)
        _loops.add(asyncio.get_running_loop())
        return reader, writer


def _disconnect_child() -> None:
    """Replace the sockets; runs first in each child. The descriptors keep their numbers."""
    dead, other = socket.socketpair()
    other.shutdown(socket.SHUT_WR)  # a read returns the end of the stream
    other.detach()  # stays open: otherwise aiormq's last write would fail, and asyncio would log this
    with dead:
        for writer in list(_writers):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                os.dup2(dead.fileno(), sock.fileno(), inheritable=False)
    for loop in list(_loops):
        _replace_selector(loop)
    _writers.clear()
    _loops.clear()


def _replace_selector(loop: asyncio.AbstractEventLoop) -> None:
    """Give the loop its own epoll set and wake-up pipe: asyncio would change the parent's when it closes the loop.

    asyncio has no public way to do this. Loops of other libraries (uvloop) stay unchanged.
    """
    selector, ours, theirs = (getattr(loop, name, None) for name in ("_selector", "_ssock", "_csock"))
    if selector is None or ours is None or theirs is None or selector.get_map() is None:  # a closed one has no map
        return
    for fresh, inherited in zip(socket.socketpair(), (ours, theirs), strict=True):
        with fresh:
            fresh.setblocking(False)
            os.dup2(fresh.fileno(), inherited.fileno(), inheritable=False)
    own = type(selector)()
    for key in list(selector.get_map().values()):
        with suppress(OSError):  # its descriptor has been closed meanwhile
            own.register(key.fileobj, key.events, key.data)
    loop._selector = own  # type: ignore[attr-defined]  # noqa: SLF001 - see above


os.register_at_fork(after_in_child=_disconnect_child)
