"""Whether we live and whether we are ready, from what there is to know at the moment. Pure, but for the asking.

Live: a restart would mend nothing. A loop that hangs says no by not answering; what is told here is a pool that
does not turn. RabbitMQ's absence never counts against us: a restart costs the running jobs, and does not bring it
back. Ready: jobs that are published now reach a classifier here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from consumer.telemetry.http_server import Page, Pages
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.prometheus import CONTENT_TYPE

LIVE, READY, METRICS = "/live", "/ready", "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What health is judged by, and how busy we are.

    `overdue`: runs that should have ended, whatever their classifier did. `running`: deliveries that are being
    handled. `slots`: how many can be.
    """

    is_loaded: bool = False
    is_broken: bool = False
    is_consuming: bool = False
    is_stopping: bool = False
    overdue: int = 0
    running: int = 0
    slots: int = 0


F = TypeVar("F")
Complaints = Mapping[str, Callable[[F], object]]

#: What is wrong -> whether it is.
NOT_LIVE: Complaints[Facts] = {
    "a slot is held for longer than any job can run": lambda facts: facts.overdue,
}
NOT_READY: Complaints[Facts] = {
    "the classifier is being loaded": lambda facts: not facts.is_loaded,
    "no worker can be forked; the log says why": lambda facts: facts.is_broken,
    "no jobs reach this consumer": lambda facts: facts.is_loaded and not facts.is_consuming,
    "stopping": lambda facts: facts.is_stopping,
}


def judged(complaints: Complaints[F], facts: F) -> Page:
    """Say all that is wrong, a line each, or that nothing is."""
    wrong = [complaint for complaint, holds in complaints.items() if holds(facts)]
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return Page(status, "".join(f"{line}\n" for line in wrong or ["ok"]))


class Health:
    """Where the facts come from. Mutable state: `facts`, asked each time; until there is a service, it loads."""

    def __init__(self) -> None:
        self.facts: Callable[[], Facts] = Facts

    def pages(self, metrics: Metrics) -> Pages:
        """Make all the pages that we serve."""
        return {
            LIVE: lambda: judged(NOT_LIVE, self.facts()),
            READY: lambda: judged(NOT_READY, self.facts()),
            METRICS: lambda: Page(HTTPStatus.OK, metrics.registry.text(), CONTENT_TYPE),
        }
