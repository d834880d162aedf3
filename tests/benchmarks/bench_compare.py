"""`make bench`: this service beside what its users would pick instead, and the targets that it is held to.

Who takes part is in ours.py and peers.py, how they take turns in rotation.py, the targets in targets.py. The last
test prints everything, and fails if a target was missed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import fairness
import ours
import peers
import pytest
import reloading
import report
from contender import Contender
from load import IN_FLIGHT
from plan import tell
from results import Results, Table
from rotation import Rotation
from running import Host, Running, started
from targets import all_targets
from workload import Workload

pytest_plugins = ["shared_fixtures"]

PEERS = (peers.FLOOR, *peers.CELERY, *peers.FASTSTREAM)
SMALL = (ours.OURS, ours.BATCHES, ours.FRESH, ours.EXEC, *PEERS, peers.AMQP_CONSUME)
PLAID = (ours.OURS, ours.BATCHES, ours.ONNX, ours.ONNX_BATCHES, ours.FRESH, ours.FRESH_ONNX, *PEERS)
#: After so many jobs a copy-on-write page that is ever written has been written.
JOBS_BEFORE_MEMORY = 1000
#: A leak of 100 bytes per job shows. Compared with what is held after the first tenth.
MANY_JOBS = int(os.environ.get("BENCH_JOBS", "100000"))


def test_small_jobs(small: Workload, host: Host, results: Results) -> None:
    _compare(small, SMALL, host, results)


def test_plaid_as_deployed(plaid_workload: Workload, host: Host, results: Results) -> None:
    _compare(plaid_workload, PLAID, host, results)


def _compare(workload: Workload, contenders: Sequence[Contender], host: Host, results: Results) -> None:
    table = results.tables[workload.name] = Table(workload.name, workload.title)
    Rotation(workload, host, table).run(contenders)
    assert not [f"{row.title}: {row.failed}" for row in table.rows if row.failed]


@pytest.mark.parametrize("slots", [1, 8])
@pytest.mark.parametrize("contender", [ours.OURS, peers.CELERY[0], peers.FASTSTREAM[0]], ids=lambda each: each.key)
def test_memory(contender: Contender, slots: int, small: Workload, host: Host, results: Results) -> None:
    row = (results.tables.get(small.name) or Table("", "")).row(contender.key)
    if not row or not row.samples or (contender is not ours.OURS and (host.plan.quick or slots == 1)):
        pytest.skip("not part of this run")
    tell(f"memory of {contender.title} with {slots} slots, after {JOBS_BEFORE_MEMORY} jobs")
    with started(contender, small, host, slots) as running:
        running.run(JOBS_BEFORE_MEMORY, IN_FLIGHT)
        row.pss_mb[slots] = running.memory_mb()


def test_fairness(host: Host, results: Results) -> None:
    _skip_unless_wanted("fairness", host)
    results.beside_long_s, results.wait_beside_free_slot_ms = fairness.measure(host)


def test_reload(small: Workload, host: Host, results: Results) -> None:
    _skip_unless_wanted("reload", host)
    results.reload_p99_ratios = reloading.p99_ratios(small, host)


def test_memory_over_many_jobs(small: Workload, host: Host, results: Results) -> None:
    """The consumer's own process: its workers are replaced."""
    _skip_unless_wanted("growth", host)
    if host.plan.quick:
        pytest.skip("it takes minutes")
    with started(ours.BATCHES, small, host, host.plan.slots) as running:
        running.run(MANY_JOBS // 10, IN_FLIGHT)
        first, descriptors = _held(running)
        running.run(MANY_JOBS - MANY_JOBS // 10, IN_FLIGHT)
        last, descriptors_now = _held(running)
    tell(
        f"the consumer held {first / 1e6:.1f} MB after {MANY_JOBS // 10} jobs, {last / 1e6:.1f} after {MANY_JOBS}"
    )
    results.memory_growth = last / first
    assert descriptors_now <= descriptors


def _held(running: Running) -> tuple[int, int]:
    """Resident bytes and open descriptors of the consumer itself."""
    process = Path(f"/proc/{running.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list((process / "fd").iterdir()))


def _skip_unless_wanted(key: str, host: Host) -> None:
    if reason := host.plan.leaves_out(key):
        pytest.skip(reason)


def test_targets(host: Host, results: Results) -> None:
    """The last one: prints everything, whatever was missed."""
    targets = all_targets(results)
    report.write(results, targets, host.plan)
    assert not [target.text for target in targets if target.verdict == "MISSED"]
