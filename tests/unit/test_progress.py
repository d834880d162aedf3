"""How far a job is: from the classifier's line to who asked, bounded, and never in the job's way."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.async_tests import runs_async
from support.fakes.deliveries import FakeDelivery, FakePublisher

from classifier import contract
from consumer.config.job_limits import Limits
from consumer.config.loader import load
from consumer.errors import ConnectionLostError
from consumer.job import Job, Outcome, Progress, Request, Succeeded
from consumer.runners.output_parser import LineKind, parse, read_progress
from consumer.runners.pool import Pool, Slot
from consumer.runners.run import OnProgress, Run
from consumer.service.fetching import Fetching
from consumer.service.outcome_cache import OutcomeCache
from consumer.service.pipeline import Pipeline
from consumer.service.progress import Reporter
from consumer.service.settle import Settler
from consumer.telemetry.metrics import Metrics
from consumer.wire.message import Message
from consumer.wire.read import read_message
from consumer.wire.topology import Topology
from consumer.wire.write import progress_report

LIMITS = Limits(timeout_s=60.0, max_line_bytes=1000, max_stdout_bytes=10_000)


@pytest.mark.parametrize(
    ("content", "progress"),
    [
        (b"0.4 fitting", Progress(0.4, "fitting")),
        (b"0", Progress(0.0)),
        (b"1  done  ", Progress(1.0, "done")),
        (b"0.5 \x1b[2J\xff", Progress(0.5, "\\x1b[2J\\xff")),
        (b"", None),
        (b"40%", None),
        (b"fitting", None),
        (b"1.01", None),
        (b"-0.1", None),
        (b"nan", None),
        (b"inf", None),
        (b"0." + b"3" * 1_000_000, None),
    ],
)
def test_progress_is_a_number_from_0_to_1_and_a_text(content: bytes, progress: Progress | None) -> None:
    assert read_progress(content) == progress


def test_a_long_text_is_cut() -> None:
    progress = read_progress(b"0.1 " + b"x" * 900)
    assert progress
    assert len(progress.text) < 250


def test_a_line_of_progress_is_one_of_the_contracts() -> None:
    line = parse(b"PROGRESS: 0.4 fitting")
    assert (line.kind, line.content, line.kind.answers) == (LineKind.PROGRESS, b"0.4 fitting", False)


@runs_async
async def test_a_run_tells_its_progress_up_to_its_answer() -> None:
    told: list[Progress] = []
    run = Run(LIMITS, lambda _: None, told.append)
    run.on_stdout(b"PROGRESS: 0.1 a\nPROGRESS: nonsense\nPROGRESS: 0.2\nOUTPUT: 1\nPROGRESS: 0.3\n")
    assert told == [Progress(0.1, "a"), Progress(0.2)]
    assert run.answer


@runs_async
async def test_progress_that_nobody_asked_for_is_no_answer_and_no_fault() -> None:
    run = Run(LIMITS, lambda _: None)
    run.on_stdout(b"PROGRESS: 0.1 a\nOUTPUT: 1\n")
    assert run.answer


class Sent:
    """Takes what is published; holds the publisher until `go`."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.sent: list[float] = []
        self.fault = fault
        self.went = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, progress: Progress) -> None:
        self.sent.append(progress.fraction)
        self.went.set()
        await self.go.wait()
        if self.fault:
            raise self.fault


@runs_async
async def test_of_what_comes_while_one_is_published_the_last_one_wins() -> None:
    sent = Sent()
    report = Reporter(sent, pause_s=0.0)
    report(Progress(0.1))
    await sent.went.wait()
    for number in range(2, 9):
        report(Progress(number / 10))
    sent.went.clear()
    sent.go.set()
    await sent.went.wait()
    await report.close()
    assert sent.sent == [0.1, 0.8]


@runs_async
async def test_between_two_there_is_a_pause_and_after_the_end_nothing() -> None:
    sent = Sent()
    sent.go.set()
    report = Reporter(sent, pause_s=3600.0)
    report(Progress(0.1))
    await sent.went.wait()
    await asyncio.sleep(0)
    report(Progress(0.2))
    await asyncio.sleep(0)
    await report.close()
    assert sent.sent == [0.1]


@runs_async
async def test_a_publish_that_does_not_come_back_holds_nobody_up() -> None:
    sent = Sent()
    report = Reporter(sent)
    report(Progress(0.1))
    await sent.went.wait()
    await report.close()
    assert sent.sent == [0.1]


