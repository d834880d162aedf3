"""Makes all that is generated here from the table in panels.py; a test sees that it was done.

    python deploy/grafana/generate.py

writes the dashboards for both stores, Grafana's alert rules for Graphite, Prometheus's own alert rules, and the
tables in docs. With `--prefix pumps` it only prints Grafana's alert rules for the service of that prefix. The
models of Grafana's SDK (extra `test`) give the JSON its shape.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dialects import Graphite, Prometheus
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.dashboard import Panel as GrafanaPanel
from panels import ALERTS, ROWS, Alert, Level, Panel, Query, Rate, Share

ROOT = Path(__file__).absolute().parents[2]
MADE = "# Made by deploy/grafana/generate.py from the table in panels.py: change that.\n\n"
#: Folder and uids in Grafana. The data source's is that of provisioning/datasources.
FOLDER, GRAPHITE_UID = "Classifier", "graphite"
#: Grafana refuses a longer uid of a rule.
MAX_UID = 40
#: The alerts' prefix: Grafana's rules know no variables.
PREFIX = "classifier"
#: Where whoever is alerted reads what to do. The host stands for the one that serves your copy of this repository.
RUNBOOKS = "https://example.com/rabbitmq-classifier/docs/operate.md"


@dataclass
class GraphiteQuery(Dataquery):
    """A query of Grafana's Graphite data source, which the SDK has no model of."""

    target: str
    ref_id: str
    datasource: DataSourceRef | None = None

    def to_json(self) -> dict[str, object]:
        """Give the JSON that the data source reads."""
        made: dict[str, object] = {"refId": self.ref_id, "target": self.target, "textEditor": True}
        return made | ({"datasource": self.datasource} if self.datasource else {})


@dataclass
class Made(Builder[Dataquery]):
    """What is made already, for the SDK, which wants to build."""

    query: Dataquery

    def build(self) -> Dataquery:
        return self.query


@dataclass(frozen=True)
class Store:
    """A kind of data source: how it is asked, and what can be chosen in its dashboard."""

    title: str
    kind: str
    file: str
    ask: Callable[[Query, str], Builder[Dataquery]]
    choices: Callable[[], list[Builder[Any]]]

    @property
    def source(self) -> DataSourceRef:
        return DataSourceRef(type_val=self.kind, uid="${datasource}")


def _ask_graphite(query: Query, ref_id: str) -> Builder[Dataquery]:
    return Made(GraphiteQuery(Graphite().ask(query).text, ref_id))


def _ask_prometheus(query: Query, ref_id: str) -> Builder[Dataquery]:
    asked = Prometheus().ask(query)
    return prometheus.Dataquery().expr(asked.text).legend_format(asked.legend).range().ref_id(ref_id)


def _choice(kind: str, name: str, label: str, query: str | dict[str, Any], every: str) -> Builder[Any]:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DataSourceRef(type_val=kind, uid="${datasource}"))
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(every)
        .current(VariableOption(text="All", value="$__all", selected=True))
    )


def _graphite_choices() -> list[Builder[Any]]:
    prefix = dashboard.TextBoxVariable("prefix").label("prefix").default_value(PREFIX)
    prefix.current(VariableOption(text=PREFIX, value=PREFIX, selected=True))
    return [prefix, _choice("graphite", "host", "host", "stats.gauges.$prefix.*", "*")]


def _prometheus_choices() -> list[Builder[Any]]:
    def labels(name: str, narrowed: str = "") -> dict[str, Any]:
        return {"query": f"label_values(classifier_slots_size{narrowed}, {name})", "refId": name}

    return [
        _choice("prometheus", "job", "job", labels("job"), ".*"),
        _choice("prometheus", "instance", "instance", labels("instance", '{job=~"$job"}'), ".*"),
    ]


GRAPHITE = Store("Classifier", "graphite", "classifier.json", _ask_graphite, _graphite_choices)
PROMETHEUS = Store(
    "Classifier (Prometheus)", "prometheus", "classifier-prometheus.json", _ask_prometheus, _prometheus_choices
)


