"""Fetching ahead: how much, and that it is fair, in fleets on one queue in virtual time.

The pools, the fetching and its decisions are the real ones; RabbitMQ, the slots and the time are not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from support.fakes import virtual_time
from support.fakes.fleet import Fleet, FleetDelivery, Sent, now

from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConnectionLostError
from consumer.job import Job, Outcome, Request, Succeeded
from consumer.runners.pool import Pool
from consumer.runners.run import OnProgress
from consumer.runners.run_times import HORIZON_S, LEAST_KNOWN, RunTimes
from consumer.service.fetching import Consumers, Fetching, is_ahead
from consumer.service.look_ahead import LONGEST_PAUSE_S, STEPS, LookAhead, Pressure
from consumer.telemetry.metrics import Metrics

#: What docs/operate.md promises.
UNFAIR_S = 0.050
#: For less than this a slot is free while jobs are in the queue: a delivery, a look, and a change of consumers.
IDLE_S = 0.060


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


@pytest.mark.parametrize("run_s", [0.001, 0.009, 0.014, 0.02, 0.03, 0.1, 0.3])
@pytest.mark.parametrize("jobs", [1, 2, 16])
def test_batches_grow_until_their_fixed_cost_is_known(run_s: float, jobs: int) -> None:
    """However long a run takes: with runs of one size only, nothing is known of the others."""
    fit = ran((jobs, run_s)).fit()
    assert fit is not None
    assert fit.batch(128) >= 2 * jobs


def test_nothing_is_fetched_ahead_before_run_times_are_known() -> None:
    assert grown(LookAhead(2, ran((1, 0.001), count=LEAST_KNOWN - 1))) == 0


def test_it_falls_at_once_and_rises_later() -> None:
    times = ran((1, 0.001))
    ahead = LookAhead(2, times)
    sizes = [ahead.ahead(now_s, 1) for now_s in (0.0, 0.3, 0.6, 0.9)]
    for _ in range(50):
        times.add(1, 0.012)
    sizes += [ahead.ahead(0.91, 1)]
    for _ in range(100):
        times.add(1, 0.001)
    sizes += [ahead.ahead(now_s, 1) for now_s in (0.92, 1.17)]
    assert sizes == [16, 16, 16, 16, 2, 2, 16]


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
    for time in (0.0, 1.0, 2.0):
        ahead.returned(time)
    ahead.returned(1000.0)
    assert ahead.ahead(1001.0, 1) > 0


@pytest.mark.parametrize(
    ("long", "long_normal", "prefetch", "wanted"),
    [
        (0, 0, 4, None),
        (3, 3, 4, None),  # as without look-ahead: each long job came by the normal consumer
        (1, 0, 4, 3),  # one was fetched ahead
        (4, 1, 4, 0),
        (1, 0, 3, None),
        (0, 0, 3, 4),  # it has ended
        (2, 2, 3, 2),  # two slots are free, and the present consumer has room for one
        (2, 1, 2, 2),  # two slots are free, and the present consumer of the same size has room for one
        (4, 0, 0, None),
        (3, 0, 0, 1),  # the first slot is free again
    ],
)
def test_the_normal_consumer_has_room_for_each_slot_without_a_long_job(
    long: int, long_normal: int, prefetch: int, wanted: int | None
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


@pytest.mark.parametrize("place", range(4))
def test_no_slot_stays_free_while_a_job_by_the_smaller_normal_consumer_is_long(place: int) -> None:
    """A long job was fetched ahead; the normal consumer has room for one, and gets a long one, too.

    When the first has ended it has room for none, although its prefetch is the right number.
    """
    burst = [0.005] * 60
    burst[20 + place] = 2.0
    others = [*[(1.5, 0.06)] * 4, (2.0, 9.0)]  # now nothing is fetched ahead
    done = work_off(
        Fleet((2, 1.0)),
        [*steady(300, 1.0, lambda: 0.005), *((1.0, run_s) for run_s in burst), *others, *[(5.0, 0.005)] * 9],
    )
    assert took(job for job in done if job.came >= 5.0)[-1] < 1.0


@dataclass
class OneSession:
    """Notes the consumers that are opened: (tag, prefetch). After `refusal` is set it refuses the next one."""

    opened: list[tuple[str, int]] = field(default_factory=list)
    arguments: list[Mapping[str, str | int]] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refusal: Exception | None = None

    async def consume(self, _queue: str, *, prefetch: int, tag: str, arguments: Mapping[str, str | int]) -> None:
        if self.refusal:
            raise self.refusal
        self.opened.append((tag, prefetch))
        self.arguments.append(arguments)

    async def cancel(self, tag: str) -> None:
        """Any."""
        self.cancelled.append(tag)


@dataclass
class Runs:
    """A fetching for two slots, both with runs of a lost connection, which end when their event is set."""

    session: OneSession = field(default_factory=OneSession)
    ends: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event(), asyncio.Event()])

    async def run(self, _job: Job, _on_progress: OnProgress = None) -> Outcome:
        await self.ends[len(self.tasks) - 1].wait()
        return Succeeded(output=b"1")

    async def begin(self) -> None:
        self.pool = Pool([self, self], Metrics(), clock=now)
        self.fetching = Fetching("jobs", self.pool, Metrics(), look_ahead=True, clock=now)
        await self.fetching.start(self.session, "mine", {})
        self.tasks: list[asyncio.Task[Outcome]] = []
        for number in range(2):
            asked = Job(request=Request(id=str(number), correlation_id="1"), body=b"", timeout_s=60)
            self.tasks.append(asyncio.create_task(self.pool.run(asked)))
            await asyncio.sleep(0)
        self.adjusting = asyncio.create_task(self.fetching.adjust())


def test_a_redelivered_job_that_waits_for_its_run_keeps_no_slot_free() -> None:
    """RabbitMQ may notice a lost connection late. Then the smaller consumer's room is taken by such a job."""

    async def redelivered() -> None:
        runs = Runs()
        await runs.begin()
        await asyncio.sleep(1)
        runs.ends[0].set()
        await asyncio.sleep(1)
        (tag, prefetch) = runs.session.opened[-1]
        assert prefetch == 1
        with runs.fetching.counts_as_running(FleetDelivery(tag, redelivered=True)):
            await asyncio.sleep(1)
            assert runs.session.opened[-1][0] != tag
            assert runs.session.opened[-1][1] == 1
        runs.adjusting.cancel()

    virtual_time.run(redelivered())


