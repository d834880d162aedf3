"""An AMQP 0-9-1 peer that misbehaves on request: it withholds a confirm, cancels a consumer, or stops reading.

It is no broker: it routes nothing. It sends the usual answer to each method, unless the test has set another one
in `instead`. A test waits for a method of the client with `heard`, and can make the peer send any frames. The peer
runs in the test's event loop, so it sends nothing between two awaits of the test.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from pamqp import frame
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange, Queue
from pamqp.common import FieldTable
from pamqp.header import ContentHeader

#: The capabilities that RabbitMQ announces.
CAPABILITIES = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True}
#: The capability by which RabbitMQ announces that it accepts a client's `basic.cancel-ok`: from 4.3.7 on.
ACCEPTS_CANCEL_OK = {"accept_consumer_cancel_ok": True}

Said = Frame | ContentHeader | ContentBody


@dataclass(frozen=True)
class Heard:
    """A method that the client has sent. A `Basic.Publish` has its content, and its number on the channel."""

    link: PeerLink
    channel: int
    method: Frame
    properties: Basic.Properties = field(default_factory=Basic.Properties)
    body: bytes = b""
    number: int = 0

    def answer(self, *said: Said) -> None:
        """Send frames on the same channel."""
        self.link.say(self.channel, *said)

    def give_back(self) -> None:
        """Return a mandatory message, as RabbitMQ does before the ack if no queue has the name."""
        assert isinstance(self.method, Basic.Publish)
        told = Basic.Return(312, "NO_ROUTE", self.method.exchange or "", self.method.routing_key or "")
        self.answer(told, ContentHeader(0, len(self.body), self.properties), ContentBody(self.body))

    def deliver(self, job_id: str, *, body: bytes = b"{}", tag: int = 1, redelivered: bool = False) -> None:
        """Deliver a job to the consumer that this `Basic.Consume` has started."""
        assert isinstance(self.method, Basic.Consume)
        begin = Basic.Deliver(self.method.consumer_tag, tag, redelivered, "", self.method.queue)
        properties = Basic.Properties(message_id=job_id)
        self.answer(begin, ContentHeader(0, len(body), properties), ContentBody(body))


Answer = Callable[[Heard], None]


def _usual(method: Frame, number: int) -> Frame | None:
    """Return RabbitMQ's usual answer to a method; None if it sends none."""
    match method:
        case Connection.StartOk():
            return Connection.Tune(channel_max=2047, frame_max=131072, heartbeat=60)
        case Basic.Publish():
            return Basic.Ack(number)
        case Basic.Consume() | Basic.Cancel():
            ok = Basic.ConsumeOk if isinstance(method, Basic.Consume) else Basic.CancelOk
            return ok(method.consumer_tag)
        case Queue.Declare():
            return Queue.DeclareOk(method.queue, 0, 0)
    return _OKS[type(method)]() if type(method) in _OKS else None


_OKS: Mapping[type[Frame], type[Frame]] = {
    Connection.Open: Connection.OpenOk,
    Connection.Close: Connection.CloseOk,
    Channel.Open: Channel.OpenOk,
    Channel.Close: Channel.CloseOk,
    Confirm.Select: Confirm.SelectOk,
    Basic.Qos: Basic.QosOk,
    Queue.Bind: Queue.BindOk,
    Exchange.Declare: Exchange.DeclareOk,
}


class ScriptedPeer:
    """Accepts connections and answers their methods.

    Mutable state: `instead`, functions that replace the usual answers, by method; `links`, all connections so far;
    `exchanges`, the exchanges to which messages were published.
    """

    def __init__(self, capabilities: Mapping[str, bool]) -> None:
        self.port = 0
        self.capabilities: FieldTable = {**CAPABILITIES, **capabilities}
        self.instead: dict[type[Frame], Answer] = {}
        self.links: list[PeerLink] = []
        self.exchanges: set[str | None] = set()
        self._heard: defaultdict[type[Frame], asyncio.Queue[Heard]] = defaultdict(asyncio.Queue)

    @classmethod
    @asynccontextmanager
    async def open(cls, **capabilities: bool) -> AsyncIterator[ScriptedPeer]:
        """Listen during the block; at its end, wait until each client has closed its connections."""
        peer = cls(capabilities)
        served: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = PeerLink(peer, reader, writer)
            peer.links.append(link)
            served.add(asyncio.create_task(link.run()))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        peer.port = server.sockets[0].getsockname()[1]
        try:
            yield peer
            await asyncio.gather(*served)
        finally:
            server.close()
            for task in served:
                task.cancel()

    @property
    def url(self) -> str:
        """The URL of this peer."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    async def heard(self, method: type[Frame]) -> Heard:
        """Wait for the next method of this kind on any connection."""
        return await self._heard[method].get()

    def hear(self, heard: Heard) -> None:
        """Answer a method that a connection has read, and pass it to the test."""
        kind = type(heard.method)
        if kind in self.instead:
            self.instead[kind](heard)
        elif (usual := _usual(heard.method, heard.number)) is not None:  # a method without arguments is false
            heard.answer(usual)
        if isinstance(heard.method, Basic.Publish):
            self.exchanges.add(heard.method.exchange)
        self._heard[kind].put_nowait(heard)


class PeerLink:
    """One connection of the client.

    Mutable state: `_published`, the number of published messages by channel; `opened`, the numbers of the opened
    channels, in their order.
    """

    def __init__(self, peer: ScriptedPeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened: list[int] = []
        self._peer = peer
        self._reader = reader
        self._writer = writer
        self._transport = cast("asyncio.Transport", writer.transport)
        self._published: defaultdict[int, int] = defaultdict(int)

    def say(self, channel: int, *said: Said) -> None:
        """Send frames, unless the connection is being closed."""
        if not self._writer.is_closing():
            self._writer.write(b"".join(frame.marshal(one, channel) for one in said))

    def cut(self) -> None:
        """Reset the connection."""
        self._transport.abort()

    def stop_reading(self) -> None:
        """Stop reading from the client. RabbitMQ does so during an alarm if the connection has published."""
        self._transport.pause_reading()

    def read_again(self) -> None:
        self._transport.resume_reading()

    async def run(self) -> None:
        """Read and answer methods until the client disconnects."""
        try:
            await self._reader.readexactly(len(b"AMQP\0\0\11\1"))
            self.say(0, Connection.Start(0, 9, {"capabilities": self._peer.capabilities}, "PLAIN", "en_US"))
            while True:
                self._peer.hear(await self._read_method())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writer.close()

    async def _read_method(self) -> Heard:
        channel, method = await self._read()
        while not isinstance(method, Frame):  # a heartbeat
            channel, method = await self._read()
        if isinstance(method, Basic.Publish):
            return await self._read_content(channel, method)
        if isinstance(method, Channel.Open):
            self.opened.append(channel)
        return Heard(self, channel, method)

    async def _read_content(self, channel: int, method: Basic.Publish) -> Heard:
        """Read the frames of one message. Only heartbeats may be between them."""
        _, header = await self._read()
        assert isinstance(header, ContentHeader)
        body = b""
        while len(body) < header.body_size:
            _, part = await self._read()
            body += part.value if isinstance(part, ContentBody) else b""
        self._published[channel] += 1
        return Heard(self, channel, method, header.properties, body, self._published[channel])

    async def _read(self) -> tuple[int, object]:
        head = await self._reader.readexactly(7)
        _, channel, size = struct.unpack(">BHI", head)
        payload = await self._reader.readexactly(size + 1)
        return channel, frame.unmarshal(head + payload)[2]
