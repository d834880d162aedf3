"""The client on lines that a test opens and loses: what is published again, dropped, bounded and given up."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
import json
import pickle
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from support.async_tests import runs_async

import consumer.client
from consumer.client.blocking import BlockingClient
from consumer.client.client import Client
from consumer.client.exceptions import (
    ERRORS,
    ArgumentError,
    JobFailedError,
    NoReplyError,
    UnreadableReplyError,
    failure,
)
from consumer.client.rpc_channel import Address, Caller, OnMessage
from consumer.client.types import as_job
from consumer.config.credentials import Credentials
from consumer.errors import BrokerUnreachableError, ConfigurationError, ConnectionLostError
from consumer.job import ErrorCode, Progress
from consumer.rabbitmq.connection import NO_FILES
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.wire.message import Message
from consumer.wire.write import Reply

URL = "amqp://nowhere"


class FakeLine(Caller):
    """A connection on which RabbitMQ confirms at once, unless `confirms` is cleared."""

    def __init__(self, rabbit: FakeRabbit, mailbox: object, on_message: OnMessage) -> None:
        self.rabbit = rabbit
        self.mailbox = mailbox
        self.on_message = on_message
        self.reply_to = "answers"
        self.lifetime = Lifetime()

    async def publish(self, message: Message, queue: str) -> None:
        assert queue == "classifier.jobs"
        if self.lifetime.ended.done():
            raise ConnectionLostError(self.lifetime.ended.result())
        self.rabbit.published.append(message)
        self.rabbit.changed.set()
        if self.rabbit.fault:
            raise self.rabbit.fault
        confirmed = asyncio.ensure_future(self.rabbit.confirms.wait())
        ends: set[asyncio.Future[Any]] = {confirmed, self.lifetime.ended}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        confirmed.cancel()
        if self.lifetime.ended.done():
            raise ConnectionLostError(self.lifetime.ended.result())

    async def count_consumers(self, queue: str) -> int | None:
        assert queue == "classifier.jobs"
        return self.rabbit.consumers

    async def is_blocked(self) -> bool:
        return False

    async def lost(self) -> str:
        return await asyncio.shield(self.lifetime.ended)


class FakeRabbit:
    """Opens lines, takes jobs, and says what the test tells it to say."""

    def __init__(self, *, direct: bool = False) -> None:
        self.direct = direct
        self.lines: list[FakeLine] = []
        self.published: list[Message] = []
        self.changed = asyncio.Event()
        self.confirms = asyncio.Event()
        self.confirms.set()
        self.is_there = asyncio.Event()
        self.is_there.set()
        self.fault: Exception | None = None
        self.refusal: Exception | None = None
        self.consumers: int | None = 1

    @asynccontextmanager
    async def open(
        self, _url: str, _address: Address, on_message: OnMessage, _login: Credentials
    ) -> AsyncIterator[FakeLine]:
        await self.is_there.wait()
        if self.refusal:
            raise self.refusal
        line = FakeLine(self, object() if self.direct else "answers", on_message)
        self.lines.append(line)
        self.changed.set()
        yield line

    async def has(self, *, jobs: int = 0, lines: int = 0) -> None:
        """Wait for so many publishes and lines; then let whoever waits for a confirm hear of it."""
        while len(self.published) < jobs or len(self.lines) < lines:
            self.changed.clear()
            await self.changed.wait()
        for _ in range(5):
            await asyncio.sleep(0)

    def cut(self) -> None:
        self.lines[-1].lifetime.end("cut")

    def say(self, key: str, kind: str = "job.succeeded", **body: Any) -> asyncio.Future[bool] | None:  # noqa: ANN401 - JSON
        message = Message(body=json.dumps(body).encode(), correlation_id=key, type=kind)
        return self.lines[-1].on_message(message)

    def answer(self, message: Message, **body: Any) -> asyncio.Future[bool] | None:  # noqa: ANN401 - JSON
        key = str(message.correlation_id)
        return self.say(
            key, **{"job_id": key, "status": "succeeded", "attempt": 1, "run_ms": 1.0, "output": 7, **body}
        )


@asynccontextmanager
async def on(rabbit: FakeRabbit, client: Client) -> AsyncIterator[None]:
    """Connect the client to this fake during the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Caller, "open", rabbit.open)
        async with client.connected(URL, Address(is_direct=rabbit.direct), NO_FILES):
            yield


@asynccontextmanager
async def connected(rabbit: FakeRabbit, *, window: int = 64, outage_s: float = 60.0) -> AsyncIterator[Client]:
    client = Client("classifier.jobs", window=window, outage_s=outage_s)
    async with on(rabbit, client):
        yield client


