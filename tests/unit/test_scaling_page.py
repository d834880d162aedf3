"""deploy/SCALING.md uses the names that the code makes, and its figures follow from its formulas."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consumer.wire.topology import SHARDING_PLUGIN, SHARDING_TYPE, Topology

PAGE = (Path(__file__).parents[2] / "deploy" / "SCALING.md").read_text()
SHARDED = Topology("classifier", max_attempts=3, shards=3)


def test_it_names_what_shards_make_and_need() -> None:
    for name in (*SHARDED.shard_names, SHARDED.jobs_exchange, SHARDING_TYPE):
        assert f"`{name}`" in PAGE
    assert f"rabbitmq-plugins enable {SHARDING_PLUGIN}" in PAGE
    assert f'"{SHARDED.jobs_exchange}", "{SHARDED.jobs}"' in PAGE


def test_keda_counts_all_shards_and_nothing_else() -> None:
    [pattern] = re.findall(r"queueName: (\S+)", PAGE)
    many = Topology("classifier", max_attempts=50, shards=64)
    assert {one.name for one in many.queues() if re.search(pattern, one.name)} == set(many.shard_names)


@pytest.mark.parametrize(("slots", "run_s", "wait_s", "value"), [(8, 0.2, 2, 88), (8, 60, 30, 12)])
def test_the_values_for_keda_follow_from_the_formula(slots: int, run_s: float, wait_s: float, value: int) -> None:
    assert re.search(r"value = pool_size . \(1 \+ longest wait / run time\)", PAGE)
    assert slots * (1 + wait_s / run_s) == pytest.approx(value)
    assert re.search(rf"\b(is|it is) .*\b{value}\.", PAGE)


def test_it_has_a_place_for_what_was_measured() -> None:
    assert "<!-- begin: make scale -->\n" in PAGE
    assert PAGE.index("<!-- begin: make scale -->") < PAGE.index("<!-- end: make scale -->")
