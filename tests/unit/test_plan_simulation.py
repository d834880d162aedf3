"""The simulation of `consumer plan` against closed forms: Erlang's for M/M/c, Pollaczek and Khinchine's for M/G/1.

Well within the 25 % that the plan as a whole is measured by. The jobs are the same each time: nothing is left to
chance.
"""

from __future__ import annotations

import math
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.capacity import service_times
from consumer.capacity.plan import JOBS, Load, jobs, queued_s, warmed_up
from consumer.capacity.service_times import quantile

#: Times that add up without rounding, or equal schedules would differ in the last digit.
TICKS = st.integers(0, 40).map(lambda ticks: ticks / 8)
JOB_LISTS = st.lists(st.tuples(TICKS, TICKS), max_size=60)


def erlang_c(slots: int, offered: float) -> float:
    """Probability that a job waits in M/M/c, by Erlang's recursion."""
    blocked = 1.0
    for number in range(1, slots + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked / (1 - offered / slots * (1 - blocked))


def simulated(figures: str, *, slots: int, rate: float) -> list[float]:
    gaps_s, runs_s = jobs(Load(rate, service_times.given(figures), overhead_s=0.0), JOBS)
    return sorted(warmed_up(queued_s(slots, gaps_s, runs_s)))


@pytest.mark.parametrize(
    ("slots", "offered", "probability"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (5, 4.0, 0.5541), (10, 8.0, 0.4092)]
)
def test_the_tests_own_formula_has_the_published_values(slots: int, offered: float, probability: float) -> None:
    assert erlang_c(slots, offered) == pytest.approx(probability, abs=5e-5)


@pytest.mark.parametrize(("slots", "busy"), [(1, 0.7), (4, 0.8), (4, 0.9), (50, 0.9)])
def test_exponential_jobs_wait_as_long_as_erlang_says(slots: int, busy: float) -> None:
    waits = simulated("mean=1", slots=slots, rate=busy * slots)
    waiting, free = erlang_c(slots, busy * slots), slots * (1 - busy)
    assert fmean(wait > 0 for wait in waits) == pytest.approx(waiting, rel=0.05)
    assert fmean(waits) == pytest.approx(waiting / free, rel=0.1)
    assert quantile(waits, 0.95) == pytest.approx(math.log(waiting / 0.05) / free, rel=0.1)


@pytest.mark.parametrize("cv", [0.0, 0.5, 1.0, 2.0])
def test_jobs_of_one_slot_wait_as_long_as_pollaczek_and_khinchine_say(cv: float) -> None:
    busy = 0.7
    exact = busy * (1 + cv**2) / (2 * (1 - busy))
    assert fmean(simulated(f"mean=1,cv={cv}", slots=1, rate=busy)) == pytest.approx(exact, rel=0.1)


@given(JOB_LISTS, st.integers(1, 6))
def test_more_slots_never_let_a_job_wait_longer(some: list[tuple[float, float]], slots: int) -> None:
    gaps, holds = [gap for gap, _ in some], [hold for _, hold in some]
    fewer, more = queued_s(slots, gaps, holds), queued_s(slots + 1, gaps, holds)
    assert all(after <= before for before, after in zip(fewer, more, strict=True))


@given(JOB_LISTS, st.integers(1, 4))
def test_no_job_waits_while_a_slot_is_free(some: list[tuple[float, float]], slots: int) -> None:
    waits = queued_s(slots, [gap for gap, _ in some], [hold for _, hold in some])
    now, ends = 0.0, list[float]()
    for (gap, hold), wait in zip(some, waits, strict=True):
        now += gap
        begin = now + wait
        if wait:
            assert sum(end > now for end in ends) >= slots
        assert sum(end > begin for end in ends) < slots
        ends.append(begin + hold)