def made_dashboard(store: Store) -> Dashboard:
    """Make the dashboard of a store: rows of panels."""
    made = (
        dashboard.Dashboard(store.title)
        .uid(store.file.removesuffix(".json"))
        .description("Jobs, classifiers, workers, the connection and the machine of rabbitmq-classifier.")
        .tags(["rabbitmq-classifier"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .with_variable(dashboard.DatasourceVariable("datasource").label("data source").type(store.kind))
    )
    for choice in store.choices():
        made.with_variable(choice)
    for title, panels in ROWS.items():
        made.with_row(dashboard.Row(title))
        for panel in panels:
            made.with_panel(_panel(store, panel))
    return _numbered(made.build())


def _numbered(made: Dashboard) -> Dashboard:
    for number, panel in enumerate(made.panels or [], start=1):
        panel.id_val = number
    return made


def _panel(store: Store, panel: Panel) -> Builder[GrafanaPanel]:
    made = _graph() if panel.kind == "graph" else _number(panel)
    made.title(panel.title).description(panel.answers).unit(panel.unit).datasource(store.source)
    made.span(panel.width).height(8 if panel.kind == "graph" else 4).min(0).no_value("0")
    for number, query in enumerate(panel.queries):
        made.with_target(store.ask(query, chr(ord("A") + number)))
    return made


def _graph() -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.RIGHT)
    return (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(10)
        .span_nulls(60_000)  # ms: a gauge is told every 5 s
        .legend(legend.show_legend(True).calcs(["mean", "max"]))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )


def _number(panel: Panel) -> stat.Panel:
    steps = [Threshold(value=None, color="green")]
    if panel.bad_above is not None:
        steps.append(Threshold(value=panel.bad_above, color="red"))
    if panel.bad_below is not None:
        steps = [Threshold(value=None, color="red"), Threshold(value=panel.bad_below, color="green")]
    # The last point of a rate is not complete yet.
    calc = "mean" if isinstance(panel.queries[0], Rate | Share) else "lastNotNull"
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs([calc]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    )


def _compared(alert: Alert) -> tuple[str, float]:
    """Say how the value is compared, in PromQL, and with what."""
    return (">", alert.above) if alert.above is not None else ("<", alert.below or 0.0)


def runbook(alert: Alert) -> str:
    """Give the row of the alert in the table of docs/operate.md."""
    return alert.name.lower()


def _annotations(alert: Alert) -> dict[str, str]:
    return {"summary": alert.what, "description": alert.do, "runbook_url": f"{RUNBOOKS}#{runbook(alert)}"}


def graphite_query(alert: Alert, prefix: str = PREFIX) -> str:
    """Ask Graphite what the alert looks at: its last point counts."""
    return Graphite(f"{prefix}.*", f"{alert.over_min}min").ask(alert.query).text


def prometheus_query(alert: Alert) -> str:
    """Ask Prometheus for the alert's breach: a value for each job where it fires, and nothing where it does not.

    Where a number may be absent, one that a job has had within the last hour counts as 0.
    """
    asked = Prometheus("", f"{alert.over_min}m", by="job").ask(alert.query).text
    sign, bound = _compared(alert)
    if alert.absent and isinstance(alert.query, Level):
        series = Prometheus("").ask(Level(alert.query.name, "each")).text
        before = f"0 * max by (job) (max_over_time({series}[1h]))"
        return f"({asked} or {before}) {sign} {bound:.12g} or absent({series})"
    return f"{asked} {sign} {bound:.12g}"


def grafana_alerts(prefix: str = PREFIX) -> dict[str, Any]:
    """Make the file for provisioning/alerting, on the Graphite data source; one for each prefix can be there."""
    rules = [_grafana_rule(alert, prefix) for alert in ALERTS]
    group = {"orgId": 1, "name": prefix, "folder": FOLDER, "interval": "1m", "rules": rules}
    return {"apiVersion": 1, "groups": [group]}


def _grafana_rule(alert: Alert, prefix: str) -> dict[str, Any]:
    looked_at = {"relativeTimeRange": {"from": alert.over_min * 60, "to": 0}}
    expression = {"datasourceUid": "__expr__", **looked_at}
    kind, bound = {">": "gt", "<": "lt"}[_compared(alert)[0]], _compared(alert)[1]
    reduced = {
        "refId": "B",
        "type": "reduce",
        "expression": "A",
        "reducer": "last",
        "settings": {"mode": "dropNN"},
    }
    judged = {"refId": "C", "type": "threshold", "expression": "B"}
    judged["conditions"] = [{"evaluator": {"type": kind, "params": [bound]}}]  # type: ignore[assignment] # JSON
    asked = {"refId": "A", "target": graphite_query(alert, prefix), "textEditor": True}
    return {
        # Unique in all of Grafana, as a title is in its folder.
        "uid": re.sub(r"[^A-Za-z0-9_-]", "-", f"{prefix}-{alert.name.lower()}")[-MAX_UID:],
        "title": alert.name if prefix == PREFIX else f"{alert.name} ({prefix})",
        "condition": "C",
        "data": [
            {"refId": "A", "datasourceUid": GRAPHITE_UID, **looked_at, "model": asked},
            {"refId": "B", **expression, "model": reduced},
            {"refId": "C", **expression, "model": judged},
        ],
        "noDataState": "Alerting" if alert.absent else "OK",
        "execErrState": "Error",
        "for": f"{alert.for_min}m",
        "labels": {"severity": alert.severity, "prefix": prefix},
        "annotations": _annotations(alert),
    }


def prometheus_rules() -> dict[str, Any]:
    """Make Prometheus's rule file."""
    rules = [
        {
            "alert": f"Classifier{alert.name}",
            "expr": prometheus_query(alert),
            "for": f"{alert.for_min}m",
            "labels": {"severity": alert.severity},
            "annotations": _annotations(alert),
        }
        for alert in ALERTS
    ]
    return {"groups": [{"name": "classifier", "rules": rules}]}


def panels_table() -> Iterator[str]:
    """Write the documentation's table of panels."""
    yield from ("| panel | shows |", "|---|---|")
    for row, panels in ROWS.items():
        yield from (f"| {row}: {panel.title} | {panel.answers} |" for panel in panels)


def alerts_table() -> Iterator[str]:
    """Write the documentation's table of alerts."""
    yield from ("| alert | severity | fires | do |", "|---|---|---|---|")
    for alert in ALERTS:
        lasts = f" For {alert.for_min} minutes." if alert.for_min else ""
        name = f'<a id="{runbook(alert)}"></a>`{alert.name}`'
        yield f"| {name} | {alert.severity} | {alert.what}{lasts} | {alert.do} |"


def documented(page: Path, name: str, table: Iterator[str]) -> str:
    """Put a table into the page, behind its mark."""
    mark = f"<!-- {name}: made by deploy/grafana/generate.py -->"
    before, _, rest = page.read_text().partition(f"{mark}\n")
    after = re.sub(r"\A\n*(\|.*\n)*\n*", "\n", rest)
    return f"{before}{mark}\n\n" + "".join(f"{line}\n" for line in table) + after


def _json(made: object) -> str:
    return json.dumps(made, cls=JSONEncoder, indent=2) + "\n"


def _yaml(made: Mapping[str, Any]) -> str:
    return MADE + yaml.safe_dump(made, sort_keys=False, width=110, allow_unicode=True)


def files() -> dict[Path, str]:
    """Make all that is generated: path -> text."""
    here, observe, operate = ROOT / "deploy/grafana", ROOT / "docs/observe.md", ROOT / "docs/operate.md"
    return {
        **{here / "dashboards" / store.file: _json(made_dashboard(store)) for store in (GRAPHITE, PROMETHEUS)},
        here / "provisioning/alerting/classifier.yaml": _yaml(grafana_alerts()),
        ROOT / "deploy/prometheus/classifier.rules.yml": _yaml(prometheus_rules()),
        # The same for the Prometheus operator: a chart holds copies of what it needs.
        ROOT / "deploy/kubernetes/chart/files/classifier.rules.yaml": _yaml(prometheus_rules()),
        observe: documented(observe, "panels", panels_table()),
        operate: documented(operate, "alerts", alerts_table()),
    }


def main() -> None:
    """Write all files, or print the alert rules for one prefix."""
    arguments = argparse.ArgumentParser(description="Generates dashboards and alerts.")
    arguments.add_argument("--prefix", help="only print Grafana's alert rules for this prefix")
    if prefix := arguments.parse_args().prefix:
        sys.stdout.write(_yaml(grafana_alerts(prefix)))
        return
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
