"""Faults that no RabbitMQ makes on request, by a peer that does: every job is answered, and runs once.

The service is the whole one, in this process; only the slot is the test's. Timeouts are shortened in
`consumer.rabbitmq.confirms`, and nothing waits for time.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection, Queue
from pamqp.header import ContentHeader
from support.async_tests import never, runs_async
from support.fakes.amqp_peer import ACCEPTS_CANCEL_OK, Answer, Heard, ScriptedPeer
from support.fakes.slots import FakeSlot, HeldSlot

from consumer.config.loader import load
from consumer.errors import ConnectionLostError
from consumer.job import Crashed, Failed, Outcome, Request, Succeeded
from consumer.rabbitmq import admin, confirms, connection, publisher
from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.session import Session
from consumer.runners.pool import Pool, Slot
from consumer.runners.runner import Runner
from consumer.service.service import Service
from consumer.service.signals import Signals
from consumer.telemetry.health import Health
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.systemd import Systemd
from consumer.wire.message import Message
from consumer.wire.write import reply

SUCCEEDED = Succeeded(output=b"1")


@dataclass
class Jobs:
    """What RabbitMQ holds for us: one job, delivered to each consumer that begins, until it is acked."""

    peer: ScriptedPeer
    consumes: list[Heard] = field(default_factory=list)

    async def delivered(self) -> Heard:
        """Wait for the next consumer, and deliver."""
        consume = await self.peer.heard(Basic.Consume)
        consume.deliver("m1", redelivered=bool(self.consumes))
        self.consumes.append(consume)
        return consume

    async def acked(self) -> None:
        """Wait until the job is acked, by the consumer that had it last."""
        ack = await self.peer.heard(Basic.Ack)
        assert ack.link is self.consumes[-1].link


@asynccontextmanager
async def service(slot: Slot, **capabilities: bool) -> AsyncIterator[Jobs]:
    """Run a service against a peer; it is told to stop at the end, and does."""
    async with ScriptedPeer.open(**capabilities) as peer:
        signals = Signals()
        settings = load({"pool_size": 1}, {})
        nobody = Systemd({}, Health())
        runner = Runner(Pool([slot], Metrics()), "a test's slot", Metrics(), never())
        served = Service(
            settings, [peer.url], runner, signals, Metrics(), console_of=lambda _url: None, systemd=nobody
        )
        running = asyncio.create_task(served.run())
        try:
            yield Jobs(peer)
        finally:
            signals.asked.set()
            await running


def unheard(_: Heard) -> None:
    """No answer."""


def reply_of(published: Heard) -> tuple[object, object]:
    """Whose reply it is, and how the job ended."""
    body = json.loads(published.body)
    return body["job_id"], body["status"]


def quick(monkeypatch: pytest.MonkeyPatch, confirm_s: float) -> None:
    """Look for missing confirms all the time."""
    monkeypatch.setattr(confirms, "WATCH_S", 0.01)
    monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", confirm_s)


@contextmanager
def told(text: str) -> Iterator[asyncio.Event]:
    """Give an event that is set when the service says so."""
    said = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                said.set()

    listener, root = Listener(), logging.getLogger()
    root.addHandler(listener)
    yield said
    root.removeHandler(listener)


@pytest.mark.parametrize("capabilities", [{}, ACCEPTS_CANCEL_OK], ids=["4.3.0 to 4.3.6", "4.3.7"])
@runs_async
async def test_consumer_timeout_told_by_basic_cancel_while_the_channel_stays_open(
    capabilities: dict[str, bool],
) -> None:
    """RabbitMQ 4.3. The tag may stay taken there, so the next consumer needs one of its own."""
    slot = HeldSlot()
    async with service(slot, **capabilities) as jobs:
        first = await jobs.delivered()
        await slot.begun.wait()
        assert isinstance(first.method, Basic.Consume)
        first.answer(Basic.Cancel(first.method.consumer_tag, nowait=True))
        again = await jobs.delivered()
        assert isinstance(again.method, Basic.Consume)
        assert again.method.consumer_tag != first.method.consumer_tag
        slot.ending.set_result(SUCCEEDED)
        assert reply_of(await jobs.peer.heard(Basic.Publish)) == ("m1", "succeeded")
        await jobs.acked()
    assert len(slot.jobs) == 1


@runs_async
async def test_confirm_never_sent(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    quick(monkeypatch, confirm_s=0.05)
    slot = FakeSlot(SUCCEEDED)
    async with service(slot) as jobs:
        jobs.peer.instead[Basic.Publish] = unheard
        with told("RabbitMQ has not confirmed") as missed:
            await jobs.delivered()
            first = await jobs.peer.heard(Basic.Publish)
            await missed.wait()
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 30)  # the second one is confirmed, however late
        del jobs.peer.instead[Basic.Publish]
        await jobs.delivered()
        second = await jobs.peer.heard(Basic.Publish)
        await jobs.acked()
    assert first.link is not second.link
    assert "RabbitMQ has not confirmed a message for 0.05 s" in caplog.text
    assert len(slot.jobs) == 1


@runs_async
async def test_confirm_lost_after_the_message_was_stored_gives_a_second_reply_with_the_same_job_id() -> None:
    slot = FakeSlot(SUCCEEDED)
    async with service(slot) as jobs:
        jobs.peer.instead[Basic.Publish] = lambda stored: stored.link.cut()
        await jobs.delivered()
        first = await jobs.peer.heard(Basic.Publish)
        del jobs.peer.instead[Basic.Publish]
        await jobs.delivered()
        second = await jobs.peer.heard(Basic.Publish)
        await jobs.acked()
    assert reply_of(first) == reply_of(second) == ("m1", "succeeded")
    assert [dict(reply.properties.headers or {})["job-id"] for reply in (first, second)] == ["m1", "m1"]
    assert first.properties.message_id != second.properties.message_id
    assert len(slot.jobs) == 1


@runs_async
async def test_alarm_longer_than_the_confirm_timeout(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With no patience for a confirm once the alarm is known. RabbitMQ tells of it at the first publish."""
    quick(monkeypatch, confirm_s=30)
    caplog.set_level(logging.WARNING, logger="aiormq.connection")  # a command that ran before may have silenced it
    slot = FakeSlot(SUCCEEDED)

    def raise_alarm(publish: Heard) -> None:
        publish.link.stop_reading()
        publish.link.say(0, Connection.Blocked("low on memory"))

    async with service(slot) as jobs:
        jobs.peer.instead[Basic.Publish] = raise_alarm
        with told("was blocked by") as known, told("replies wait, unacked") as waits:
            await jobs.delivered()
            await known.wait()
            monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 0)
            await waits.wait()
        publish = await jobs.peer.heard(Basic.Publish)
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 30)
        publish.link.read_again()
        publish.link.say(0, Connection.Unblocked())
        publish.answer(Basic.Ack(publish.number))
        await jobs.acked()
        assert len(jobs.consumes) == 1
    assert "disconnected for" not in caplog.text


