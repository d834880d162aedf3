"""What bench_plan.py has found, as a table, JSON and a chart: what was measured, and predictions.

A bound that is missed is reported and fails nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import report
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from consumer.capacity.plan import OVERHEAD_S
from consumer.capacity.service_times import quantile

BOUND = 0.25
#: A generator that is later than this measures the machine, not the service.
LATE_S = 0.005
_MEASURED, _PREDICTED, _QUIET = "#c8553d", "#1f6fb2", "#8a8f98"


@dataclass(frozen=True)
class Found:
    """One load: 95th percentiles of the wait in seconds. `chance` is two standard deviations of such a sample.

    `run_s` is the mean run time that the replies told: above what was tried before, the machine was busy.
    """

    utilisation: float
    jobs: int
    run_s: float
    measured_s: float
    chance: float
    predicted_s: float
    same_jobs_s: float

    @property
    def error(self) -> float:
        """The prediction's, as a share of what was measured."""
        return self.predicted_s / self.measured_s - 1


def write(found: Sequence[Found], overhead: dict[str, float], late_s: Sequence[float]) -> None:
    """Print a table; write plan.json and plan.png."""
    table = Table(title="p95 wait in ms, predicted and measured", title_justify="left")
    heads = (
        "utilisation",
        "jobs",
        "mean run",
        "measured",
        "predicted",
        "error",
        f"bound {BOUND:.0%}",
        "chance",
        "same jobs simulated",
    )
    for head in heads:
        table.add_column(head, justify="right")
    for one in found:
        table.add_row(
            f"{one.utilisation:.0%}",
            f"{one.jobs:,}",
            f"{one.run_s * 1000:.1f}",
            f"{one.measured_s * 1000:.1f}",
            f"{one.predicted_s * 1000:.1f}",
            f"{one.error:+.1%}",
            "met" if abs(one.error) <= BOUND else "MISSED",
            f"± {one.chance:.0%}",
            f"{one.same_jobs_s * 1000:.1f} ({one.same_jobs_s / one.measured_s - 1:+.1%})",
        )
    console = Console(width=max(Console().width, 160))
    console.print()
    console.print(table)
    console.print(
        f"overhead: {OVERHEAD_S * 1000:g} ms in the model; {overhead['alone_ms']:.2f} ms beyond the run for"
    )
    console.print(f"a job alone, {overhead['slot_ms']:.2f} ms between two runs of a slot that is never idle")
    console.print(
        f"published late: p50 {quantile(late_s, 0.5) * 1000:.2f}, p99 {quantile(late_s, 0.99) * 1000:.2f}, "
        f"at most {late_s[-1] * 1000:.2f} ms. {report.machine()}"
    )
    if quantile(late_s, 0.99) > LATE_S:
        console.print(
            f"The 99th percentile of that is above {LATE_S * 1000:g} ms: this machine was too busy to measure."
        )
    report.FOLDER.mkdir(exist_ok=True)
    content = {"machine": report.machine(), "overhead": overhead, "loads": [asdict(one) for one in found]}
    (report.FOLDER / "plan.json").write_text(json.dumps(content, indent=1) + "\n")
    _draw(found, report.FOLDER / "plan.png")
    console.print(f"written into {report.FOLDER}/: plan.json, plan.png")


def _draw(points: Sequence[Found], path: Path) -> None:
    """Write the chart as a PNG."""
    loads = [point.utilisation * 100 for point in points]
    predicted = [point.predicted_s * 1000 for point in points]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.add_subplot()
        low, high = ([value * share for value in predicted] for share in (1 / (1 + BOUND), 1 / (1 - BOUND)))
        axes.fill_between(loads, low, high, color=_PREDICTED, alpha=0.12, linewidth=0, label=f"within {BOUND:.0%}")
        axes.plot(loads, predicted, "-o", color=_PREDICTED, label="predicted by consumer plan")
        axes.plot(
            loads, [point.same_jobs_s * 1000 for point in points], "x", color=_QUIET, label="same jobs simulated"
        )
        axes.errorbar(
            loads,
            [point.measured_s * 1000 for point in points],
            yerr=[point.chance * point.measured_s * 1000 for point in points],
            fmt="s",
            color=_MEASURED,
            capsize=4,
            label="measured, and how much of it may be chance",
        )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("utilisation of the slots in %")
        axes.set_ylabel("p95 wait in ms")
        axes.set_title(
            f"The wait of 95 % of the jobs, predicted and measured. {report.machine()}", loc="left", fontsize=10
        )
        axes.grid(alpha=0.25)
        axes.legend(loc="upper left", frameon=False)
        figure.savefig(path, dpi=110)
