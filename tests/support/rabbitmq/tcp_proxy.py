"""A TCP proxy that causes network faults: it resets, silences or refuses connections.

It runs in a thread, for tests that are not async. While silent, it copies nothing in either direction and closes
no connection, as if a cable were pulled.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from support.waiting import wait_until


class Proxy:
    """Forwards connections to one port of this machine.

    Mutable state, changed only in the proxy's event loop: `_ends`, the open sockets; `_flows`, cleared while the
    proxy is silent; `_held`, the withheld bytes for each client during `together`, otherwise None.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._ends: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._held: dict[asyncio.StreamWriter, bytearray] | None = None
        self._server: asyncio.Server | None = None

    @classmethod
    @contextmanager
    def open(cls, target: int) -> Iterator[Self]:
        """Run a proxy during the block."""
        proxy = cls(target)
        thread = threading.Thread(target=proxy._loop.run_forever, name="proxy")
        thread.start()
        try:
            proxy.accept()
            yield proxy
        finally:
            asyncio.run_coroutine_threadsafe(proxy._stop_all(), proxy._loop).result()
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            thread.join()
            proxy._loop.close()

    def url(self, url: str, query: str = "") -> str:
        """Return the URL of the same RabbitMQ through this proxy."""
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{self.port}", query=query))

    def cut(self) -> None:
        """Reset all connections. New ones are forwarded."""
        self._call(self._cut)

    def silence(self) -> None:
        """Copy nothing until `resume`."""
        self._call(self._flows.clear)

    def resume(self) -> None:
        self._call(self._flows.set)

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones until `accept`."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result()

    @contextmanager
    def together(self, last: bytes) -> Iterator[None]:
        """Withhold RabbitMQ's bytes until they contain `last`, then forward them in one piece."""
        self._call(self._hold)
        try:
            yield
            wait_until(lambda: self._holds(last), f"the far side to say {last!r}")
        finally:
            self._call(self._release)

    def accept(self) -> None:
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def _call(self, action: Callable[[], None]) -> None:
        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _hold(self) -> None:
        self._held = {}

    def _holds(self, last: bytes) -> bool:
        return any(last in said for said in list((self._held or {}).values()))

    def _release(self) -> None:
        for target, said in (self._held or {}).items():
            target.write(bytes(said))
        self._held = None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        """Accept no more, then close. A connection that is being accepted would find no server, and stay open.

        From an accept to the first step of its task, a connection takes three turns of the loop.
        """
        if self._server:
            for listener in self._server.sockets:
                self._loop.remove_reader(listener)
            for _ in range(5):
                await asyncio.sleep(0)
            self._server.close()
        self._cut()

    def _cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _stop_all(self) -> None:
        await self._refuse()  # all tasks have begun: one that is cancelled before would not close its socket
        passing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        await asyncio.sleep(0)  # a socket that was aborted is closed in the loop's next turn

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._ends.add(far_writer)
            try:
                await asyncio.gather(self._copy(reader, far_writer), self._copy_back(far_reader, writer))
            finally:
                self._drop(far_writer)
        except (OSError, asyncio.CancelledError):
            pass  # no process listens there, or one side has closed: the other side is closed, too
        finally:
            self._drop(writer)

    def _drop(self, end: asyncio.StreamWriter) -> None:
        end.transport.abort()
        self._ends.discard(end)

    async def _copy_back(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Forward RabbitMQ's bytes, or withhold them during `together`."""
        while data := await source.read(65536):
            await self._flows.wait()
            if self._held is None:
                target.write(data)
                await target.drain()
            else:
                self._held.setdefault(target, bytearray()).extend(data)
        target.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            await self._flows.wait()
            target.write(data)
            await target.drain()
        target.close()
