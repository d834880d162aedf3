"""What came out of bench_scale.py: a table on the terminal, JSON, a chart, and the tables of deploy/SCALING.md.

    .venv/bin/python tests/benchmarks/scale_report.py

puts the tables of bench-results/scale.json between the marks in deploy/SCALING.md, and the chart beside it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report import FOLDER, machine
from rich.console import Console
from rich.table import Table as Grid

PAGE = Path(__file__).parents[2] / "deploy" / "SCALING.md"
CHART = PAGE.with_name("scaling.png")
MARKS = re.compile(r"(?<=<!-- begin: make scale -->\n).*(?=<!-- end: make scale -->)", re.DOTALL)
SLEEPING, TINY, MESSAGES = "jobs that sleep", "jobs that do nothing", "messages without jobs"
_HEADS = ("consumers", "nodes", "a second", "of the ideal", "consumers' CPU ms", "RabbitMQ's CPU ms")


@dataclass(frozen=True)
class Point:
    """One measurement. CPU is per job or message; None: not measured. `ideal_per_s`: where there is one."""

    what: str
    consumers: int
    nodes: int
    per_s: float
    ideal_per_s: float | None = None
    consumers_cpu_ms: float | None = None
    broker_cpu_ms: float | None = None


def write(points: Sequence[Point]) -> None:
    """Print the table; write scale.json and scale.png."""
    FOLDER.mkdir(exist_ok=True)
    content = {"machine": machine(), "points": [asdict(point) for point in points]}
    (FOLDER / "scale.json").write_text(json.dumps(content, indent=1) + "\n")
    _draw(points, FOLDER / "scale.png", machine())
    console = Console(width=max(Console().width, 120))
    for what in _kinds(points):
        grid = Grid(title=what, title_justify="left")
        for head in _HEADS:
            grid.add_column(head, justify="right")
        for point in points:
            if point.what == what:
                grid.add_row(*_cells(point))
        console.print(grid)
    console.print(f"{machine()}; written into {FOLDER}/: scale.json, scale.png")


def _kinds(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.what for point in points))


def _cells(point: Point) -> list[str]:
    share = None if point.ideal_per_s is None else point.per_s / point.ideal_per_s
    return [
        str(point.consumers),
        str(point.nodes),
        f"{point.per_s:,.0f}",
        "-" if share is None else f"{share:.0%}",
        _ms(point.consumers_cpu_ms),
        _ms(point.broker_cpu_ms),
    ]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _draw(points: Sequence[Point], path: Path, where: str) -> None:
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 4), layout="constrained")
        figure.suptitle(f"Jobs a second. {where}", fontsize=10)
        curve, bars = figure.subplots(1, 2)
        _curve(curve, [point for point in points if point.what == SLEEPING])
        _bars(bars, [point for what in (TINY, MESSAGES) for point in points if point.what == what])
        figure.savefig(path, dpi=110)


def _curve(axes: Axes, points: Sequence[Point]) -> None:
    consumers = [point.consumers for point in points]
    axes.plot(consumers, [point.ideal_per_s or 0 for point in points], "--", color="#8a8f98", label="ideal")
    axes.plot(consumers, [point.per_s for point in points], "o-", color="#1f6fb2", label="measured")
    for point in points:
        axes.annotate(f"{point.per_s:,.0f}", (point.consumers, point.per_s), (5, -11), textcoords="offset points")
    axes.set(xlabel="consumers of 8 slots each", xticks=consumers)
    axes.set_ylim(bottom=0)
    axes.set_title("jobs that sleep 200 ms", loc="left", fontsize=10)
    axes.legend(frameon=False)


def _bars(axes: Axes, points: Sequence[Point]) -> None:
    """On a logarithmic scale, if anything was measured."""
    names = [f"{one.what}, {_count(one.nodes, 'node')}" for one in points]
    drawn = axes.barh(
        names,
        [one.per_s for one in points],
        color=["#1f6fb2" if one.what == TINY else "#8a8f98" for one in points],
    )
    axes.bar_label(drawn, [f"{one.per_s:,.0f}" for one in points], padding=3)
    if points:
        axes.set_xscale("log")
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title("what consumers and queues bear", loc="left", fontsize=10)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number > 1 else "")


def markdown(points: Sequence[Point], where: str) -> str:
    """Make the tables as they stand in the page."""
    lines = [f"{where}.", "", f"![the rates of the tables as a chart]({CHART.name})", ""]
    for what in _kinds(points):
        lines += [f"**{what}**", "", f"| {' | '.join(_HEADS)} |", "|" + "--:|" * len(_HEADS)]
        lines += [f"| {' | '.join(_cells(point))} |" for point in points if point.what == what]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Bring the page up to date."""
    content = json.loads((FOLDER / "scale.json").read_text())
    points = [Point(**point) for point in content["points"]]
    page = PAGE.read_text()
    if not MARKS.search(page):
        raise SystemExit(f"{PAGE} has no marks to put the tables between")
    PAGE.write_text(MARKS.sub(lambda _: markdown(points, content["machine"]), page))
    shutil.copyfile(FOLDER / "scale.png", CHART)
    print(f"{PAGE} and {CHART} show {content['machine']}")


if __name__ == "__main__":
    main()
