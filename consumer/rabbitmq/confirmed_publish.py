"""Publishes one message on a channel and says what RabbitMQ answered: the only call of basic.publish.

Knows neither connections nor patience: who calls decides whether to wait, to try again or to give up.
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

    #: basic.return: a mandatory message that no queue gets.
    NO_QUEUE = "no queue"
    #: basic.nack: the queue is full (overflow reject-publish), or has lost its leader.
    REFUSED = "refused"


async def underlay_of(channel: AbstractChannel) -> UnderlayChannel:
    """Give the channel of aiormq, which publishes without waiting for the socket."""
    underlay = await channel.get_underlay_channel()
    if not isinstance(underlay, UnderlayChannel):
        raise TypeError(f"{underlay!r} cannot publish without waiting for the socket")
    return underlay


async def publish_confirmed(
    channel: UnderlayChannel,
    message: Message,
    routing_key: str,
    *,
    exchange: str = "",
    mandatory: bool = True,
) -> PublishFault | None:
    """Publish, and return when RabbitMQ confirms (None) or refuses.

    It does not wait for the socket besides: a confirm says more than a write.

    It waits as long as the channel lives, so the caller bounds the wait.

    Raises:
        aiormq.exceptions.ChannelPreconditionFailed: larger than RabbitMQ's max_message_size; closes the channel.
    """
    try:
        await channel.basic_publish(
            message.body,
            exchange=exchange,
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
