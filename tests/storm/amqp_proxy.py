"""A proxy that also says to consumers what RabbitMQ says on rare days: a consumer cancelled, a channel closed.

It reads RabbitMQ's frames, remembers who consumes, and puts a frame of its own between two of them. RabbitMQ
itself knows nothing of that, and holds what it has delivered until the connection goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pamqp import frame
from pamqp.base import Frame
from pamqp.commands import Basic, Channel
from support.rabbitmq.tcp_proxy import Proxy

HEADER_BYTES = 7  # type, channel (2), length of the payload (4); an end byte follows the payload
METHOD = 1
CONSUME_OK = b"\x00\x3c\x00\x15"  # class 60, method 21; then the tag, its length before it


class AmqpProxy(Proxy):
    """Passes AMQP connections on. Mutable state besides: `_consumers`, who consumes by each connection."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self._consumers: dict[asyncio.StreamWriter, tuple[int, str]] = {}

    @property
    def has_consumers(self) -> bool:
        """Whether anybody consumes through here, or may still believe to."""
        return bool(self._consumers)

    def cancel_consumers(self) -> bool:
        """Say `basic.cancel`, as when the queue is deleted or its node goes; return whether anybody consumes."""
        return self._say(lambda tag: Basic.Cancel(consumer_tag=tag, nowait=True))

    def close_channels(self) -> bool:
        """Say `channel.close`, as when a delivery was held too long; return whether anybody consumes."""
        text = "PRECONDITION_FAILED - said by the test's proxy"
        return self._say(lambda _: Channel.Close(reply_code=406, reply_text=text, class_id=0, method_id=0))

    def _say(self, make: Callable[[str], Frame]) -> bool:
        told = len(self._consumers)

        def say() -> None:
            for writer, (channel, tag) in self._consumers.items():
                writer.write(frame.marshal(make(tag), channel))

        self._call(say)
        return bool(told)

    async def _copy_back(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Copy whole frames only: what is put between comes between two of them."""
        try:
            while True:
                header = await source.readexactly(HEADER_BYTES)
                payload = await source.readexactly(int.from_bytes(header[3:]) + 1)
                await self._flows.wait()
                if header[0] == METHOD and payload.startswith(CONSUME_OK):
                    tag = payload[5 : 5 + payload[4]].decode()
                    self._consumers[target] = (int.from_bytes(header[1:3]), tag)
                target.write(header + payload)
                await target.drain()
        except asyncio.IncompleteReadError:
            target.close()
        finally:
            self._consumers.pop(target, None)
