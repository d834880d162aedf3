"""Batches in real warm workers: all that is well goes well at once, and what is not costs its own job alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
import test_hostile
from left_behind import Watched, children, descriptors
from runner_bench import Bench, job, output, told, with_body
from support.async_tests import runs_async
from support.docs_pages.pages import block

from consumer.errors import ConfigurationError
from consumer.job import Crashed, Failed, Interrupted, Job, Outcome, OverLimit, Progress, Succeeded, TimedOut
from consumer.runners import child, worker
from consumer.runners.pool import Pool

SIZE = 16
MIB = 1024**2


@pytest.fixture
def bench(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for module, grace in ((child, "KILL_GRACE_S"), (worker, "LINGER_S")):
        monkeypatch.setattr(module, grace, 0.2)
    made = Bench("warm", tmp_path, Watched(), cases="batch_cases", settings={"batch_size": SIZE})
    caplog.set_level(logging.INFO, logger="consumer")
    yield made
    made.watched.close()


@asynccontextmanager
async def pool(bench: Bench, slots: int = 1) -> AsyncIterator[Pool]:
    async with bench.open(slots):
        assert bench.opened
        yield bench.opened.pool


async def run_all(bench: Bench, *bodies: dict[str, Any], timeout_s: float = 30.0, slots: int = 1) -> list[Outcome]:
    """Let them wait together for slots."""
    jobs = [with_body(job(timeout_s, id=f"id-{n}"), **{"n": n} | body) for n, body in enumerate(bodies)]
    async with pool(bench, slots) as places:
        return await asyncio.gather(*(places.run(of) for of in jobs))


def sizes(outcomes: Sequence[Outcome]) -> list[int]:
    """With how many jobs each ran that ended well."""
    return [output(outcome)["jobs"] for outcome in outcomes if isinstance(outcome, Succeeded)]


# What is well


@runs_async
async def test_jobs_that_wait_run_at_once_and_each_gets_its_own_answer(bench: Bench) -> None:
    outcomes = await run_all(bench, *[{}] * SIZE)
    assert [output(outcome)["n"] for outcome in outcomes] == list(range(SIZE))
    assert sizes(outcomes) == [SIZE] * SIZE


@runs_async
async def test_more_than_a_batch_are_several(bench: Bench) -> None:
    assert sizes(await run_all(bench, *[{}] * (SIZE + 2))) == [SIZE] * SIZE + [2] * 2
    assert sizes(await run_all(bench, *[{}] * (SIZE + 2), slots=2)) == [SIZE // 2 + 1] * (SIZE + 2)


@runs_async
async def test_jobs_with_one_id_are_told_apart(bench: Bench) -> None:
    async with pool(bench) as places:
        jobs = [with_body(job(id="same"), n=n) for n in range(5)]
        outcomes = await asyncio.gather(*(places.run(of) for of in jobs))
    assert [output(outcome)["n"] for outcome in outcomes] == list(range(5))
    assert sizes(outcomes) == [5] * 5


@runs_async
async def test_a_batch_knows_its_jobs_by_their_contexts_and_none_is_the_current_one(bench: Bench) -> None:
    async with pool(bench) as places:
        first = with_body(job(id=" ぁ 1", attempt=2, traceparent="00-aa"), case="surroundings")
        alone = output(await places.run(first))
        together = await asyncio.gather(places.run(first), places.run(with_body(job(), n=1)))
    found = output(together[0])
    assert found["contexts"] == [[" ぁ 1", 2, "00-aa"], ["id-1", 1, ""]]
    assert (found["context"], found["files"], found["home"]) == (["", 1, ""], ["0.json", "1.json"], True)
    assert alone["contexts"] == [alone["context"]] == [[" ぁ 1", 2, "00-aa"]]
    assert alone["files"] == ["job.json"]


@runs_async
async def test_what_a_batch_logs_is_logged_once_under_all_ids_and_its_progress_is_every_jobs(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Progress] = []
    async with pool(bench) as places:
        talks = Job(request=job().request, body=b'{"case": "talks"}', timeout_s=9.0)
        other = Job(request=job(id="id-2").request, body=b"{}", timeout_s=9.0)
        outcomes = await asyncio.gather(places.run(talks), places.run(other, heard.append))
    assert sizes(outcomes) == [2, 2]
    assert [text for text in caplog.messages if "hello" in text] == ["jobs id-1, id-2: hello"]
    assert heard == [Progress(0.5, "half")]


@runs_async
async def test_answers_may_be_an_array_and_a_function_may_have_a_form_for_one_job_beside_it(bench: Bench) -> None:
    bench.cases = "batch_cases"
    async with with_target(bench, "answers_by_array"):
        assert [output(one) for one in await run_all(bench, *[{}] * 3)] == [0, 2, 4]
    async with with_target(bench, "single"):
        assert [output(one)["by"] for one in await run_all(bench, *[{}] * 3)] == ["many"] * 3
        assert [output(one)["by"] for one in await run_all(bench, {})] == ["single"]


@asynccontextmanager
async def with_target(bench: Bench, function: str) -> AsyncIterator[None]:
    bench.settings["classifier"] = f"batch_cases:{function}"
    yield
    del bench.settings["classifier"]


@runs_async
async def test_a_worker_is_replaced_once_it_has_run_its_number_of_jobs(bench: Bench) -> None:
    bench.settings["jobs_per_worker"] = SIZE
    async with pool(bench) as places:
        pids = [
            {output(one)["pid"] for one in await asyncio.gather(*(places.run(job(id=f"{n}")) for n in range(10)))}
            for _ in range(4)
        ]
    assert [len(found) for found in pids] == [1, 1, 1, 1]
    assert pids[0] == pids[1] != pids[2] == pids[3]


# What is not


@pytest.mark.parametrize(
    ("case", "body", "kind", "message"),
    [
        ("refused", {}, Failed, r"no such\nmodel"),
        ("gives_an_exception", {}, Failed, "ValueError: bad signal"),
        ("raises", {}, Failed, "ValueError: bad signal"),
        ("refuses_by_raising", {}, Failed, "a bad job"),
        ("is_no_json", {}, Failed, "ValueError: the output cannot be JSON"),
        ("exits", {}, Crashed, "exited with code 3"),
        ("kills_itself", {}, Crashed, "killed by SIGKILL"),
        ("hangs", {"hangs": True}, TimedOut, "(job_timeout_s)"),
        ("answers_itself", {}, Succeeded, ""),
        ("leaves_a_thread", {}, Succeeded, ""),
        ("forges", {}, Succeeded, ""),
        ("closes_its_folder", {}, Succeeded, ""),
    ],
)
@runs_async
async def test_one_bad_job_among_good_ones_fails_alone(
    bench: Bench, case: str, body: dict[str, Any], kind: type[Outcome], message: str
) -> None:
    before = children(), descriptors()
    timeout_s = 0.6 if body else 30.0
    outcomes = await run_all(bench, {}, {}, {"case": case}, {}, {}, timeout_s=timeout_s)
    assert type(outcomes[2]) is kind, outcomes[2]
    assert message in getattr(outcomes[2], "message", "")
    good = [outcome for number, outcome in enumerate(outcomes) if number != 2]
    assert [output(outcome)["n"] for outcome in good] == [0, 1, 3, 4]
    assert (children(), descriptors() - len(bench.watched)) == before


#: Those of the hostile cases that fail a job by what they take or do to their process, not by what they leave.
HOSTILE = (
    "asks_for_64_gib",
    "grows_in_shared_memory",
    "computes_without_end",
    "segfaults",
    "kills_its_parent",
    "closes_everything",
    "prints_one_endless_line",
    "prints_the_end_of_its_own_run",
    "prints_an_answer_for_another",
    "writes_a_large_file",
    "leaves_a_daemon",
    "puts_a_link_in_place_of_its_folder",
)
CASES = [row for row in test_hostile.CASES if row[0] in HOSTILE]


@pytest.mark.parametrize(("case", "body", "kind", "message"), CASES, ids=[case for case, *_ in CASES])
@runs_async
async def test_a_hostile_job_in_the_middle_of_a_batch_costs_no_other_its_answer(
    bench: Bench, case: str, body: dict[str, Any], kind: type[Outcome] | UnionType, message: str
) -> None:
    before = children(), descriptors()
    limits = {name: value for name, value in test_hostile.LIMITS.items() if name != "pass_environment"}
    bench.settings.update(limits, batch_size=SIZE)
    hostile = {"case": case, **body}
    timeout_s = test_hostile.SHORT_S if body.get("hangs") else test_hostile.TIMEOUT_S
    outcomes = await run_all(bench, {}, hostile, {}, {}, timeout_s=timeout_s)
    assert isinstance(outcomes[1], kind), outcomes[1]
    assert message in getattr(outcomes[1], "message", "")
    assert [output(outcomes[number])["n"] for number in (0, 2, 3)] == [0, 2, 3]
    assert (children(), descriptors()) == before


@pytest.mark.parametrize("how", ["dict", "text", "few", "none"])
@runs_async
async def test_a_batch_that_is_not_answered_job_by_job_is_run_job_by_job(
    bench: Bench, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with with_target(bench, "answers_wrongly"):
        outcomes = await run_all(bench, *[{"with": how}] * 3)
    assert [output(outcome) for outcome in outcomes] == [0, 1, 2]
    assert "jobs id-0, id-1, id-2: 3 of them run again, each alone: " in caplog.text


@runs_async
async def test_a_failure_of_its_own_has_its_own_stderr_and_a_neighbours_has_not(bench: Bench) -> None:
    outcomes = await run_all(bench, {"case": "refused"}, {"case": "exits"}, {"case": "raises"})
    tails = [told(outcome).stderr_tail for outcome in outcomes]
    assert (tails[0], tails[1]) == ("", "boom")
    assert tails[2].startswith("Traceback")


@runs_async
async def test_a_job_is_not_timed_out_because_its_neighbours_are_many(bench: Bench) -> None:
    """Together they need four times what each may take; alone each has enough."""
    outcomes = await run_all(bench, *[{"case": "needs_time", "seconds": 0.3}] * 4, timeout_s=0.7)
    assert sizes(outcomes) == [1, 1, 1, 1]


@runs_async
async def test_the_shortest_run_time_is_that_of_the_batch(bench: Bench) -> None:
    async with pool(bench) as places:
        patient = with_body(job(30.0), case="needs_time", seconds=0.8)
        hasty = with_body(job(0.4), n=1)
        outcomes = await asyncio.gather(places.run(patient), places.run(hasty))
    assert sizes(outcomes) == [1, 1]


@runs_async
async def test_one_that_prints_too_much_over_all_jobs_answers_all_the_same(bench: Bench) -> None:
    bench.settings["max_stdout_bytes"] = 1024
    outcomes = await run_all(bench, *[{"n": "x" * 300}] * 10)
    assert sizes(outcomes) == [10] * 10


# Interrupts


@runs_async
async def test_an_interrupt_ends_a_batch_and_every_job_of_it_goes_back(bench: Bench) -> None:
    caught = Caught()
    logging.getLogger("consumer").addHandler(caught)
    async with pool(bench) as places:
        jobs = [with_body(job(id=f"{n}"), case="hangs" if n == 2 else "echo") for n in range(5)]
        running = [asyncio.create_task(places.run(of)) for of in jobs]
        await caught.logged.wait()
        assert (places.busy, places.size) == (1, 1)
        bench.interrupt()
        outcomes = await asyncio.gather(*running)
        assert places.busy == 0
    logging.getLogger("consumer").removeHandler(caught)
    assert {type(outcome) for outcome in outcomes} == {Interrupted}


@runs_async
async def test_an_interrupt_that_came_before_a_batch_counts(bench: Bench) -> None:
    async with pool(bench) as places:
        assert isinstance(await places.run(job()), Succeeded)
        bench.interrupt()
        outcomes = await asyncio.gather(*(places.run(job(id=f"{n}")) for n in range(3)))
    assert {type(outcome) for outcome in outcomes} == {Interrupted}


@runs_async
async def test_a_batch_that_is_cancelled_leaves_no_process_and_no_file(bench: Bench) -> None:
    before = children(), descriptors()
    caught = Caught()
    logging.getLogger("consumer").addHandler(caught)
    async with pool(bench) as places:
        running = [asyncio.create_task(places.run(with_body(job(), case="hangs"))) for _ in range(3)]
        await caught.logged.wait()
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        assert places.busy == 0
        assert sizes([await places.run(job())]) == [1]
    logging.getLogger("consumer").removeHandler(caught)
    assert (children(), descriptors()) == before


class Caught(logging.Handler):
    """Sees the first line that a classifier logs."""

    def __init__(self) -> None:
        super().__init__()
        self.logged = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "pid " in record.getMessage():
            self.logged.set()


# What cannot take a batch


@runs_async
async def test_a_function_that_takes_one_job_stops_the_start_with_the_remedy(bench: Bench) -> None:
    bench.cases = "cases"
    with pytest.raises(
        ConfigurationError, match=r"cases:dispatch takes one job at a time, .* with @contract.batch"
    ):
        await run_all(bench, {})


@runs_async
async def test_a_batch_function_runs_single_jobs_where_batch_size_is_one_or_as_a_program(
    tmp_path: Path,
) -> None:
    for runner in ("exec", "warm", "fresh"):
        single = Bench(runner, tmp_path, Watched(), cases="batch_cases")
        async with single.open() as (slot,):
            assert output(await slot.run(with_body(job(), n=1)))["jobs"] == 1
            refused = await slot.run(with_body(job(), case="refused"))
            raised = await slot.run(with_body(job(), case="gives_an_exception"))
            answered = await slot.run(with_body(job(), case="answers_itself"))
        assert (told(refused).message, told(refused).stderr_tail) == (r"no such\nmodel", "")
        assert told(raised).stderr_tail.endswith("ValueError: bad signal")
        assert output(answered) == "by itself"


def test_every_hostile_case_that_is_named_is_in_the_table() -> None:
    assert {case for case, *_ in CASES} == set(HOSTILE)
    assert OverLimit in {kind for _, _, kind, _ in CASES}


# What the documentation says


@runs_async
async def test_the_function_in_the_documentation_fails_one_job_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(block("docs/batches.md", "function").text)
    monkeypatch.chdir(tmp_path)
    bench.settings["classifier"] = "mine:classify"
    outcomes = await run_all(bench, {"signal": [1, 2]}, {}, {"signal": [1]})
    assert [output(outcomes[number]) for number in (0, 2)] == [{"points": 2}, {"points": 1}]
    assert told(outcomes[1]).message == "the job has no signal"


# Its input


@runs_async
async def test_the_inputs_of_a_batch_are_not_held_against_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.settings.update(max_folder_bytes=MIB)
    padding = "x" * (MIB // 2)
    outcomes = await run_all(bench, *[{"case": "needs_time", "seconds": 0.6, "padding": padding}] * 3)
    assert sizes(outcomes) == [3, 3, 3]  # at once, and none was run again alone
    assert "run again" not in caplog.text
