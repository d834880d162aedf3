"""What goes out to statsd, read from a real UDP socket."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.async_tests import runs_async

from consumer.config.loader import load
from consumer.disposition import Settlement
from consumer.job import (
    Abandoned,
    Crashed,
    ErrorCode,
    Failed,
    Interrupted,
    Invalid,
    InvalidOutput,
    OverLimit,
    OverOutput,
    Request,
    Succeeded,
    TimedOut,
    Unroutable,
)
from consumer.telemetry.metrics import GATEWAY_NAMES, NAMES, Metrics, _Use
from consumer.telemetry.statsd import MAX_DATAGRAM_BYTES

PRODUCT = Path(__file__).parents[2] / "consumer"
SUCCEEDED = Succeeded(output=b"1", run_s=0.25)
HOST = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())


class Statsd:
    """Listens, as statsd does; hands over what arrived, line by line, without the common prefix."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self.datagrams: list[bytes] = []

    def lines(self) -> list[str]:
        """Sending to loopback delivers before it returns, so all is here by now."""
        before = len(self.datagrams)
        with suppress(BlockingIOError):
            while True:
                self.datagrams.append(self._socket.recv(65536))
        return [line for datagram in self.datagrams[before:] for line in self._read(datagram)]

    async def wait(self) -> list[str]:
        """Wait for one datagram that is not here yet."""
        return self._read(await asyncio.get_running_loop().sock_recv(self._socket, 65536))

    @staticmethod
    def _read(datagram: bytes) -> list[str]:
        lines = datagram.decode("ascii").split("\n")
        return [line.removeprefix(f"classifier.{HOST}.") for line in lines]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def statsd() -> Iterator[Statsd]:
    listener = Statsd()
    yield listener
    listener.close()


@pytest.fixture
def metrics(statsd: Statsd) -> Iterator[Metrics]:
    sender = metrics_to(statsd.port)
    yield sender
    close(sender)


def metrics_to(port: int) -> Metrics:
    return Metrics.from_settings(
        load({"statsd_host": "127.0.0.1", "statsd_port": port, "prefix": "classifier"}, {})
    )


def close(sender: Metrics) -> None:
    if sender._statsd is not None:  # noqa: SLF001 - it lives as long as the process, a test does not
        sender._statsd._lines._client.close()  # noqa: SLF001


def request(sent_at: float | None = None) -> Request:
    return Request(id="1", correlation_id="1", sent_at=sent_at)


def test_names_start_with_the_prefix_and_the_host(statsd: Statsd) -> None:
    sender = Metrics.from_settings(
        load({"statsd_host": "127.0.0.1", "statsd_port": statsd.port, "prefix": "a.b"}, {})
    )
    sender.count("replies.unroutable")
    close(sender)
    assert statsd.lines() == [f"a.b.{HOST}.replies.unroutable:1|c"]


def run_one(metrics: Metrics, *, sent_at: float | None = None) -> None:
    metrics.received(request(sent_at))
    metrics.slots(busy=1, size=2)
    metrics.slots(busy=0, size=2)
    metrics.ended(SUCCEEDED, Settlement.ACK, total_s=0.5)


@runs_async
async def test_a_delivery_without_a_timestamp_is_only_counted(statsd: Statsd, metrics: Metrics) -> None:
    run_one(metrics)
    assert statsd.lines()[:2] == ["jobs.received:1|c", "slots.busy:1|g"]


@runs_async
async def test_a_delivery_with_a_timestamp_tells_its_wait(statsd: Statsd, metrics: Metrics) -> None:
    run_one(metrics, sent_at=time.time() - 100)
    count, wait = statsd.lines()[:2]
    assert count == "jobs.received:1|c"
    name, value, kind = re.split("[:|]", wait)
    assert (name, kind) == ("jobs.queue_wait", "ms")
    assert float(value) >= 100_000


@runs_async
async def test_a_producers_clock_that_is_ahead_makes_no_negative_wait(statsd: Statsd, metrics: Metrics) -> None:
    run_one(metrics, sent_at=time.time() + 3600)
    assert statsd.lines()[1] == "jobs.queue_wait:0.000000|ms"


@runs_async
async def test_a_jobs_story_is_one_datagram_and_all_is_told_when_nothing_runs(
    statsd: Statsd, metrics: Metrics
) -> None:
    run_one(metrics)
    assert len(statsd.lines()) == 9
    assert len(statsd.datagrams) == 1


