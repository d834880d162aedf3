"""AMQP 0-9-1 over one blocking socket: the load generator's connection, made to cost next to nothing.

It shares two processors with what is measured, so every millisecond here is taken from a contender. Frames to
publish are encoded once per signal and get their id by a replacement of equal length; many leave in one write.
Of a reply only the correlation id and the body are looked at. Everything else, which happens once, is pamqp's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pamqp import commands, frame, header
from pamqp.body import ContentBody

_Answer = TypeVar("_Answer")

CHANNEL = 1
#: As long as every id, and nowhere else in a message.
ID_PLACEHOLDER = "@" * 36
CHUNK_BYTES = 256 * 1024
#: RabbitMQ's default; a longer body takes several frames.
FRAME_MAX = 128 * 1024
_METHOD, _HEADER, _BODY = 1, 2, 3
_LEAST_FRAME = 8  # 7 bytes of head, and one that ends it
_DELIVER = b"\x00\x3c\x00\x3c"  # class 60, method 60
_FRAME_HEAD = struct.Struct(">BHI")
_CONTENT_HEAD = struct.Struct(">HHQH")
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS = 1 << 15, 1 << 14, 1 << 13
_DELIVERY_MODE, _PRIORITY, _CORRELATION_ID = 1 << 12, 1 << 11, 1 << 10


class Connection:
    """A connection with one channel and an exclusive queue, `replies`, that is consumed without acks.

    Mutable state: `_unread`, the bytes that came and are not a whole frame yet; `_correlation`, `_missing` and
    `_parts`, the delivery whose body is still coming.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "localhost", parts.port or 5672), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""
        self._correlation, self._missing = b"", 0
        self._parts: list[bytes] = []
        self._shake_hands(parts.username or "guest", parts.password or "guest", unquote(parts.path[1:]) or "/")
        declared = self._ask(commands.Queue.Declare(exclusive=True), commands.Queue.DeclareOk)
        self.replies = str(declared.queue)
        self._ask(commands.Basic.Consume(queue=self.replies, no_ack=True), commands.Basic.ConsumeOk)

    def _shake_hands(self, user: str, password: str, vhost: str) -> None:
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._await(commands.Connection.Start)
        login = f"\0{user}\0{password}"
        start = commands.Connection.StartOk(client_properties={}, mechanism="PLAIN", response=login)
        self._send(start, 0)
        self._await(commands.Connection.Tune)
        self._send(commands.Connection.TuneOk(channel_max=1, frame_max=FRAME_MAX, heartbeat=0), 0)
        self._send(commands.Connection.Open(virtual_host=vhost), 0)
        self._await(commands.Connection.OpenOk)
        self._ask(commands.Channel.Open(), commands.Channel.OpenOk)

    def declare(self, queue: str, arguments: Mapping[str, Any]) -> None:
        """Make a durable queue, as its consumer will declare it again, and empty it."""
        self._ask(
            commands.Queue.Declare(queue=queue, durable=True, arguments=dict(arguments)),
            commands.Queue.DeclareOk,
        )
        self._ask(commands.Queue.Purge(queue=queue), commands.Queue.PurgeOk)

    def fileno(self) -> int:
        """The socket's descriptor, for who waits for several connections."""
        return self._socket.fileno()

    def take_from(self, queue: str, prefetch: int) -> None:
        """Let the messages of a queue come as well, at most so many that are not acked."""
        self._ask(commands.Basic.Qos(prefetch_count=prefetch), commands.Basic.QosOk)
        self._ask(commands.Basic.Consume(queue=queue), commands.Basic.ConsumeOk)

    def ack(self, last: int) -> None:
        """Ack all up to the one that came as number `last`, from 1."""
        self._send(commands.Basic.Ack(delivery_tag=last, multiple=True), CHANNEL)

    def publish(self, messages: bytes) -> None:
        """Send one or many encoded messages in one write."""
        self._socket.sendall(messages)

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Wait for replies, at least one: correlation id and body of each.

        Raises:
            TimeoutError: none came in the time that a connection was given.
        """
        complete: list[tuple[bytes, bytes]] = []
        while not complete:
            complete.extend(self._deliveries(self._read()))
        return complete

    def _deliveries(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Take whole frames off `data`; what is left waits for more."""
        at, end = 0, len(data)
        while end - at >= _LEAST_FRAME:
            kind, _channel, size = _FRAME_HEAD.unpack_from(data, at)
            after = at + 7 + size + 1
            if after > end:
                break
            if kind == _METHOD and data[at + 7 : at + 11] != _DELIVER:
                raise ConnectionError(f"RabbitMQ said {frame.unmarshal(data[at:after])[2]!r}")
            if kind == _HEADER:
                self._correlation, self._missing = _content_header(data, at + 7)
            elif kind == _BODY:
                self._parts.append(data[at + 7 : after - 1])
                self._missing -= size
                if not self._missing:
                    yield self._correlation, b"".join(self._parts)
                    self._parts.clear()
            at = after
        self._unread = data[at:]

    def _read(self) -> bytes:
        data = self._socket.recv(CHUNK_BYTES)
        if not data:
            raise ConnectionError("RabbitMQ closed the load generator's connection")
        return self._unread + data if self._unread else data

    def _send(self, method: frame.FrameTypes, channel: int) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _ask(self, method: frame.FrameTypes, answer: type[_Answer]) -> _Answer:
        self._send(method, CHANNEL)
        return self._await(answer)

    def _await(self, expected: type[_Answer]) -> _Answer:
        while len(self._unread) < _LEAST_FRAME or len(self._unread) < _frame_size(self._unread):
            self._unread = self._read()
        size, _channel, came = frame.unmarshal(self._unread)
        self._unread = self._unread[size:]
        if not isinstance(came, expected):
            raise ConnectionError(f"RabbitMQ said {came!r} instead of {expected.__name__}")
        return came

    def close(self) -> None:
        """End the connection; RabbitMQ removes the queue of the replies with it."""
        self._socket.close()


def _frame_size(data: bytes) -> int:
    size: int = _FRAME_HEAD.unpack_from(data)[2]
    return size + _LEAST_FRAME


def _content_header(data: bytes, at: int) -> tuple[bytes, int]:
    """Correlation id and body size; the properties before the correlation id are stepped over."""
    _class, _weight, size, flags = _CONTENT_HEAD.unpack_from(data, at)
    at += _CONTENT_HEAD.size
    if not flags & _CORRELATION_ID:
        return b"", size
    for flag in (_CONTENT_TYPE, _CONTENT_ENCODING):
        if flags & flag:
            at += 1 + data[at]
    if flags & _HEADERS:
        at += 4 + int.from_bytes(data[at : at + 4])
    at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
    return data[at + 1 : at + 1 + data[at]], size


def encode(queue: str, body: bytes, properties: commands.Basic.Properties) -> bytes:
    """Encode a message to `queue`, on the default exchange, as what `Connection.publish` takes."""
    limit = FRAME_MAX - 8
    parts = [body[start : start + limit] for start in range(0, len(body), limit)]
    frames: list[frame.FrameTypes] = [
        commands.Basic.Publish(exchange="", routing_key=queue),
        header.ContentHeader(body_size=len(body), properties=properties),
        *(ContentBody(part) for part in parts),
    ]
    return b"".join(frame.marshal(each, CHANNEL) for each in frames)
