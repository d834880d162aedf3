"""What the consumer holds after ten thousand jobs and after a hundred thousand: a leak of 100 bytes per job shows.

The consumer's own process, not its workers, which are replaced. Each reply is verified. Minutes: about four on
two slow processors, and BENCH_JOBS says less.
"""

from __future__ import annotations

import os
from pathlib import Path

from load import IN_FLIGHT
from ours import OURS
from plan import tell
from results import Row
from running import Host, Running, started, vhost
from workload import Workload

pytest_plugins = ["shared_fixtures"]

JOBS = int(os.environ.get("BENCH_JOBS", "100000"))
FIRST = JOBS // 10
MOST_GROWTH = 1.05


def test_memory_after_ten_times_as_many_jobs_is_the_same(host: Host, small: Workload) -> None:
    row = Row(OURS.key, OURS.title)
    with vhost(host.node) as url, started(OURS, small, host, url, slots=2) as running:
        running.run(row, FIRST, IN_FLIGHT)
        first = held(running)
        tell(f"after {FIRST} jobs the consumer holds {first[0] / 1e6:.1f} MB and {first[1]} descriptors")
        running.run(row, JOBS - FIRST, IN_FLIGHT)
        last = held(running)
        tell(f"after {JOBS} jobs the consumer holds {last[0] / 1e6:.1f} MB and {last[1]} descriptors")
    assert row.verified == JOBS
    assert last[0] <= MOST_GROWTH * first[0]
    assert last[1] <= first[1]


def held(running: Running) -> tuple[int, int]:
    """Resident bytes and open descriptors of the consumer itself."""
    process = Path(f"/proc/{running.process.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(list((process / "fd").iterdir()))
