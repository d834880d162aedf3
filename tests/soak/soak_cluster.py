"""The leader of the jobs queue killed again and again under load: minutes, and so not among the tests.

    pytest tests/soak/soak_cluster.py -o python_files='soak_*.py' -s

CLUSTER_SEED repeats the load between the kills of an earlier run, CLUSTER_KILLS makes it longer.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from cluster import Cluster
from cluster_storm import storm

#: Jobs answered between two kills: the seed chooses. More than are on their way at once.
BETWEEN_KILLS = (50, 200)


def test_no_job_is_lost_however_often_the_leader_is_killed(
    cluster: Cluster, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("CLUSTER_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
    kills = int(os.environ.get("CLUSTER_KILLS", "5"))
    tell(f"CLUSTER_SEED={seed} CLUSTER_KILLS={kills}")
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    answers = [chance.randint(*BETWEEN_KILLS) for _ in range(kills)]
    cluster.add_vhost("storm")
    began = time.monotonic()
    verdict = storm(cluster, "storm", tmp_path, answers, tell)
    tell(f"{verdict}, in {time.monotonic() - began:.0f} s")
    assert not verdict.lost
    assert not verdict.wrong
    assert verdict.confirmed
