"""What becomes of the results: tables on the terminal, and the same as Markdown and JSON in a folder.

Every figure is a median over the turns. A row that was not run, or failed, says why in the place of its figures.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from contender import FEW_IN_FLIGHT
from load import IN_FLIGHT
from plan import Plan
from results import LOOP, Metric, Results, Row, Table
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid
from targets import Target

FOLDER = Path("bench-results")
_PACKAGES = ("celery", "faststream", "aio-pika", "uvloop", "numpy", "scikit-learn", "onnxruntime")
_NONE = "-"


def write(results: Results, targets: Sequence[Target], plan: Plan) -> None:
    """Print tables and targets; write results.json and results.md."""
    FOLDER.mkdir(exist_ok=True)
    console = Console(width=max(Console().width, 170))
    for table in results.tables.values():
        console.print()
        console.print(_grid(f"{table.name}: {table.title}", _HEADS, [_cells(row) for row in table.rows]))
        for reason in _reasons(table):
            console.print(escape(reason))
    console.print()
    for line in _legend(plan):
        console.print(escape(line))
    console.print()
    console.print(_grid("Targets", _TARGET_HEADS, [_target(each) for each in targets]))
    verdicts = [{**asdict(each), "verdict": each.verdict} for each in targets]
    found = {"machine": machine(), "versions": _versions(), "plan": asdict(plan), **asdict(results)}
    (FOLDER / "results.json").write_text(json.dumps({**found, "targets": verdicts}, indent=1) + "\n")
    (FOLDER / "results.md").write_text("\n".join(_markdown(results, targets, plan)) + "\n")
    console.print(f"written into {FOLDER}/: results.json, results.md")


def machine() -> str:
    """Date and machine, for everything that shows figures."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")), "")
    cpus = len(os.sched_getaffinity(0))
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return f"{date}, {cpus} CPUs ({model or platform.machine()}), Python {platform.python_version()}"


def _number(value: float | None) -> str:
    """Three digits are more than such a measurement is good for."""
    if value is None:
        return _NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _medians(*metrics: Metric) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        values = [row.median(metric) for metric in metrics]
        return _NONE if values[0] is None else " / ".join(map(_number, values))

    return cell


def _memory(row: Row) -> str:
    """With two slots and with eight; the loop has one."""
    values = [row.pss_mb.get(slots) for slots in ((1,) if row.key == LOOP else (2, 8))]
    return " / ".join(f"{value:.0f}" for value in values if value is not None) or _NONE


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("jobs/s", _medians("jobs_per_s")),
    ("p50 / p99 ms, one in flight", _medians("alone_p50_ms", "alone_p99_ms")),
    (f"p50 / p99 ms, {IN_FLIGHT} in flight", _medians("saturated_p50_ms", "saturated_p99_ms")),
    ("CPU ms/job", _medians("cpu_ms")),
    ("RabbitMQ / generator CPU ms/job", _medians("broker_cpu_ms", "generator_cpu_ms")),
    ("memory MB, 2 / 8 slots", _memory),
    ("start s", lambda row: _number(row.start_s)),
)
_HEADS = ("", *(head for head, _ in _COLUMNS))
_TARGET_HEADS = ("", "target", "limit", "measured", "verdict", "note")


def _cells(row: Row) -> list[str]:
    if not row.samples:
        return [row.title, "failed" if row.failed else "not run", *[_NONE] * (len(_COLUMNS) - 1)]
    return [row.title, *(cell(row) for _, cell in _COLUMNS)]


def _reasons(table: Table) -> Iterator[str]:
    """A line for each row that was not run, or went wrong."""
    for row in table.rows:
        if row.failed:
            yield f"{row.title}: failed: {row.failed}"
        elif not row.samples:
            yield f"{row.title}: not run: {row.skipped or 'the comparison was not part of this run'}"


def _target(target: Target) -> list[str]:
    side = "at most" if target.at_most else "at least"
    unit = " times" if target.unit == "x" else f" {target.unit}"
    measured = _NONE if target.measured is None else f"{target.measured:.3g}{unit}"
    return [target.number, target.text, f"{side} {target.limit:g}{unit}", measured, target.verdict, target.note]


def _grid(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    grid = Grid(title=escape(title), title_justify="left")
    for place, head in enumerate(heads):
        words = heads is _TARGET_HEADS and place in (1, 5)
        grid.add_column(escape(head), justify="left" if place == 0 or words else "right", no_wrap=place == 0)
    for cells in rows:
        grid.add_row(*map(escape, cells))
    return grid


def _legend(plan: Plan) -> Iterator[str]:
    yield f"{machine()}; {_versions()}."
    yield (
        f"{plan.slots} slots. Medians of {plan.turns} turns, A B C A B C, each {plan.burst_s:g} s with "
        f"{IN_FLIGHT} in flight (program per job: {FEW_IN_FLIGHT}). Each label was compared with that of the "
        "in-process loop."
    )
    yield (
        "CPU and memory (PSS) are those of the whole process tree: CPU with many in flight, memory at the end "
        "and, with 8 slots, after 1,000 jobs. Start is from launch to first reply."
    )


def _versions() -> str:
    return ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _markdown(results: Results, targets: Sequence[Target], plan: Plan) -> Iterator[str]:
    for table in results.tables.values():
        yield from ("", f"**{table.name}**: {table.title}", "")
        yield from _markdown_table(_HEADS, [_cells(row) for row in table.rows])
        yield from (f"\n{reason}" for reason in _reasons(table))
    yield ""
    yield from _legend(plan)
    yield ""
    yield from _markdown_table(_TARGET_HEADS, [_target(each) for each in targets])


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join('---' if head == '' else '--:' for head in heads)}|"
    for cells in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
