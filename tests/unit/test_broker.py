"""The broker's hot path without a RabbitMQ: properties both ways, and settlements that nobody takes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from fakes import runs_async
from pamqp import frame
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from consumer import broker
from consumer.broker import Delivery
from consumer.messages import Message

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
        return Delivery(FULL, cast("Channel", self), 5)


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
    header = ContentHeader(body_size=len(message.body), properties=broker._properties(message))  # noqa: SLF001
    _, _, received = frame.unmarshal(frame.marshal(header, 1))
    assert isinstance(received, ContentHeader)
    return received.properties


def taken(properties: Basic.Properties, body: bytes) -> Message:
    header = ContentHeader(body_size=len(body), properties=properties)
    delivered = DeliveredMessage(Basic.Deliver("tag", 5), header, body, cast("Channel", FakeChannel()))
    delivery = broker._received(delivered)  # noqa: SLF001
    assert delivery.tag == 5
    return delivery.message


def test_every_property_arrives_as_it_was_sent() -> None:
    assert taken(over_the_wire(FULL), FULL.body) == FULL


def test_what_is_absent_stays_absent_but_for_who_sent_it_and_when() -> None:
    message = taken(over_the_wire(Message(body=b"{}")), b"{}")
    assert message.app_id == broker.APP_ID
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
async def test_a_settlement_on_a_channel_that_is_gone_is_only_told(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await FakeChannel(fault).delivery().ack()
    assert f"message 'm' will be delivered again: {fault}" in caplog.text


@runs_async
async def test_a_settlement_that_nobody_takes_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broker, "CALL_TIMEOUT_S", 0.01)
    with caplog.at_level(logging.WARNING):
        await DeafChannel().delivery().ack()
    assert "message 'm' will be delivered again: TimeoutError" in caplog.text


@runs_async
async def test_who_cancels_a_settlement_hears_of_it() -> None:
    channel = DeafChannel()
    task = asyncio.create_task(channel.delivery().ack())
    await channel.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
