"""What a run's bytes and causes come to, without any process: the clock, the interrupt and the enclosing lines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fakes import never, runs_async

from consumer.job import Crashed, Failed, Interrupted, Outcome, Succeeded, TimedOut
from consumer.limits import Limits
from consumer.run import Cause, EnclosedRun, Run, conclude, describe_exit

LIMITS = Limits(timeout_s=60.0, max_line_bytes=1000, max_stdout_bytes=10_000)


def enclosed(*chunks: bytes, job_id: str = "id-1") -> EnclosedRun:
    run = EnclosedRun(job_id, LIMITS, lambda _: None)
    for chunk in chunks:
        run.hear_stdout(chunk)
    return run


def answer(run: Run) -> bytes | None:
    return run.answer.content if run.answer else None


@pytest.mark.parametrize(
    ("chunks", "answered", "ended"),
    [
        ([b"BEGIN: id-1\nOUTPUT: 1\nEND: id-1\n"], b"1", True),
        ([b"BEG", b"IN: id-1\nOUT", b"PUT: 1\nEND: i", b"d-1\n"], b"1", True),
        ([b"OUTPUT: 0\nBEGIN: id-1\nOUTPUT: 1\n"], b"1", False),
        ([b"OUTPUT: 0\n"], None, False),
        ([b"BEGIN: id-0\nOUTPUT: 0\nEND: id-0\n"], None, False),
        ([b"END: id-1\nBEGIN: id-1\n"], None, False),
        ([b"BEGIN: id-1\nEND: id-0\nOUTPUT: 1\n"], b"1", False),
        ([b"BEGIN: id-1\nEND: id-1\nOUTPUT: 1\n"], None, True),
        ([b"BEGIN: id-1\nBEGIN: id-1\nOUTPUT: 1\n"], b"1", False),
        ([b"unfinished\nBEGIN: id-1\nOUTPUT: 1\n"], b"1", False),
    ],
)
@runs_async
async def test_only_what_is_between_begin_and_end_of_this_job_counts(
    chunks: Sequence[bytes], answered: bytes | None, *, ended: bool
) -> None:
    run = enclosed(*chunks)
    assert answer(run) == answered
    assert run.ended.done() == ended


@pytest.mark.parametrize("job_id", ["a b", " a ", "日本", "END: id", "a:b"])
@runs_async
async def test_any_id_encloses(job_id: str) -> None:
    run = enclosed(f"\nBEGIN: {job_id}\n\nOUTPUT: 1\n\nEND: {job_id}\n".encode(), job_id=job_id)
    assert run.ended.done()


@runs_async
async def test_a_worker_may_ask_to_be_replaced_but_only_in_its_run() -> None:
    assert enclosed(b"RETIRE: early\nBEGIN: id-1\nEND: id-1\nRETIRE: late\n").retirement is None
    assert enclosed(b"BEGIN: id-1\nRETIRE: it grew\nEND: id-1\n").retirement == "it grew"


@runs_async
async def test_a_program_of_its_own_need_not_enclose_anything() -> None:
    run = Run(LIMITS, lambda _: None)
    run.hear_stdout(b"BEGIN: id-1\nEND: id-1\nRETIRE: x\nOUTPUT: 1\n")
    assert answer(run) == b"1"


@runs_async
async def test_the_first_cause_counts() -> None:
    run = Run(LIMITS, lambda _: None)
    run.hear_stdout(b"OUTPUT: 1\n")
    run.settle(Cause.TIMED_OUT)
    run.hear_end()
    assert await run.wait(never()) is Cause.ANSWERED


@runs_async
async def test_the_clock_is_a_cause() -> None:
    run = Run(Limits(timeout_s=0.001, max_line_bytes=10, max_stdout_bytes=10), lambda _: None)
    assert await run.wait(never()) is Cause.TIMED_OUT


@runs_async
async def test_an_interrupt_that_came_before_is_a_cause() -> None:
    interrupt = never()
    interrupt.set_result(None)
    assert await Run(LIMITS, lambda _: None).wait(interrupt) is Cause.INTERRUPTED


@pytest.mark.parametrize(
    ("cause", "line", "kind"),
    [
        (Cause.ANSWERED, b"OUTPUT: 1\n", Succeeded),
        (Cause.EXITED, b"OUTPUT: 1\n", Succeeded),
        (Cause.TIMED_OUT, b"OUTPUT: 1\n", TimedOut),
        (Cause.INTERRUPTED, b"ERROR: terminated\n", Interrupted),
        (Cause.EXITED, b"ERROR: e\n", Failed),
        (Cause.EXITED, b"noise\n", Crashed),
    ],
)
@runs_async
async def test_what_is_said_after_we_gave_up_is_no_answer(cause: Cause, line: bytes, kind: type[Outcome]) -> None:
    run = Run(LIMITS, lambda _: None)
    run.hear_stdout(line)
    assert type(conclude(cause, run, returncode=0)) is kind


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exited with code 0"),
        (-9, "killed by SIGKILL"),
        (-40, "killed by signal 40"),
        (None, "ended together with the process that had started it"),
    ],
)
def test_a_return_code_is_put_into_words(returncode: int | None, words: str) -> None:
    assert describe_exit(returncode) == words
