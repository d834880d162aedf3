"""Live and ready: what is said for each state of the service."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import pytest

from consumer.telemetry.health import LIVE, METRICS, NOT_LIVE, NOT_READY, READY, Facts, Health, judged
from consumer.telemetry.metrics import Metrics

SERVING: dict[str, Any] = {"is_loaded": True, "is_consuming": True}


@pytest.mark.parametrize(
    ("facts", "is_live", "complaints"),
    [
        ({}, True, ["the classifier is being loaded"]),
        (SERVING, True, []),
        (SERVING | {"is_consuming": False}, True, ["no jobs reach this consumer"]),
        (
            SERVING | {"is_consuming": False, "fault": "refused\nthe login"},
            True,
            ["no jobs reach this consumer: refused\\nthe login"],
        ),
        (SERVING | {"fault": "of an outage that is over"}, True, []),
        (SERVING | {"is_broken": True}, True, ["no worker can be forked; the log has the reason"]),
        (SERVING | {"is_stopping": True}, True, ["stopping"]),
        ({"is_stopping": True}, True, ["the classifier is being loaded", "stopping"]),
        (SERVING | {"overdue": 1}, False, []),
    ],
    ids=[
        "loading",
        "serving",
        "outage",
        "outage with a reason",
        "after it",
        "no fork",
        "draining",
        "stopped while loading",
        "stuck",
    ],
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
