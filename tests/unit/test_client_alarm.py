"""The client during an alarm of a scripted peer: it waits on one connection, and says what it waits for.

Timeouts are shortened in `consumer.rabbitmq.confirms`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic, Connection
from pamqp.header import ContentHeader
from support.async_tests import runs_async
from support.fakes.amqp_peer import Heard, ScriptedPeer

from consumer.client import Client, NoReplyError
from consumer.rabbitmq import confirms
from consumer.rabbitmq.confirms import ALARM
from consumer.telemetry.log_events import EVENTS


def events(records: list[logging.LogRecord]) -> list[str]:
    return [record.event for record in records if hasattr(record, "event")]


@contextmanager
def logged(event: str) -> Iterator[asyncio.Event]:
    """Give an event that is set when the client logs one of this name."""
    assert event in EVENTS
    happened = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "event", None) == event:
                happened.set()

    listener, root = Listener(), logging.getLogger()
    root.addHandler(listener)
    yield happened
    root.removeHandler(listener)


def raise_alarm(publish: Heard) -> None:
    """Read no more, as RabbitMQ does, which announces an alarm at the first publish."""
    publish.link.stop_reading()
    publish.link.say(0, Connection.Blocked("low on memory"))


def reply_to(consume: Heard, publish: Heard) -> None:
    """Confirm a job, and reply to it on the same connection."""
    assert isinstance(consume.method, Basic.Consume)
    key = publish.properties.correlation_id
    body = json.dumps({"job_id": key, "status": "succeeded", "attempt": 1, "run_ms": 1.0, "output": 7}).encode()
    deliver = Basic.Deliver(consume.method.consumer_tag, 1, False, "", consume.method.queue)
    properties = Basic.Properties(correlation_id=key)
    publish.answer(Basic.Ack(publish.number))
    consume.answer(deliver, ContentHeader(0, len(body), properties), ContentBody(body))


@runs_async
async def test_an_alarm_is_waited_for_on_the_same_connection_and_logged_when_it_begins_and_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With no patience for a confirm once the alarm is known. A call's time-out holds, and its error says why."""
    caplog.set_level(logging.INFO, logger="consumer")
    monkeypatch.setattr(confirms, "WATCH_S", 0.01)
    async with ScriptedPeer.open() as peer, Client.open(peer.url, direct=True) as client:
        consume = await peer.heard(Basic.Consume)
        peer.instead[Basic.Publish] = raise_alarm
        with logged("publishing_blocked") as blocked:
            running = asyncio.create_task(client.run({}, job_id="waits", timeout_s=None))
            publish = await peer.heard(Basic.Publish)
            await blocked.wait()
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 0)
        with pytest.raises(NoReplyError) as raised:
            await client.run({}, job_id="mine", timeout_s=0.1)
        assert await client.count_consumers() is None  # at once, as RabbitMQ would not read the question
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 30)
        del peer.instead[Basic.Publish]
        with logged("publishing_unblocked") as unblocked:
            publish.link.read_again()
            publish.link.say(0, Connection.Unblocked())
            reply_to(consume, publish)
            await unblocked.wait()
        assert (await running).output == 7
        late = await peer.heard(Basic.Publish)
        assert late.properties.message_id == "mine"
    assert events(caplog.records) == ["publishing_blocked", "publishing_unblocked"]
    assert f"{ALARM}; waiting for it to accept 1 job" in caplog.messages
    told = f"job mine: RabbitMQ has not confirmed it within 0.1 s; {ALARM}; it may accept the job after the alarm"
    assert str(raised.value) == str(pickle.loads(pickle.dumps(raised.value))) == told  # noqa: S301 - our own


@runs_async
async def test_a_confirm_that_is_overdue_without_an_alarm_costs_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(confirms, "WATCH_S", 0.01)
    monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 0.05)
    async with ScriptedPeer.open() as peer, Client.open(peer.url, direct=True) as client:
        await peer.heard(Basic.Consume)
        peer.instead[Basic.Publish] = lambda _: None
        running = asyncio.create_task(client.run({}, job_id="mine"))
        first = await peer.heard(Basic.Publish)
        consume = await peer.heard(Basic.Consume)
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 30)
        second = await peer.heard(Basic.Publish)
        reply_to(consume, second)
        assert (await running).output == 7
    assert first.link is not second.link
    assert first.properties.message_id == second.properties.message_id == "mine"
    assert "RabbitMQ has not confirmed a message for 0.05 s" in caplog.text
