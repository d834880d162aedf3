"""Every panel and every alert, asked of the real stores after a load with failures, through the real statsd."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alert_rules import graphite_query, prometheus_query
from alerts import ALERTS, Alert
from dashboards import GRAPHITE, PROMETHEUS, Store
from support.monitoring import stores
from support.monitoring.load import OLD, Load, bad_day, load, short_jobs
from support.rabbitmq.management_api import create_vhost, delete_vhost
from support.waiting import wait_until

from consumer.local_broker import node as local_broker
from consumer.telemetry.metrics import GAUGES, NAMES

Panel = Mapping[str, Any]


def panels(store: Store) -> list[Panel]:
    """Read them from the dashboard as it is deployed."""
    made = json.loads((stores.DEPLOY / "grafana/dashboards" / store.file).read_text())
    return [panel for panel in made["panels"] if panel["type"] != "row"]


#: What that load does not do: leave no consumer, fill the disk or the queue.
QUIET = {"NoConsumer", "RepliesBlocked", "DiskFull", "QueueDeep"}

#: A gauge that was told once, at the beginning.
GONE = "other.gone.consuming"
#: The gauge that is 0 as long as nothing is wrong, of another service at which something is.
BLOCKED = "other.full.blocked"


@dataclass(frozen=True)
class Seen:
    """The stores, and what the consumer itself said last."""

    graphite: stores.Graphite
    prometheus: stores.Prometheus
    numbers: dict[str, float]
    folder: Path


@pytest.fixture(scope="module")
def vhost(node: local_broker.Node) -> Iterator[str]:
    name = f"test-{uuid4().hex[:12]}"
    create_vhost(node, name)
    yield node.vhost_url(name)
    delete_vhost(node, name)


@pytest.fixture(scope="module")
def seen(vhost: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One load for all that is asked."""
    absent = pytest.fail if os.environ.get("CI") else pytest.skip
    if packages := stores.missing():
        absent(f"install the Debian packages {', '.join(packages)}")
    folder = tmp_path_factory.mktemp("observed")
    try:
        stores.install_statsd(folder)
    except subprocess.CalledProcessError as error:
        absent(f"npm could not install {stores.STATSD}: {error.stderr}")
    with ExitStack() as stack:
        graphite = stack.enter_context(stores.graphite(folder))
        short_jobs(vhost, folder, graphite.statsd_port, graphite.flushed)
        loaded = stack.enter_context(load(vhost, folder, graphite.statsd_port))
        prometheus = stack.enter_context(stores.prometheus(folder, [f"127.0.0.1:{loaded.probe.port}"]))
        graphite.tell(f"{GONE}:1|g")
        graphite.tell(f"{BLOCKED}:1|g")
        graphite.flushed()
        others = counted(graphite, "jobs.acked")  # by the consumers that were stopped before
        wait_until(lambda: prometheus.up() == ["up"], "the first scrape")
        bad_day(loaded)
        all_told(loaded, graphite, prometheus, others)
        loaded.settled("echo", age=OLD)  # alone, so that Graphite's last point is of it and of no job before
        yield all_told(loaded, graphite, prometheus, others)
    wait_until(lambda: not stores.answers(graphite.statsd_mgmt_port), "statsd to be gone")


def all_told(loaded: Load, graphite: stores.Graphite, prometheus: stores.Prometheus, others: float) -> Seen:
    """Wait until both stores have what the consumer has counted; the last job's end is what it sent last."""
    wait_until(lambda: loaded.number("queue_dead") > 0, "the dead letters to be counted")
    numbers = loaded.numbers()
    acked = numbers["jobs_acked_total"]

    def scraped() -> bool:
        ((last, *_),) = prometheus.series("classifier_jobs_acked_total", 0).values() or [[0.0]]
        ((dead, *_),) = prometheus.series("classifier_queue_dead", 0).values() or [[0.0]]
        return last == acked and dead > 0

    def measured() -> bool:  # every 5 s; what is told last may be of the time before the jobs
        return any(max(use) > 0 for use in graphite.series("stats.gauges.classifier.*.slots.used").values())

    wait_until(scraped, "Prometheus to have all counts")
    wait_until(lambda: counted(graphite, "jobs.acked") >= others + acked, "Graphite to have all counts")
    wait_until(measured, "Graphite to have how much the slots were used")
    graphite.flushed()  # the timers that were sent with those counts
    return Seen(graphite, prometheus, numbers, loaded.folder)


