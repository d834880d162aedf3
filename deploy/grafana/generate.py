"""Generates dashboards, alert rules and their documentation from the tables in panels.py and alerts.py.

    python deploy/grafana/generate.py

writes the dashboards for both stores, Grafana's alert rules for Graphite, Prometheus's own alert rules, and the
tables in docs. A test fails if one is out of date. With `--prefix pumps` it only prints Grafana's alert rules for
the service of that prefix.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from alert_rules import grafana_alerts, prometheus_rules, runbook
from alerts import ALERTS
from dashboards import GRAPHITE, PROMETHEUS, made_dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from panels import ROWS

ROOT = Path(__file__).absolute().parents[2]
MADE = "# Made by deploy/grafana/generate.py from the table in alerts.py: change that.\n\n"


def panels_table() -> Iterator[str]:
    """Write the documentation's table of panels."""
    yield from ("| panel | shows |", "|---|---|")
    for row, panels in ROWS.items():
        yield from (f"| {row}: {panel.title} | {panel.answers} |" for panel in panels)


def alerts_table() -> Iterator[str]:
    """Write the documentation's table of alerts."""
    yield from ("| alert | severity | condition | for | do |", "|---|---|---|--:|---|")
    for alert in ALERTS:
        lasts = f"{alert.for_min} min" if alert.for_min else "-"
        name = f'<a id="{runbook(alert)}"></a>`{alert.name}`'
        yield f"| {name} | {alert.severity} | {alert.what} | {lasts} | {alert.do} |"


def documented(page: Path, name: str, table: Iterator[str]) -> str:
    """Replace the table behind its mark in the page."""
    mark = f"<!-- {name}: made by deploy/grafana/generate.py -->"
    before, _, rest = page.read_text().partition(f"{mark}\n")
    after = re.sub(r"\A\n*(\|.*\n)*\n*", "\n", rest)
    return f"{before}{mark}\n\n" + "".join(f"{line}\n" for line in table) + after


def _json(made: object) -> str:
    return json.dumps(made, cls=JSONEncoder, indent=2) + "\n"


def _yaml(made: Mapping[str, Any]) -> str:
    return MADE + yaml.safe_dump(made, sort_keys=False, width=110, allow_unicode=True)


def files() -> dict[Path, str]:
    """Make the text of each generated file, by path."""
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
