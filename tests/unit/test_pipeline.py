"""One delivery at a time through the pipeline: what is published, in which order, and the one settlement."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from support.async_tests import runs_async
from support.fakes.deliveries import FakeDelivery, FakePublisher
from support.fakes.log_listener import jobs_told
from support.fakes.slots import FakeSlot, HeldSlot

from consumer.config.loader import load
from consumer.errors import ConnectionLostError
from consumer.job import (
    Crashed,
    Failed,
    Interrupted,
    InvalidOutput,
    Job,
    Outcome,
    OverLimit,
    Succeeded,
    TimedOut,
    Unsuccessful,
)
from consumer.runners.pool import GRACE_S, Pool, Slot
from consumer.service.fetching import Fetching
from consumer.service.outcome_cache import OutcomeCache
from consumer.service.pipeline import Pipeline
from consumer.service.settle import Settler
from consumer.telemetry import log_context
from consumer.telemetry.job_lines import JobLines
from consumer.telemetry.metrics import Metrics
from consumer.wire.message import Message, MessageTooLargeError
from consumer.wire.topology import Topology

SUCCEEDED = Succeeded(output=b'{"label": "idle"}', run_s=0.5)
FAILED = Failed(message="no such model", stderr_tail="tail")
CRASHED = Crashed(message="killed by SIGSEGV", stderr_tail="tail")
RETRYABLE = (CRASHED, InvalidOutput(message="m"), TimedOut(message="m"), OverLimit(message="m"))
LAST = {"attempt": 3}


class SmallPublisher(FakePublisher):
    """Takes no result: each is too large."""

    async def publish(self, message: Message, queue: str) -> str | None:
        if b"succeeded" in message.body:
            raise MessageTooLargeError(len(message.body), 10)
        return await super().publish(message, queue)


class Bench:
    """A pipeline with a fake on every side; `events` is what RabbitMQ would see, in order."""

    def __init__(
        self,
        outcome: Outcome | Exception,
        faults: dict[str, str | Exception] | None = None,
        slot: FakeSlot | HeldSlot | None = None,
        **settings: object,
    ) -> None:
        self.slot = slot or FakeSlot(outcome)
        self.publisher = FakePublisher(faults=faults or {})
        self.events = self.publisher.events
        slots: list[Slot] = [self.slot]
        self.now = 0.0
        self.pool = Pool(slots, Metrics(), clock=lambda: self.now)
        self.pipeline = Pipeline(
            settings=load({"max_body_bytes": 100, "job_timeout_s": 7, **settings}, {}),
            topology=Topology("ours", 3),
            pool=self.pool,
            fetching=Fetching("ours.jobs", self.pool, Metrics(), look_ahead=False),
            metrics=Metrics(),
            lines=JobLines("all", "host:1"),
            settler=Settler(topology=Topology("ours", 3), metrics=Metrics(), consumer="host:1"),
            outcomes=OutcomeCache(capacity=10),
        )

    def delivery(self, body: bytes = b"{}", *, redelivered: bool = False, **properties: Any) -> FakeDelivery:  # noqa: ANN401 - a message's own
        properties = {"message_id": "m", "reply_to": "answers", **properties}
        return FakeDelivery(Message(body=body, **properties), self.publisher, redelivered)

    async def handle(self, body: bytes = b"{}", *, redelivered: bool = False, **properties: Any) -> FakeDelivery:  # noqa: ANN401 - as above
        delivery = self.delivery(body, redelivered=redelivered, **properties)
        await self.pipeline.handle(delivery)
        return delivery

    def published(self, queue: str) -> Any:  # noqa: ANN401 - JSON
        (message,) = self.publisher.taken[queue]
        return json.loads(message.body)


@runs_async
async def test_a_result_is_replied_before_the_job_is_acked() -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle()
    assert bench.events == [("publish", "answers"), ("settle", "ack")]
    assert bench.published("answers")["output"] == {"label": "idle"}


@runs_async
async def test_without_a_reply_to_the_reply_goes_to_the_results() -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(reply_to=None)
    assert bench.events == [("publish", "ours.results"), ("settle", "ack")]


@runs_async
async def test_an_error_is_replied_and_recorded_before_the_job_is_dead_lettered() -> None:
    bench = Bench(FAILED)
    await bench.handle()
    assert bench.events == [("publish", "answers"), ("publish", "ours.errors"), ("settle", "dead-letter")]
    assert bench.published("answers")["error"]["code"] == "classifier_error"
    assert bench.publisher.expendable == {"ours.errors"}  # a missing reply must cost the connection


@pytest.mark.parametrize("outcome", RETRYABLE, ids=lambda outcome: type(outcome).__name__)
@runs_async
async def test_what_may_end_differently_is_tried_again_without_a_reply(outcome: Outcome) -> None:
    bench = Bench(outcome)
    await bench.handle(b'{"a": 1}', headers={"mine": "kept", "x-death": []})
    assert bench.events == [("publish", "ours.retry.1s"), ("settle", "ack")]
    (copy,) = bench.publisher.taken["ours.retry.1s"]
    assert (copy.body, copy.reply_to) == (b'{"a": 1}', "answers")
    assert isinstance(outcome, Unsuccessful)
    why = f"{outcome.code}: {outcome.message}"
    assert copy.headers == {"mine": "kept", "attempt": 2, "job-id": "m", "last-error": why}


@pytest.mark.parametrize("outcome", RETRYABLE, ids=lambda outcome: type(outcome).__name__)
@runs_async
async def test_at_the_last_attempt_it_is_replied_and_dead_lettered(outcome: Outcome) -> None:
    bench = Bench(outcome)
    await bench.handle(headers=LAST)
    assert bench.events == [("publish", "answers"), ("publish", "ours.errors"), ("settle", "dead-letter")]
    assert bench.published("answers")["attempt"] == 3


@runs_async
async def test_the_second_attempt_waits_in_the_second_queue() -> None:
    bench = Bench(CRASHED)
    await bench.handle(headers={"attempt": 2})
    assert bench.events == [("publish", "ours.retry.5s"), ("settle", "ack")]


@runs_async
async def test_an_interrupted_job_goes_back_and_nobody_hears_of_it() -> None:
    bench = Bench(Interrupted())
    await bench.handle(headers=LAST)
    assert bench.events == [("settle", "requeue")]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"a": NaN}', b'{"a": "' + b"x" * 100 + b'"}'])
@runs_async
async def test_what_is_no_job_is_answered_and_dead_lettered_without_a_slot(body: bytes) -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(body)
    assert bench.events == [("publish", "answers"), ("publish", "ours.errors"), ("settle", "dead-letter")]
    assert bench.published("answers")["error"]["code"] == "invalid_job"
    assert bench.slot.jobs == []


@pytest.mark.parametrize("reply_to", ["ours.jobs", "ours.errors", "amq.direct"])
@runs_async
async def test_a_refused_reply_to_gets_no_reply_but_leaves_a_record(reply_to: str) -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(reply_to=reply_to)
    assert bench.events == [("publish", "ours.errors"), ("settle", "dead-letter")]
    assert reply_to in bench.published("ours.errors")["message"]
    assert bench.slot.jobs == []


@runs_async
async def test_a_slot_gets_the_body_the_run_time_and_the_request() -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(b'{"a": 1}', headers={"timeout-s": "5"}, correlation_id="c")
    await bench.handle(b"{}")
    first, second = bench.slot.jobs
    assert isinstance(first, Job)
    assert (first.body, first.timeout_s, first.request.correlation_id) == (b'{"a": 1}', 5.0, "c")
    assert second.timeout_s == 7.0


@runs_async
async def test_an_error_record_tells_who_what_and_why() -> None:
    bench = Bench(CRASHED)
    await bench.handle(headers=LAST, correlation_id="c")
    record = bench.published("ours.errors")
    del record["time"], record["run_ms"]
    assert record == {
        "job_id": "m",
        "correlation_id": "c",
        "code": "crashed",
        "message": "killed by SIGSEGV",
        "stderr_tail": "tail",
        "attempt": 3,
        "consumer": "host:1",
    }


@runs_async
async def test_without_its_retry_queue_a_job_is_answered_and_dead_lettered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(CRASHED, {"ours.retry.1s": "there is no queue"})
    with caplog.at_level(logging.ERROR):
        await bench.handle()
    assert bench.events == [("publish", "answers"), ("publish", "ours.errors"), ("settle", "dead-letter")]
    assert "job m cannot be retried: there is no queue" in caplog.text


@runs_async
async def test_without_the_errors_stream_a_job_is_still_dead_lettered(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(FAILED, {"ours.errors": "there is no queue"})
    with caplog.at_level(logging.ERROR):
        await bench.handle()
    assert bench.events == [("publish", "answers"), ("settle", "dead-letter")]
    assert "job m leaves no error record: there is no queue" in caplog.text


@runs_async
async def test_a_result_whose_named_queue_is_missing_is_kept_as_a_dead_letter_with_a_record() -> None:
    bench = Bench(SUCCEEDED, {"answers": "there is no queue 'answers'"})
    await bench.handle()
    assert bench.events == [("publish", "ours.errors"), ("settle", "dead-letter")]
    record = bench.published("ours.errors")
    assert (record["code"], record["message"]) == ("unroutable_reply", "there is no queue 'answers'")
    assert record["run_ms"] == 500.0


@runs_async
async def test_a_result_whose_caller_has_gone_is_acked_without_a_record() -> None:
    bench = Bench(SUCCEEDED, {"amq.gen-1": "there is no queue"})
    await bench.handle(reply_to="amq.gen-1")
    assert bench.events == [("settle", "ack")]


GONE = "there is no queue"
CALLERS_OWN = pytest.mark.parametrize("caller", ["amq.gen-1", "amq.rabbitmq.reply-to.g1.key"])


@CALLERS_OWN
@runs_async
async def test_a_job_whose_caller_has_gone_does_not_run_and_is_done(
    caller: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(SUCCEEDED, {caller: GONE}, drop_if_caller_gone=True)
    with caplog.at_level(logging.INFO):
        await bench.handle(reply_to=caller)
    assert bench.events == [("ask", caller), ("settle", "ack")]
    assert (bench.slot.jobs, bench.pool.busy) == ([], 0)
    assert "job m does not run: its caller has gone" in caplog.text


@CALLERS_OWN
@runs_async
async def test_a_job_whose_caller_is_there_runs_and_is_answered(caller: str) -> None:
    bench = Bench(SUCCEEDED, drop_if_caller_gone=True)
    await bench.handle(reply_to=caller)
    assert bench.events == [("ask", caller), ("publish", caller), ("settle", "ack")]


@CALLERS_OWN
@runs_async
async def test_unless_the_setting_says_so_nobody_asks_for_the_caller(caller: str) -> None:
    bench = Bench(SUCCEEDED, {caller: GONE})
    await bench.handle(reply_to=caller)
    assert bench.events == [("settle", "ack")]
    assert len(bench.slot.jobs) == 1


@pytest.mark.parametrize("reply_to", ["answers", None])
@runs_async
async def test_nobody_asks_for_a_queue_that_is_not_its_callers_own(reply_to: str | None) -> None:
    bench = Bench(SUCCEEDED, drop_if_caller_gone=True)
    await bench.handle(reply_to=reply_to)
    assert bench.events == [("publish", reply_to or "ours.results"), ("settle", "ack")]


@runs_async
async def test_a_connection_that_is_lost_over_the_question_leaves_the_job_unsettled() -> None:
    bench = Bench(SUCCEEDED, {"amq.gen-1": ConnectionLostError("gone")}, drop_if_caller_gone=True)
    await bench.handle(reply_to="amq.gen-1")
    assert bench.events == [("ask", "amq.gen-1")]
    assert bench.slot.jobs == []


@runs_async
async def test_a_remembered_outcome_needs_no_question() -> None:
    bench = Bench(SUCCEEDED, drop_if_caller_gone=True)
    await bench.handle(reply_to="amq.gen-1")
    await bench.handle(reply_to="amq.gen-1", redelivered=True)
    assert bench.events == [("ask", "amq.gen-1"), ("publish", "amq.gen-1"), ("settle", "ack"), ("settle", "ack")]


@pytest.mark.parametrize("reply_to", ["answers", "amq.gen-1"])
@runs_async
async def test_an_error_that_cannot_be_told_keeps_its_own_reason(reply_to: str) -> None:
    bench = Bench(FAILED, {reply_to: "there is no queue"})
    await bench.handle(reply_to=reply_to)
    assert bench.events == [("publish", "ours.errors"), ("settle", "dead-letter")]
    assert bench.published("ours.errors")["code"] == "classifier_error"


@pytest.mark.parametrize(
    ("outcome", "queue"),
    [(SUCCEEDED, "answers"), (FAILED, "answers"), (FAILED, "ours.errors"), (CRASHED, "ours.retry.1s")],
)
@runs_async
async def test_a_lost_connection_leaves_the_job_unsettled(outcome: Outcome, queue: str) -> None:
    bench = Bench(outcome, {queue: ConnectionLostError("gone")})
    await bench.handle()
    assert [event for event in bench.events if event[0] == "settle"] == []
    assert bench.pool.busy == 0


@runs_async
async def test_a_bug_in_a_slot_settles_nothing_and_gives_the_slot_back() -> None:
    bench = Bench(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await bench.handle()
    assert bench.events == []
    assert bench.pool.busy == 0


@runs_async
async def test_the_slot_is_free_again_before_the_reply_is_on_its_way() -> None:
    bench = Bench(SUCCEEDED)
    busy = []

    class Watching(FakePublisher):
        async def publish(self, message: Message, queue: str) -> str | None:
            busy.append(bench.pool.busy)
            return await super().publish(message, queue)

    bench.publisher = Watching(bench.events)
    await bench.handle()
    assert busy == [0]


@runs_async
async def test_more_deliveries_than_slots_are_settled_once_each() -> None:
    bench = Bench(SUCCEEDED)
    deliveries = await asyncio.gather(*(bench.handle(message_id=str(number)) for number in range(20)))
    assert [delivery.settlement for delivery in deliveries] == ["ack"] * 20
    assert len(bench.publisher.taken["answers"]) == 20


@runs_async
async def test_a_redelivery_is_answered_with_the_remembered_outcome() -> None:
    bench = Bench(SUCCEEDED, {"answers": ConnectionLostError("gone")})
    await bench.handle()
    del bench.publisher.faults["answers"]
    await bench.handle(redelivered=True)
    assert len(bench.slot.jobs) == 1
    assert bench.events == [("publish", "answers"), ("settle", "ack")]


@pytest.mark.parametrize(
    ("outcome", "published"),
    [(SUCCEEDED, ["answers"]), (FAILED, ["answers", "ours.errors"]), (CRASHED, ["ours.retry.1s"])],
    ids=["a reply", "a reply and a record", "a retry copy"],
)
@runs_async
async def test_what_rabbitmq_has_is_not_published_again_for_a_redelivery(
    outcome: Outcome, published: list[str]
) -> None:
    bench = Bench(outcome)
    first = await bench.handle()
    again = await bench.handle(redelivered=True)
    assert len(bench.slot.jobs) == 1
    assert [name for kind, name in bench.events if kind == "publish"] == published
    assert again.settlement == first.settlement


@pytest.mark.parametrize("changed", [{"reply_to": "others"}, {"correlation_id": "other"}], ids=str)
@runs_async
async def test_a_redelivery_with_another_address_is_answered_there(changed: dict[str, Any]) -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle()
    await bench.handle(**{"redelivered": True, **changed})
    assert len([name for kind, name in bench.events if kind == "publish"]) == 2


@runs_async
async def test_a_result_too_large_is_dead_lettered_for_a_redelivery_too() -> None:
    """The failure that was told instead must not pass for the answer."""
    bench = Bench(SUCCEEDED)

    bench.publisher = SmallPublisher(bench.events)
    assert [(await bench.handle(redelivered=again)).settlement for again in (False, True)] == ["dead-letter"] * 2
    assert len(bench.publisher.taken["answers"]) == 1


@pytest.mark.parametrize(
    "changed",
    [{"redelivered": False}, {"message_id": "n"}, {"body": b'{"a": 1}'}, {"headers": {"attempt": 2}}],
    ids=str,
)
@runs_async
async def test_what_is_another_job_runs(changed: dict[str, Any]) -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle()
    await bench.handle(**{"redelivered": True, **changed})
    assert len(bench.slot.jobs) == 2


@runs_async
async def test_a_job_without_an_id_is_not_recognised_and_runs_again() -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(message_id=None)
    await bench.handle(message_id=None, redelivered=True)
    assert len(bench.slot.jobs) == 2


@runs_async
async def test_an_interrupted_run_is_not_remembered() -> None:
    bench = Bench(Interrupted())
    await bench.handle()
    await bench.handle(redelivered=True)
    assert len(bench.slot.jobs) == 2


@runs_async
async def test_a_redelivery_of_a_job_that_runs_waits_for_its_outcome_without_a_slot() -> None:
    slot = HeldSlot()
    bench = Bench(SUCCEEDED, slot=slot)
    lost = bench.delivery()
    first = asyncio.create_task(bench.pipeline.handle(lost))
    await slot.begun.wait()
    lost.lifetime.end("cut")
    again = bench.delivery(redelivered=True)
    second = asyncio.create_task(bench.pipeline.handle(again))
    await asyncio.sleep(0)
    assert (len(slot.jobs), bench.pool.busy, second.done()) == (1, 1, False)
    slot.ending.set_result(SUCCEEDED)
    await asyncio.gather(first, second)
    assert (lost.settlement, again.settlement) == (None, "ack")
    assert bench.events == [("publish", "answers"), ("settle", "ack")]
    assert bench.pipeline.running == {}


@runs_async
async def test_a_redelivery_that_is_lost_while_it_waits_leaves_the_run_alone() -> None:
    slot = HeldSlot()
    bench = Bench(SUCCEEDED, slot=slot)
    lost, lost_too, last = bench.delivery(), bench.delivery(redelivered=True), bench.delivery(redelivered=True)
    run = asyncio.create_task(bench.pipeline.handle(lost))
    await slot.begun.wait()
    lost.lifetime.end("cut")
    waits = asyncio.create_task(bench.pipeline.handle(lost_too))
    await asyncio.sleep(0)
    lost_too.lifetime.end("cut again")
    await waits
    waits = asyncio.create_task(bench.pipeline.handle(last))
    await asyncio.sleep(0)
    slot.ending.set_result(SUCCEEDED)
    await asyncio.gather(run, waits)
    assert [delivery.settlement for delivery in (lost, lost_too, last)] == [None, None, "ack"]
    assert len(slot.jobs) == 1


@runs_async
async def test_a_redelivery_of_a_job_that_is_lost_before_it_has_a_slot_runs_itself() -> None:
    slot = HeldSlot()
    bench = Bench(SUCCEEDED, slot=slot)
    other = asyncio.create_task(bench.handle(message_id="other"))
    await slot.begun.wait()
    lost, again = bench.delivery(), bench.delivery(redelivered=True)
    waits = asyncio.create_task(bench.pipeline.handle(lost))
    await asyncio.sleep(0)
    last = asyncio.create_task(bench.pipeline.handle(again))
    await asyncio.sleep(0)
    lost.lifetime.end("cut")
    await waits
    slot.ending.set_result(SUCCEEDED)
    await asyncio.gather(other, last)
    assert (lost.settlement, again.settlement) == (None, "ack")
    assert (len(slot.jobs), bench.pool.busy, bench.pipeline.running) == (2, 0, {})


@runs_async
async def test_what_waits_for_a_slot_ends_with_its_connection() -> None:
    slot = HeldSlot()
    bench = Bench(SUCCEEDED, slot=slot)
    run = asyncio.create_task(bench.handle())
    await slot.begun.wait()
    waiting = bench.delivery(message_id="other")
    waits = asyncio.create_task(bench.pipeline.handle(waiting))
    await asyncio.sleep(0)
    waiting.lifetime.end("cut")
    await waits
    slot.ending.set_result(SUCCEEDED)
    await run
    assert len(slot.jobs) == 1
    assert bench.pool.busy == 0


@runs_async
async def test_a_result_too_large_for_rabbitmq_is_told_as_a_failure() -> None:
    bench = Bench(SUCCEEDED)

    bench.publisher = SmallPublisher(bench.events)
    await bench.handle()
    assert bench.events == [("publish", "answers"), ("publish", "ours.errors"), ("settle", "dead-letter")]
    error = bench.published("answers")["error"]
    assert (error["code"], error["retryable"]) == ("over_limit", False)


@runs_async
async def test_where_not_even_the_short_reply_fits_the_job_is_dead_lettered_without_one() -> None:
    bench = Bench(SUCCEEDED, faults={"answers": MessageTooLargeError(300, 10)})
    await bench.handle()
    assert bench.events == [("publish", "ours.errors"), ("settle", "dead-letter")]


@runs_async
async def test_a_retry_copy_too_large_for_rabbitmq_is_dead_lettered_with_the_jobs_own_reason() -> None:
    bench = Bench(CRASHED, faults={"ours.retry.1s": MessageTooLargeError(300, 10)})
    await bench.handle()
    assert bench.events == [("publish", "answers"), ("publish", "ours.errors"), ("settle", "dead-letter")]
    assert bench.published("answers")["error"]["code"] == "crashed"


@runs_async
async def test_a_property_that_cannot_be_decoded_makes_the_job_invalid() -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(undecodable={"timestamp": "year 55840 is out of range"})
    assert bench.published("answers")["error"]["message"] == (
        "property timestamp cannot be decoded: year 55840 is out of range"
    )
    assert bench.slot.jobs == []


@pytest.mark.parametrize("name", ["reply_to", "correlation_id", "message_id"])
@runs_async
async def test_a_damaged_address_gets_no_reply(name: str) -> None:
    bench = Bench(SUCCEEDED)
    damaged: dict[str, Any] = {name: None, "undecodable": {name: "not UTF-8"}}
    await bench.handle(**damaged)
    assert bench.events == [("publish", "ours.errors"), ("settle", "dead-letter")]


@runs_async
async def test_a_damaged_id_beside_a_sound_correlation_id_is_answered() -> None:
    bench = Bench(SUCCEEDED)
    await bench.handle(message_id=None, correlation_id="c", undecodable={"message_id": "not UTF-8"})
    assert bench.events[0] == ("publish", "answers")


@runs_async
async def test_every_record_of_a_job_knows_its_job_and_of_a_run_its_slot(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(SUCCEEDED)
    handled = [bench.handle(b'{"model": "pumps"}', message_id="m1", headers={"attempt": 2}), bench.handle(b"-")]
    with jobs_told() as told:
        await asyncio.gather(*map(asyncio.create_task, handled))
    assert sorted(told, key=len) == [
        {"job_id": "m", "attempt": 1},
        {"job_id": "m1", "attempt": 2, "model": "pumps", "slot": 0},
    ]
    assert log_context.fields() == {}


@runs_async
async def test_the_records_of_a_job_that_names_no_model_have_the_default_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(SUCCEEDED)
    bench.pipeline = replace(bench.pipeline, default_model=lambda: "machines")
    with jobs_told() as told:
        await asyncio.create_task(bench.handle())
    assert [fields["model"] for fields in told] == ["machines"]


@runs_async
async def test_a_run_that_does_not_end_is_overdue_and_its_wait_for_a_slot_is_not() -> None:
    slot = HeldSlot()
    bench = Bench(SUCCEEDED, slot=slot)
    handled = [asyncio.create_task(bench.handle(message_id=name)) for name in ("m1", "m2")]
    await slot.begun.wait()
    assert bench.pool.overdue() == 0
    bench.now = 7 + GRACE_S + 1
    assert bench.pool.overdue() == 1
    slot.ending.set_result(SUCCEEDED)
    await asyncio.gather(*handled)
    assert bench.pool.overdue() == 0
