"""What an author's batch function comes to, line by line, and how one job is run by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classifier.contract import (
    BatchAnswerError,
    Context,
    JobError,
    answer,
    answers,
    batch,
    batch_of,
    contexts,
    form_for_many,
    form_for_one,
    output,
)

Jobs = list[dict[str, Any]]


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., list[str]]:
    """Run a function on jobs, given as the text of their files, as a batch."""

    def run(function: Callable[[Jobs], object], *bodies: str) -> list[str]:
        paths = [tmp_path / f"{number}.json" for number in range(len(bodies))]
        for path, body in zip(paths, bodies, strict=True):
            path.write_text(body)
        return answers(
            function, list(map(str, paths)), [Context(str(number), 1, "") for number in range(len(bodies))]
        )

    return run


def test_each_job_gets_its_line(lines: Callable[..., list[str]]) -> None:
    assert lines(lambda jobs: [job["n"] for job in jobs], '{"n": 1}', '{"n": [2]}') == ["OUTPUT: 1", "OUTPUT: [2]"]


def test_an_error_among_answers_is_its_jobs_and_what_is_no_answer_is_found_out_alone(
    lines: Callable[..., list[str]],
) -> None:
    given = [1, JobError("a\nb"), ValueError("v"), float("nan"), object(), JobError("c")]
    told = lines(lambda _: given, *["{}"] * 6)
    assert told[:3] == ["OUTPUT: 1", r"ERROR: a\nb", "ALONE: ValueError: v"]
    assert [line.partition(":")[0] for line in told[3:]] == ["ALONE", "ALONE", "ERROR"]


@pytest.mark.parametrize("raised", [ValueError("v"), JobError("j"), MemoryError()])
def test_what_a_function_raises_fails_no_job_but_lets_each_run_alone(
    lines: Callable[..., list[str]], raised: Exception
) -> None:
    def function(_: Jobs) -> object:
        raise raised

    told = lines(function, "{}", "{nonsense", "{}")
    assert [line.partition(":")[0] for line in told] == ["ALONE", "ERROR", "ALONE"]


@pytest.mark.parametrize("given", [None, 5, "ab", {"a": 1, "b": 2}, {1, 2}, [1], [1, 2, 3], (one for one in "ab")])
def test_what_is_not_an_answer_for_each_job_answers_none(lines: Callable[..., list[str]], given: object) -> None:
    assert {line.partition(":")[0] for line in lines(lambda _: given, "{}", "{}")} == {"ALONE"}


def test_a_job_that_cannot_be_read_does_not_reach_the_function(lines: Callable[..., list[str]]) -> None:
    told = lines(
        lambda jobs: [[job["n"], own.job_id] for job, own in zip(jobs, contexts(), strict=True)],
        '{"n": 1}',
        "[]",
        '{"n": 3}',
    )
    assert (told[0], told[2]) == ('OUTPUT: [1, "0"]', 'OUTPUT: [3, "2"]')
    assert told[1].startswith("ERROR: the job is not a JSON object")
    assert lines(lambda _: 1 / 0, "[]") == [told[1]]


def test_a_batch_is_not_answered_by_output(lines: Callable[..., list[str]]) -> None:
    told = lines(lambda _: output(1), "{}", "{}")
    assert told[0].startswith(f"ALONE: {BatchAnswerError.__name__}: a function for batches must return a list")


def test_a_function_that_takes_a_batch_takes_one_job_as_a_list_of_one(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text('{"n": 1}')

    @batch
    def function(jobs: Jobs) -> object:
        return [job["n"] for job in jobs]

    assert answer(form_for_one(function), str(path)) == ["OUTPUT: 1"]
    assert form_for_many(function) is function
    assert function([{"n": 1}, {"n": 2}]) == [1, 2]


def test_an_error_that_a_batch_of_one_gives_is_raised() -> None:
    @batch
    def function(_: Jobs) -> object:
        return [JobError("bad")]

    with pytest.raises(JobError, match="bad"):
        form_for_one(function)({})


def test_a_function_may_have_a_form_for_many() -> None:
    def one(job: dict[str, Any]) -> object:
        return job

    assert form_for_many(one) is None

    @batch_of(one)
    def many(jobs: Jobs) -> object:
        return jobs

    assert (form_for_one(one), form_for_many(one)) == (one, many)