def ask(client: Client, **job: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - a job's own
    return asyncio.create_task(client.run(job))


@runs_async
async def test_a_reply_is_taken_once_its_caller_has_stored_it_and_not_if_that_fails() -> None:
    rabbit, stored = FakeRabbit(), list[str]()

    def store(reply: Reply) -> None:
        if reply.output == "too much":
            raise OSError("the disk is full")
        stored.append(reply.job_id)

    async with connected(rabbit) as client:
        asking = [asyncio.create_task(client.request(b"{}", job_id=key, on_reply=store)) for key in ("a", "b")]
        await rabbit.has(jobs=2)
        taking = [rabbit.answer(rabbit.published[0]), rabbit.answer(rabbit.published[1], output="too much")]
        assert stored == []
        assert [future and await future for future in taking] == [True, False]
        assert stored == ["a"]
        await asking[0]
        with pytest.raises(OSError, match="the disk is full"):
            await asking[1]


@runs_async
async def test_a_reply_that_arrives_as_its_caller_gives_up_is_not_taken() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        asking = ask(client)
        await rabbit.has(jobs=1)
        taking = rabbit.answer(rabbit.published[0])
        asking.cancel()
        assert taking
        assert await taking is False


@runs_async
async def test_a_reply_finds_its_caller_and_a_second_one_nobody() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        tasks = [ask(client, n=n) for n in range(3)]
        await rabbit.has(jobs=3)
        for message in reversed(rabbit.published):
            rabbit.answer(message, output=json.loads(message.body)["n"])
            rabbit.answer(message, output="again")
        assert [(await task).output for task in tasks] == [0, 1, 2]
        rabbit.answer(rabbit.published[0], output="late")
        first = rabbit.published[0]
        assert (first.message_id, first.reply_to) == (first.correlation_id, "answers")


@pytest.mark.parametrize(("direct", "publishes"), [(False, 1), (True, 2)], ids=["own queue", "direct"])
@runs_async
async def test_after_an_outage_a_confirmed_job_is_asked_again_only_if_its_reply_could_not_come(
    *, direct: bool, publishes: int
) -> None:
    rabbit = FakeRabbit(direct=direct)
    async with connected(rabbit) as client:
        task = ask(client)
        await rabbit.has(jobs=1)
        rabbit.cut()
        await rabbit.has(lines=2)
        await rabbit.has(jobs=publishes)
        assert [message.message_id for message in rabbit.published] == [rabbit.published[0].message_id] * publishes
        rabbit.answer(rabbit.published[0])
        assert (await task).output == 7


@runs_async
async def test_what_rabbitmq_has_not_confirmed_is_published_again_under_the_same_id() -> None:
    rabbit = FakeRabbit()
    rabbit.confirms.clear()
    async with connected(rabbit) as client:
        task = ask(client)
        await rabbit.has(jobs=1)
        rabbit.cut()
        await rabbit.has(jobs=2)
        first, second = rabbit.published
        assert (first.message_id, first.body) == (second.message_id, second.body)
        rabbit.answer(second)  # before the confirm, which may well be the later one
        rabbit.confirms.set()
        assert (await task).output == 7


@runs_async
async def test_what_is_asked_during_an_outage_goes_out_after_it() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        rabbit.is_there.clear()
        rabbit.cut()
        task = ask(client)
        await asyncio.sleep(0)
        assert not rabbit.published
        rabbit.is_there.set()
        await rabbit.has(jobs=1)
        rabbit.answer(rabbit.published[0])
        assert (await task).output == 7


@runs_async
async def test_an_outage_that_lasts_too_long_is_told_to_who_waits_and_to_who_comes() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit, outage_s=0.05) as client:
        task = ask(client)
        await rabbit.has(jobs=1)
        rabbit.is_there.clear()
        rabbit.cut()
        with pytest.raises(ConnectionLostError, match=r"lost for more than 0\.05 s"):
            await task
        with pytest.raises(ConnectionLostError):
            await client.run({})
        rabbit.is_there.set()
        await rabbit.has(lines=2)
        again = ask(client)
        await rabbit.has(jobs=2)
        rabbit.answer(rabbit.published[1])
        assert (await again).output == 7


