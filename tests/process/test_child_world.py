"""What a classifier finds around it, in both runners: no privilege, no core, no descriptor, no file of others."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from left_behind import Watched
from runner_bench import Bench, job, output, told, with_body
from support.async_tests import runs_async

from consumer.job import OverLimit

MIB = 1024**2


@pytest.fixture(params=["exec", "warm", "fresh"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    caplog.set_level(logging.INFO, logger="consumer")
    yield (made := Bench(request.param, tmp_path, Watched(), cases="surroundings_cases"))
    made.watched.close()


@runs_async
async def test_no_program_gives_it_privileges_and_its_files_are_its_own(bench: Bench) -> None:
    found = output(await bench.run("status"))
    assert (found["NoNewPrivs"], found["Umask"]) == ("1", "0077")


@runs_async
async def test_no_core_is_taken_not_even_by_a_program(bench: Bench) -> None:
    assert output(await bench.run("limits"))["core"] in ([1, 1], [0, 0])  # 0 where we may not have more


@runs_async
async def test_the_limits_of_each_process_are_the_kernels(bench: Bench) -> None:
    bench.settings = {"max_memory_bytes": 300 * MIB, "max_folder_bytes": 20 * MIB, "max_cpu_s": 7}
    found = output(await bench.run("limits"))
    assert found["file"] == [20 * MIB] * 2
    assert 300 * MIB < found["data"][0] == found["data"][1] < 400 * MIB  # and what it was born with
    assert found["cpu"] == ([-1, -1] if bench.runner == "warm" else [12, 13])


@runs_async
async def test_no_descriptor_of_ours_or_of_another_slot_is_open_in_it(bench: Bench) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    async with bench.open(size=3) as slots:
        for slot in slots:  # each has had a worker, or a launcher, before the last is asked
            found = output(await slot.run(with_body(job(), case="descriptors")))
    os.close(read)
    os.close(write)
    kinds = sorted(kind for kind in found.values() if "/proc/" not in kind)
    assert kinds == ["/dev/null", *["pipe"] * (2 if bench.runner == "exec" else 3)]
    own = [path for path in found.values() if "/proc/" in path]
    assert all(path.startswith(f"/proc/{found_pid(own)}/") for path in own)


def found_pid(paths: list[str]) -> str:
    """All of a process's own files in /proc are of one process: itself."""
    (pid,) = {path.split("/")[2] for path in paths} or {""}
    return pid


@runs_async
async def test_what_native_code_starts_inherits_no_descriptor_but_three(bench: Bench) -> None:
    listed = output(await bench.run("descriptors_of_a_native_child"))
    assert listed == ["0", "1", "2", "3"]  # 3 is the listing's own


@runs_async
async def test_its_job_file_and_folder_are_closed_to_others(bench: Bench) -> None:
    assert output(await bench.run("modes")) == {"folder": "700", "job": "600", "made": "600"}


@runs_async
async def test_what_a_failed_attempt_has_used_is_told(bench: Bench) -> None:
    usage = told(await bench.run("uses_and_fails", bytes=100 * MIB, cpu_s=0.3)).usage
    assert usage.cpu_s is not None
    assert usage.peak_memory_bytes is not None
    assert 0.3 <= usage.cpu_s < 3
    assert 100 * MIB <= usage.peak_memory_bytes < 300 * MIB
    assert usage.signal is None


@runs_async
async def test_what_was_used_is_the_jobs_own_and_not_that_of_the_one_before(bench: Bench) -> None:
    async with bench.open() as (slot,):
        await slot.run(with_body(job(), case="uses_and_fails", bytes=100 * MIB, cpu_s=0.5))
        usage = told(await slot.run(with_body(job(), case="segfaults"))).usage
    assert usage.cpu_s is not None
    assert usage.peak_memory_bytes is not None
    assert usage.cpu_s < 0.4
    assert usage.peak_memory_bytes < 100 * MIB
    assert usage.signal == "SIGSEGV"


@runs_async
async def test_children_count_for_memory_and_cpu_time(bench: Bench) -> None:
    bench.settings = {"max_memory_bytes": 200 * MIB}
    outcome = told(await bench.run("has_children_that_grow", number=3, bytes=90 * MIB))
    assert isinstance(outcome, OverLimit)
    assert outcome.usage.peak_memory_bytes is not None
    assert outcome.usage.peak_memory_bytes > 200 * MIB
    assert json.dumps(outcome.usage.signal) == '"SIGKILL"'


@runs_async
async def test_memory_that_forked_children_share_counts_once(bench: Bench) -> None:
    bench.settings = {"max_memory_bytes": 200 * MIB}
    assert output(await bench.run("shares_with_children", number=4, bytes=100 * MIB)) == 1
