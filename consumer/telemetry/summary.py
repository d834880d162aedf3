"""Writes a line to the log each minute: what became of the jobs, how long they ran, how busy the slots were.

It is made from the metrics of the minute, so it is complete even where job_lines.py leaves lines out. A job costs
0.3 us for its place among the run times, a summary 0.1 ms. A minute in which no job ended or ran has no line.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from consumer.job import ErrorCode
from consumer.telemetry.job_lines import JobLines
from consumer.telemetry.log_events import SUMMARY
from consumer.telemetry.metrics import FINE_RUN_S, FINE_STEP, Metrics, Snapshot
from consumer.wording import counted

log = logging.getLogger(__name__)

PERIOD_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A period in numbers: attempts by how they ended, the run times of half and of 95 % of them, busy slots.

    `failed`: attempts without a result, by code. `p50_ms` and `p95_ms`: None if nothing ran; at most 2.5 % off.
    `busy`: slots in use, on average. `left_out`: jobs that succeeded and have no line.
    """

    seconds: float
    done: int
    retried: int
    dead_lettered: int
    failed: Mapping[str, int]
    p50_ms: float | None
    p95_ms: float | None
    busy: float
    slots: int
    left_out: int

    @classmethod
    def between(cls, first: Snapshot, last: Snapshot, *, left_out: int) -> Summary:
        """Summarise the time between two snapshots of the metrics."""

        def grown(name: str) -> int:
            return int(last.counts[name] - first.counts[name])

        runs = [now - before for before, now in zip(first.runs, last.runs, strict=True)]
        seconds = max(last.at - first.at, 1e-9)
        failed = {code.value: grown(f"jobs.failed.{code}") for code in ErrorCode}
        return cls(
            seconds=seconds,
            done=grown("jobs.acked"),
            retried=grown("jobs.retried"),
            dead_lettered=grown("jobs.dead_lettered"),
            failed={code: number for code, number in failed.items() if number},
            p50_ms=_quantile_ms(runs, 0.50),
            p95_ms=_quantile_ms(runs, 0.95),
            busy=round((last.slot_s - first.slot_s) / seconds, 2),
            slots=last.slots,
            left_out=left_out,
        )

    @property
    def is_worth_logging(self) -> bool:
        """Whether a job ended or ran."""
        return bool(self.done or self.failed or self.busy)

    def __str__(self) -> str:
        by_code = ", ".join(f"{code} {number}" for code, number in self.failed.items())
        failed = f"{sum(self.failed.values())} failed" + (f" ({by_code})" if by_code else "")
        counts = f"{self.done} done, {failed}, {self.retried} retried, {self.dead_lettered} dead-lettered"
        parts = [f"{self.seconds:.0f} s: {counts}"]
        if self.p50_ms is not None and self.p95_ms is not None:
            parts.append(f"run time p50 {_three_digits(self.p50_ms)} ms, p95 {_three_digits(self.p95_ms)} ms")
        parts.append(f"{self.busy:.1f} of {counted(self.slots, 'slot')} busy")
        if self.left_out:
            parts.append(f"{counted(self.left_out, 'line')} of jobs that succeeded left out")
        return "; ".join(parts)

    def fields(self) -> dict[str, Any]:
        """Return the fields for a record in JSON; what is not known is left out."""
        known = {name: getattr(self, name) for name in SUMMARY}
        return {name: value for name, value in known.items() if value is not None}


def _three_digits(value: float) -> str:
    """Format without an exponent: `9.2`, `48.6`, `9750`."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004 - three digits


def _quantile_ms(runs: Sequence[int], share: float) -> float | None:
    """Return the middle of the bucket that has this share of the run times at or below it; None without any."""
    rank, below = share * sum(runs), 0
    for bound, count in zip((*FINE_RUN_S, FINE_RUN_S[-1]), runs, strict=True):
        below += count
        if count and below >= rank:
            return round(1000 * bound / math.sqrt(FINE_STEP), 3)
    return None


@asynccontextmanager
async def summarised(metrics: Metrics, lines: JobLines, period_s: float = PERIOD_S) -> AsyncIterator[None]:
    """Write a summary after each period of the block, and one of the rest at its end."""
    writer = _Writer(metrics, lines)
    task = asyncio.create_task(writer.repeat(period_s), name="summaries")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        writer.write()
    if not task.cancelled():
        task.result()  # raises: it ends only by a bug


class _Writer:
    """Writes the summaries. Mutable state: `_last` and `_left_out`, the numbers at the end of the last one."""

    def __init__(self, metrics: Metrics, lines: JobLines) -> None:
        self._metrics = metrics
        self._lines = lines
        self._last = metrics.snapshot()
        self._left_out = lines.left_out

    async def repeat(self, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            self.write()

    def write(self) -> None:
        snapshot, left_out = self._metrics.snapshot(), self._lines.left_out
        summary = Summary.between(self._last, snapshot, left_out=left_out - self._left_out)
        self._last, self._left_out = snapshot, left_out
        if summary.is_worth_logging:
            fields = {"event": "summary", "consumer": self._lines.consumer, **summary.fields()}
            log.info("last %s", summary, extra=fields)