@runs_async
async def test_what_runs_is_told_a_moment_later(statsd: Statsd, metrics: Metrics) -> None:
    metrics.received(request())
    metrics.slots(busy=1, size=2)
    assert statsd.lines() == []
    assert await statsd.wait() == ["jobs.received:1|c", "slots.busy:1|g", "slots.size:2|g"]
    metrics.slots(busy=0, size=2)
    assert await statsd.wait() == ["slots.busy:0|g", "slots.size:2|g"]


@runs_async
async def test_many_jobs_share_datagrams_that_fit_into_a_packet(statsd: Statsd, metrics: Metrics) -> None:
    metrics.received(request())
    for _ in range(100):
        run_one(metrics)
    metrics.ended(SUCCEEDED, Settlement.ACK, total_s=0.5)
    lines = statsd.lines()
    assert lines.count("jobs.received:1|c") == lines.count("jobs.succeeded:1|c") == 101
    assert len(statsd.datagrams) < 50
    assert max(map(len, statsd.datagrams)) <= MAX_DATAGRAM_BYTES


def test_slots_are_gauges(statsd: Statsd, metrics: Metrics) -> None:
    metrics.slots(busy=0, size=8)
    assert statsd.lines() == ["slots.busy:0|g", "slots.size:8|g"]


def test_a_success_is_told_with_its_times(statsd: Statsd, metrics: Metrics) -> None:
    metrics.ended(SUCCEEDED, Settlement.ACK, total_s=0.5)
    assert statsd.lines() == [
        "jobs.acked:1|c",
        "jobs.succeeded:1|c",
        "jobs.run:250.000000|ms",
        "jobs.total:500.000000|ms",
    ]


def test_an_attempt_without_a_result_is_told_by_its_code(statsd: Statsd, metrics: Metrics) -> None:
    metrics.ended(Crashed(message="m", run_s=0.25), Settlement.RETRY, total_s=0.5)
    assert statsd.lines()[:2] == ["jobs.retried:1|c", "jobs.failed.crashed:1|c"]


def test_what_did_not_run_has_no_run_time(statsd: Statsd, metrics: Metrics) -> None:
    metrics.ended(Invalid(message="m"), Settlement.DEAD_LETTER, total_s=0.001)
    assert statsd.lines() == ["jobs.dead_lettered:1|c", "jobs.failed.invalid_job:1|c", "jobs.total:1.000000|ms"]


def test_an_interrupted_job_neither_succeeded_nor_failed(statsd: Statsd, metrics: Metrics) -> None:
    metrics.ended(Interrupted(run_s=1.0), Settlement.REQUEUE, total_s=1.0)
    assert [line.split(":")[0] for line in statsd.lines()] == ["jobs.requeued", "jobs.run", "jobs.total"]


def test_a_job_that_its_caller_left_is_done_and_counted_as_such(statsd: Statsd, metrics: Metrics) -> None:
    metrics.ended(Abandoned(), Settlement.ACK, total_s=0.001)
    assert statsd.lines() == ["jobs.acked:1|c", "jobs.abandoned:1|c", "jobs.total:1.000000|ms"]


def test_a_link_that_comes_and_goes_is_counted_each_time(statsd: Statsd, metrics: Metrics) -> None:
    for yes in (True, False, True):
        metrics.consuming(yes)
    assert statsd.lines() == [
        "connection.opened:1|c",
        "consuming:1|g",
        "connection.lost:1|c",
        "consuming:0|g",
        "connection.opened:1|c",
        "consuming:1|g",
    ]


def test_with_what_is_measured_every_gauge_is_told_again(statsd: Statsd, metrics: Metrics) -> None:
    metrics.consuming(True)
    metrics.slots(busy=1, size=2)
    statsd.lines()
    metrics.vitals(memory_bytes=5_000_000_000, free_bytes=7)
    lines = statsd.lines()
    used = next(line for line in lines if line.startswith("slots.used:"))
    assert lines == [
        "slots.busy:1|g",
        used,
        "slots.size:2|g",
        "slots.ahead:0|g",
        "consuming:1|g",
        "blocked:0|g",
        "queue.waiting:0|g",
        "queue.dead:0|g",
        "memory.bytes:5000000000|g",
        "disk.free_bytes:7|g",
    ]


def test_a_gauge_that_is_not_known_is_not_told_and_is_no_number_for_prometheus(
    statsd: Statsd, metrics: Metrics
) -> None:
    metrics.unknown("queue.dead")
    metrics.vitals(memory_bytes=1, free_bytes=2)
    lines = statsd.lines()
    assert [line for line in lines if "queue.waiting" in line] == ["queue.waiting:0|g"]
    assert [line for line in lines if "queue.dead" in line] == []
    assert "\nclassifier_queue_dead nan\n" in metrics.registry.text()


