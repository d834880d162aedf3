"""What `consumer plan` predicts beside what is measured: consumers of four slots at 50, 70 and 85 % utilisation.

Jobs sleep, for 100 ms in the mean with a spread of half of that, so that all loads run side by side on two
processors. Producers are an open loop: jobs come at random moments. The distribution of run times is what
`consumer try --times` has measured, the prediction is what `consumer plan` prints. Beside it stands the simulation
of the very jobs that came, which tells a wrong model from an unusual sample. Takes about seven minutes; with
BENCH_QUICK two, and then the samples are too small to say much. PLAN_S sets the seconds of load.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import NormalDist, mean, median, stdev
from typing import Any

import planresults
import pytest
from contender import HERE
from openloop import Stream, drive
from plan import Plan, tell
from planresults import Found
from running import Host
from sleepers import Site, site
from support.processes.commands import BIN

from consumer.capacity.plan import OVERHEAD_S, queued_s, warmed_up
from consumer.capacity.service_times import quantile

pytest_plugins = ["shared_fixtures"]

SLOTS = 4
IS_QUICK = bool(os.environ.get("BENCH_QUICK"))
#: Utilisation -> how many consumers run at it side by side: at 85 % waits hang together, so one gives little.
LOADS = {0.5: 1, 0.7: 1, 0.85: 1 if IS_QUICK else 4}
LOAD_S = float(os.environ.get("PLAN_S", "60" if IS_QUICK else "360"))
MEAN_S, CV = 0.1, 0.5
#: Different jobs: the places of the middle of each of so many equal shares of a lognormal distribution.
KINDS = 100
SHARE = 0.95
#: How often the whole measurement is simulated, to know how much chance there is in it.
REPLICATIONS = 20
CALIBRATION_JOBS, CALIBRATION_SLEEP_S = 40, 0.02


def sleeps() -> list[float]:
    """The sleep of each kind of job, in seconds; their mean is exact."""
    sigma = math.sqrt(math.log1p(CV**2))
    raw = [math.exp(sigma * NormalDist().inv_cdf((place + 0.5) / KINDS)) for place in range(KINDS)]
    return [MEAN_S * value / mean(raw) for value in raw]


def test_predicted_waits_beside_measured_ones(host: Host, plan: Plan, tmp_path: Path) -> None:
    """Every job is answered once and succeeds, or this fails; how good the prediction is is reported."""
    if left_out := plan.leaves_out("plan"):
        pytest.skip(left_out)
    times = _tried(tmp_path)
    mean_s = mean(json.loads(times.read_text())["run_s"])
    rates = {load: load * SLOTS / (mean_s + OVERHEAD_S) for load in LOADS}
    with ExitStack() as stack:
        tell(f"starting {sum(LOADS.values())} consumers of {SLOTS} slots")
        sites = {
            load: [
                stack.enter_context(site(host, f"plan-{load:.0%}-{number}", slots=SLOTS))
                for number in range(count)
            ]
            for load, count in LOADS.items()
        }
        # Each slot has its first jobs.
        drive([one.stream([0.0] * 2 * SLOTS, [0.001] * 2 * SLOTS) for each in sites.values() for one in each])
        overhead = _overhead(sites[0.5][0])
        tell(f"{LOAD_S:g} s of load")
        chance = random.Random(1)  # noqa: S311 - a load
        streams = {load: [one.stream(*_jobs(rates[load], chance)) for one in each] for load, each in sites.items()}
        drive([stream for each in streams.values() for stream in each])
        tell("predicting")
        found = [_compared(load, streams[load], _planned(rates[load], times)) for load in LOADS]
    late_s = sorted(job.late_s for each in streams.values() for stream in each for job in stream.jobs)
    planresults.write(found, overhead, late_s)
    assert len(late_s) == sum(len(stream.messages) for each in streams.values() for stream in each)


def _tried(folder: Path) -> Path:
    """Run each kind of job once through `consumer try`, as a user would before planning."""
    jobs, times = folder / "jobs.jsonl", folder / "times.json"
    jobs.write_text("".join(json.dumps({"sleep_s": seconds}) + "\n" for seconds in sleeps()))
    tell(f"`consumer try` runs {KINDS} jobs")
    variables = {**os.environ, "PYTHONPATH": str(HERE), "CONSUMER_CLASSIFIER": "sleeping:classify"}
    subprocess.run(
        [BIN / "consumer", "try", jobs, "--times", times], env=variables, check=True, capture_output=True
    )
    return times


def _jobs(rate: float, chance: random.Random) -> tuple[list[float], list[float]]:
    """Moments of a Poisson process given how many there are, and each kind of job as often as any other.

    Given their number, the moments are uniform. So no sample comes with more jobs, or longer ones, than it should.
    """
    count = round(rate * LOAD_S)
    kinds = sleeps()
    runs = [kinds[number % KINDS] for number in range(count)]
    chance.shuffle(runs)
    return sorted(chance.uniform(0, LOAD_S) for _ in range(count)), runs


def _overhead(one: Site) -> dict[str, float]:
    """Milliseconds beyond the run: of a job alone, as its caller sees it; of a slot that has always a next job."""
    count, sleep_s = CALIBRATION_JOBS, CALIBRATION_SLEEP_S
    alone = one.stream([number * 3 * sleep_s for number in range(count)], [sleep_s] * count)
    drive([alone])
    full = one.stream([0.0] * count * SLOTS, [sleep_s] * count * SLOTS)
    drive([full])
    run_s = mean(job.run_s for job in full.jobs)
    ends = max(job.at_s + job.total_s for job in full.jobs) - min(job.at_s for job in full.jobs)
    return {
        "alone_ms": median(job.wait_s for job in alone.jobs) * 1000,
        "slot_ms": (ends / count - run_s) * 1000,
    }


def _compared(load: float, streams: Sequence[Stream], planned: dict[str, Any]) -> Found:
    waits = [wait for stream in streams for wait in warmed_up([job.wait_s for job in stream.jobs])]
    same = [wait for stream in streams for wait in warmed_up(_simulated(stream))]
    return Found(
        utilisation=load,
        jobs=len(waits),
        run_s=mean(job.run_s for stream in streams for job in stream.jobs),
        measured_s=quantile(sorted(waits), SHARE),
        chance=_chance(load * SLOTS / (MEAN_S + OVERHEAD_S), len(streams)),
        predicted_s=planned["wait_s"]["p95"],
        same_jobs_s=quantile(sorted(same), SHARE),
    )


def _planned(rate: float, times: Path) -> dict[str, Any]:
    """What the command says of so many slots, from a file of run times."""
    source = ["--times", str(times)]
    command = [str(BIN / "consumer"), "plan", "--rate", str(rate), *source, "--slots", str(SLOTS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    [row] = [row for row in json.loads(done.stdout)["rows"] if row["slots"] == SLOTS]
    return dict(row)


def _simulated(stream: Stream) -> list[float]:
    """The waits of the very jobs that came, with the run times that the replies tell."""
    came = [job.at_s for job in stream.jobs]
    gaps = [now - before for before, now in zip([0.0, *came], came, strict=False)]
    waits = queued_s(SLOTS, gaps, [job.run_s + OVERHEAD_S for job in stream.jobs])
    return [wait + OVERHEAD_S for wait in waits]


def _chance(rate: float, consumers: int) -> float:
    """Two standard deviations of the percentile that such a measurement gives, as a share of its mean."""
    numbers = random.Random(2)  # noqa: S311 - a simulation
    values = []
    for _ in range(REPLICATIONS):
        waits: list[float] = []
        for _ in range(consumers):
            came, runs = _jobs(rate, numbers)
            gaps = [now - before for before, now in zip([0.0, *came], came, strict=False)]
            waits += warmed_up(queued_s(SLOTS, gaps, [run + OVERHEAD_S for run in runs]))
        values.append(quantile(sorted(waits), SHARE) + OVERHEAD_S)
    return 2 * stdev(values) / mean(values)
