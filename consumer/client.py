"""Request and reply for Python producers: publish jobs, get the reply of each.

Plain AMQP as any producer would use it: the job is the body, `correlation_id` finds the reply. Knows the wire,
nothing of how the service works. Not built on `Broker`: a producer's channel reads and writes at once, which
direct reply-to demands and the service must not do.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelPreconditionFailed, DeliveryError, PublishError

from consumer.connection import CALL_TIMEOUT_S, CONFIRM_TIMEOUT_S, NO_FILES, connection
from consumer.credentials import Credentials
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.messages import Reply

log = logging.getLogger(__name__)

#: The name that RabbitMQ turns into an address of the channel that consumes from it.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
#: Between attempts to publish to a jobs queue that is full.
FULL_PAUSE_S = 0.2


class Client:
    """Publishes jobs to one queue and hands each caller its reply.

    Mutable state: `_waiting`, a future for each request on its way, by correlation id.
    """

    def __init__(self, channel: AbstractChannel, queue: str, reply_to: str) -> None:
        self.queue = queue
        self.reply_to = reply_to
        self._channel = channel
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, queue: str, direct: bool = False, credentials: Credentials = NO_FILES
    ) -> AsyncIterator[Client]:
        """Connect and make ready for replies.

        Args:
            url: an AMQP URL.
            queue: the jobs queue, `<prefix>.jobs`.
            direct: reply through RabbitMQ's direct reply-to instead of an exclusive queue: no queue is
                made, and a reply that finds nobody is gone.
            credentials: files for TLS and the login; by default there are none.

        Raises:
            BrokerUnreachableError, BrokerRefusedError, ConfigurationError
        """
        async with connection(url, "submit", credentials) as opened:
            channel = await opened.channel(publisher_confirms=True, on_return_raises=True)
            if direct:
                replies = await channel.get_queue(DIRECT_REPLY_TO, ensure=False)
            else:
                replies = await channel.declare_queue(exclusive=True, timeout=CALL_TIMEOUT_S)
            client = cls(channel, queue, replies.name)
            await replies.consume(client._on_reply, no_ack=True, timeout=CALL_TIMEOUT_S)
            watch = asyncio.create_task(client._watch(), name="watch")
            try:
                yield client
            finally:
                watch.cancel()

    async def request(
        self, body: bytes, *, headers: Mapping[str, Any] | None = None, timeout_s: float | None = None
    ) -> Reply:
        """Publish a job, confirmed, and wait for its reply.

        Args:
            body: the job, a JSON object; not checked here, the service is the judge.
            headers: such as `timeout-s`.
            timeout_s: how long to wait for the reply, in seconds; None: for ever.

        Raises:
            TimeoutError: no reply in time; the job may still be waiting or running.
            ConfigurationError: there is no such jobs queue, or RabbitMQ takes no message of that size.
            ConnectionLostError: the reply is lost to us, the job is not.
        """
        key = str(uuid.uuid4())
        self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._publish(body, key, headers or {})
                return Reply.model_validate_json(await self._waiting[key])
        finally:
            del self._waiting[key]

    async def _publish(self, body: bytes, key: str, headers: Mapping[str, Any]) -> None:
        message = aio_pika.Message(
            body,
            headers=dict(headers),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=key,
            correlation_id=key,
            reply_to=self.reply_to,
            timestamp=time.time(),
        )
        while True:
            try:
                await self._channel.default_exchange.publish(message, self.queue, timeout=CONFIRM_TIMEOUT_S)
            except PublishError:
                raise ConfigurationError(
                    f"there is no queue {self.queue!r}; start a consumer with the same prefix first"
                ) from None
            except DeliveryError:  # full, overflow reject-publish: waiting is the back-pressure that it asks for
                await asyncio.sleep(FULL_PAUSE_S)
            except ChannelPreconditionFailed as error:  # nothing else about a publish can be
                raise ConfigurationError(
                    f"RabbitMQ takes no job of this size ({error}); send less, or raise its max_message_size"
                ) from None
            except CONNECTION_EXCEPTIONS as error:
                raise ConnectionLostError(f"the connection to RabbitMQ was lost: {error}") from error
            else:
                return

    async def _on_reply(self, message: AbstractIncomingMessage) -> None:
        """Give the reply to who waits. A second reply to one job, or one that came too late, is for nobody."""
        waiting = self._waiting.get(message.correlation_id or "")
        if waiting and not waiting.done():
            waiting.set_result(message.body)
        else:
            log.debug("nobody waits for the reply %s", message.correlation_id)

    async def _watch(self) -> None:
        await self._channel.closed()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionLostError("the connection to RabbitMQ was lost"))
