"""Erlang's formulas against published values; the simulation against closed forms, within its own interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist, fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.capacity.queueing import (
    ArrivalTrace,
    Estimate,
    Slots,
    erlang_b,
    erlang_c,
    estimate,
    quantile,
    wait_estimate_s,
    warmed_up,
    with_interval,
)

#: An interval of 95 % misses once in twenty; twice its half is met by all but one in ten thousand.
SURE = 2.0
JOBS = 200_000
#: Times that add up without rounding, or equal schedules would differ in the last digit.
TICKS = st.integers(0, 40).map(lambda ticks: ticks / 8)
JOB_LISTS = st.lists(st.tuples(TICKS, TICKS), max_size=60)


@pytest.mark.parametrize(
    ("slots", "offered", "probability"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.5541), (10, 8.0, 0.4092), (4, 0.0, 0.0)],
)
def test_erlang_c_has_the_published_values(slots: int, offered: float, probability: float) -> None:
    assert erlang_c(slots, offered) == pytest.approx(probability, abs=5e-5)


@pytest.mark.parametrize(("slots", "offered", "probability"), [(1, 1.0, 0.5), (2, 1.0, 0.2), (10, 5.0, 0.018385)])
def test_erlang_b_has_the_published_values(slots: int, offered: float, probability: float) -> None:
    assert erlang_b(slots, offered) == pytest.approx(probability, abs=5e-6)


def test_a_thousand_slots_overflow_nothing() -> None:
    assert 0 < erlang_c(1000, 950.0) < 0.1
    assert erlang_c(1000, 1.0) == pytest.approx(0.0, abs=1e-100)


def test_slots_that_cannot_keep_up_let_everybody_wait_for_ever() -> None:
    assert erlang_c(2, 2.0) == 1.0
    assert wait_estimate_s(2, rate=20.0, mean_s=0.1, share=0.5) == math.inf


def test_where_few_wait_the_estimate_is_that_the_percentile_does_not() -> None:
    assert wait_estimate_s(10, rate=10.0, mean_s=0.1, share=0.95) == 0.0
    assert wait_estimate_s(500, rate=0.001, mean_s=0.1, share=0.95) == 0.0


def _exponential(mean: float) -> Callable[[float], float]:
    return lambda u: -mean * math.log1p(-u)


def _lognormal(sigma: float) -> Callable[[float], float]:
    return lambda u: math.exp(sigma * NormalDist().inv_cdf(max(u, 1e-12)) - sigma**2 / 2)


def simulated(service: Callable[[float], float], *, slots: int, rate: float, seed: int = 1) -> list[float]:
    trace = ArrivalTrace(service, seed=seed)
    trace.extend(JOBS)
    return list(warmed_up(Slots(slots).serve([gap / rate for gap in trace.gaps], trace.runs)))


def assert_agrees(found: Estimate, exact: float) -> None:
    assert abs(found.value - exact) <= SURE * found.half
    assert found.half < 0.15 * exact  # or anything would agree


@pytest.mark.parametrize(("slots", "load"), [(1, 0.7), (4, 0.8)])
def test_the_simulation_of_m_m_c_agrees_with_erlang(slots: int, load: float) -> None:
    waits = simulated(_exponential(1.0), slots=slots, rate=load * slots)
    waiting = erlang_c(slots, load * slots)
    assert_agrees(with_interval(waits, lambda some: fmean(wait > 0 for wait in some)), waiting)
    assert_agrees(with_interval(waits, fmean), waiting / (slots - load * slots))
    exact = wait_estimate_s(slots, load * slots, 1.0, share=0.95)
    assert_agrees(estimate(waits, 0.95), exact)


@pytest.mark.parametrize(
    ("service", "scv"),
    [(lambda _: 1.0, 0.0), (_lognormal(0.8), math.expm1(0.64))],
    ids=["M/D/1", "M/G/1, lognormal"],
)
def test_the_simulation_of_one_slot_agrees_with_pollaczek_and_khinchine(
    service: Callable[[float], float], scv: float
) -> None:
    load = 0.7
    exact = load * (1 + scv) / (2 * (1 - load))
    assert_agrees(with_interval(simulated(service, slots=1, rate=load), fmean), exact)


def test_the_interval_holds_the_exact_value_nineteen_times_of_twenty() -> None:
    exact = wait_estimate_s(1, 0.6, 1.0, share=0.95)
    held = 0
    for seed in range(40):
        trace = ArrivalTrace(_exponential(1.0), seed=seed)
        trace.extend(20_000)
        waits = warmed_up(Slots(1).serve([gap / 0.6 for gap in trace.gaps], trace.runs))
        found = estimate(waits, 0.95)
        held += abs(found.value - exact) <= found.half
    assert held >= 35  # of 40 * 0.95 = 38; below that once in about twenty seeds' choices


@given(JOB_LISTS, st.integers(1, 6))
def test_more_slots_never_let_a_job_wait_longer(jobs: list[tuple[float, float]], slots: int) -> None:
    gaps, holds = [gap for gap, _ in jobs], [hold for _, hold in jobs]
    fewer, more = Slots(slots).serve(gaps, holds), Slots(slots + 1).serve(gaps, holds)
    assert all(after <= before for before, after in zip(fewer, more, strict=True))


@given(JOB_LISTS, st.integers(1, 4))
def test_no_job_waits_while_a_slot_is_free(jobs: list[tuple[float, float]], slots: int) -> None:
    waits = Slots(slots).serve([gap for gap, _ in jobs], [hold for _, hold in jobs])
    now, ends = 0.0, list[float]()
    for (gap, hold), wait in zip(jobs, waits, strict=True):
        now += gap
        begin = now + wait
        if wait:
            assert sum(end > now for end in ends) >= slots
        assert sum(end > begin for end in ends) < slots
        ends.append(begin + hold)


def test_jobs_that_come_at_once_wait_for_each_other() -> None:
    trace = ArrivalTrace(lambda _: 1.0, burst=3)
    trace.extend(3000)
    waits = Slots(1).serve([gap * 1e6 for gap in trace.gaps], trace.runs)
    assert waits == pytest.approx([0.0, 1.0, 2.0] * 1000)
    assert fmean(trace.gaps) == pytest.approx(1.0, rel=0.1)


def test_a_trace_is_the_same_however_it_grows() -> None:
    at_once, bit_by_bit = ArrivalTrace(_exponential(1.0), seed=7), ArrivalTrace(_exponential(1.0), seed=7)
    at_once.extend(300)
    for jobs in (1, 100, 300):
        bit_by_bit.extend(jobs)
    assert (at_once.gaps, at_once.runs) == (bit_by_bit.gaps, bit_by_bit.runs)
    other = ArrivalTrace(_exponential(1.0), seed=8)
    other.extend(300)
    assert other.gaps != at_once.gaps


def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 3, 4]


def test_batches_that_go_together_make_the_interval_wider() -> None:
    up_and_down = [float(at // 100 % 2) for at in range(3000)]
    one_step = [float(at >= 1500) for at in range(3000)]
    assert with_interval(one_step, fmean).half > 2 * with_interval(up_and_down, fmean).half
