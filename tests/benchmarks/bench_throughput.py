"""This service beside what its users would pick instead: jobs per second, latency, CPU, memory, a reload.

What is compared and how is told in contender.py and rotation.py, what is made of it in targets.py. A bound that
is missed is reported and fails nothing; a contender that did not work or answered wrongly fails the benchmark.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ours
import peers
import pytest
from contender import Contender
from load import IN_FLIGHT
from measure import catches
from plan import tell
from results import Reload, Results, Row, Table
from rotation import Rotation
from running import Host, Running, started, vhost
from workload import Workload

pytest_plugins = ["shared_fixtures"]

#: After so many jobs a copy-on-write page that is ever written has been written.
JOBS_BEFORE_MEMORY = 1000
ONE_SLOT, MANY_SLOTS = 1, 8
#: Both slots busy and no queue, beside `IN_FLIGHT`, where the queue is most of the latency.
ONE_PER_SLOT = 2
#: What the service's log says when the new code and models serve.
RELOADED = "reloaded"
RELOAD_PATIENCE_S = 30.0
#: New workers do their first jobs after the log line.
AFTER_RELOAD_S = 1.0
LOOK_EVERY_S = 0.02
#: Jobs before the reload, to compare with; during it, as many as fit.
RELOAD_JOBS, MANY_JOBS = 600, 1_000_000


def test_small_jobs(small: Workload, host: Host, results: Results) -> None:
    _compare(small, host, results)


def test_plaid_as_deployed(plaid_workload: Workload, host: Host, results: Results) -> None:
    _compare(plaid_workload, host, results)


def _compare(workload: Workload, host: Host, results: Results) -> None:
    table = Table(workload.name, workload.title, len(workload.jobs))
    results.tables.append(table)
    Rotation(workload, host, table).run()
    assert not [f"{row.title}: {row.failed}" for row in table.rows if row.failed]


@pytest.mark.parametrize(
    ("contender", "slots"),
    [
        (ours.OURS, ONE_SLOT),
        (ours.OURS, MANY_SLOTS),
        (peers.CELERY, MANY_SLOTS),
        (peers.FASTSTREAM, MANY_SLOTS),
    ],
    ids=lambda value: str(getattr(value, "key", value)),
)
def test_memory(contender: Contender, slots: int, small: Workload, host: Host, results: Results) -> None:
    if missing := contender.missing(small) or host.plan.leaves_out(contender.key):
        pytest.skip(missing)
    row = _row_of(contender, small, results)
    tell(f"memory of {contender.title} with {slots} slots, after {JOBS_BEFORE_MEMORY} jobs")
    with _alone(contender, small, host, slots) as running:
        running.run(row, JOBS_BEFORE_MEMORY, IN_FLIGHT)
        running.memory(row)


@pytest.mark.parametrize("in_flight", [ONE_PER_SLOT, IN_FLIGHT])
def test_a_reload_under_load(in_flight: int, small: Workload, host: Host, results: Results) -> None:
    if missing := ours.OURS.missing(small):
        results.reload_skipped = missing
        pytest.skip(missing)
    row = Row("reload", "a reload")  # of its own: these latencies are no part of the comparison
    with _alone(ours.OURS, small, host, host.plan.slots) as running:
        running.first_reply(row)
        if not catches(running.process.pid, signal.SIGHUP):
            results.reload_skipped = "this version does not reload on SIGHUP"
            pytest.skip(results.reload_skipped)
        running.warm_up(row)
        results.reload_skipped = None
        for number in range(host.plan.rounds):
            tell(f"a reload under load, {in_flight} in flight, {number + 1} of {host.plan.rounds}")
            results.reloads.append(_reload(running, row, in_flight))


def _reload(running: Running, row: Row, in_flight: int) -> Reload:
    """Latency of some jobs, then of those from SIGHUP until a second after the reload is done."""
    before = running.run(row, RELOAD_JOBS, in_flight)
    told = _Told(running.log, RELOADED)
    running.process.send_signal(signal.SIGHUP)
    during = running.run(row, MANY_JOBS, in_flight, enough=told)
    assert told.after_s, f"no {RELOADED!r} in the log after SIGHUP: {running.last_words()}"
    return Reload(
        in_flight=in_flight,
        before_p99_ms=before.latency_ms(0.99),
        during_p99_ms=during.latency_ms(0.99),
        during_s=told.after_s,
        jobs=len(during.replies),
    )


class _Told:
    """Whether a text has come into a log from now on, and a second has passed since; or the patience is over."""

    def __init__(self, log: Path, text: str) -> None:
        self._log, self._text = log, text
        self._known = len(log.read_text())
        self._begun = self._looked = time.monotonic()
        self.after_s = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.after_s and now - self._looked > LOOK_EVERY_S:
            self._looked = now
            if self._text in self._log.read_text()[self._known :]:
                self.after_s = now - self._begun
        return now - self._begun > (self.after_s + AFTER_RELOAD_S if self.after_s else RELOAD_PATIENCE_S)


@contextmanager
def _alone(contender: Contender, workload: Workload, host: Host, slots: int) -> Iterator[Running]:
    with vhost(host.node) as url, started(contender, workload, host, url, slots) as running:
        yield running


def _row_of(contender: Contender, workload: Workload, results: Results) -> Row:
    """The contender's row, or a new one where the comparison was not run."""
    if (table := results.table(workload.name)) is None:
        table = Table(workload.name, workload.title, len(workload.jobs))
        results.tables.append(table)
    if (row := table.row(contender.key)) is None:
        row = Row(contender.key, contender.title)
        table.rows.append(row)
    return row
