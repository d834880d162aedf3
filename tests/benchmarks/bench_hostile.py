"""How late good jobs are beside bad ones: one pool, warm workers, no RabbitMQ involved.

200 jobs of 10 ms come at a steady pace that two slots bear easily, once alone and once with four bad jobs among
them: an allocation of 64 GiB, a fork bomb (of six generations at most), a disk filler and an endless printer. A
job's time is from its coming to its answer, so a slot that a bad job holds counts. None is to be later than twice
its normal time and what the slowest bad job was allowed.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from statistics import median

import uvloop
from results import quantile

from consumer.config.loader import load
from consumer.job import Job, Outcome, OverLimit, Request, Succeeded
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import open_runner

GOOD = 200
#: Between two jobs: two slots are busy for an eighth of the time.
PACE_S = 0.04
BUSY_S = 0.01
BAD = ("asks_for_64_gib", "forks_like_a_bomb", "writes_many_files", "prints_without_end")
LIMITS = {"max_processes": 12, "max_folder_bytes": 10_000_000}
CASES = Path(__file__).parents[1] / "process"


def test_good_jobs_beside_bad_ones_are_late_by_no_more_than_a_limit(tmp_path: Path) -> None:
    """Every outcome is asserted; how late they are is reported."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        alone, _ = runner.run(_times(tmp_path / "alone", bad=()))
        beside, bad_s = runner.run(_times(tmp_path / "beside", bad=BAD))
    normal, limit = median(alone), max(bad_s)
    bound = 2 * normal + limit
    late = sum(taken > bound for taken in beside)
    print(f"\n{GOOD} good jobs alone:           {_described(alone)}")
    print(f"{GOOD} good jobs beside {len(BAD)} bad:   {_described(beside)}")
    print("bad jobs, until they were gone: " + ", ".join(f"{taken * 1000:.0f} ms" for taken in bad_s))
    print(f"later than twice the median and the slowest of these, {bound * 1000:.0f} ms: {late}")


def _described(taken: list[float]) -> str:
    figures = (median(taken), quantile(taken, 0.99), max(taken))
    return "median {:.1f} ms, 99 % {:.1f} ms, slowest {:.1f} ms".format(*(figure * 1000 for figure in figures))


async def _times(folder: Path, *, bad: tuple[str, ...]) -> tuple[list[float], list[float]]:
    """Run all; give the seconds that each good job took from its coming, and each bad one in its slot."""
    names = ["computes_for"] * GOOD
    for place, name in enumerate(bad):
        names.insert((place + 1) * GOOD // 5, name)
    settings = load({"classifier": "hostile_cases:dispatch", **LIMITS}, {})
    surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CASES)}
    with JobFiles.open(folder) as files:
        async with open_runner(settings, files, surroundings, size=2) as runner:

            async def run(name: str) -> tuple[str, float, Outcome]:
                came = time.monotonic()
                body = json.dumps({"case": name, "generations": 6, "seconds": BUSY_S}).encode()
                request = Request(id="id-1", correlation_id="c")
                outcome = await runner.pool.run(Job(request=request, body=body, timeout_s=30.0))
                return name, time.monotonic() - came, outcome

            running = []
            for name in names:
                running.append(asyncio.create_task(run(name)))
                await asyncio.sleep(PACE_S)
            ended = await asyncio.gather(*running)
    assert all(isinstance(outcome, OverLimit if name in bad else Succeeded) for name, _, outcome in ended), ended
    return (
        [taken for name, taken, _ in ended if name not in bad],
        [outcome.run_s for name, _, outcome in ended if name in bad],
    )
