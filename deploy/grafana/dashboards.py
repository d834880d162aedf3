"""Makes the dashboard of a store from the table in panels.py.

The models of Grafana's SDK (extra `test`) give the JSON its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dialects import Graphite, Prometheus
from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
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
from panels import ROWS, Panel
from queries import Query, Rate, Share

#: The prefix that the dashboard for Graphite shows first.
PREFIX = "classifier"


@dataclass
class GraphiteQuery(Dataquery):
    """A query of Grafana's Graphite data source, which the SDK has no model of."""

    target: str
    ref_id: str
    datasource: DataSourceRef | None = None

    def to_json(self) -> dict[str, object]:
        """Return the JSON that the data source reads."""
        made: dict[str, object] = {"refId": self.ref_id, "target": self.target, "textEditor": True}
        return made | ({"datasource": self.datasource} if self.datasource else {})


@dataclass
class Made(Builder[Dataquery]):
    """A finished query, in the form of a builder, which the SDK requires."""

    query: Dataquery

    def build(self) -> Dataquery:
        return self.query


@dataclass(frozen=True)
class Store:
    """A kind of data source: how to write its queries, and the variables of its dashboard."""

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