@runs_async
async def test_full_socket_during_an_alarm_is_no_self_disconnect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """aiormq ends a connection whose queue of ten frames stays full. With `wait=False` nothing stays there."""
    quick(monkeypatch, confirm_s=0)
    caplog.set_level(logging.WARNING, logger="aiormq.connection")  # as above
    large = Message(body=b"x" * 1_000_000)
    async with ScriptedPeer.open() as peer, Session.open(peer.url, name="test") as broker:
        select = await peer.heard(Confirm.Select)
        select.link.stop_reading()
        with told("was blocked by") as known:
            select.link.say(0, Connection.Blocked("low on memory"))
            await known.wait()
        lost = asyncio.create_task(broker.lost())
        with told("replies wait, unacked") as waits:
            publishes = [asyncio.create_task(broker.publisher.publish(large, "answers")) for _ in range(20)]
            await waits.wait()
        channel = await broker._write.get_underlay_channel()  # noqa: SLF001 - what aiormq does is the question
        while not channel.connection.write_queue.empty():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 30)
        select.link.read_again()
        select.link.say(0, Connection.Unblocked())
        assert await asyncio.gather(*publishes) == [None] * 20
        assert not lost.done()
        lost.cancel()


def at_the_error_stream(*, record: Answer) -> Answer:
    """Confirm every message but error records, which `record` answers."""

    def answer(publish: Heard) -> None:
        assert isinstance(publish.method, Basic.Publish)
        if publish.method.routing_key == "classifier.errors":
            record(publish)
        else:
            publish.answer(Basic.Ack(publish.number))

    return answer


