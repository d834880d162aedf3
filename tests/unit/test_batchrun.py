"""What the lines of a batch come to, job by job, without any process."""

from __future__ import annotations

import pytest
from support.async_tests import never, runs_async

from consumer.config.job_limits import Limits
from consumer.job import Failed, Interrupted, InvalidOutput, Job, Request, Succeeded
from consumer.runners.batch_run import BatchOutcome, BatchRun, together
from consumer.runners.run import Cause

LIMITS = Limits(timeout_s=60.0, max_line_bytes=1000, max_stdout_bytes=10_000)


def batch(number: int = 3) -> BatchRun:
    jobs = [
        Job(request=Request(id=f"id-{n}", correlation_id="c"), body=b"{}", timeout_s=1.0) for n in range(number)
    ]
    return BatchRun(jobs, LIMITS, lambda _: None)


def pass_on(run: BatchRun, text: str) -> None:
    """`TOKEN` stands for the run's own."""
    run.on_stdout(text.replace("TOKEN", run.token).encode())


def kinds(told: list[BatchOutcome]) -> list[str]:
    return [type(outcome).__name__ for outcome in told]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\nERROR: e\nALONE: a\n", ["Succeeded", "Failed", "NoneType"]),
        ("BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\n", ["Succeeded", "NoneType", "NoneType"]),
        ("BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: {\n", ["InvalidOutput", "NoneType", "NoneType"]),
        ("BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\nOUTPUT: 1\nOUT", ["Succeeded", "Succeeded", "NoneType"]),
        ("BEGIN: TOKEN\nANSWERS: TOKEN\n" + "OUTPUT: 1\n" * 5, ["Succeeded"] * 3),
        ("BEGIN: TOKEN\nOUTPUT: 1\nERROR: e\nOUTPUT: 1\n", ["NoneType"] * 3),
        ("BEGIN: TOKEN\nANSWERS: id-0\nOUTPUT: 1\n", ["NoneType"] * 3),
        ("BEGIN: id-0\nANSWERS: TOKEN\nOUTPUT: 1\n", ["NoneType"] * 3),
        ("BEGIN: TOKEN\nEND: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\n", ["NoneType"] * 3),
        ("ANSWERS: TOKEN\nBEGIN: TOKEN\nOUTPUT: 1\n", ["NoneType"] * 3),
        ("", ["NoneType"] * 3),
    ],
)
@runs_async
async def test_only_lines_after_the_token_of_this_batch_answer_and_do_so_in_order(
    text: str, expected: list[str]
) -> None:
    run = batch()
    pass_on(run, text)
    run.finish(0)
    assert kinds(run.outcomes(Cause.EXITED, None)) == expected


@runs_async
async def test_a_batch_has_answered_with_its_end() -> None:
    run = batch(1)
    pass_on(run, "BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\nRETIRE: grown\nEND: TOKEN\n")
    assert await run.wait(never()) is Cause.ANSWERED
    assert (run.ended.done(), run.retirement) == (True, "grown")


@runs_async
async def test_of_an_interrupted_batch_the_answered_are_answered_and_the_others_go_back() -> None:
    run = batch(2)
    pass_on(run, "BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\n")
    outcomes = run.outcomes(Cause.INTERRUPTED, None)
    assert [type(outcome) for outcome in outcomes] == [Succeeded, Interrupted]


@pytest.mark.parametrize("cause", [Cause.INTERRUPTED, Cause.TIMED_OUT, Cause.OVER_LIMIT])
@runs_async
async def test_what_is_said_after_a_batch_was_stopped_answers_nothing(cause: Cause) -> None:
    run = batch(2)
    pass_on(run, "BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\n")
    run.end(cause)
    pass_on(run, "ERROR: terminated\nEND: TOKEN\n")
    assert isinstance(run.outcomes(cause, None)[0], Succeeded)
    assert not isinstance(run.outcomes(cause, None)[1], Failed)


@runs_async
async def test_what_a_dead_worker_had_written_answers() -> None:
    run = batch(2)
    run.on_exit()
    pass_on(run, "BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\n")
    assert kinds(run.outcomes(Cause.EXITED, None)) == ["Succeeded", "NoneType"]


@runs_async
async def test_answers_are_judged_as_those_of_single_jobs_without_anybodys_stderr() -> None:
    run = batch(3)
    run.on_stderr(b"of all of them")
    pass_on(run, "BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: {\nERROR: \nOUTPUT: [1]\n")
    invalid, failed, succeeded = run.outcomes(Cause.ANSWERED, None)
    assert isinstance(invalid, InvalidOutput)
    assert isinstance(failed, Failed)
    assert (failed.message, failed.stderr_tail) == ("the classifier gave no reason", "")
    assert isinstance(succeeded, Succeeded)
    assert succeeded.output == b"[1]"


@pytest.mark.parametrize(
    ("text", "cause", "returncode", "why"),
    [
        ("BEGIN: TOKEN\nANSWERS: TOKEN\nOUTPUT: 1\nALONE: it\nALONE: is\n", Cause.ANSWERED, None, "it"),
        ("", Cause.EXITED, -9, "killed by SIGKILL without"),
        ("", Cause.TIMED_OUT, -15, "killed after 60 s without an answer (job_timeout_s)"),
        ("", Cause.INTERRUPTED, -15, "interrupted"),
    ],
)
@runs_async
async def test_the_log_is_told_why_jobs_run_alone(
    text: str, cause: Cause, returncode: int | None, why: str
) -> None:
    run = batch()
    pass_on(run, text)
    assert run.why_unanswered(cause, returncode).startswith(why)


@runs_async
async def test_tokens_differ() -> None:
    assert batch().token != batch().token


def test_a_batch_may_take_what_one_job_may_but_each_may_print() -> None:
    limits = together(LIMITS, 5)
    assert (limits.timeout_s, limits.max_stdout_bytes, limits.max_line_bytes) == (60.0, 50_000, 1000)
    assert (limits.max_memory_bytes, limits.cpu_s) == (LIMITS.max_memory_bytes, LIMITS.cpu_s)
