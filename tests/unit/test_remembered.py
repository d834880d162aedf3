"""What is cached, of which job, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from consumer.job import Crashed, Job, Outcome, Request, Succeeded
from consumer.service.outcome_cache import Identity, OutcomeCache

OUTCOME = Succeeded(output=b"1")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def identity(job_id: str = "m", body: bytes = b"{}", attempt: int = 1, replayed: int = 0) -> Identity:
    request = Request(id=job_id, correlation_id="c", attempt=attempt, replayed=replayed)
    return Identity.of(Job(request=request, body=body, timeout_s=1))


def test_the_same_attempt_of_the_same_job_is_recognised() -> None:
    cache = OutcomeCache(10)
    cache.add(identity(), OUTCOME)
    assert cache.find(identity()) is OUTCOME


def test_a_reused_id_another_body_and_another_attempt_are_other_jobs() -> None:
    cache = OutcomeCache(10)
    cache.add(identity(), OUTCOME)
    assert cache.find(identity(body=b'{"other": 1}')) is None
    assert cache.find(identity(job_id="n")) is None
    assert cache.find(identity(attempt=2)) is None


def test_a_job_that_was_replayed_does_not_get_the_outcome_that_it_died_of() -> None:
    cache = OutcomeCache(10)
    cache.add(identity(), OUTCOME)
    assert cache.find(identity(replayed=1)) is None


def test_the_last_ending_counts() -> None:
    cache = OutcomeCache(10)
    crashed: Outcome = Crashed(message="once")
    cache.add(identity(), crashed)
    cache.add(identity(), OUTCOME)
    assert cache.find(identity()) is OUTCOME
    assert len(cache) == 1


def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    cache = OutcomeCache(2)
    for number in range(3):
        cache.add(identity(str(number)), OUTCOME)
    assert cache.find(identity("0")) is None
    assert cache.find(identity("1"))
    assert cache.find(identity("2"))


def test_large_outcomes_push_out_many_and_one_too_large_is_not_kept() -> None:
    cache = OutcomeCache(100, max_bytes=10_000)
    for number in range(5):
        cache.add(identity(str(number)), OUTCOME)
    cache.add(identity("large"), Succeeded(output=b"x" * 9000))
    assert cache.find(identity("large"))
    assert cache.find(identity("0")) is None
    cache.add(identity("too large"), Succeeded(output=b"x" * 10_000))
    assert len(cache) == 0


def test_an_outcome_is_forgotten_after_its_time_asked_for_or_not() -> None:
    clock = Clock()
    cache = OutcomeCache(100, keep_s=60, clock=clock)
    cache.add(identity("old"), OUTCOME)
    clock.now = 61
    assert cache.find(identity("old")) is None
    cache.add(identity("new"), OUTCOME)
    assert len(cache) == 1