@runs_async
async def test_an_error_record_that_is_never_confirmed_is_given_up_and_the_job_dead_lettered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays: every job that fails would cost it otherwise, and come again for ever."""
    quick(monkeypatch, confirm_s=0.05)
    async with service(FakeSlot(Failed(message="m"))) as jobs:
        jobs.peer.instead[Basic.Publish] = at_the_error_stream(record=unheard)
        consume = await jobs.delivered()
        nack = await jobs.peer.heard(Basic.Nack)
        assert nack.link is consume.link
        assert len(jobs.consumes) == 1
    assert "job m1 leaves no error record: RabbitMQ does not confirm" in caplog.text


@runs_async
async def test_an_error_record_that_an_alarm_holds_back_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    quick(monkeypatch, confirm_s=30)
    caplog.set_level(logging.WARNING, logger="aiormq.connection")  # as above

    def raise_alarm(publish: Heard) -> None:
        publish.link.stop_reading()
        publish.link.say(0, Connection.Blocked("low on memory"))
        held.set_result(publish)

    held: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
    async with service(FakeSlot(Failed(message="m"))) as jobs:
        jobs.peer.instead[Basic.Publish] = at_the_error_stream(record=raise_alarm)
        with told("was blocked by") as known, told("replies wait, unacked") as waits:
            await jobs.delivered()
            await known.wait()
            monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 0)
            publish = await held
            await waits.wait()
        monkeypatch.setattr(confirms, "CONFIRM_TIMEOUT_S", 30)
        publish.link.read_again()
        publish.link.say(0, Connection.Unblocked())
        publish.answer(Basic.Ack(publish.number))
        await jobs.peer.heard(Basic.Nack)
    assert "leaves no error record" not in caplog.text


@runs_async
async def test_jobs_are_taken_although_rabbitmq_does_not_start_the_error_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked for until patience ends. Then jobs that fail do not wait for the whole time-out of a confirm."""
    quick(monkeypatch, confirm_s=30)
    monkeypatch.setattr(admin, "STREAM_PATIENCE_S", 0.05)
    monkeypatch.setattr(admin, "STREAM_POLL_S", 0.01)
    asked = 0

    def declare(queue: Heard) -> None:
        assert isinstance(queue.method, Queue.Declare)
        if queue.method.queue == "classifier.errors":
            nonlocal asked
            asked += 1
            away = "NOT_FOUND - home node 'a@b' of durable queue 'classifier.errors' is down or inaccessible"
            queue.answer(Channel.Close(404, away, 50, 10))
        else:
            queue.answer(Queue.DeclareOk(queue.method.queue, 0, 0))

    async with service(FakeSlot(Failed(message="m"))) as jobs:
        jobs.peer.instead[Queue.Declare] = declare
        jobs.peer.instead[Basic.Publish] = at_the_error_stream(record=unheard)
        await jobs.delivered()
        assert reply_of(await jobs.peer.heard(Basic.Publish)) == ("m1", "failed")
        await jobs.peer.heard(Basic.Nack)
    assert asked > 1
    [warning] = [record for record in caplog.records if getattr(record, "event", "") == "error_stream_away"]
    assert "is down or inaccessible" in warning.getMessage()
    assert "job m1 leaves no error record" in caplog.text


@runs_async
async def test_a_stream_that_confirms_again_gets_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "WATCH_S", 30)
    limits = BrokerLimits(silent={"errors"})
    async with ScriptedPeer.open() as peer, Session.open(peer.url, name="test", limits=limits) as broker:
        assert await broker.publisher.publish_or_give_up(Message(body=b"1"), "errors") is None
    assert limits.silent == set()


