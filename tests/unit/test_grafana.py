"""What is deployed for Grafana and Prometheus: made from the table as it is, and in the shape that they read.

That the queries find something is seen in tests/acceptance/test_observed.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import alert_rules
import generate
import pytest
import yaml
from alerts import ALERTS, Alert
from dashboards import GRAPHITE, PROMETHEUS, Store
from generate import ROOT
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from panels import ROWS

from consumer.telemetry.metrics import NAMES

DEPLOY = ROOT / "deploy"
STORES = pytest.mark.parametrize("store", [GRAPHITE, PROMETHEUS], ids=lambda store: store.kind)


@pytest.mark.parametrize("path", generate.files(), ids=lambda path: path.name)
def test_what_is_generated_was_generated_from_the_table_as_it_is(path: Path) -> None:
    assert path.read_text() == generate.files()[path], "run `python deploy/grafana/generate.py`"


def read(store: Store) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards" / store.file).read_text())
    return made


@STORES
def test_a_dashboard_is_what_grafanas_own_model_reads_from_it(store: Store) -> None:
    """Whatever the model does not know, it does not write again; but what only the Graphite source knows."""
    made = read(store)
    again = json.loads(json.dumps(Dashboard.from_json(made), cls=JSONEncoder))
    assert without_targets(again) == without_targets(made)


def without_targets(made: Mapping[str, Any]) -> dict[str, Any]:
    panels = [{key: value for key, value in panel.items() if key != "targets"} for panel in made["panels"]]
    return {**made, "panels": panels}


@STORES
def test_panels_fill_the_width_and_do_not_overlap(store: Store) -> None:
    taken = set()
    for place in (panel["gridPos"] for panel in read(store)["panels"]):
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in taken
                taken.add((x, y))
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


@STORES
def test_every_panel_says_what_it_answers_and_asks_something(store: Store) -> None:
    panels = [panel for panel in read(store)["panels"] if panel["type"] != "row"]
    assert len(panels) == sum(map(len, ROWS.values()))
    for panel in panels:
        assert panel["description"]
        assert panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_every_metric_has_a_panel() -> None:
    shown = repr(ROWS)
    for name in NAMES:
        # What succeeds is acked, too; and how many slots are busy at one moment says little.
        assert f"'{name}'" in shown or name in ("jobs.succeeded", "slots.busy")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_one_bound_and_says_what_to_do(alert: Alert) -> None:
    assert (alert.above is None) != (alert.below is None)
    assert re.fullmatch(r"[^.]*(\..*)?\.", alert.do)


def test_the_runbook_of_each_alert_is_its_row_in_the_table_of_alerts() -> None:
    page = (ROOT / "docs/operate.md").read_text()
    rules = yaml.safe_load((DEPLOY / "prometheus/classifier.rules.yml").read_text())["groups"][0]["rules"]
    (group,) = alert_rules.grafana_alerts()["groups"]
    for alert, *made in zip(ALERTS, rules, group["rules"], strict=True):
        for rule in made:
            url, _, row = rule["annotations"]["runbook_url"].partition("#")
            assert url.endswith("docs/operate.md")
            assert f'| <a id="{row}"></a>`{alert.name}` | ' in page


def test_the_rules_of_two_prefixes_are_beside_each_other_and_ask_for_their_own() -> None:
    both = [rule for prefix in ("classifier", "line.4") for rule in _rules(prefix)]
    for key in ("uid", "title"):
        assert len({rule[key] for rule in both}) == len(both)
    for rule in _rules("line.4"):
        assert re.fullmatch(r"[\w-]{1,40}", rule["uid"])
        target = rule["data"][0]["model"]["target"]
        assert ".line.4.*." in target
        assert ".classifier." not in target


def _rules(prefix: str) -> list[dict[str, Any]]:
    (group,) = alert_rules.grafana_alerts(prefix)["groups"]
    return list(group["rules"])


def test_an_alert_that_keeps_the_last_known_value_looks_back_as_far_in_graphite() -> None:
    (group,) = alert_rules.grafana_alerts()["groups"]
    for alert, rule in zip(ALERTS, group["rules"], strict=True):
        looked_at_min = rule["data"][0]["relativeTimeRange"]["from"] / 60
        assert looked_at_min == max(alert.over_min, alert.keeps_min)
    assert {alert.name for alert in ALERTS if alert.keeps_min} == {"QueueDeep", "DeadLetters"}


def test_the_rules_for_grafana_have_what_its_provisioning_asks_for() -> None:
    (group,) = yaml.safe_load((DEPLOY / "grafana/provisioning/alerting/classifier.yaml").read_text())["groups"]
    (source, _) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/classifier.yaml").read_text())[
        "datasources"
    ]
    assert len({rule["uid"] for rule in group["rules"]}) == len(ALERTS)
    for rule in group["rules"]:
        assert len(rule["uid"]) <= 40
        asked, *expressions = rule["data"]
        assert asked["datasourceUid"] == source["uid"]
        assert [one["datasourceUid"] for one in expressions] == ["__expr__"] * 2
        for one in rule["data"]:
            assert one["refId"] == one["model"]["refId"]
        assert rule["condition"] == expressions[-1]["refId"]
