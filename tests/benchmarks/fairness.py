"""Whether a long job keeps short ones waiting: two consumers with one slot each.

Short jobs flow, so that both consumers look ahead as far as they do; then one long job comes together with twenty
short ones, and the other consumer is free for these. A random mix follows: no job waits while a slot is free.
"""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

from openloop import Answered, drive
from running import Host
from sleepers import Site, site

CONSUMERS = 2
SHORT_S, LONG_S = 0.005, 3.0
FLOW_PER_S, FLOW_S = 100, 2.0
TOGETHER = 20
#: Among the jobs that come together, the place of the long one; a round for each.
PLACES = (0, 10, 20)
#: One in ten is long; both slots are busy for two fifths of the time.
MIX_LONG_S, MIX_LONG_SHARE, MIX_BUSY, MIX_S = 0.3, 0.1, 0.4, 12.0


def measure(host: Host) -> tuple[float, float]:
    """Seconds until the last short job beside a long one; most milliseconds of a wait while a slot was free."""
    places = PLACES[:1] if host.plan.quick else PLACES
    with site(host, "fairness", slots=1, consumers=CONSUMERS) as consumers:
        beside = max(_beside_a_long_one(consumers, place) for place in places)
        return beside, _longest_wait_beside_a_free_slot(consumers, MIX_S / 3 if host.plan.quick else MIX_S) * 1000


def _beside_a_long_one(consumers: Site, place: int) -> float:
    flow = [number / FLOW_PER_S for number in range(int(FLOW_PER_S * FLOW_S))]
    together = [SHORT_S] * TOGETHER
    together.insert(place, LONG_S)
    stream = consumers.stream([*flow, *[FLOW_S] * len(together)], [*[SHORT_S] * len(flow), *together])
    drive([stream])
    ended = stream.jobs[len(flow) :]
    del ended[place]
    return max(job.total_s for job in ended)


def _longest_wait_beside_a_free_slot(consumers: Site, seconds: float) -> float:
    """The longest span in which a job waited and one and the same slot was free all the time."""
    chance = random.Random(3)  # noqa: S311 - a load
    mean_s = MIX_LONG_SHARE * MIX_LONG_S + (1 - MIX_LONG_SHARE) * SHORT_S
    count = int(MIX_BUSY * CONSUMERS / mean_s * seconds)
    runs = [MIX_LONG_S if chance.random() < MIX_LONG_SHARE else SHORT_S for _ in range(count)]
    stream = consumers.stream(sorted(chance.uniform(0, seconds) for _ in range(count)), runs)
    begun = drive([stream])
    return max(_beside_a_free_slot(stream.jobs, begun))


def _beside_a_free_slot(jobs: list[Answered], begun: float) -> list[float]:
    runs = defaultdict(list)
    for job in jobs:
        runs[job.output["worker"]].append((job.output["began_s"], job.output["ended_s"]))
    free = [(before[1], after[0]) for each in runs.values() for before, after in pairwise(sorted(each))]
    return [
        max((min(job.output["began_s"], end) - max(begun + job.at_s, start) for start, end in free), default=0.0)
        for job in jobs
    ]