@runs_async
async def test_a_reply_is_acked_only_after_its_caller_could_store_it() -> None:
    rabbit = FakeRabbit()
    done: list[str] = []

    async def store() -> None:
        await client.run({})
        done.append("stored")

    async with connected(rabbit) as client:
        task = asyncio.create_task(store())
        await rabbit.has(jobs=1)
        key = str(rabbit.published[0].correlation_id)
        body = {"job_id": key, "status": "succeeded", "attempt": 1, "run_ms": 1.0, "output": 7}
        taken = rabbit.lines[-1].on_message(Message(body=json.dumps(body).encode(), correlation_id=key))
        assert taken
        taken.add_done_callback(lambda _: done.append("acked"))
        await task
        await taken
    assert done == ["stored", "acked"]


@runs_async
async def test_a_first_connection_that_fails_is_the_callers_to_hear_of() -> None:
    rabbit = FakeRabbit()
    rabbit.refusal = BrokerUnreachableError(URL)
    with pytest.raises(BrokerUnreachableError):
        async with connected(rabbit):
            raise AssertionError("connected")


@runs_async
async def test_a_client_that_is_closed_says_so() -> None:
    async with connected(FakeRabbit()) as client:
        pass
    with pytest.raises(ConnectionLostError, match="the client is closed"):
        await client.run({})


@runs_async
async def test_never_more_are_on_their_way_than_the_window() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit, window=3) as client:
        tasks = [ask(client, n=n) for n in range(7)]
        for answered in range(7):
            await rabbit.has(jobs=min(7, answered + 3))
            assert len(rabbit.published) == min(7, answered + 3)
            rabbit.answer(rabbit.published[answered])
        await asyncio.gather(*tasks)


@runs_async
async def test_as_completed_takes_no_more_than_the_window_and_yields_as_they_end() -> None:
    rabbit = FakeRabbit()
    taken: list[int] = []

    def jobs() -> Any:  # noqa: ANN401 - an iterator of jobs
        for n in range(6):
            taken.append(n)
            yield {"n": n}

    async with connected(rabbit, window=2) as client:
        coming = client.as_completed(jobs())
        first = asyncio.ensure_future(anext(coming))
        await rabbit.has(jobs=2)
        assert taken == [0, 1]
        rabbit.answer(rabbit.published[1], status="failed", error=error("crashed"))
        done = await first
        assert (done.index, type(done.error)) == (1, ERRORS[ErrorCode.CRASHED])
        with pytest.raises(JobFailedError):
            done.result()
        await coming.aclose()
        assert repr(client).endswith(" 0 in flight>")


@pytest.mark.parametrize(
    ("consumers", "why"),
    [
        (0, "classifier.jobs has no consumer: jobs wait there until one starts"),
        (1, "classifier.jobs has 1 consumer: the job waits or runs"),
        (2, "classifier.jobs has 2 consumers: the job waits or runs"),
        (None, "RabbitMQ did not tell how many consumers classifier.jobs has"),
    ],
)
@runs_async
async def test_a_time_out_says_which_job_how_long_and_how_many_consumers_there_are(
    consumers: int | None, why: str
) -> None:
    rabbit = FakeRabbit()
    rabbit.consumers = consumers
    async with connected(rabbit) as client:
        with pytest.raises(TimeoutError) as raised:
            await client.run({}, job_id="mine", timeout_s=0.01)
    assert isinstance(raised.value, NoReplyError)
    assert str(raised.value) == f"job mine: no reply within 0.01 s; {why}"
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own
    assert (str(again), again.job_id, again.consumers) == (str(raised.value), "mine", consumers)


@pytest.mark.parametrize("form", [Client, BlockingClient])
@pytest.mark.parametrize("call", ["classify", "run", "as_completed", "publish"])
def test_no_call_waits_for_ever_unless_it_is_asked_to(form: type, call: str) -> None:
    assert inspect.signature(getattr(form, call)).parameters["timeout_s"].default == 300.0


@runs_async
async def test_a_job_may_have_an_id_of_its_callers_unless_one_is_in_flight() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        task = asyncio.create_task(client.run({}, job_id="mine"))
        await rabbit.has(jobs=1)
        assert (rabbit.published[0].message_id, rabbit.published[0].correlation_id) == ("mine", "mine")
        with pytest.raises(ArgumentError, match="'mine' is the id of a job that is in flight"):
            await client.run({}, job_id="mine")
        rabbit.answer(rabbit.published[0])
        assert (await task).job_id == "mine"


@pytest.mark.parametrize("job_id", ["", "a\nb", "\u00e9" * 128, 7])
@runs_async
async def test_an_id_that_the_service_would_refuse_is_refused_before(job_id: Any) -> None:  # noqa: ANN401
    async with connected(FakeRabbit()) as client:
        for call in (client.run, client.publish):
            with pytest.raises(ArgumentError, match="job_id must be a printable text"):
                await call({}, job_id=job_id)


