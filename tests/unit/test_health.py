"""Live and ready: what is said for each state of the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from consumer.service.stuck_slots import GRACE_S, Due
from consumer.telemetry.health import LIVE, METRICS, NOT_LIVE, NOT_READY, READY, Facts, Health, judged
from consumer.telemetry.metrics import Metrics

SERVING: dict[str, Any] = {"is_loaded": True, "is_consuming": True}


@pytest.mark.parametrize(
    ("facts", "is_live", "complaints"),
    [
        ({}, True, ["the classifier is being loaded"]),
        (SERVING, True, []),
        (SERVING | {"is_consuming": False}, True, ["no jobs reach this consumer"]),
        (SERVING | {"is_broken": True}, True, ["no worker can be forked; the log says why"]),
        (SERVING | {"is_stopping": True}, True, ["stopping"]),
        ({"is_stopping": True}, True, ["the classifier is being loaded", "stopping"]),
        (SERVING | {"overdue": 1}, False, []),
    ],
    ids=["loading", "serving", "outage", "no fork", "draining", "stopped while loading", "stuck"],
)
def test_each_state_has_its_answer(facts: dict[str, Any], is_live: bool, complaints: list[str]) -> None:
    live, ready = judged(NOT_LIVE, Facts(**facts)), judged(NOT_READY, Facts(**facts))
    assert (live.status is HTTPStatus.OK) == is_live
    assert (ready.status is HTTPStatus.OK) == (not complaints)
    assert ready.text.splitlines() == (complaints or ["ok"])


def test_before_there_is_a_service_it_lives_and_is_not_ready() -> None:
    health = Health()
    pages = health.pages(Metrics())
    assert (pages[LIVE]().status, pages[READY]().status) == (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
    health.facts = lambda: Facts(**SERVING)
    assert pages[READY]() == (HTTPStatus.OK, "ok\n", "text/plain; charset=utf-8")
    assert pages[METRICS]().content_type.startswith("text/plain; version=0.0.4")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_run_is_overdue_after_its_time_and_the_grace_and_no_more_when_it_has_ended() -> None:
    clock = Clock()
    due = Due(clock)
    with due.within(60), due.within(600):
        clock.now = 60 + GRACE_S
        assert due.over() == 0
        clock.now += 1
        assert due.over() == 1
        clock.now += 600
        assert due.over() == 2
    assert due.over() == 0


def test_a_run_in_a_batch_may_wait_for_the_others_of_it() -> None:
    clock = Clock()
    due = Due(clock, wait_s=1000)
    with due.within(60):
        clock.now = 60 + 1000 + GRACE_S
        assert due.over() == 0
        clock.now += 1
        assert due.over() == 1
