"""`consumer plan`: the fewest slots for a target, what cannot be, and what a person and a program are shown."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path

import pytest

from consumer.capacity import report, service_times
from consumer.capacity.plan import Load, Plan, PlanRow, Target, jobs, plan, simulated
from consumer.cli import main
from consumer.errors import ConfigurationError

FEW = 30_000


def load(figures: str = "mean=0.1,cv=0", rate: float = 34.0) -> Load:
    """Of the figures given; with an overhead of its own, for the numbers below are made with it."""
    return Load(rate, service_times.given(figures), overhead_s=0.002)


def planned(target: str, of: Load | None = None, given: int | None = None) -> Plan:
    """With few jobs: what is tested here holds for them, too."""
    return plan(of or load(), Target.read(target), given=given, simulated_jobs=FEW)


def row_of(of: Load, target: str, slots: int) -> PlanRow:
    return simulated(slots, of, Target.read(target), *jobs(of, FEW))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p95-wait=0.5", Target("p95", "wait", 0.5)),
        ("p50-total=2s", Target("p50", "total", 2.0)),
        ("p99-wait=250ms", Target("p99", "wait", 0.25)),
    ],
)
def test_a_target_is_read(text: str, expected: Target) -> None:
    assert Target.read(text) == expected


@pytest.mark.parametrize("text", ["", "p95", "p95-wait", "p95-wait=", "p95-wait=0", "p90-wait=1", "p95-wait=-1"])
def test_what_is_no_target_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"p95-wait=500ms"):
        Target.read(text)


def test_the_fewest_slots_are_found_and_stand_among_their_neighbours() -> None:
    found = planned("p95-wait=0.05")
    meets = {row.slots: row.meets for row in found.rows}
    assert found.enough == 6
    assert (meets[found.enough - 1], meets[found.enough]) == (False, True)
    assert sorted(meets) == [4, 5, 6, 7, 8]  # 3.47 are busy, so 3 are none to show


@pytest.mark.parametrize(
    ("target", "of"),
    [
        ("p95-wait=5ms", load("mean=0.1")),
        ("p95-wait=0.8", load("p50=0.08,p95=0.4", 60)),
        ("p99-total=8", load("mean=0.5,cv=3", 12)),
        ("p50-wait=50ms", load()),
    ],
)
def test_the_fewest_are_those_that_trying_one_after_the_other_finds(target: str, of: Load) -> None:
    fewest = next(slots for slots in range(math.floor(of.offered) + 1, 200) if row_of(of, target, slots).meets)
    assert planned(target, of).enough == fewest


def test_waits_never_grow_from_row_to_row() -> None:
    rows = planned("p99-wait=0.1").rows
    for name in ("p50", "p95", "p99"):
        waits = [row.wait_s[name] for row in rows]
        assert waits == sorted(waits, reverse=True)


def test_the_same_load_is_planned_the_same() -> None:
    assert planned("p95-wait=0.1").rows == planned("p95-wait=0.1").rows


def test_regular_jobs_wait_about_half_as_long_as_exponential_ones() -> None:
    regular, exponential = (row_of(load(figures), "p95-wait=1", 4) for figures in ("mean=0.1,cv=0", "mean=0.1"))
    assert 0.35 < regular.wait_s["p95"] / exponential.wait_s["p95"] < 0.65


def test_too_few_slots_are_unstable_and_shown_as_asked() -> None:
    row = planned("p95-wait=0.5", given=3).rows[0]
    assert (row.slots, row.is_stable, row.meets) == (3, False, False)
    assert row.utilisation > 1


def test_a_total_below_the_run_itself_is_impossible() -> None:
    found = planned("p95-total=0.1", load("mean=0.1,cv=0.5"))
    assert found.enough is None
    assert found.impossible.startswith("the p95 of the total is still 0.19")
    assert found.rows


def test_a_wait_below_the_overhead_is_impossible() -> None:
    found = planned("p95-wait=1.9ms")
    assert (found.enough, found.impossible.partition(" with ")[0]) == (
        None,
        "the p95 of the wait is still 0.002 s",
    )


def test_a_tiny_target_that_is_possible_is_met() -> None:
    found = planned("p99-wait=2.1ms", load(rate=5.0))
    assert found.enough is not None
    assert found.enough >= 4


def test_more_than_it_is_made_for_is_refused_before_anything_is_simulated() -> None:
    with pytest.raises(ConfigurationError, match="check --rate"):
        planned("p95-wait=1", load("mean=100", rate=1e6))


def shown(target: str, pool_size: int = 4, given: int | None = None) -> str:
    out, found = io.StringIO(), planned(target, given=given)
    report.show(load(), found, report.chosen(found, given), pool_size, out)
    return out.getvalue()


def test_a_person_is_shown_the_table_and_the_answer() -> None:
    text = shown("p95-wait=0.05")
    assert "target     p95 wait of 50.0 ms" in text
    assert "3.47 slots are busy on average" in text
    assert "yes, fewest" in text
    assert "slots      6, enough: p95 wait" in text
    assert "consumers  2, with 4 slots each (pool_size)" in text


def test_one_consumer_gets_the_slots_that_are_enough() -> None:
    assert "consumers  1, with 6 slots (pool_size)" in shown("p95-wait=0.05", pool_size=8)


def test_a_person_is_told_what_is_unstable_and_impossible() -> None:
    assert "slots      3: unstable" in (text := shown("p95-wait=0.05", given=3))
    assert "the fewest that are enough: 6" in text
    assert "impossible the p95 of the total is still 0.102 s" in shown("p95-total=0.05")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.002, "2.00 ms"),
        (0.0123, "12.3 ms"),
        (0.5, "500 ms"),
        (1.5, "1.50 s"),
        (90, "1.50 min"),
        (9000, "2.50 h"),
        (float("inf"), "∞"),
    ],
)
def test_a_time_is_shown_in_its_unit(seconds: float, expected: str) -> None:
    assert report.show_s(seconds) == expected


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main(["plan", *arguments])
    return int(ended.value.code or 0)


FIXED = ("--rate", "34", "--service", "mean=0.1,cv=0", "--pool-size", "2")


def test_the_command_answers_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FIXED, "--target", "p95-wait=0.05", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rate_per_s"], told["enough"], told["consumers"], told["met"]) == (34.0, 6, 3, True)
    assert {"slots", "utilisation", "wait_s", "total_s", "meets"} <= told["rows"][0].keys()


def test_a_number_of_slots_that_is_not_enough_is_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*FIXED, "--slots", "3", "--json") == 1
    printed = capsys.readouterr().out
    told = json.loads(printed)
    assert (told["enough"], told["slots"], told["rows"][0]["wait_s"]) == (4, 3, {})


def test_run_times_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = tmp_path / "times.json"
    times.write_text('{"runs": "x", "run_s": [0.1, 0.1]}')
    assert run("--rate", "1", "--times", str(times), "--pool-size", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"]["mean_s"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--rate", "1", "--service", "mean=x"], "write mean=S"),
        (["--rate", "1000000", "--service", "mean=10"], "check --rate"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == ConfigurationError.exit_code
    told = capsys.readouterr().err
    assert fault in told
    assert "Traceback" not in told


def test_a_file_of_times_that_is_missing_is_exit_code_66(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--rate", "1", "--times", "no-such-file") == os.EX_NOINPUT
    assert "no-such-file cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("rate", ["0", "x", "nan", "3/week", "inf", "-1"]),
        ("slots", ["0", "²", "1.5"]),
        ("target", ["fast"]),
        ("overhead", ["-1", "inf", "x"]),
    ],
)
def test_a_flag_that_cannot_be_meant_is_exit_code_2(flag: str, values: list[str]) -> None:
    for value in values:
        assert run("--rate", "1", "--service", "mean=1", f"--{flag}={value}") == 2


def test_each_number_of_slots_is_reported_before_it_is_simulated() -> None:
    told: list[int] = []
    found = plan(load(), Target.read("p95-wait=50ms"), simulated_jobs=1000, on_slots=told.append)
    assert {row.slots for row in found.rows} <= {*told}
    assert len(told) == len({*told})