@runs_async
async def test_a_job_can_be_published_without_a_wait_for_its_reply() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        assert await client.publish({"n": 1}, job_id="mine", reply_to="later", run_timeout_s=3) == "mine"
        made = await client.publish([0.5], model="pumps")
    first, second = rabbit.published
    assert (first.body, first.reply_to, first.headers) == (b'{"n": 1}', "later", {"timeout-s": 3})
    assert (json.loads(second.body), second.reply_to) == ({"signal": [0.5], "model": "pumps"}, None)
    assert second.message_id == made


@pytest.mark.parametrize("reply_to", ["", 7, "q" * 256, "amq.rabbitmq.reply-to"])
@runs_async
async def test_a_reply_address_at_which_no_reply_can_arrive_is_refused_before(reply_to: Any) -> None:  # noqa: ANN401
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        with pytest.raises(ArgumentError, match="reply_to must be the name of a queue"):
            await client.publish({}, reply_to=reply_to)
    assert rabbit.published == []


@runs_async
async def test_a_publish_goes_on_through_an_outage_and_says_when_it_is_not_confirmed() -> None:
    rabbit = FakeRabbit()
    rabbit.confirms.clear()
    async with connected(rabbit) as client:
        with pytest.raises(NoReplyError, match=r"RabbitMQ has not confirmed it within 0\.01 s; .* may be full"):
            await client.publish({}, timeout_s=0.01)
        publishing = asyncio.create_task(client.publish({}, job_id="mine"))
        await rabbit.has(jobs=2)
        rabbit.cut()
        rabbit.confirms.set()
        assert await publishing == "mine"
        assert [message.message_id for message in rabbit.published[1:]] == ["mine", "mine"]


@runs_async
async def test_a_time_out_during_an_outage_names_the_missing_connection() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        rabbit.is_there.clear()
        rabbit.cut()
        with pytest.raises(NoReplyError) as raised:
            await client.publish({}, job_id="mine", timeout_s=0.01)
    told = (
        "RabbitMQ has not confirmed it within 0.01 s; the client has no connection to RabbitMQ now, and tries to"
    )
    assert str(raised.value) == f"job mine: {told} reconnect"
    again = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own
    assert (str(again), again.is_connected, again.consumers) == (str(raised.value), False, None)


@runs_async
async def test_a_job_of_an_earlier_process_is_published_again_only_if_its_reply_queue_is_gone() -> None:
    rabbit = FakeRabbit()
    client = Client("classifier.jobs", window=1)
    client.expect(b"{}", "early", "answers")
    client.expect(b"{}", "late", "answers")
    client.expect(b"{}", "gone", "other answers")
    async with on(rabbit, client):
        rabbit.answer(Message(body=b"", correlation_id="early"))  # before anybody waits
        calls = [asyncio.create_task(client.request(b"{}", job_id=key)) for key in ("early", "late", "gone")]
        await rabbit.has(jobs=1)
        assert [message.message_id for message in rabbit.published] == ["gone"]
        for key in ("late", "gone"):
            rabbit.answer(Message(body=b"", correlation_id=key))
        assert [(await call).job_id for call in calls] == ["early", "late", "gone"]


@runs_async
async def test_a_client_that_finishes_hands_over_what_came_and_receives_no_more() -> None:
    rabbit = FakeRabbit()
    published: list[int] = []
    async with connected(rabbit, window=3) as client:
        calls = [
            asyncio.create_task(client.request(b"{}", job_id=str(n), on_published=partial(published.append, n)))
            for n in range(4)
        ]
        await rabbit.has(jobs=3)
        rabbit.answer(rabbit.published[0])
        await client.finish()
        assert (calls[0].done(), (await calls[0]).job_id) == (True, "0")
        assert published == [0, 1, 2]
        assert not rabbit.lines[-1].on_message(Message(body=b"", correlation_id="1"))
        for call in calls[1:]:
            call.cancel()
        await asyncio.wait(calls)
        assert len(rabbit.published) == 3


@runs_async
async def test_a_time_out_and_a_cancellation_leave_nothing_behind() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        with pytest.raises(TimeoutError):
            await client.run({}, timeout_s=0.01)
        task = ask(client)
        await rabbit.has(jobs=2)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert repr(client) == "<Client of classifier.jobs: 0 in flight>"


@runs_async
async def test_a_fault_that_no_other_attempt_mends_is_raised() -> None:
    rabbit = FakeRabbit()
    rabbit.fault = ConfigurationError("there is no queue")
    async with connected(rabbit) as client:
        with pytest.raises(ConfigurationError):
            await client.run({})


