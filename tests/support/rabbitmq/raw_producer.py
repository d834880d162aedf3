"""A producer that sends properties that no client library would send: the test gives their bytes.

It implements only the part of AMQP 0-9-1 that is needed to publish one message and to receive its confirm.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from pamqp import commands, frame
from pamqp.base import Frame

#: Bits of the property flags, AMQP 0-9-1 section 4.2.6.1; properties follow one another in this order.
FLAGS = {"headers": 13, "correlation_id": 10, "reply_to": 9, "message_id": 7, "timestamp": 6, "user_id": 4}
METHOD, HEADER, BODY = 1, 2, 3


def short(text: bytes) -> bytes:
    """Encode a short string, for message_id, correlation_id and reply_to."""
    return bytes([len(text)]) + text


def table(name: bytes, kind: bytes, value: bytes) -> bytes:
    """Encode a table with one field."""
    field = short(name) + kind + value
    return struct.pack(">I", len(field)) + field


def publish(url: str, queue: str, body: bytes, properties: dict[str, bytes]) -> None:
    """Publish one message with these properties, each given as its bytes on the wire."""
    with _channel(url) as connection:
        _send(connection, commands.Confirm.Select())
        _read_until(connection, commands.Confirm.SelectOk.index)
        _send(connection, commands.Basic.Publish(exchange="", routing_key=queue))
        present = [name for name in FLAGS if name in properties]
        flags = sum(1 << FLAGS[name] for name in present)
        header = struct.pack(">HHQH", 60, 0, len(body), flags) + b"".join(properties[name] for name in present)
        _send_frame(connection, HEADER, header)
        if body:
            _send_frame(connection, BODY, body)
        _read_until(connection, commands.Basic.Ack.index)


@contextmanager
def _channel(url: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        login = f"\0{parts.username}\0{parts.password}"
        _read_until(connection, commands.Connection.Start.index)
        _send(connection, commands.Connection.StartOk(mechanism="PLAIN", response=login), channel=0)
        _read_until(connection, commands.Connection.Tune.index)
        _send(connection, commands.Connection.TuneOk(channel_max=1, frame_max=131072, heartbeat=0), channel=0)
        _send(connection, commands.Connection.Open(virtual_host=unquote(parts.path[1:])), channel=0)
        _read_until(connection, commands.Connection.OpenOk.index)
        _send(connection, commands.Channel.Open())
        _read_until(connection, commands.Channel.OpenOk.index)
        yield connection


def _send(connection: socket.socket, method: Frame, channel: int = 1) -> None:
    connection.sendall(frame.marshal(method, channel))


def _send_frame(connection: socket.socket, kind: int, payload: bytes) -> None:
    connection.sendall(struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce")


def _read_until(connection: socket.socket, index: int) -> None:
    """Skip frames up to the method `index`. A close raises ConnectionError."""
    while True:
        kind, _, size = struct.unpack(">BHI", _read(connection, 7))
        payload = _read(connection, size + 1)
        if kind != METHOD:
            continue
        method = struct.unpack(">I", payload[:4])[0]
        if method == index:
            return
        if method in {commands.Connection.Close.index, commands.Channel.Close.index}:
            raise ConnectionError(payload)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := connection.recv(size - len(data))):
            raise ConnectionError("closed by RabbitMQ")
        data += more
    return data