@pytest.mark.parametrize("base", ["classifier.host.7.0ab1", "my.ahead.jobs.host.ahead.example.7.0ab1"])
def test_the_tag_tells_who_fetches_ahead_whatever_prefix_and_host_are_called(base: str) -> None:
    async def tags() -> list[str]:
        consumers, found = Consumers.of(OneSession(), "jobs", base, {}), []
        for prefetch in (1, 2):
            for consumer in consumers:
                await consumer.resize(prefetch)
                found.append(consumer.tag)
        return found

    assert [is_ahead(tag) for tag in virtual_time.run(tags())] == [False, True, False, True]


def test_a_new_description_replaces_both_consumers_once_and_keeps_their_prefetch() -> None:
    """So the console and `consumer status` show the models that a reload has loaded."""

    async def described() -> None:
        session = OneSession()
        consumers = Consumers.of(session, "jobs", "mine", {"loaded": "old"})
        await consumers.normal.resize(2)
        await consumers.ahead.resize(4)
        first = [consumers.normal.tag, consumers.ahead.tag]
        await asyncio.gather(*(consumers.describe({"loaded": "new"}) for _ in range(2)))
        assert session.cancelled == [first[1], first[0]]
        assert session.arguments[-2:] == [{"loaded": "new", "x-priority": -1}, {"loaded": "new"}]
        assert [prefetch for _, prefetch in session.opened] == [2, 4, 4, 2]

    virtual_time.run(described())


@pytest.mark.parametrize("error", [BrokerRefusedError, BrokerUnreachableError, ConnectionLostError])
def test_a_refused_change_ends_only_the_adjusting(error: type[Exception]) -> None:
    """The queue was deleted between the old and the new consumer: the session ends, and the service goes on."""

    async def refused() -> None:
        runs = Runs()
        await runs.begin()
        await asyncio.sleep(1)
        runs.session.refusal = error("no queue")
        runs.ends[0].set()
        await runs.adjusting

    virtual_time.run(refused())


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
    fleet = Fleet(*members)
    done = work_off(fleet, sorted(bursts))
    assert fleet.idle_s <= IDLE_S
    assert max(job.unfair_s[0] for job in done) <= UNFAIR_S
    assert max(job.returns for job in done) <= 1
    # A job that has returned and is unlucky again waits for the first slot that becomes free where it is.
    assert sum(max(job.unfair_s) > UNFAIR_S for job in done) <= 0.004 * len(done)


def test_a_fast_consumer_is_not_starved_by_what_a_slow_one_holds() -> None:
    done = work_off(Fleet((2, 4.0), (2, 0.25)), steady(150, 10.0, lambda: 0.004))
    assert took(done)[int(0.99 * len(done))] < 0.05