@runs_async
async def test_a_full_socket_does_not_keep_the_next_connection_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed is closed, although RabbitMQ takes nothing of what was written until its alarm is over."""
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_S", 0.05)
    large = Message(body=b"x" * 5_000_000)
    async with ScriptedPeer.open() as peer:
        async with Session.open(peer.url, name="test") as broker:
            select = await peer.heard(Confirm.Select)
            select.link.stop_reading()
            publish = asyncio.create_task(broker.publisher.publish(large, "answers"))
            await asyncio.sleep(0)
        with pytest.raises(ConnectionLostError):
            await publish
        select.link.cut()


@runs_async
async def test_a_return_before_the_ack_is_pinned_on_its_own_message() -> None:
    """Two in flight, answers to one and the same request id; RabbitMQ confirms both with one ack."""
    async with ScriptedPeer.open() as peer, Session.open(peer.url, name="test") as broker:
        peer.instead[Basic.Publish] = unheard
        messages = [reply(Request(id="m", correlation_id="m"), SUCCEEDED, consumer="host:1") for _ in range(2)]
        publishes = [
            asyncio.create_task(broker.publisher.publish(message, queue))
            for message, queue in zip(messages, ("gone", "there"), strict=True)
        ]
        first, second = [await peer.heard(Basic.Publish) for _ in range(2)]
        first.give_back()
        second.answer(Basic.Ack(second.number, multiple=True))
        assert await asyncio.gather(*publishes) == ["there is no queue 'gone'", None]


@pytest.mark.parametrize(
    ("outcome", "settlement"),
    [(SUCCEEDED, Basic.Ack), (Failed(message="m"), Basic.Nack), (Crashed(message="m"), Basic.Ack)],
    ids=["reply", "reply and error record", "retry copy"],
)
@runs_async
async def test_reply_exchange_missing_cannot_happen_as_all_goes_to_the_default_exchange(
    outcome: Outcome, settlement: type[Basic.Ack | Basic.Nack]
) -> None:
    """Which cannot be deleted."""
    async with service(FakeSlot(outcome)) as jobs:
        await jobs.delivered()
        await jobs.peer.heard(settlement)
    assert jobs.peer.exchanges == {""}


@runs_async
async def test_channel_closed_over_a_publish_fails_all_in_flight_and_each_is_published_again() -> None:
    """As over a missing exchange (404); the late rest of an old delivery that follows the close meets nobody."""
    slot = FakeSlot(SUCCEEDED)

    def close(publish: Heard) -> None:
        publish.answer(Channel.Close(404, "NOT_FOUND - no exchange 'e' in vhost '/'", 60, 40))

    async with service(slot) as jobs:
        jobs.peer.instead[Basic.Publish] = close
        await jobs.delivered()
        await jobs.peer.heard(Basic.Publish)
        del jobs.peer.instead[Basic.Publish]
        await jobs.delivered()
        assert reply_of(await jobs.peer.heard(Basic.Publish)) == ("m1", "succeeded")
        await jobs.acked()
    assert len(slot.jobs) == 1


@runs_async
async def test_late_frames_of_an_old_channel_meet_no_new_one(caplog: pytest.LogCaptureFixture) -> None:
    """A channel that had a consumer is never opened a second time on its connection: that is built anew."""
    slot = HeldSlot()
    async with service(slot) as jobs:
        first = await jobs.delivered()
        await slot.begun.wait()
        first.answer(Channel.Close(406, "PRECONDITION_FAILED - delivery acknowledgement timed out", 0, 0))
        first.answer(ContentHeader(0, 3, Basic.Properties()), ContentBody(b"old"))
        again = await jobs.delivered()
        again_late = again.link is not first.link
        first.answer(ContentHeader(0, 3, Basic.Properties()), ContentBody(b"old"))
        slot.ending.set_result(SUCCEEDED)
        await jobs.acked()
        assert again_late
        assert [link.opened.count(first.channel) for link in jobs.peer.links] == [1] * 4
    assert caplog.text.count("disconnected for") == 1
    assert len(slot.jobs) == 1


@runs_async
async def test_a_direct_address_that_rabbitmq_fails_over_is_known_and_its_neighbour_is_answered() -> None:
    """Both were in flight when RabbitMQ closed the connection: only what fails alone is to blame."""
    answer = reply(Request(id="m", correlation_id="m"), SUCCEEDED, consumer="host:1")
    guilty, innocent = (f"amq.rabbitmq.reply-to.{name}" for name in ("guilty", "innocent"))
    limits = BrokerLimits()

    def fail(publish: Heard) -> None:
        assert isinstance(publish.method, Basic.Publish)
        if publish.method.routing_key == guilty:
            publish.link.say(0, Connection.Close(541, "INTERNAL_ERROR", 60, 40))

    async def life(*queues: str) -> list[str | BaseException | None]:
        async with Session.open(peer.url, name="test", limits=limits) as broker:
            return await asyncio.gather(
                *(broker.publisher.publish(answer, queue) for queue in queues), return_exceptions=True
            )

    async with ScriptedPeer.open() as peer:
        peer.instead[Basic.Publish] = fail
        first = await life(guilty, innocent)
        second = await life(guilty, innocent)
        del peer.instead[Basic.Publish]
        third = await life(guilty, innocent)
    assert [type(ended) for ended in (*first, *second)] == [ConnectionLostError] * 4
    assert third == [f"RabbitMQ cannot reach {guilty!r}", None]
