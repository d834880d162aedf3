"""What a queue's refusals lead to, without a RabbitMQ: new connections once, then the answer is given up."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError
from aiormq import Channel
from pamqp.commands import Basic
from support.async_tests import runs_async

from consumer.errors import ConnectionLostError
from consumer.rabbitmq import publisher
from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.rabbitmq.publisher import Publisher
from consumer.wire.message import Message


class RefusingChannel(Channel):
    """Refuses every message while `refuses` is set."""

    def __init__(self) -> None:
        self.refuses = True

    async def get_underlay_channel(self) -> RefusingChannel:
        return self

    async def basic_publish(self, *_: object, **__: object) -> None:
        if self.refuses:
            raise DeliveryError(None, Basic.Nack())


def life(channel: RefusingChannel, limits: BrokerLimits) -> tuple[Publisher, Lifetime]:
    """The publisher of new connections."""
    lifetime = Lifetime()
    connection = cast("AbstractConnection", None)
    return Publisher(connection, cast("AbstractChannel", channel), limits, lifetime), lifetime


@runs_async
async def test_a_queue_that_refuses_is_met_by_new_connections_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "STALE_S", -1)
    channel, limits = RefusingChannel(), BrokerLimits()
    first, lifetime = life(channel, limits)
    with pytest.raises(ConnectionLostError, match="RabbitMQ refuses messages to results"):
        await first.publish(Message(body=b"1"), "results")
    assert lifetime.ended.done()

    monkeypatch.setattr(publisher, "REFUSAL_PATIENCE_S", -1)
    second, lifetime = life(channel, limits)
    fault = await second.publish(Message(body=b"1"), "results")
    assert fault == "the queue 'results' refuses messages (is it full?)"
    assert not lifetime.ended.done()


@runs_async
async def test_a_queue_that_has_taken_something_since_is_met_by_new_connections_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "STALE_S", -1)
    channel, limits = RefusingChannel(), BrokerLimits(refusing={"results"})
    accepted, _ = life(channel, limits)
    channel.refuses = False
    assert await accepted.publish(Message(body=b"1"), "results") is None
    channel.refuses = True
    with pytest.raises(ConnectionLostError):
        await accepted.publish(Message(body=b"1"), "results")


class LateChannel(Channel):
    """Confirms when the test says so."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.confirm = asyncio.Event()

    async def get_underlay_channel(self) -> LateChannel:
        return self

    async def basic_publish(self, *_: object, **__: object) -> None:
        self.asked.set()
        await self.confirm.wait()


async def published_late() -> tuple[LateChannel, Publisher, asyncio.Task[str | None]]:
    """A publish whose confirm is on its way when the other connection is lost."""
    channel, broker = LateChannel(), Lifetime()
    opened = Publisher(cast("AbstractConnection", None), cast("AbstractChannel", channel), BrokerLimits(), broker)
    task = asyncio.create_task(opened.publish(Message(body=b"1"), "results"))
    await channel.asked.wait()
    broker.end("the connection that reads jobs was closed")
    return channel, opened, task


@runs_async
async def test_a_confirm_that_is_on_its_way_is_taken_though_the_other_connection_is_lost() -> None:
    channel, opened, task = await published_late()
    for publish in (opened.publish, opened.publish_at_most_once):
        with pytest.raises(ConnectionLostError):  # nothing new meanwhile
            await publish(Message(body=b"2"), "results")
    finishing = asyncio.create_task(opened.finish())
    channel.confirm.set()
    await finishing
    assert await task is None
    with pytest.raises(ConnectionLostError):
        await opened.publish(Message(body=b"2"), "results")


@runs_async
async def test_a_confirm_that_does_not_come_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "FINISH_S", 0.0)
    _, opened, task = await published_late()
    await opened.finish()
    with pytest.raises(ConnectionLostError):
        await task