def counted(graphite: stores.Graphite, name: str) -> float:
    return sum(sum(values) for values in graphite.series(f"stats.counters.*.*.{name}.count").values())


def asked(panel: Panel, language: str, chosen: Mapping[str, str]) -> list[str]:
    """Give a panel's queries, with what Grafana puts in place of its variables."""
    queries = [str(target[language]) for target in panel["targets"]]
    for variable, value in chosen.items():
        queries = [query.replace(variable, value) for query in queries]
    assert not any("$" in query for query in queries)
    return queries


@pytest.mark.parametrize("panel", panels(GRAPHITE), ids=lambda panel: panel["title"])
def test_every_line_of_a_panel_has_data_in_graphite(seen: Seen, panel: Panel) -> None:
    for query in asked(panel, "target", {"$prefix": "*", "$host": "*"}):
        lines = seen.graphite.series(query)
        assert lines, query
        assert all(values for values in lines.values()), query
        assert any(value > 0 for values in lines.values() for value in values), query


@pytest.mark.parametrize("panel", panels(PROMETHEUS), ids=lambda panel: panel["title"])
def test_every_line_of_a_panel_has_data_in_prometheus(seen: Seen, panel: Panel) -> None:
    chosen = {"$job": "classifier", "$instance": ".*", "$__rate_interval": "15s"}
    for query in asked(panel, "expr", chosen):
        lines = seen.prometheus.series(query)
        assert lines, query
        assert any(value >= 0 for values in lines.values() for value in values), query


@pytest.mark.parametrize("name", [name for name, text in NAMES.items() if text.startswith("counter")])
def test_what_was_counted_has_reached_graphite(seen: Seen, name: str) -> None:
    """The consumers that were stopped before have counted as well; so at least as many."""
    own = name.replace(".<code>", "").replace(".", "_") + "_total"
    total = sum(value for series, value in seen.numbers.items() if series.partition("{")[0] == own)
    shown = name.replace("<code>", "*")
    assert counted(seen.graphite, shown) >= max(total, 1)


@pytest.mark.parametrize("name", GAUGES)
def test_gauges_are_there_without_a_gap_as_long_as_the_consumer_lives(seen: Seen, name: str) -> None:
    (values,) = seen.graphite.series(f"stats.gauges.classifier.*.{name}", "-5s").values()
    assert len(values) >= 4


def test_the_gauges_of_a_consumer_that_has_gone_end(seen: Seen) -> None:
    def points(since: str) -> int:
        return sum(map(len, seen.graphite.series(f"stats.gauges.{GONE}", since).values()))

    assert points("-10min")
    wait_until(lambda: not points("-5s"), "statsd to forget it, six flushes after it was told")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_alerts_fire_on_what_has_happened_and_on_nothing_else(seen: Seen, alert: Alert) -> None:
    assert seen.prometheus.fires(prometheus_query(alert)) == (alert.name not in QUIET)
    (values,) = seen.graphite.series(graphite_query(alert)).values()
    fires = values[-1] > alert.above if alert.above is not None else values[-1] < (alert.below or 0)
    assert fires == (alert.name not in QUIET)


def test_prometheus_has_read_our_rules_and_evaluates_them(seen: Seen) -> None:
    wait_until(lambda: "unknown" not in seen.prometheus.rules().values(), "the first evaluation")
    assert seen.prometheus.rules() == {f"Classifier{alert.name}": "ok" for alert in ALERTS}


def test_graphite_draws_what_it_is_asked(seen: Seen) -> None:
    target = "stats.gauges.classifier.*.consuming"
    picture = seen.graphite.picture("a picture", [target], int(time.time()) - 60)
    assert picture.startswith(b"\x89PNG")


#: Prints what it knows of each file that it is told of.
WHISPER = """
import sys, whisper
for file in sys.argv[1:]:
    found = whisper.info(file)
    print(found["aggregationMethod"], found["xFilesFactor"])
"""


def test_the_files_of_each_kind_are_thinned_out_in_their_own_way(seen: Seen) -> None:
    kinds = {
        "count": "sum",
        "sum": "sum",
        "upper_95": "max",
        "median": "average",
        "consuming": "min",
        "bytes": "max",
        "blocked": "max",
    }
    files = [next(seen.folder.glob(f"whisper/stats/*/classifier/**/{name}.wsp")) for name in kinds]
    argv = [stores.SYSTEM_PYTHON, "-c", WHISPER, *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{method} 0.0" for method in kinds.values()]