@runs_async
async def test_what_is_no_reply_is_told_and_not_waited_for() -> None:
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        task = ask(client)
        await rabbit.has(jobs=1)
        rabbit.say(str(rabbit.published[0].correlation_id), nonsense=1)
        with pytest.raises(UnreadableReplyError, match="this version of the client"):
            await task


@runs_async
async def test_progress_is_asked_for_and_told_and_what_fails_there_fails_no_job() -> None:
    rabbit = FakeRabbit()
    told: list[Progress] = []

    def hear(progress: Progress) -> None:
        told.append(progress)
        raise ValueError("a bug of the caller's")

    async with connected(rabbit) as client:
        task = asyncio.create_task(client.run({}, on_progress=hear, run_timeout_s=3))
        await rabbit.has(jobs=1)
        [message] = rabbit.published
        assert message.headers == {"progress": True, "timeout-s": 3}
        key = str(message.correlation_id)
        rabbit.say(key, "job.progress", job_id=key, progress=0.4, text="fitting")
        rabbit.say(key, "job.progress", nonsense=1)
        rabbit.answer(message)
        assert (await task).output == 7
    assert told == [Progress(0.4, "fitting")]


def error(code: str) -> dict[str, Any]:
    return {"code": code, "message": "m", "retryable": True, "stderr_tail": "tail"}


def reply(code: str) -> Reply:
    fields = {"job_id": "j", "status": "failed", "error": error(code), "attempt": 2, "run_ms": 1.0}
    return Reply.model_validate(fields)


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.UNROUTABLE_REPLY])
def test_each_code_that_a_reply_can_have_has_an_exception_of_its_own(code: ErrorCode) -> None:
    raised = failure(reply(code))
    assert type(raised) is ERRORS[code]
    assert list(ERRORS.values()).count(type(raised)) == 1
    assert type(raised).__name__ in consumer.client.__all__
    assert (raised.job_id, raised.code, raised.message) == ("j", code.value, "m")
    assert (raised.retryable, raised.stderr_tail, raised.attempt) == (True, "tail", 2)
    assert str(raised) == f"job j: {code.value}: m"
    again = pickle.loads(pickle.dumps(raised))  # noqa: S301 - our own
    assert (type(again), again.job_id) == (type(raised), "j")


def test_a_code_of_a_newer_service_is_a_failed_job_all_the_same() -> None:
    raised = failure(reply("out_of_coffee"))
    assert (type(raised), raised.code) == (JobFailedError, "out_of_coffee")


class Array:
    def tolist(self) -> list[float]:
        return [1.0, 2.0]


@pytest.mark.parametrize(
    ("job", "model", "body"),
    [
        ([1, 2.5], None, {"signal": [1, 2.5]}),
        ((n for n in (1.0, 2.0)), "pumps", {"signal": [1.0, 2.0], "model": "pumps"}),
        (Array(), None, {"signal": [1.0, 2.0]}),
        ({"any": "job"}, "pumps", {"any": "job"}),
    ],
    ids=["list", "generator", "array", "a job"],
)
def test_a_signal_becomes_a_job_and_a_job_stays_one(job: Any, model: str | None, body: dict[str, Any]) -> None:  # noqa: ANN401
    assert as_job(job, model) == body


@pytest.mark.parametrize("call", ["open", "classify", "run", "publish", "as_completed"])
def test_whatever_a_call_takes_or_raises_can_be_imported_from_the_package(call: str) -> None:
    method = getattr(Client, call)
    raised = (inspect.getdoc(method) or "").partition("Raises:")[2]
    types = " ".join(map(str, inspect.get_annotations(method).values()))
    named = {*re.findall(r"\b[A-Z]\w+Error\b", raised), *re.findall(r"\b[A-Z]\w+", types)}
    assert named - {"Any", "None", *collections.abc.__all__} <= set(consumer.client.__all__)


@runs_async
async def test_the_package_has_the_type_that_on_progress_receives() -> None:
    received: list[Progress] = []
    rabbit = FakeRabbit()
    async with connected(rabbit) as client:
        task = asyncio.create_task(client.run({}, on_progress=received.append))
        await rabbit.has(jobs=1)
        key = str(rabbit.published[0].correlation_id)
        rabbit.say(key, "job.progress", job_id=key, progress=0.5, text="half")
        rabbit.answer(rabbit.published[0])
        await task
    assert received == [consumer.client.Progress(fraction=0.5, text="half")]
