"""What `consumer submit` prints at its end, and which files hold jobs."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from rich.console import Console

from consumer.cli.submit.results import SourceResult
from consumer.cli.submit.sources import Source, read_sources
from consumer.cli.submit.summary import Left, again, show, show_left
from consumer.errors import ConfigurationError
from consumer.wire.write import Reply


def result(name: str, code: str = "", message: str = "", consumer: str = "a:1") -> SourceResult:
    """Make a result: a success without a code, no reply with `no_reply`, otherwise a failure."""
    source = Source(name, b"{}")
    if code == "no_reply":
        return SourceResult(source, None, message)
    error = {"code": code, "message": message, "retryable": False, "stderr_tail": ""} if code else None
    fields = {
        "job_id": name,
        "status": "failed" if code else "succeeded",
        "attempt": 1,
        "run_ms": 1,
        "error": error,
    }
    return SourceResult(source, Reply.model_validate({**fields, "consumer": consumer}))


def shown(*results: SourceResult, out: str | None = "r.jsonl") -> list[str]:
    with redirect_stderr(io.StringIO()) as text:
        show(results, out=out, dead="classifier.dead", console=Console(file=text, width=100))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_without_failures_and_a_file_there_is_one_line() -> None:
    assert shown(result("f:1"), out=None) == ["1 job: 1 succeeded, 0 failed"]


def test_the_file_of_results_is_named_also_after_success() -> None:
    assert shown(result("f:1")) == ["1 job: 1 succeeded, 0 failed", "results: r.jsonl"]


def test_failures_are_counted_by_code_the_most_frequent_first() -> None:
    lines = shown(
        result("f:1"),
        result("f:2", "crashed", "killed by SIGSEGV"),
        result("f:3", "classifier_error", "no \x1b[31m fit"),
        result("f:4", "classifier_error", "another"),
        result("f:5", "no_reply", "nobody"),
    )
    assert lines[0] == "5 jobs: 1 succeeded, 3 failed, 1 without a reply"
    assert [line.split(maxsplit=3) for line in lines[3:6]] == [
        ["classifier_error", "2", "f:3", r"no \x1b[31m fit"],
        ["crashed", "1", "f:2", "killed by SIGSEGV"],
        ["no_reply", "1", "f:5", "nobody"],
    ]
    assert lines[6:] == [
        "results: r.jsonl",
        "dead letters: `consumer dead-letters list` shows those of classifier.dead",
    ]


def test_jobs_without_a_reply_are_no_dead_letters() -> None:
    lines = shown(result("f:1", "no_reply", "nobody"), out=None)
    assert lines[0] == "1 job: 0 succeeded, 0 failed, 1 without a reply"
    assert lines[-1] == "results: standard output"


def test_if_several_consumers_have_answered_the_failures_of_each_are_shown() -> None:
    bad = [result(f"f:{n}", "crashed", "m", consumer="b:2") for n in range(3)]
    assert shown(*bad, result("f:9"))[-1].startswith(
        "failed by consumer: a:1 0 of 1, b:2 3 of 3; `consumer status`"
    )


@pytest.mark.parametrize(
    ("left", "is_kept", "expected"),
    [
        (
            Left(9, 4, 3),
            True,
            ["4 of 9 jobs answered, 3 queued or running without a reply, 2 not submitted", "keeps"],
        ),
        (Left(9, 4, 0), True, ["0 queued", "\nContinue with\n  consumer submit --resume f --out o"]),
        (Left(9, 4, 3), False, ["Their replies are lost; with --out FILE"]),
        (Left(9, 4, 0), False, ["5 not submitted"]),
        (Left(9, 4, 2, 1), True, ["2 queued or running without a reply, 1 not confirmed by RabbitMQ, 2 not sub"]),
    ],
    ids=str,
)
def test_what_is_left_is_counted_and_the_command_that_continues_is_shown(
    left: Left, expected: list[str], *, is_kept: bool
) -> None:
    argv = ["/usr/bin/consumer", "submit", "f", "--out", "o"]
    with redirect_stderr(io.StringIO()) as text:
        show_left(left, is_kept=is_kept, argv=argv)
    for one in expected:
        assert one in text.getvalue()
    assert ("Continue with" in text.getvalue()) == is_kept


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["submit", "a b", "--out", "o"], "consumer submit --resume 'a b' --out o"),
        (["submit", "--resume", "f", "--out", "o"], "consumer submit --resume f --out o"),
        (["submit", "--overwrite", "f", "--out", "o"], "consumer submit --resume f --out o"),
        (["--log-level", "DEBUG", "submit", "f"], "consumer --log-level DEBUG submit --resume f"),
        (["submit", "--amqp-url=amqp://me:hunter2@host/v", "f"], "'--amqp-url=amqp://me:***@host/v' f"),
    ],
)
def test_the_command_that_continues_can_be_copied_and_shows_no_password(
    arguments: list[str], command: str
) -> None:
    made = again(["consumer", *arguments])
    assert made.endswith(command)
    assert "hunter2" not in made


@pytest.mark.parametrize(
    "content", [b"# Read me\n", b"\x89PNG\r\n\x1a\n\0", b"[{}]", b"[1, 2]\n[3]\n", b"{", b'"a"']
)
@pytest.mark.parametrize("name", ["README", "f.json", "f.jsonl", "-"])
def test_a_file_without_any_object_is_no_file_of_jobs(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    given = name if name == "-" else str(path)
    with pytest.raises(ConfigurationError, match="contains no job: nothing in it is a JSON object"):
        list(read_sources([given], io.TextIOWrapper(io.BytesIO(content))))


def test_a_broken_line_among_jobs_is_submitted(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"broken\n{}\n")
    assert [one.body for one in read_sources([str(path)], io.StringIO())] == [b"broken", b"{}"]
