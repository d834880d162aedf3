"""Bad jobs beside good ones in one pool: every good one is answered, every bad one ends for its own reason."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from left_behind import Watched
from runner_bench import Bench, job, with_body
from support.async_tests import runs_async
from support.soak import often

from consumer.job import Outcome, OverLimit, Succeeded, Unsuccessful

MIB = 1024**2
GOOD = 200
BAD = {
    "asks_for_64_gib": "(max_memory_bytes)",
    "forks_like_a_bomb": "(max_processes)",
    "writes_many_files": "(max_folder_bytes)",
    "prints_without_end": "(max_stdout_bytes)",
}


@pytest.mark.soak
@pytest.mark.parametrize("runner", ["exec", "warm"])
@runs_async
async def test_bad_jobs_beside_two_hundred_good_ones_cost_themselves_only(runner: str, tmp_path: Path) -> None:
    settings = {"max_processes": 12, "max_folder_bytes": 10 * MIB}
    bench = Bench(runner, tmp_path, Watched(), cases="hostile_cases", settings=settings)
    good = GOOD if runner == "warm" else often(20, in_soak=50)  # each starts Python anew
    names = ["echo"] * good
    for place, name in enumerate(BAD):
        names.insert((place + 1) * good // 5, name)
    async with bench.open(size=2):

        async def run(number: int, name: str) -> Outcome:
            assert bench.opened
            return await bench.opened.pool.run(with_body(job(), case=name, number=number, generations=6))

        outcomes = await asyncio.gather(*(run(number, name) for number, name in enumerate(names)))
    for number, (name, outcome) in enumerate(zip(names, outcomes, strict=True)):
        if name == "echo":
            assert isinstance(outcome, Succeeded), outcome
            assert json.loads(outcome.output)["number"] == number
        else:
            assert isinstance(outcome, OverLimit), outcome
            assert BAD[name] in outcome.message
    assert sum(isinstance(outcome, Unsuccessful) for outcome in outcomes) == len(BAD)
