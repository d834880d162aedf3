"""One contract, two runners: every ending of a classifier, by a program per job and in warm workers.

The functions are those of cases.py. `warm` keeps its worker, so each of its runs is preceded by another job in
the same process; `fresh` is a warm worker per job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from left_behind import Watched, children, descriptors
from runner_bench import Bench, job, output, told, with_body
from support.async_tests import runs_async
from support.soak import often
from support.waiting import PATIENCE_S

from consumer.config.job_limits import STDERR_TAIL_BYTES
from consumer.job import (
    Crashed,
    Failed,
    Interrupted,
    InvalidOutput,
    OverOutput,
    TimedOut,
)
from consumer.runners.child import KILL_GRACE_S, LINGER_S

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HERE = Path(__file__).parent


@pytest.fixture(params=["exec", "warm", "fresh"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    made = Bench(request.param, tmp_path, Watched())
    caplog.set_level(logging.INFO, logger="consumer")
    caplog.handler.addFilter(made.hear)
    yield made
    caplog.handler.removeFilter(made.hear)
    made.watched.close()


# What a classifier answers


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ("nothing", None),
        ("logs", 3),
        ("talks_around", 1),
        ("answers_itself", {"a": 1.5}),
        ("prints_its_answer", 1),
        ("answers_without_newline_and_exits", 1),
        ("answers_and_raises", 1),
        ("answers_and_prints_a_long_line", 1),
        ("leaves_files", 1),
    ],
)
@runs_async
async def test_the_first_answer_decides_whatever_is_around_it(bench: Bench, case: str, answer: object) -> None:
    assert output(await bench.run(case)) == answer


@runs_async
async def test_an_answer_passes_through_byte_for_byte(bench: Bench) -> None:
    outcome = await bench.run("echo", text="日本 \x7f", number=1.1e-7, none=None)
    assert output(outcome) == {"case": "echo", "text": "日本 \x7f", "number": 1.1e-7, "none": None}


@pytest.mark.parametrize(
    ("case", "message", "tail"),
    [
        ("fails", r"no such\nmodel", "why"),
        ("refuses", "the signal is empty", ""),
    ],
)
@runs_async
async def test_an_error_is_the_failure_in_its_own_words(bench: Bench, case: str, message: str, tail: str) -> None:
    outcome = told(await bench.run(case))
    assert (type(outcome), outcome.message, outcome.stderr_tail) == (Failed, message, tail)


@runs_async
async def test_an_exception_is_one_line_and_its_traceback_on_stderr(bench: Bench) -> None:
    outcome = told(await bench.run("raises"))
    assert (type(outcome), outcome.message) == (Failed, r"ValueError: no such\nmodel")
    assert outcome.stderr_tail.startswith("Traceback")
    assert outcome.stderr_tail.endswith("ValueError: no such\nmodel")


@runs_async
async def test_an_output_that_is_no_json_is_told_apart(bench: Bench) -> None:
    assert type(await bench.run("prints_no_json")) is InvalidOutput


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("%(levelname)s:%(name)s:%(message)s", "ERROR:mine:the disk is slow"),  # logging's own
        ("%(levelname)s: %(message)s", "ERROR: the disk is slow"),
    ],
)
@runs_async
async def test_an_error_that_was_only_logged_to_stdout_says_so(bench: Bench, layout: str, line: str) -> None:
    outcome = told(await bench.run("logs_an_error_to_stdout", format=layout))
    reason = line.removeprefix("ERROR:").strip()
    assert type(outcome) is Failed
    assert outcome.message.startswith(
        f'{reason} (printed on stdout as "{line}"; the line "OUTPUT: "up"" after it was'
    )


@pytest.mark.parametrize("by", ["print", "return"])
@runs_async
async def test_half_a_character_in_an_output_fails_once_with_its_place(bench: Bench, by: str) -> None:
    outcome = told(await bench.run("holds_half_a_character", by=by))
    assert type(outcome) is Failed
    assert r'output["a"][1] holds the lone surrogate \ud800' in outcome.message


@runs_async
async def test_log_lines_are_logged_with_the_jobs_id_and_nothing_else_is(bench: Bench) -> None:
    await bench.run("logs")
    assert bench.logs == ["one", "two", "three"]


@pytest.mark.parametrize("by", ["itself", "a child"])
@runs_async
async def test_what_python_prints_arrives_at_once_and_not_at_the_end(bench: Bench, by: str) -> None:
    half = asyncio.Event()
    made = with_body(job(), case="prints_and_hangs", by=by)
    async with bench.open() as (slot,):
        running = asyncio.create_task(slot.run(made, lambda _: half.set()))
        async with asyncio.timeout(PATIENCE_S):
            await half.wait()
        assert bench.logs == ["at work"]
        bench.interrupt()
        assert isinstance(await running, Interrupted)


@runs_async
async def test_ten_megabytes_on_stderr_block_nothing_and_the_end_is_kept(bench: Bench) -> None:
    outcome = told(await bench.run("floods_stderr"))
    assert outcome.message == "e"
    assert outcome.stderr_tail.endswith("xxxthe end")
    assert STDERR_TAIL_BYTES - 10 < len(outcome.stderr_tail) <= STDERR_TAIL_BYTES


# Where it runs


@runs_async
async def test_a_job_runs_at_home_with_its_own_variables_and_none_of_ours(bench: Bench) -> None:
    of = job(attempt=2, traceparent=TRACEPARENT)
    found = output(await bench.run("surroundings", of=of))
    home = found["cwd"]
    assert found["environment"] == {
        "HOME": home,
        "TMPDIR": home,
        "JOB_ID": "id-1",
        "JOB_ATTEMPT": "2",
        "TRACEPARENT": TRACEPARENT,
        "CONSUMER_AMQP_URL": None,
        "OMP_NUM_THREADS": "1",
    }
    assert found["context"] == ["id-1", 2, TRACEPARENT]
    assert (found["files"], found["leads"], found["stdin"]) == (["job.json"], True, "")


@runs_async
async def test_a_job_finds_nothing_of_the_one_before_it(bench: Bench) -> None:
    async with bench.open() as (slot,):
        one = with_body(job(traceparent=TRACEPARENT), case="surroundings")
        first = output(await slot.run(one))
        await slot.run(with_body(job(), case="leaves_files"))
        await slot.run(with_body(job(), case="floods_stderr"))
        then = output(await slot.run(with_body(job(id=" ぁ 2 "), case="surroundings")))
        last = await slot.run(with_body(job(), case="fails"))
    assert (then["environment"]["TRACEPARENT"], then["context"]) == (None, [" ぁ 2 ", 1, ""])
    assert then["files"] == ["job.json"]
    assert told(last).stderr_tail == "why"
    assert first["random"] != then["random"]
    assert (first["pid"] == then["pid"]) is (bench.runner == "warm")


# Endings without an answer


@pytest.mark.parametrize(
    ("case", "body", "how", "tail"),
    [
        ("exits", {"code": 3}, "exited with code 3", "boom"),
        ("exits", {"code": None}, "exited with code 0", "boom"),
        ("exits", {"code": "in words"}, "exited with code 1", "boom\nin words"),
        ("exits_at_once", {}, "exited with code 3", ""),
        ("kills_itself", {"signal": 9}, "killed by SIGKILL", "boom"),
        ("kills_itself", {"signal": 11}, "killed by SIGSEGV", "boom"),
        ("kills_itself", {"signal": 40}, "killed by signal 40", "boom"),
    ],
)
@runs_async
async def test_an_end_without_an_answer_is_a_crash_in_words(
    bench: Bench, case: str, body: dict[str, Any], how: str, tail: str
) -> None:
    outcome = told(await bench.run(case, **body))
    assert (type(outcome), outcome.message) == (Crashed, f"{how} without an OUTPUT: or ERROR: line")
    assert outcome.stderr_tail == tail


@pytest.mark.parametrize(
    "case", ["hangs", "ignores_sigterm_and_hangs", "hangs_in_native_code", "says_so_when_terminated"]
)
@runs_async
async def test_what_hangs_is_timed_out_and_gone(bench: Bench, case: str) -> None:
    for limit_s in (0.5, 4.0, 32.0):  # it includes the start of a program: seconds, on a busy machine
        outcome = told(await bench.run(case, of=job(timeout_s=limit_s)))
        said = f"killed after {limit_s:g} s without an answer (job_timeout_s)"
        assert (type(outcome), outcome.message) == (TimedOut, said)
        if len(bench.watched):
            break
    assert bench.watched.ended() == [True]


@runs_async
async def test_what_hangs_after_its_answer_has_answered_and_is_gone(bench: Bench) -> None:
    outcome = await bench.run("answers_and_hangs")
    assert output(outcome) == 1
    assert LINGER_S <= outcome.run_s < LINGER_S + KILL_GRACE_S
    assert bench.watched.ended() == [True]


@pytest.mark.parametrize(
    ("case", "limit"), [("prints_a_long_line", "max_line_bytes"), ("prints_without_end", "max_stdout_bytes")]
)
@runs_async
async def test_what_prints_too_much_is_over_limit_and_gone(bench: Bench, case: str, limit: str) -> None:
    bench.settings["max_stdout_bytes"] = 10_000_000
    outcome = told(await bench.run(case))
    assert type(outcome) is OverOutput
    assert outcome.message.startswith("killed: ")
    assert outcome.message.endswith(f"({limit})")
    assert bench.watched.ended() == [True]


@runs_async
async def test_an_interrupt_ends_a_running_job(bench: Bench) -> None:
    async with bench.open() as (slot,):
        running = asyncio.create_task(slot.run(with_body(job(), case="hangs")))
        await bench.logged.wait()
        bench.interrupt()
        assert isinstance(await running, Interrupted)
    assert bench.watched.ended() == [True]


@runs_async
async def test_an_interrupt_that_came_before_the_job_counts(bench: Bench) -> None:
    async with bench.open() as (slot,):
        bench.interrupt()
        assert isinstance(await slot.run(with_body(job(), case="hangs")), Interrupted)


@runs_async
async def test_a_cancelled_job_leaves_no_process_and_no_file(bench: Bench) -> None:
    async with bench.open() as (slot,):
        running = asyncio.create_task(slot.run(with_body(job(), case="hangs")))
        await bench.logged.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert bench.watched.ended() == [True]


@runs_async
async def test_a_child_that_is_left_behind_is_gone(bench: Bench) -> None:
    assert output(await bench.run("leaves_a_child")) == 1
    assert bench.watched.ended() == [True]


@pytest.mark.soak
@pytest.mark.parametrize("case", ["echo", "exits_at_once", "leaves_a_child", "prints_a_long_line"])
@runs_async
async def test_many_jobs_leave_no_descriptor_and_no_zombie(bench: Bench, case: str) -> None:
    before = children(), descriptors()
    async with bench.open() as (slot,):
        for _ in range(often(5, in_soak=50)):
            await slot.run(with_body(job(), case=case))
    assert (children(), descriptors() - len(bench.watched)) == before