def test_how_many_slots_were_used_is_weighed_by_time() -> None:
    use = _Use(100.0)
    use.change(2, 101.0)
    use.change(1, 102.0)
    assert use.slot_s(104.0) == 4.0  # 2 for a second and 1 for two
    assert use.slot_s(106.0) == 6.0  # still held
    use.change(0, 107.0)
    assert use.slot_s(110.0) == 7.0
    assert use.slot_s(110.0) == 7.0


def recorded(method: str) -> set[str]:
    """The names that the product gives to this method of Metrics, wherever it calls it."""
    calls = [
        call
        for path in PRODUCT.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith(f"metrics.{method}")
    ]
    return {
        constant.value
        for call in calls
        for constant in ast.walk(call.args[0])
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }


def test_what_is_counted_anywhere_is_in_the_table_of_names() -> None:
    names = {name: text.split(":")[0] for name, text in {**NAMES, **GATEWAY_NAMES}.items()}
    assert {names[name] for name in recorded("count")} == {"counter"}
    assert {names[name] for name in recorded("gauge")} == {"gauge"}


ENDINGS = (Crashed, Failed, Invalid, InvalidOutput, OverLimit, OverOutput, TimedOut, Unroutable)


@runs_async
async def test_the_table_of_names_names_all_that_is_sent_and_nothing_else(
    statsd: Statsd, metrics: Metrics
) -> None:
    metrics.received(request(sent_at=0.0), is_ahead=True)
    metrics.slots(busy=1, size=1)
    metrics.gauge("slots.ahead", 1)
    metrics.count("replies.unroutable")
    metrics.consuming(True)
    metrics.consuming(False)
    for name in recorded("count") & set(NAMES):
        metrics.count(name)
    metrics.vitals(memory_bytes=1, free_bytes=1)
    metrics.batch(2, 1)
    metrics.lost()
    metrics.ended(SUCCEEDED, Settlement.ACK, total_s=1.0)
    metrics.ended(Abandoned(), Settlement.ACK, total_s=1.0)
    for settlement in Settlement:
        for ending in ENDINGS:
            metrics.ended(ending(message="m", run_s=1.0), settlement, total_s=1.0)
    kinds = {"c": "counter", "ms": "timer", "g": "gauge"}
    codes = "|".join(ErrorCode)
    sent = {
        (re.sub(rf"^jobs\.failed\.({codes})$", "jobs.failed.<code>", name), kinds[kind])
        for name, _, kind in (re.split("[:|]", line) for line in statsd.lines())
    }
    assert sent == {(name, text.split(":")[0]) for name, text in NAMES.items()}


@runs_async
async def test_without_a_host_nothing_is_sent(statsd: Statsd) -> None:
    everything(Metrics.from_settings(load({"statsd_port": statsd.port}, {})))
    assert statsd.lines() == []


def everything(metrics: Metrics) -> None:
    metrics.received(request(sent_at=1.0))
    metrics.slots(busy=1, size=2)
    metrics.ended(Succeeded(output=b"1"), Settlement.ACK, total_s=1.0)
    metrics.count("replies.unroutable")


@runs_async
async def test_nothing_is_raised_where_nobody_listens(statsd: Statsd) -> None:
    sender = metrics_to(statsd.port)
    statsd.close()
    for _ in range(3):  # the refusal of one datagram is reported with the next
        everything(sender)
    close(sender)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "statsd..invalid", "x" * 64 + ".invalid"])
@runs_async
async def test_a_host_that_cannot_be_resolved_costs_the_metrics_only(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        everything(Metrics.from_settings(load({"statsd_host": host}, {})))
    assert f"no metrics: statsd_host {host!r} cannot be resolved" in caplog.text


@runs_async
async def test_a_batch_tells_its_jobs_and_those_that_run_again_alone(statsd: Statsd, metrics: Metrics) -> None:
    metrics.batch(16, 0)
    metrics.batch(4, 3)
    assert statsd.lines() == [
        "batches.run:1|c",
        "batches.jobs:16|c",
        "batches.run:1|c",
        "batches.jobs:4|c",
        "batches.alone:3|c",
    ]
    text = metrics.registry.text()
    assert "classifier_batches_jobs_total 20\n" in text
    assert "classifier_batches_alone_total 3\n" in text
