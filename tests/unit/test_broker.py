"""The broker's hot path without a RabbitMQ: properties both ways, and settlements that nobody takes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from aio_pika.exceptions import ChannelInvalidStateError, ChannelNotFoundEntity
from aiormq import Channel
from pamqp import frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from support.async_tests import runs_async

from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConnectionLostError
from consumer.rabbitmq import session
from consumer.rabbitmq.admin import Admin
from consumer.rabbitmq.codec import APP_ID, properties, received
from consumer.rabbitmq.connection import refusal_explained
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.rabbitmq.delivery import Delivery
from consumer.rabbitmq.publisher import Publisher
from consumer.wire.message import Message

FULL = Message(
    body=b'{"a": 1}',
    headers={"timeout-s": "5", "mine": [1, {"a": True}], "attempt": 2},
    message_id="m",
    correlation_id="c",
    reply_to="answers",
    type="signal",
    timestamp=1.7e9,
    content_type="application/json",
    content_encoding="utf-8",
    priority=7,
    app_id="producer",
)


@dataclass
class FakeChannel:
    """Remembers what it is told, then raises `fault` if there is one."""

    fault: BaseException | None = None
    told: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)

    async def basic_ack(self, tag: int, **how: bool) -> None:
        await self._take("ack", tag, how)

    async def basic_nack(self, tag: int, **how: bool) -> None:
        await self._take("nack", tag, how)

    async def _take(self, what: str, tag: int, how: dict[str, bool]) -> None:
        self.told.append((what, tag, how))
        if self.fault:
            raise self.fault

    def delivery(self) -> Delivery:
        nobody = cast("Publisher", None), cast("Admin", None)
        return Delivery(FULL, *nobody, Lifetime(), cast("Channel", self), 5, redelivered=False, consumer="a tag")


class DeafChannel(FakeChannel):
    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def _take(self, what: str, tag: int, how: dict[str, bool]) -> None:
        await super()._take(what, tag, how)
        self.asked.set()
        await asyncio.Event().wait()


def over_the_wire(message: Message) -> Basic.Properties:
    """Make the properties that RabbitMQ gets of a message that we publish."""
    header = ContentHeader(body_size=len(message.body), properties=properties(message))
    _, _, arrived = frame.unmarshal(frame.marshal(header, 1))
    assert isinstance(arrived, ContentHeader)
    return arrived.properties


def test_every_property_arrives_as_it_was_sent() -> None:
    assert received(over_the_wire(FULL), FULL.body) == FULL


def test_what_is_absent_stays_absent_but_for_who_sent_it_and_when() -> None:
    message = received(over_the_wire(Message(body=b"{}")), b"{}")
    assert message.app_id == APP_ID
    assert message.timestamp is not None
    assert replace(message, app_id=None, timestamp=None) == Message(body=b"{}")


def test_all_we_publish_survives_a_restart_of_rabbitmq() -> None:
    assert over_the_wire(Message(body=b"{}")).delivery_mode == 2


@runs_async
async def test_a_settlement_goes_to_the_deliverys_own_channel() -> None:
    channel = FakeChannel()
    delivery = channel.delivery()
    await delivery.ack()
    await delivery.dead_letter()
    await delivery.requeue()
    assert channel.told == [
        ("ack", 5, {"wait": False}),
        ("nack", 5, {"requeue": False, "wait": False}),
        ("nack", 5, {"requeue": True, "wait": False}),
    ]


@pytest.mark.parametrize("fault", [ChannelInvalidStateError("closed"), ConnectionResetError("gone")], ids=repr)
@runs_async
async def test_a_settlement_on_a_channel_that_is_gone_ends_all_that_came_by_it(fault: Exception) -> None:
    delivery = FakeChannel(fault).delivery()
    with pytest.raises(ConnectionLostError, match=str(fault)):
        await delivery.ack()
    assert delivery.lifetime.ended.done()


@runs_async
async def test_a_settlement_that_nobody_takes_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CALL_TIMEOUT_S", 0.01)
    with pytest.raises(ConnectionLostError, match="RabbitMQ did not answer in time"):
        await DeafChannel().delivery().ack()


@runs_async
async def test_after_the_end_nothing_is_settled() -> None:
    channel = FakeChannel()
    delivery = channel.delivery()
    delivery.lifetime.end("cut")
    with pytest.raises(ConnectionLostError, match="cut"):
        await delivery.ack()
    assert channel.told == []


@runs_async
async def test_who_cancels_a_settlement_hears_of_it() -> None:
    channel = DeafChannel()
    task = asyncio.create_task(channel.delivery().ack())
    await channel.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_queue_whose_node_is_away_is_no_refusal() -> None:
    away = ChannelNotFoundEntity("NOT_FOUND - home node 'a@b' of durable queue 'q' is down or inaccessible")
    with pytest.raises(BrokerUnreachableError, match="still starting"), refusal_explained("consume q"):
        raise away
    with pytest.raises(BrokerRefusedError, match="only at its start"), refusal_explained("consume q"):
        raise ChannelNotFoundEntity("NOT_FOUND - no queue 'q'")
