"""Publishes one message on a channel and returns RabbitMQ's answer. No other module calls basic.publish.

The caller limits the wait, and decides whether to retry or to give up.
"""

from __future__ import annotations

from enum import Enum

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq import Channel as UnderlayChannel

from consumer.rabbitmq.codec import properties
from consumer.wire.message import Message


class PublishFault(Enum):
    """Why RabbitMQ does not have a message."""

    #: basic.return: RabbitMQ can route the mandatory message to no queue.
    NO_QUEUE = "no queue"
    #: basic.nack: the queue is full (overflow reject-publish), or has lost its leader.
    REFUSED = "refused"


async def underlay_of(channel: AbstractChannel) -> UnderlayChannel:
    """Return the underlying channel of aiormq, which has methods that aio-pika's lacks."""
    underlay = await channel.get_underlay_channel()
    if not isinstance(underlay, UnderlayChannel):
        raise TypeError(f"{underlay!r} is not a channel of aiormq")
    return underlay


async def publish_confirmed(
    channel: UnderlayChannel,
    message: Message,
    routing_key: str,
    *,
    mandatory: bool = True,
) -> PublishFault | None:
    """Publish a message; return None after RabbitMQ's confirm, otherwise the fault.

    It does not also wait for the write to the socket, because a confirm implies the write. Without a confirm it
    waits until the channel is closed, so the caller must limit the wait.

    Raises:
        aiormq.exceptions.ChannelPreconditionFailed: the message exceeds RabbitMQ's max_message_size, and RabbitMQ
            has closed the channel.
    """
    try:
        await channel.basic_publish(
            message.body,
            routing_key=routing_key,
            properties=properties(message),
            mandatory=mandatory,
            wait=False,
        )
    except PublishError:
        return PublishFault.NO_QUEUE
    except DeliveryError:
        return PublishFault.REFUSED
    return None