@runs_async
async def test_after_a_lost_connection_no_more_is_published() -> None:
    sent = Sent(ConnectionLostError("gone"))
    sent.go.set()
    report = Reporter(sent, pause_s=0.0)
    report(Progress(0.1))
    await sent.went.wait()
    for _ in range(5):
        await asyncio.sleep(0)
        report(Progress(0.2))
    await report.close()
    assert sent.sent == [0.1]


@runs_async
async def test_who_says_nothing_costs_nothing() -> None:
    await Reporter(Sent()).close()


@pytest.mark.parametrize(
    ("header", "wanted"), [(True, True), ("true", True), ("True", True), (False, False), ("no", False), (1, False)]
)
def test_a_job_asks_for_progress_by_a_header(header: object, *, wanted: bool) -> None:
    message = Message(body=b"{}", headers={"progress": header})
    request, _ = read_message(message, Topology("classifier", 3), load({}, {}).job_rules)
    assert request.wants_progress is wanted


def test_a_report_is_of_its_job_and_may_be_lost() -> None:
    message = progress_report(Request(id="j", correlation_id="c"), Progress(0.4, "fitting"))
    assert json.loads(message.body) == {"job_id": "j", "progress": 0.4, "text": "fitting"}
    assert (message.type, message.correlation_id, message.persistent) == ("job.progress", "c", False)
    assert message.headers["job-id"] == "j"


class Telling:
    """A slot whose job says how far it is, and ends when that has gone out, if anybody wanted it."""

    def __init__(self, publisher: FakePublisher) -> None:
        self._publisher = publisher

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:  # noqa: ARG002 - Slot's signature
        if on_progress:
            on_progress(Progress(0.5, "half"))
            for _ in range(5):
                await asyncio.sleep(0)
            on_progress(Progress(0.9))  # within the pause: the reply comes before it
        return Succeeded(output=b"1")


@pytest.mark.parametrize(
    ("headers", "reply_to", "events"),
    [
        ({"progress": True}, "answers", [("report", "answers"), ("publish", "answers"), ("settle", "ack")]),
        ({}, "answers", [("publish", "answers"), ("settle", "ack")]),
        ({"progress": True}, None, [("publish", "classifier.results"), ("settle", "ack")]),
    ],
    ids=["asked", "not asked", "no address"],
)
@runs_async
async def test_progress_goes_to_the_reply_address_before_the_reply(
    headers: dict[str, object], reply_to: str | None, events: list[tuple[str, str]]
) -> None:
    publisher = FakePublisher()
    delivery = FakeDelivery(Message(body=b"{}", headers=headers, reply_to=reply_to), publisher)
    await pipeline(publisher).handle(delivery)
    assert publisher.events == events


def pipeline(publisher: FakePublisher) -> Pipeline:
    slots: list[Slot] = [Telling(publisher)]
    pool = Pool(slots, Metrics())
    return Pipeline(
        settings=load({}, {}),
        topology=Topology("classifier", 3),
        pool=pool,
        fetching=Fetching("classifier.jobs", pool, Metrics(), look_ahead=False),
        metrics=Metrics(),
        settler=Settler(topology=Topology("classifier", 3), metrics=Metrics(), consumer="host:1"),
        outcomes=OutcomeCache(capacity=10),
    )


@runs_async
async def test_a_job_does_not_fail_over_progress_that_cannot_be_published() -> None:
    publisher = Deaf()
    delivery = FakeDelivery(Message(body=b"{}", headers={"progress": True}, reply_to="answers"), publisher)
    await pipeline(publisher).handle(delivery)
    assert delivery.settlement == "ack"


class Deaf(FakePublisher):
    """Loses progress, and nothing else."""

    async def tell(self, message: Message, queue: str) -> None:
        raise ConnectionLostError(f"{message.type} to {queue}")


@pytest.mark.parametrize(
    ("fraction", "text", "line"),
    [
        (0.4, "fitting", "\nPROGRESS: 0.4 fitting\n"),
        (1 / 3, "", "\nPROGRESS: 0.3333\n"),
        (7, "a\nOUTPUT: 1", "\nPROGRESS: 1 a\\nOUTPUT: 1\n"),
        (-1, "", "\nPROGRESS: 0\n"),
    ],
)
def test_the_sdk_writes_one_line(capfd: pytest.CaptureFixture[str], fraction: float, text: str, line: str) -> None:
    contract.progress(fraction, text)
    assert capfd.readouterr().out == line
