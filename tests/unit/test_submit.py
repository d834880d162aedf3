"""`consumer submit` without a broker: how files become jobs, and how results become lines."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import runs_async

from consumer.client import Client
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.messages import Reply
from consumer.submit import InOrder, Result, Source, read_sources, split_jobs, submit

PRETTY = b'{\n  "signal": [\n    1\n  ]\n}\n'


@pytest.mark.parametrize(
    ("content", "jobs"),
    [
        (b'{"a": 1}', [("f", b'{"a": 1}')]),
        (b'{"a": 1}\n', [("f", b'{"a": 1}\n')]),
        (PRETTY, [("f", PRETTY)]),
        (b"\n\n" + PRETTY, [("f", b"\n\n" + PRETTY)]),
        (b'{"a": 1}\n{"a": 2}\n', [("f:1", b'{"a": 1}'), ("f:2", b'{"a": 2}')]),
        (b'{"a": 1}\r\n{"a": 2}\r\n', [("f:1", b'{"a": 1}\r'), ("f:2", b'{"a": 2}\r')]),
        (b'\n{"a": 1}\n\n \n{"a": 2}', [("f:2", b'{"a": 1}'), ("f:5", b'{"a": 2}')]),
        (b'{"a": 1}\nnot JSON\n', [("f:1", b'{"a": 1}'), ("f:2", b"not JSON")]),
        (b"not JSON", [("f", b"not JSON")]),
        (b"not JSON\n{}\n", [("f", b"not JSON\n{}\n")]),
        (b"\xff\xfe\n\xff", [("f", b"\xff\xfe\n\xff")]),
        (b"", []),
        (b" \n\t\n", []),
    ],
)
def test_a_file_holds_one_job_or_a_job_per_line(content: bytes, jobs: list[tuple[str, bytes]]) -> None:
    assert list(split_jobs("f", content)) == [Source(*job) for job in jobs]


def test_a_first_line_that_is_nested_too_deep_is_sent_like_any_other() -> None:
    content = b"[" * 100_000 + b"\n{}"
    assert list(split_jobs("f", content)) == [Source("f", content)]


def test_files_and_standard_input_are_read_in_the_order_given(tmp_path: Path) -> None:
    one, lines = tmp_path / "one.json", tmp_path / "lines.jsonl"
    one.write_bytes(PRETTY)
    lines.write_bytes(b"{}\n[]\n")
    stdin = io.TextIOWrapper(io.BytesIO(b'{"from": "stdin"}'))
    assert list(read_sources([str(lines), "-", str(one)], stdin)) == [
        Source(f"{lines}:1", b"{}"),
        Source(f"{lines}:2", b"[]"),
        Source("-", b'{"from": "stdin"}'),
        Source(str(one), PRETTY),
    ]


def test_a_file_that_cannot_be_read_or_holds_nothing_is_told(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.json", tmp_path / "empty.json"
    empty.touch()
    with pytest.raises(ConfigurationError, match=r"missing\.json cannot be read: No such file or directory"):
        list(read_sources([str(missing)], io.StringIO()))
    with pytest.raises(ConfigurationError, match=r"empty\.json holds no job"):
        list(read_sources([str(empty)], io.StringIO()))


def result(name: str = "f", **reply: Any) -> Result:  # noqa: ANN401 - a reply's own
    fields = {"job_id": "j", "status": "succeeded", "attempt": 1, "run_ms": 2.5, **reply}
    return Result(Source(name, b"{}"), Reply.model_validate(fields))


def test_a_result_is_one_line_with_its_source() -> None:
    line = result("f:1", output={"label": "é", "score": None}).line()
    assert "\n" not in line
    assert json.loads(line) == {
        "source": "f:1",
        "job_id": "j",
        "status": "succeeded",
        "output": {"label": "é", "score": None},
        "attempt": 1,
        "run_ms": 2.5,
    }


def test_an_output_of_null_is_still_an_output() -> None:
    assert json.loads(result(output=None).line()).get("output", "missing") is None


def test_a_failure_has_its_error_and_no_output() -> None:
    error = {"code": "crashed", "message": "m", "retryable": True, "stderr_tail": ""}
    failed = result(status="failed", error=error)
    fields = json.loads(failed.line())
    assert not failed.succeeded
    assert fields["error"] == error
    assert "output" not in fields


def test_a_job_without_a_reply_says_why() -> None:
    lost = Result(Source("f", b"{}"), None, "no reply within 1 s")
    assert not lost.succeeded
    assert json.loads(lost.line()) == {
        "source": "f",
        "status": "no_reply",
        "error": {"code": "no_reply", "message": "no reply within 1 s"},
    }


def names(out: io.StringIO) -> list[str]:
    return [json.loads(line)["source"] for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_results_are_written_in_order_and_as_soon_as_they_can_be(order: tuple[int, ...]) -> None:
    out = io.StringIO()
    writer = InOrder(out)
    come: set[int] = set()
    for index in order:
        writer.add(index, result(str(index)))
        come.add(index)
        ready = next(number for number in range(5) if number not in come)
        assert names(out) == [str(number) for number in range(ready)]


def test_what_came_is_written_after_an_interruption_too() -> None:
    out = io.StringIO()
    writer = InOrder(out)
    for index in (0, 4, 2):
        writer.add(index, result(str(index)))
    writer.flush()
    writer.flush()
    assert names(out) == ["0", "2", "4"]


class FakeClient(Client):
    """Answers once `gate` is open; raises what `faults` has for a body. `full` is set when `window` jobs wait."""

    def __init__(self, faults: Mapping[bytes, Exception] | None = None, window: int = 1) -> None:
        self.faults = faults or {}
        self.window = window
        self.gate = asyncio.Event()
        self.full = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def request(
        self,
        body: bytes,
        *,
        headers: Mapping[str, Any] | None = None,  # noqa: ARG002 - Client's signature
        timeout_s: float | None = None,  # noqa: ARG002
    ) -> Reply:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        if self.waiting == self.window:
            self.full.set()
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if error := self.faults.get(body):
            raise error
        return Reply(job_id=body.decode(), status="succeeded", attempt=1, run_ms=1.0)


def sources(count: int) -> list[Source]:
    return [Source(f"f:{number}", str(number).encode()) for number in range(count)]


async def collect(client: Client, count: int, told: dict[int, Result], window: int = 64) -> None:
    async for index, one in submit(client, sources(count), timeout_s=2.5, window=window):
        told[index] = one  # noqa: PERF403 - what came before an error must be there after it


@runs_async
async def test_every_job_gets_its_own_reply() -> None:
    client, told = FakeClient(), dict[int, Result]()
    client.gate.set()
    await collect(client, 50, told, window=8)
    replies = {index: (one.source.name, one.reply and one.reply.job_id) for index, one in told.items()}
    assert replies == {index: (f"f:{index}", str(index)) for index in range(50)}


@runs_async
async def test_as_many_jobs_as_the_window_are_on_the_way_at_once() -> None:
    client = FakeClient(window=8)
    collecting = asyncio.create_task(collect(client, 50, {}, window=8))
    await client.full.wait()
    client.gate.set()
    await collecting
    assert client.most == 8


@runs_async
async def test_a_job_that_is_not_answered_in_time_gets_a_result_that_says_so() -> None:
    client, told = FakeClient({b"1": TimeoutError()}), dict[int, Result]()
    client.gate.set()
    await collect(client, 3, told)
    faults = {index: one.fault for index, one in told.items()}
    assert faults == {0: "", 1: "no reply within 2.5 s; is a consumer running?", 2: ""}


@runs_async
async def test_what_came_is_told_before_a_lost_connection_is() -> None:
    client, told = FakeClient({b"0": ConnectionLostError("gone")}), dict[int, Result]()
    client.gate.set()
    with pytest.raises(ConnectionLostError):
        await collect(client, 30, told)
    assert sorted(told) == list(range(1, 30))


@runs_async
async def test_who_stops_listening_leaves_nothing_on_the_way() -> None:
    client = FakeClient(window=3)
    collecting = asyncio.create_task(collect(client, 3, {}))
    await client.full.wait()
    collecting.cancel()
    await asyncio.wait([collecting])
    await asyncio.sleep(0)  # the turn of the loop in which cancelled tasks end
    assert client.waiting == 0
