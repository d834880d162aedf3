"""Prometheus's rules and configuration, judged by its own promtool (Debian's package `prometheus`)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from alert_rules import RUNBOOKS
from alerts import ALERTS, Alert

DEPLOY = Path(__file__).parents[2] / "deploy"

#: Alert -> series that make it fire after ten minutes, and that do not. Minute by minute, as promtool writes them.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "NoConsumer": ({"consuming": "0x20"}, {"consuming": "1x20"}),
    "RepliesBlocked": ({"blocked": "1x20"}, {"blocked": "0x20"}),
    "JobsWait": (
        {
            'jobs_queue_wait_seconds_bucket{le="60"}': "0+9x20",
            'jobs_queue_wait_seconds_bucket{le="300"}': "0+10x20",
            'jobs_queue_wait_seconds_bucket{le="+Inf"}': "0+10x20",
        },
        {
            'jobs_queue_wait_seconds_bucket{le="60"}': "0+10x20",
            'jobs_queue_wait_seconds_bucket{le="300"}': "0+10x20",
            'jobs_queue_wait_seconds_bucket{le="+Inf"}': "0+10x20",
        },
    ),
    "QueueDeep": ({"queue_waiting": "1001x20"}, {"queue_waiting": "1000x20"}),
    "DeadLetters": ({"queue_dead": "1x20"}, {"queue_dead": "0x20"}),
    "JobsDeadLettered": (
        {"jobs_dead_lettered_total": "0+2x20", "jobs_acked_total": "0+10x20"},
        {"jobs_dead_lettered_total": "0+1x20", "jobs_acked_total": "0+10x20"},
    ),
    "JobsRetried": (
        {"jobs_retried_total": "0+3x20", "jobs_received_total": "0+10x20"},
        {"jobs_retried_total": "0+2x20", "jobs_received_total": "0+10x20"},
    ),
    "WorkersDie": ({"workers_died_total": "0x4 4x15"}, {"workers_died_total": "0x4 2x15"}),
    "NoWorkers": ({"workers_refused_total": "0x4 1x15"}, {"workers_refused_total": "7x20"}),
    "ForkServerDied": ({"forkserver_restarted_total": "0x4 1x15"}, {"forkserver_restarted_total": "7x20"}),
    "ReloadFailed": ({"reloads_failed_total": "0x4 1x15"}, {"reloads_failed_total": "7x20"}),
    "ConnectionUnsteady": ({"connection_lost_total": "0x4 5x15"}, {"connection_lost_total": "0x4 2x15"}),
    "RepliesUnroutable": ({"replies_unroutable_total": "0+3x20"}, {"replies_unroutable_total": "0x4 5x15"}),
    "DiskFull": ({"disk_free_bytes": "134000000x20"}, {"disk_free_bytes": "135000000x20"}),
}


def rule_test(alert: Alert, series: Mapping[str, str], *, fires: bool, **labels: str) -> dict[str, Any]:
    told = {"summary": alert.what, "description": alert.do, "runbook_url": f"{RUNBOOKS}#{alert.name.lower()}"}
    expected = {"exp_labels": {"severity": alert.severity, **labels}, "exp_annotations": told}
    return {
        "interval": "1m",
        "input_series": [{"series": f"classifier_{name}", "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": "12m",
                "alertname": f"Classifier{alert.name}",
                "exp_alerts": [expected] if fires else [],
            }
        ],
    }


def test_prometheus_alerts_fire_on_what_they_are_for_and_not_below_it(tmp_path: Path) -> None:
    assert CASES.keys() == {alert.name for alert in ALERTS}
    rules = DEPLOY / "prometheus/classifier.rules.yml"
    tests = [
        rule_test(alert, series, fires=fires)
        for alert in ALERTS
        for series, fires in zip(CASES[alert.name], (True, False), strict=True)
    ]
    nobody = next(alert for alert in ALERTS if alert.absent)
    tests.append(rule_test(nobody, {"of_another": "1x20"}, fires=True))
    # Of two services, one has no consumer that is connected, or none at all any more.
    for pumps in ("0x20", "1x5 stale"):
        series = {'consuming{job="pumps"}': pumps, 'consuming{job="motors"}': "1x20"}
        tests.append(rule_test(nobody, series, fires=True, job="pumps"))
    # In an outage consumers do not know the depths, or none is left: the last known one counts. That of a consumer
    # that is gone does not count beside one that knows.
    for name, gauge, deep in (("DeadLetters", "queue_dead", 1), ("QueueDeep", "queue_waiting", 1001)):
        alert = next(alert for alert in ALERTS if alert.name == name)
        for unknown in ("NaN", "_"):
            outage = {gauge: " ".join((str(deep), *[unknown] * 20))}
            tests.append(rule_test(alert, outage, fires=True))
        both = {f'{gauge}{{instance="gone"}}': f"{deep} stale", f'{gauge}{{instance="here"}}': "0x20"}
        tests.append(rule_test(alert, both, fires=False))
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": tests}))
    assert_promtool("test", "rules", str(file))


@pytest.mark.parametrize("name", ["prometheus.yml", "compose.yml"])
def test_prometheus_takes_our_configuration(name: str) -> None:
    assert_promtool("check", "config", str(DEPLOY / "prometheus" / name))


def assert_promtool(*arguments: str) -> None:
    if shutil.which("promtool") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no promtool: `sudo apt-get install prometheus`")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
