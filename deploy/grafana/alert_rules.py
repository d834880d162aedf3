"""Makes the alert rules from the table in alerts.py: for Prometheus, and for Grafana on Graphite."""

from __future__ import annotations

import re
from typing import Any

from alerts import ALERTS, Alert
from dashboards import PREFIX
from dialects import Graphite, Prometheus
from queries import Level

#: Folder and uids in Grafana. The data source's is that of provisioning/datasources.
FOLDER, GRAPHITE_UID = "Classifier", "graphite"
#: Grafana refuses a longer uid of a rule.
MAX_UID = 40
#: Where whoever is alerted reads what to do. The host stands for the one that serves your copy of this repository.
RUNBOOKS = "https://example.com/rabbitmq-classifier/docs/operate.md"


def _compared(alert: Alert) -> tuple[str, float]:
    """Return PromQL's comparison operator and the bound."""
    return (">", alert.above) if alert.above is not None else ("<", alert.below or 0.0)


def runbook(alert: Alert) -> str:
    """Return the anchor of the alert in the table of docs/operate.md."""
    return alert.name.lower()


def _annotations(alert: Alert) -> dict[str, str]:
    return {"summary": alert.what, "description": alert.do, "runbook_url": f"{RUNBOOKS}#{runbook(alert)}"}


def graphite_query(alert: Alert, prefix: str = PREFIX) -> str:
    """Write the query for Graphite, of whose result the last point counts."""
    return Graphite(f"{prefix}.*", f"{alert.over_min}min").ask(alert.query).text


def prometheus_query(alert: Alert) -> str:
    """Write the expression for Prometheus: its result has a value for each job for which the alert fires.

    Where a number may be absent, one that a job has had within the last hour counts as 0. Where the last known
    value counts, NaN and an absent number are not known.
    """
    asked = Prometheus("", f"{alert.over_min}m", by="job").ask(alert.query).text
    sign, bound = _compared(alert)
    if alert.absent and isinstance(alert.query, Level):
        series = Prometheus("").ask(Level(alert.query.name, "each")).text
        before = f"0 * max by (job) (max_over_time({series}[1h]))"
        return f"({asked} or {before}) {sign} {bound:.12g} or absent({series})"
    if alert.keeps_min and isinstance(alert.query, Level):
        known = f"{Prometheus('').ask(Level(alert.query.name, 'each')).text} >= 0"  # false for NaN
        last = f"{alert.query.fold} by (job) (last_over_time(({known})[{alert.keeps_min}m:1m]))"
        return f"({asked} >= 0 or {last}) {sign} {bound:.12g}"
    return f"{asked} {sign} {bound:.12g}"


def grafana_alerts(prefix: str = PREFIX) -> dict[str, Any]:
    """Make the file for provisioning/alerting, on the Graphite data source. Each prefix may have one."""
    rules = [_grafana_rule(alert, prefix) for alert in ALERTS]
    group = {"orgId": 1, "name": prefix, "folder": FOLDER, "interval": "1m", "rules": rules}
    return {"apiVersion": 1, "groups": [group]}


def _grafana_rule(alert: Alert, prefix: str) -> dict[str, Any]:
    # Of the range, the last point counts that is not null.
    looked_at = {"relativeTimeRange": {"from": max(alert.over_min, alert.keeps_min) * 60, "to": 0}}
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
