"""`consumer submit` without a broker: how files become jobs, and how results become lines."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import itertools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pyte
import pytest
from rich.console import Console
from support.async_tests import runs_async

from consumer.cli import main
from consumer.cli.arguments import read_file
from consumer.cli.submit.bars import MAX_BARS, Above, Bars
from consumer.cli.submit.command import output
from consumer.cli.submit.results import CSV, JSON_LINES, Format, InOrder, Lines, SourceResult, arrange, done_before
from consumer.cli.submit.sources import Source, expand, read_sources, split_jobs
from consumer.cli.submit.submission import Submitted, submit
from consumer.client import Client, JobTooLargeError, NoReplyError
from consumer.client.bounded import windowed
from consumer.client.request_client import WINDOW
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.job import Progress
from consumer.wire.write import Reply

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
        (b"not JSON\n{}\n", [("f:1", b"not JSON"), ("f:2", b"{}")]),
        (b"# by us\n{}\n{\n{}\n", [("f:1", b"# by us"), ("f:2", b"{}"), ("f:3", b"{"), ("f:4", b"{}")]),
        (b"\xef\xbb\xbf{}\n{}\n", [("f:1", b"{}"), ("f:2", b"{}")]),
        (b"\xef\xbb\xbf" + PRETTY, [("f", PRETTY)]),
        ("{}\n[]\n".encode("utf-16"), [("f:1", b"{}"), ("f:2", b"[]")]),
        (PRETTY[:-3], [("f", PRETTY[:-3])]),
        (b'{\n"a": [\n{},\n{}\n],,\n}', [("f", b'{\n"a": [\n{},\n{}\n],,\n}')]),
        (b"\xff\xfe\n\xff", [("f", b"\xff\xfe\n\xff")]),
        (b"", []),
        (b" \n\t\n", []),
    ],
)
def test_a_file_holds_one_job_or_a_job_per_line(content: bytes, jobs: list[tuple[str, bytes]]) -> None:
    assert list(split_jobs("f", content)) == [Source(*job) for job in jobs]


def test_a_first_line_that_is_nested_too_deep_is_sent_like_any_other() -> None:
    deep = b"[" * 100_000
    assert list(split_jobs("f", deep + b"\n{}")) == [Source("f:1", deep), Source("f:2", b"{}")]


@pytest.mark.parametrize("name", ["f.jsonl", "f.ndjson", "f.JSONL", "f.NDJson"])
@pytest.mark.parametrize(
    ("content", "jobs"),
    [
        (b'{"a": 1}', {1: b'{"a": 1}'}),
        (b"not JSON\n{\n{}", {1: b"not JSON", 2: b"{", 3: b"{}"}),
        (b"# by us\n{}\n", {1: b"# by us", 2: b"{}"}),
        (PRETTY, {number: line for number, line in enumerate(PRETTY.splitlines(), start=1) if line}),
        (b"\xef\xbb\xbf{}\n{}\n", {1: b"{}", 2: b"{}"}),
        (b"\n \r\n\r\n{}\r\n", {4: b"{}\r"}),
        ('{"a": "\u2028\x85\x0b"}\n{}'.encode(), {1: '{"a": "\u2028\x85\x0b"}'.encode(), 2: b"{}"}),
        (b'{"a": "\xff"}\n{}', {1: b'{"a": "\xff"}', 2: b"{}"}),
        ("x\n{}\n".encode("utf-16"), {1: b"x", 2: b"{}"}),
        (b"\xef\xbb\xbf\n", {}),
        ("x\n{}\n".encode("utf-32"), {1: b"x", 2: b"{}"}),
        (b"\0\0\xfe\xff" + "x\n{}\n".encode("utf-32-be"), {1: b"x", 2: b"{}"}),
        (b"\xef\xbb\xbf{}\n\xef\xbb\xbf{}\n", {1: b"{}", 2: b"{}"}),
        (b"{}\r[]\r", {1: b"{}", 2: b"[]"}),
    ],
)
def test_a_file_of_json_lines_holds_a_job_per_line_whatever_is_in_it(
    name: str, content: bytes, jobs: dict[int, bytes]
) -> None:
    expected = [Source(f"{name}:{number}", line) for number, line in jobs.items()]
    assert list(split_jobs(name, content)) == expected


def test_a_file_that_is_packed_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(ConfigurationError, match=r"f.jsonl.gz is gzip data: unpack it, for example zcat "):
        list(read_sources([str(tmp_path / "f.jsonl.gz")], sys.stdin))


def test_a_named_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(ConfigurationError, match="is a named pipe: give a file"):
        list(read_sources([str(tmp_path / "pipe.jsonl")], io.StringIO()))


@pytest.mark.parametrize("command", ["try", "submit", "plan --rate 1 --times", "check --job"])
def test_every_command_that_reads_a_file_refuses_a_named_pipe(command: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    arguments = main.parser().parse_args([*command.split(), str(tmp_path / "pipe")])
    with pytest.raises(ConfigurationError, match="pipe is a named pipe: give a file"):
        arguments.command(arguments)


def test_a_pipe_without_a_name_is_read_whatever_names_it() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"{}")
    os.close(writing)
    try:
        assert read_file(Path(f"/proc/self/fd/{reading}")) == b"{}"  # as /dev/stdin after a `|`
    finally:
        os.close(reading)


def test_submit_tells_how_a_table_was_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "signals.csv"
    data.write_text("1.5,2.25,3\n-0.5,0.5,9\n0.25,7.5,8\n")
    found = list(read_sources([str(data)], io.StringIO()))
    assert [json.loads(one.body)["signal"][0] for one in found] == [1.5, -0.5, 0.25]
    assert capsys.readouterr().err == f"{data}: 3 signals of 3 points; no labels\n"


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
    with pytest.raises(ConfigurationError, match=r"empty\.json contains no job"):
        list(read_sources([str(empty)], io.StringIO()))


def result(name: str = "f", **reply: Any) -> SourceResult:  # noqa: ANN401 - a reply's own
    fields = {"job_id": "j", "status": "succeeded", "attempt": 1, "run_ms": 2.5, "consumer": "host:1", **reply}
    return SourceResult(Source(name, b"{}"), Reply.model_validate(fields))


def test_a_result_is_one_line_with_its_source() -> None:
    line = result("f:1", output={"label": "é", "score": None}).line()
    assert "\n" not in line
    assert json.loads(line) == {
        "source": "f:1",
        "digest": "44136fa355b3678a",
        "job_id": "j",
        "status": "succeeded",
        "output": {"label": "é", "score": None},
        "attempt": 1,
        "run_ms": 2.5,
        "consumer": "host:1",
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
    lost = SourceResult(Source("f", b"{}"), None, "no reply within 1 s")
    assert not lost.succeeded
    assert json.loads(lost.line()) == {
        "source": "f",
        "digest": "44136fa355b3678a",
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

    def __init__(self, faults: Mapping[bytes, Exception] | None = None, window: int = WINDOW) -> None:
        self.faults = faults or {}
        self.window = window
        self.gate = asyncio.Event()
        self.full = asyncio.Event()
        self.waiting = 0
        self.most = 0

    async def request(  # noqa: PLR0913 - Client's signature
        self,
        body: bytes,
        *,
        headers: Mapping[str, Any] | None = None,  # noqa: ARG002
        job_id: str | None = None,  # noqa: ARG002
        timeout_s: float | None = None,  # noqa: ARG002
        on_progress: Callable[[Progress], None] | None = None,  # noqa: ARG002
        on_publishing: Callable[[], None] = lambda: None,
        on_published: Callable[[], None] = lambda: None,
        on_reply: Callable[[Reply], None] = lambda _: None,
    ) -> Reply:
        on_publishing()
        on_published()
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
        reply = Reply(job_id=body.decode(), status="succeeded", attempt=1, run_ms=1.0)
        on_reply(reply)
        return reply


def sources(count: int) -> list[Source]:
    return [Source(f"f:{number}", str(number).encode()) for number in range(count)]


async def collect(client: Client, count: int, told: dict[int, SourceResult]) -> None:
    await submit(client, sources(count), told.__setitem__, timeout_s=2.5)


@runs_async
async def test_every_job_gets_its_own_reply() -> None:
    client, told = FakeClient(window=8), dict[int, SourceResult]()
    client.gate.set()
    await collect(client, 50, told)
    replies = {index: (one.source.name, one.reply and one.reply.job_id) for index, one in told.items()}
    assert replies == {index: (f"f:{index}", str(index)) for index in range(50)}


@runs_async
async def test_as_many_jobs_as_the_window_are_on_the_way_at_once() -> None:
    client = FakeClient(window=8)
    collecting = asyncio.create_task(collect(client, 50, {}))
    await client.full.wait()
    client.gate.set()
    await collecting
    assert client.most == 8


class CountedTask(asyncio.Task[Any]):
    """Counts how often anybody asks to be called at the end of a task."""

    asked: ClassVar[int] = 0

    def add_done_callback(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - asyncio's own
        CountedTask.asked += 1
        super().add_done_callback(*given, **named)


@runs_async
async def test_a_reply_costs_the_same_however_many_jobs_are_on_the_way() -> None:
    CountedTask.asked = 0
    asyncio.get_running_loop().set_task_factory(lambda loop, coro, **more: CountedTask(coro, loop=loop, **more))
    gates = [asyncio.Event() for _ in range(100)]

    async def job(index: int) -> int:
        await gates[index].wait()
        return index

    gates[0].set()
    async for index in windowed(job, range(100), 100):
        if index < 99:
            gates[index + 1].set()
    assert CountedTask.asked == 100


@runs_async
async def test_a_job_that_is_not_answered_in_time_gets_a_result_that_says_so() -> None:
    late = NoReplyError("id-1", 2.5, "classifier.jobs", is_published=True, consumers=0)
    client, told = FakeClient({b"1": late}), dict[int, SourceResult]()
    client.gate.set()
    submitted = Submitted()
    await submit(client, sources(3), told.__setitem__, timeout_s=2.5, submitted=submitted)
    faults = {index: one.fault for index, one in told.items()}
    assert faults == {0: "", 1: str(late), 2: ""}
    assert list(submitted.queued) == [1]  # its reply may still arrive


@runs_async
async def test_a_job_that_rabbitmq_takes_not_fails_alone() -> None:
    client, told = FakeClient({b"1": JobTooLargeError("too large")}), dict[int, SourceResult]()
    client.gate.set()
    await collect(client, 3, told)
    assert {index: one.fault for index, one in told.items()} == {0: "", 1: "too large", 2: ""}


@runs_async
async def test_a_job_whose_result_cannot_be_stored_is_left_for_a_later_run() -> None:
    def record(index: int, _: SourceResult) -> None:
        if index == 1:
            raise ConfigurationError("the disk is full")

    client, submitted = FakeClient(), Submitted()
    client.gate.set()
    with pytest.raises(ConfigurationError, match="the disk is full"):
        await submit(client, sources(3), record, timeout_s=2.5, submitted=submitted)
    assert list(submitted.queued) == [1]


@runs_async
async def test_what_came_is_told_before_a_lost_connection_is() -> None:
    client, told = FakeClient({b"0": ConnectionLostError("gone")}), dict[int, SourceResult]()
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


def test_folders_and_patterns_stand_for_their_files_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/two.json", "b/one.csv", "a.npz", "b/c/three.TSV", "notes.txt", "[x].json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    assert list(expand(["b", "-", "notes.txt"])) == ["b/c/three.TSV", "b/one.csv", "b/two.json", "-", "notes.txt"]
    assert list(expand(["*/*.json", "[x].json", "**/*.npz"])) == ["b/two.json", "[x].json", "a.npz"]
    assert list(expand(["no-such.json"])) == ["no-such.json"]  # whoever reads it says what is wrong
    for name in ("*.none", str(tmp_path / "b" / "c" / "d")):
        (tmp_path / "b" / "c" / "d").mkdir(exist_ok=True)
        with pytest.raises(ConfigurationError, match="no file there"):
            list(expand([name]))


def test_a_file_that_is_named_twice_is_submitted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"a": 1}\n{"a": 1}\n')
    found = list(read_sources([str(jobs), str(tmp_path)], io.StringIO()))
    assert [one.name for one in found] == [f"{jobs}:1", f"{jobs}:2"]
    assert capsys.readouterr().err == f"{jobs} is named twice: its jobs are submitted once\n"


def test_the_file_of_results_is_none_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("jobs.jsonl", "results.jsonl"):
        (tmp_path / name).write_text("{}")
    assert list(expand([".", "*.jsonl"], tmp_path / "results.jsonl")) == ["jobs.jsonl", "jobs.jsonl"]
    with pytest.raises(ConfigurationError, match=r"\./jobs\.jsonl is the file for the results, not one of jobs"):
        list(expand(["./jobs.jsonl"], Path("jobs.jsonl")))
    assert list(expand(["-"], Path("-"))) == ["-"]


def test_signals_of_a_data_set_become_jobs_for_a_model(tmp_path: Path) -> None:
    data = tmp_path / "signals.csv"
    data.write_text("idle,1,2,3\nbusy,4,5\n")
    found = list(read_sources([str(data)], io.StringIO(), model="pumps"))
    assert [(one.name, json.loads(one.body)) for one in found] == [
        (f"{data}:1", {"signal": [1.0, 2.0, 3.0], "model": "pumps"}),
        (f"{data}:2", {"signal": [4.0, 5.0], "model": "pumps"}),
    ]
    data.write_text("idle,one\n")
    with pytest.raises(ConfigurationError, match=r"signals\.csv") as refused:
        list(read_sources([str(data)], io.StringIO()))
    assert "Traceback" not in str(refused.value)


def written(form: Format, *results: SourceResult) -> str:
    out = io.StringIO()
    lines = Lines(out, form)
    for index, one in enumerate(results):
        lines.add(index, one)
    return out.getvalue()


ODD_TYPES = b'{"source": ["f:1"], "digest": "d", "status": ["succeeded"]}\n'
LOST = SourceResult(Source("f:2", b"{}"), None, "no reply")
FAILED = {"code": "crashed", "message": 'two\nlines, and "quotes"', "retryable": True, "stderr_tail": "a\nb"}


@pytest.mark.parametrize("form", [JSON_LINES, CSV], ids=["jsonl", "csv"])
def test_what_has_its_reply_is_known_after_a_kill_and_the_rest_is_dropped(tmp_path: Path, form: Format) -> None:
    path = tmp_path / "results"
    kept = result("f:1", output={"label": "idle"}), result("f, 3", status="failed", error=FAILED)
    whole = written(form, *kept)
    assert whole.count("\n") == 2 + bool(form.head)
    path.write_text(written(form, kept[0], LOST, kept[1]) + whole[:-5].rpartition("\n")[2])
    expected = {(one.source.name, one.source.digest): one.succeeded for one in kept}
    assert done_before(path, form) == expected
    assert path.read_text() == whole
    assert done_before(path, form) == expected
    assert path.read_text() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("form", [JSON_LINES, CSV], ids=["jsonl", "csv"])
@pytest.mark.parametrize("odd", ["a\nb", "a\rb", "a\x85b\u2028c", "\udcff", 'a"\n,b'], ids=ascii)
def test_a_name_and_a_label_with_odd_characters_leave_one_line_that_is_found_again(
    tmp_path: Path, form: Format, odd: str
) -> None:
    path, sources = tmp_path / "results", list(split_jobs(f"{odd}.jsonl", b"{}\n[]\n"))
    lines = [SourceResult(source, result("f", output={"label": odd}).reply) for source in sources]
    path.write_text(written(form, *reversed(lines)), encoding="utf-8")
    arrange(path, form, sources)
    assert path.read_text(encoding="utf-8") == written(form, *lines)
    assert done_before(path, form) == {source.key: True for source in sources}


def test_a_last_result_without_a_line_feed_counts(tmp_path: Path) -> None:
    path = tmp_path / "results"
    kept = result("f:1"), result("f:2")
    path.write_text(written(JSON_LINES, *kept).removesuffix("\n"))  # as some editors save it
    assert done_before(path, JSON_LINES) == {one.source.key: True for one in kept}
    assert path.read_text() == written(JSON_LINES, *kept)


@pytest.mark.parametrize("form", [JSON_LINES, CSV], ids=["jsonl", "csv"])
def test_results_that_another_program_changes_meanwhile_are_no_bug(tmp_path: Path, form: Format) -> None:
    (tmp_path / "results").write_text(f"{form.head}\n\0\0\n")
    with pytest.raises(ConfigurationError, match="another program has changed it"):
        arrange(tmp_path / "results", form, [])


@pytest.mark.parametrize("form", [JSON_LINES, CSV], ids=["jsonl", "csv"])
@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"[1]\n", b"{}\n", b"\xff\xfe\n", b"dear diary\n", ODD_TYPES])
def test_a_file_that_holds_no_results_is_left_alone(tmp_path: Path, form: Format, content: bytes) -> None:
    path = tmp_path / "results"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="contains no results"):
        done_before(path, form)
    assert path.read_bytes() == content


def test_without_a_file_nothing_was_done_before(tmp_path: Path) -> None:
    assert done_before(tmp_path / "none", CSV) == {}


@pytest.mark.parametrize("name", ["results.jsonl", "results.csv"])
def test_a_resumed_submit_without_jobs_left_exits_as_the_run_that_it_continues(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / name
    jobs.write_text('{"n": 1}\n{"n": 2}\n')
    first, second = read_sources([str(jobs)], io.StringIO())
    good, bad = (result(**fields).reply for fields in ({"output": 1}, {"status": "failed", "error": FAILED}))
    form = CSV if name.endswith("csv") else JSON_LINES
    arguments = main.parser().parse_args(["submit", str(jobs), "--out", str(out), "--resume"])
    for last, code in ((bad, 1), (good, 0)):
        out.write_text(written(form, SourceResult(first, good), SourceResult(second, last)))
        assert arguments.command(arguments) == code
        told = f"Failed before: 1 job, not submitted again; delete their lines in {out} to submit them again"
        said = capsys.readouterr().err.splitlines()
        assert said[0] == "Resuming: 2 of 2 already answered"
        assert (told in said) == (code == 1)
        assert said[-1] == f"Nothing to submit; results: {out}"


@pytest.mark.parametrize("form", [JSON_LINES, CSV], ids=["jsonl", "csv"])
def test_results_are_put_into_the_order_of_the_jobs_after_those_of_other_jobs(
    tmp_path: Path, form: Format
) -> None:
    path, names = tmp_path / "results", ["f:1", "f:2", "f:3"]
    path.write_text(written(form, *map(result, ["f:3", "f:1", "other", "f:2"])))
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    arrange(link, form, [Source(name, b"{}") for name in names])
    assert path.read_text() == written(form, *map(result, ["other", *names]))
    assert (link.is_symlink(), path.stat().st_mode & 0o777) == (True, 0o600)
    before = path.stat().st_ino
    arrange(path, form, [Source(name, b"{}") for name in names])
    assert path.stat().st_ino == before  # nothing to do
    arrange(tmp_path / "none", form, [])


def test_a_full_disk_is_no_bug() -> None:
    with (
        pytest.raises(ConfigurationError, match="cannot be written: No space left"),
        output("/dev/full", JSON_LINES, Console(), resume=False) as lines,
    ):
        lines.add(0, result())


def test_the_files_of_a_folder_that_are_ignored_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("job.json", "README", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert list(expand([str(tmp_path)])) == [str(tmp_path / "job.json")]
    assert capsys.readouterr().err == f"{tmp_path}: 2 other files ignored, such as {tmp_path / 'README'}\n"


def test_a_row_of_csv_is_one_line_with_what_a_spreadsheet_wants() -> None:
    text = written(
        CSV, result("f:1", output={"label": "idle"}), result("f:2", status="failed", error=FAILED), LOST
    )
    assert len(text.splitlines()) == 4
    good, failed, lost = csv.DictReader(text.splitlines())
    assert (good["label"], good["output"], good["status"]) == ("idle", '{"label": "idle"}', "succeeded")
    assert (failed["code"], failed["message"]) == ("crashed", 'two\\nlines, and "quotes"')
    assert (lost["status"], lost["message"], lost["output"]) == ("no_reply", "no reply", "")


def test_bars_are_shown_for_a_few_jobs_and_what_they_say_is_made_harmless() -> None:
    screen, before = io.StringIO(), sys.stderr
    console = Console(file=screen, force_terminal=True, width=100)
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    with Bars.shown(100, console) as bars:
        assert handler.stream is not before
        for index in range(50):
            bars.progress(index, f"f:{index}", Progress(0.4, "[red]\x1b[2Jfitting"))
        assert len(bars._of) == MAX_BARS  # noqa: SLF001 - the promise is about the screen
        bars.ended(0, succeeded=True)
        bars.ended(40, succeeded=False)
        bars.progress(41, "f:41", Progress(0.5))
        assert 41 in bars._of  # noqa: SLF001
        assert len(bars._jobs.tasks) == MAX_BARS  # noqa: SLF001
    shown = screen.getvalue()
    assert "[red]" in shown
    assert "\\x1b[2Jfitting" in shown
    assert "2 of 100 jobs" in shown
    assert "failed 1" in shown
    assert handler.stream is before
    logging.getLogger().removeHandler(handler)


def test_without_a_terminal_bars_write_nothing() -> None:
    log = io.StringIO()
    with Bars.shown(2, Console(file=log)) as bars:
        bars.progress(0, "f:1", Progress(0.4, "fitting"))
        bars.ended(0, succeeded=True)
    assert log.getvalue() == ""


def test_results_on_the_terminal_of_the_bars_are_whole_lines_above_them() -> None:
    written = io.BytesIO()
    terminal = Console(file=io.TextIOWrapper(written, "utf-8", write_through=True), force_terminal=True, width=80)
    line = '{"output": "' + "x" * 200 + '"}'
    with Bars.shown(2, terminal) as bars:
        for index in range(2):
            Above(terminal).write(f"{line}\n")
            bars.ended(index, succeeded=True)
    screen = pyte.Screen(80, 24)
    pyte.ByteStream(screen).feed(written.getvalue().replace(b"\n", b"\r\n"))
    shown = [row.rstrip() for row in screen.display if row.strip()]
    assert "".join(shown[:-1]) == 2 * line
    assert re.fullmatch(r"2 of 2 jobs .* jobs/s failed 0 after 0:00:0. left 0:00:00", shown[-1])
