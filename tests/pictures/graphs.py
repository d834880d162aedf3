"""Graphite's own graphs of the dashboard's queries, under a load with failures."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

from dialects import Graphite
from panels import ROWS, Panel
from PIL import Image
from support.monitoring import stores
from support.monitoring.load import good_day, load

#: The panels, two in a row. The load's seconds before, between and after the faults.
SHOWN = (
    "What becomes of jobs",
    "Failures by code, per minute",
    "Run time",
    "Slots",
    "Workers, per minute",
    "Connection and replies, per minute",
)
SECONDS = 20
WIDTH, HEIGHT = 560, 260
LOOK = {"bgcolor": "white", "fgcolor": "black", "fontSize": 11, "lineMode": "connected", "hideLegend": "false"}


def pictures(url: str, folder: Path) -> Iterator[str]:
    """Take them, into the folder; give their names."""
    stores.install_statsd(folder)
    with stores.graphite(folder) as graphite, load(url, folder, graphite.statsd_port, pool_size=4) as running:
        began = int(time.time())
        good_day(running, SECONDS)
        running.reload()
        good_day(running, SECONDS)
        running.cut(3)
        good_day(running, SECONDS / 2)
        running.kill_fork_server()
        running.unroutable(3)
        good_day(running, SECONDS)
        running.drained()
        time.sleep(2)  # for two flushes
        sheet = Image.new("RGB", (2 * WIDTH, len(SHOWN) // 2 * HEIGHT), "white")
        for number, title in enumerate(SHOWN):
            graph = Image.open(io.BytesIO(_graph(graphite, title, began)))
            sheet.paste(graph, (number % 2 * WIDTH, number // 2 * HEIGHT))
        sheet.save(folder / "graphite.png")
    yield "graphite"


def panel(title: str) -> Panel:
    """Find a graph of the dashboard."""
    return next(one for panels in ROWS.values() for one in panels if one.title == title and one.kind == "graph")


def _graph(graphite: stores.Graphite, title: str, since: int) -> bytes:
    dialect = Graphite("classifier.*")
    targets = [dialect.ask(query).text for query in panel(title).queries]
    return graphite.picture(title, targets, since, width=WIDTH, height=HEIGHT, **LOOK)
