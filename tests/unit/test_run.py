"""What a run's bytes and causes come to, without any process: the clock, the interrupt and the enclosing lines."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.async_tests import never, runs_async

from consumer.config.job_limits import Limits
from consumer.job import (
    Crashed,
    Failed,
    Interrupted,
    InvalidOutput,
    Outcome,
    Succeeded,
    TimedOut,
    Unsuccessful,
)
from consumer.runners.answer import describe_exit
from consumer.runners.run import Cause, Run
from consumer.runners.worker import WorkerRun

LIMITS = Limits(timeout_s=60.0, max_line_bytes=1000, max_stdout_bytes=10_000)


def enclosed(*chunks: bytes, job_id: str = "id-1") -> WorkerRun:
    run = WorkerRun(job_id, f"job {job_id}", LIMITS, lambda _: None)
    for chunk in chunks:
        run.on_stdout(chunk)
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
    run.on_stdout(b"BEGIN: id-1\nEND: id-1\nRETIRE: x\nOUTPUT: 1\n")
    assert answer(run) == b"1"


@runs_async
async def test_the_first_cause_counts() -> None:
    run = Run(LIMITS, lambda _: None)
    run.on_stdout(b"OUTPUT: 1\n")
    run.end(Cause.TIMED_OUT)
    run.on_exit()
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
    run.on_stdout(line)
    assert type(run.outcome(cause, 0)) is kind


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


def concluded(run: Run, *chunks: bytes, cause: Cause = Cause.EXITED, returncode: int | None = 0) -> Unsuccessful:
    for chunk in chunks:
        run.on_stdout(chunk)
    run.finish(returncode)
    outcome = run.outcome(cause, returncode)
    assert isinstance(outcome, Unsuccessful)
    return outcome


ALMOST = " is no answer: OUTPUT: or ERROR: must begin a line; print a line break first"


@pytest.mark.parametrize(
    ("stdout", "returncode", "told"),
    [
        (b"", 0, ""),
        (b"\n\n", 0, ""),
        (b"loading\nnoise\n\n", 0, '; the last line on stdout is "noise"'),
        (b"LOG: half\n", 0, '; the last line on stdout is "LOG: half"'),
        (b"unfinished", 0, '; the last line on stdout is "unfinished"'),
        (b"\xff\x1b[2J", 1, r'; the last line on stdout is "\xff\x1b[2J"'),
        (b"50 %OUTPUT: 1\n", 0, f'; on stdout the line "50 %OUTPUT: 1"{ALMOST}'),
        (b"50 %OUTPUT: 1", 0, f'; on stdout the line "50 %OUTPUT: 1"{ALMOST}'),
        (b"50 %\rERROR: e\nbye\n", 0, f'; on stdout the line "50 %\\rERROR: e"{ALMOST}'),
        (b"output: 1\n", 0, f'; on stdout the line "output: 1"{ALMOST}'),
        (b"OUTPUT: 1", -9, '; the last line on stdout, "OUTPUT: 1", has no line break at its end: print one'),
        (
            b"50 %OUTPUT: 1",
            -9,
            '; the last line on stdout, "50 %OUTPUT: 1", has no line break at its end: print one',
        ),
        (b"half a lo", -9, '; the last line on stdout is "half a lo"'),
        (b"a\n" + b"x" * 900, 0, '; the last line on stdout is "' + "x" * 160 + '..."'),
    ],
)
@runs_async
async def test_an_end_without_an_answer_quotes_the_line_that_tells_why(
    stdout: bytes, returncode: int, told: str
) -> None:
    outcome = concluded(Run(LIMITS, lambda _: None), stdout, returncode=returncode)
    assert isinstance(outcome, Crashed)
    assert outcome.message == f"{describe_exit(returncode)} without an OUTPUT: or ERROR: line{told}"


@runs_async
async def test_of_a_worker_only_lines_of_its_run_are_quoted() -> None:
    outcome = concluded(enclosed(b"old\nBEGIN: id-1\nmine\n"), returncode=3)
    assert outcome.message.endswith('line; the last line on stdout is "mine"')
    assert concluded(enclosed(b"old\nBEGIN: id-1\n"), returncode=3).message.endswith("or ERROR: line")


@pytest.mark.parametrize(
    ("stdout", "told"),
    [
        (b"LOG: half\n", ""),
        (b"noise", ""),
        (b"OUTPUT: 1", '; the last line on stdout, "OUTPUT: 1", has no line break at its end: print one'),
        (b"50 %OUTPUT: 1\n", f'; on stdout the line "50 %OUTPUT: 1"{ALMOST}'),
    ],
)
@runs_async
async def test_a_timeout_says_whether_it_was_only_a_line_break_that_was_missing(stdout: bytes, told: str) -> None:
    outcome = concluded(Run(LIMITS, lambda _: None), stdout, cause=Cause.TIMED_OUT, returncode=-15)
    assert outcome.message == f"killed after 60 s without an answer (job_timeout_s){told}"


ANY = "Any line on stdout that begins with ERROR: fails the job: print diagnostics to stderr, or as LOG: lines)"


@pytest.mark.parametrize(
    ("stdout", "returncode", "message"),
    [
        (b"ERROR: no such model\n", 0, "no such model"),
        (b"ERROR:no such model\n", 1, "no such model"),
        (b"ERROR:\n", 0, "the classifier gave no reason"),
        (b"ERROR:root:slow\n", 0, f'root:slow (printed on stdout as "ERROR:root:slow". {ANY}'),
        (
            b"ERROR:root:slow\n\nOUTPUT: 1\n",
            0,
            'root:slow (printed on stdout as "ERROR:root:slow"; the line "OUTPUT: 1" after it was discarded. '
            + ANY,
        ),
        (
            b"ERROR: slow\n\nERROR: ValueError: v\n",
            0,
            'slow (printed on stdout as "ERROR: slow"; the line "ERROR: ValueError: v" after it was discarded. '
            + ANY,
        ),
        (
            b"ERROR: slow\n",
            -15,
            (
                'slow (printed on stdout as "ERROR: slow"; the classifier continued after it and was terminated. '
                f"{ANY}"
            ),
        ),
    ],
)
@pytest.mark.parametrize("runner", ["exec", "warm"])
@runs_async
async def test_an_error_that_was_only_printed_says_so(
    runner: str, stdout: bytes, returncode: int, message: str
) -> None:
    run = Run(LIMITS, lambda _: None) if runner == "exec" else enclosed(b"BEGIN: id-1\n")
    outcome = concluded(run, stdout, cause=Cause.ANSWERED, returncode=returncode)
    assert (type(outcome), outcome.message) == (Failed, message)


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        (
            rb'{"a": ["\ud800"]}',
            Failed,
            r'the OUTPUT: line cannot be sent: output["a"][0] holds the lone surrogate \ud800',
        ),
        (rb'{"\ud800": 1}', Failed, r'the OUTPUT: line cannot be sent: output has the key "\ud800", which holds'),
        (b'["\xed\xa0\x80"]', Failed, "the OUTPUT: line cannot be sent: output[0] holds"),
        (
            b"{'a': 1}",
            InvalidOutput,
            "the OUTPUT: line is not JSON: key must be a string at line 1 column 2; the line is",
        ),
        (b"", InvalidOutput, "the OUTPUT: line is not JSON: "),
    ],
)
@runs_async
async def test_an_output_that_cannot_be_sent_says_why_and_is_tried_again_only_where_that_may_help(
    output: bytes, kind: type[Unsuccessful], message: str
) -> None:
    outcome = concluded(Run(LIMITS, lambda _: None), b"OUTPUT: " + output + b"\n", cause=Cause.ANSWERED)
    assert type(outcome) is kind
    assert outcome.message.startswith(message)
    assert outcome.retryable == (kind is InvalidOutput)


@runs_async
async def test_an_output_that_is_no_json_is_quoted_with_what_came_after_it() -> None:
    outcome = concluded(Run(LIMITS, lambda _: None), b"OUTPUT: {'a': 1}\nOUTPUT: {}\n", cause=Cause.ANSWERED)
    assert outcome.message.endswith(
        """; the line is "OUTPUT: {'a': 1}"; the line "OUTPUT: {}" after it was discarded"""
    )
