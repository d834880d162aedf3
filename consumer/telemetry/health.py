"""Decides from current facts whether the process is alive and whether it is ready.

The process is not alive if a restart helps: a job holds a slot for too long. (A blocked event loop does not answer
the probe, which therefore fails, too.) The process stays alive during an outage of RabbitMQ: a restart would lose
running jobs and would not end the outage. The process is ready if a job published now can reach a classifier here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from consumer.escaping import escaped
from consumer.telemetry.http_server import Page, Pages
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.prometheus import CONTENT_TYPE

#: RabbitMQ's words may be in a reason; a probe's output is kept short.
REASON_CHARACTERS = 500
LIVE, READY, METRICS = "/live", "/ready", "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The state that determines health, and how busy the process is.

    `overdue`: the number of runs that exceed the longest time any job can take. `running`: the number of
    deliveries in progress. `slots`: the number of slots. `fault`: why no jobs arrive, if a connection failed.
    """

    is_loaded: bool = False
    is_broken: bool = False
    is_consuming: bool = False
    is_stopping: bool = False
    overdue: int = 0
    running: int = 0
    slots: int = 0
    fault: str = ""


F = TypeVar("F")
Complaints = Mapping[str, Callable[[F], object]]

#: Complaint -> whether it holds; a text is the reason.
NOT_LIVE: Complaints[Facts] = {
    "a slot is held for longer than any job can run": lambda facts: facts.overdue,
}
NOT_READY: Complaints[Facts] = {
    "the classifier is being loaded": lambda facts: not facts.is_loaded,
    "no worker can be forked; the log has the reason": lambda facts: facts.is_broken,
    "no jobs reach this consumer": lambda facts: (
        facts.is_loaded and not facts.is_consuming and (facts.fault or True)
    ),
    "stopping": lambda facts: facts.is_stopping,
}


def judged(complaints: Complaints[F], facts: F) -> Page:
    """Make a page with a line for each complaint that applies to `facts`, or with `ok` if none does."""
    found = {complaint: holds(facts) for complaint, holds in complaints.items()}
    wrong = [_line(complaint, held) for complaint, held in found.items() if held]
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return Page(status, "".join(f"{line}\n" for line in wrong or ["ok"]))


def _line(complaint: str, held: object) -> str:
    return f"{complaint}: {escaped(held, REASON_CHARACTERS)}" if isinstance(held, str) else complaint


class Health:
    """Makes the pages. Mutable state: `facts`, called for each page; until a service sets it: still loading."""

    def __init__(self) -> None:
        self.facts: Callable[[], Facts] = Facts

    def pages(self, metrics: Metrics) -> Pages:
        """Return all pages that the process serves."""
        return {
            LIVE: lambda: judged(NOT_LIVE, self.facts()),
            READY: lambda: judged(NOT_READY, self.facts()),
            METRICS: lambda: Page(HTTPStatus.OK, metrics.registry.text(), CONTENT_TYPE),
        }
