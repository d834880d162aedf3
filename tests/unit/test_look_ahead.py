"""Fetching ahead: how much, and that it is fair, in fleets on one queue in virtual time.

The pools, the fetching and its decisions are the real ones; RabbitMQ, the slots and the time are not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
from support.fakes import virtual_time
from support.fakes.fleet import Fleet, Sent

from consumer.runners.run_times import HORIZON_S, LEAST_KNOWN, RunTimes
from consumer.service.look_ahead import LONGEST_PAUSE_S, STEPS, LookAhead, Pressure

#: What docs/operate.md promises.
UNFAIR_S = 0.050


def ran(*runs: tuple[int, float], count: int = LEAST_KNOWN) -> RunTimes:
    times = RunTimes()
    for _ in range(count):
        for jobs, seconds in runs:
            times.add(jobs, seconds)
    return times


def grown(ahead: LookAhead, now: float = 0.0, most_together: int = 1) -> int:
    """The size after all steps."""
    return max(ahead.ahead(now + number, most_together) for number, _ in enumerate(STEPS))


@pytest.mark.parametrize(
    ("run_s", "for_each"),
    [(0.0, 8), (0.001, 8), (0.0018, 8), (0.0035, 4), (0.0075, 2), (0.012, 1), (0.021, 0), (3.0, 0)],
)
def test_the_work_fetched_ahead_is_bounded_in_time(run_s: float, for_each: int) -> None:
    assert grown(LookAhead(2, ran((1, run_s)))) == 2 * for_each
    assert for_each * run_s <= HORIZON_S


def test_nothing_is_fetched_ahead_before_run_times_are_known() -> None:
    assert grown(LookAhead(2, ran((1, 0.001), count=LEAST_KNOWN - 1))) == 0


def test_one_long_run_in_ten_closes_it_and_one_in_a_hundred_does_not() -> None:
    rare, often = RunTimes(), RunTimes()
    for number in range(100):
        rare.add(1, 3.0 if number == 50 else 0.001)
        often.add(1, 3.0 if number % 10 == 0 else 0.001)
    assert grown(LookAhead(2, rare)) > 0
    assert grown(LookAhead(2, often)) == 0


def test_jobs_that_had_to_return_close_it_for_a_time_that_grows() -> None:
    ahead, now, pauses = LookAhead(2, ran((1, 0.001))), 0.0, []
    for _ in range(9):
        ahead.returned(now)
        began = now
        while ahead.ahead(now, 1) == 0:
            now += 0.1
        pauses.append(now - began)
    assert pauses == pytest.approx(
        [0.5, 1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S], abs=0.2
    )


def test_the_pause_is_short_again_after_a_quiet_time() -> None:
    ahead = LookAhead(2, ran((1, 0.001)))
    for now in (0.0, 1.0, 2.0):
        ahead.returned(now)
    ahead.returned(1000.0)
    assert ahead.ahead(1001.0, 1) > 0


@pytest.mark.parametrize(
    ("long", "long_normal", "prefetch", "wanted"),
    [
        (0, 0, 4, 4),
        (3, 3, 4, 4),  # as without look-ahead: each long job came by the normal consumer
        (1, 0, 4, 3),  # one was fetched ahead
        (4, 1, 4, 0),
        (1, 0, 3, 3),
        (0, 0, 3, 4),  # it has ended
        (2, 2, 3, 2),  # two slots are free, and the present consumer has room for one
        (4, 0, 0, 0),
        (3, 0, 0, 1),  # the first slot is free again
    ],
)
def test_the_normal_consumer_has_room_for_each_slot_without_a_long_job(
    long: int, long_normal: int, prefetch: int, wanted: int
) -> None:
    pressure = Pressure(waited_s=0.0, long=long, long_normal=long_normal)
    assert LookAhead(4, RunTimes()).normal(pressure, prefetch) == wanted


def test_waiting_is_too_long_only_behind_long_jobs() -> None:
    """On a loaded machine every run takes longer: then the size falls, but no job goes round."""
    ahead = LookAhead(4, ran((1, 0.001)))
    assert not ahead.is_too_long(Pressure(waited_s=1.0, long=0, long_normal=0), 1)
    assert not ahead.is_too_long(Pressure(waited_s=0.01, long=1, long_normal=0), 1)
    assert ahead.is_too_long(Pressure(waited_s=0.04, long=1, long_normal=0), 1)


def steady(rate: float, seconds: float, run_s: Callable[[], float]) -> list[tuple[float, float]]:
    return [(number / rate, run_s()) for number in range(int(rate * seconds))]


def work_off(fleet: Fleet, jobs: Iterable[tuple[float, float]]) -> list[Sent]:
    return virtual_time.run(fleet.work_off(jobs))


def took(jobs: Iterable[Sent]) -> list[float]:
    return sorted(job.ended - job.came for job in jobs)


def test_short_jobs_are_done_faster_than_without_it() -> None:
    """With 2 ms of work and 4 ms until the next job comes, a slot without look-ahead works a third of the time."""
    jobs = [(0.0, 0.002)] * 1500
    without = took(work_off(Fleet((2, 1.0), look_ahead=False), jobs))[-1]
    assert took(work_off(Fleet((2, 1.0)), jobs))[-1] < 0.6 * without


def test_one_long_job_among_short_ones_keeps_none_of_them() -> None:
    """Two consumers with one slot each and a flow of 5 ms jobs; then 3 s and twenty of 5 ms together."""
    for rate in (150, 250, 350):
        flow = steady(rate, 2.0, lambda: 0.005)
        done = work_off(Fleet((1, 1.0), (1, 1.0)), [*flow, (2.0, 3.0), *[(2.0, 0.005)] * 20])
        assert took(job for job in done if job.run_s < 1 and job.came > 2.0)[-1] < 1.0


def test_all_slots_suddenly_long_returns_what_waits() -> None:
    flow = steady(300, 2.0, lambda: 0.005)
    fleet = Fleet((2, 1.0), (2, 1.0))
    done = work_off(fleet, [*flow, *[(2.0, 3.0)] * 2, *[(2.001, 0.005)] * 30])
    assert took(job for job in done if job.came > 2.0 and job.run_s < 1)[-1] < 1.0


def test_jobs_that_waited_while_all_slots_were_long_get_the_first_slot_that_is_free() -> None:
    done = work_off(Fleet((2, 1.0)), [*steady(300, 1.0, lambda: 0.005), *[(1.0, 2.0)] * 3, *[(1.1, 0.005)] * 9])
    last = [job for job in done if job.came > 1.1]
    assert took(last)[-1] < 3.0 + 0.5
    assert max(job.returns for job in done) <= 1


@pytest.mark.parametrize("seed", range(12))
def test_in_random_mixes_no_job_waits_long_while_a_slot_is_free(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a mix that can be repeated
    share = chance.choice([0.0, 0.001, 0.01, 0.1])

    def run_s() -> float:
        return chance.choice([0.5, 3.0]) if chance.random() < share else chance.choice([0.001, 0.002, 0.005, 0.01])

    members = [(chance.choice([1, 2, 4]), chance.choice([1.0, 3.0])) for _ in range(chance.choice([1, 2, 8]))]
    slots = sum(size for size, _ in members)
    bursts = [
        (burst + 0.5 * chance.random(), run_s())
        for burst in range(12)
        for _ in range(chance.choice([5, 20, 60]) * slots)
    ]
    done = work_off(Fleet(*members), sorted(bursts))
    assert max(job.unfair_s[0] for job in done) <= UNFAIR_S
    assert max(job.returns for job in done) <= 1
    # A job that has returned and is unlucky again waits for the first slot that becomes free where it is.
    assert sum(max(job.unfair_s) > UNFAIR_S for job in done) <= 0.004 * len(done)


def test_a_fast_consumer_is_not_starved_by_what_a_slow_one_holds() -> None:
    done = work_off(Fleet((2, 4.0), (2, 0.25)), steady(150, 10.0, lambda: 0.004))
    assert took(done)[int(0.99 * len(done))] < 0.05
