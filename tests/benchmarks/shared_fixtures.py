"""What the benchmarks share: one RabbitMQ node for all contenders, and the results.

A plugin that each bench_*.py names, as mypy knows one conftest.py only.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import report
import workload
from loop import labelled
from plan import Plan, tell
from results import Results
from running import Host
from support import plaid

from consumer.local_broker.node import Node


@pytest.fixture(scope="session")
def plan() -> Plan:
    return Plan.from_environment()


@pytest.fixture(scope="session")
def results() -> Results:
    """What bench_compare.py has measured."""
    return Results()


@pytest.fixture(scope="session")
def host(node: Node, plan: Plan) -> Host:
    logs = report.FOLDER / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return Host(node, logs.resolve(), plan)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> workload.Workload:
    tell("training the small model")
    return labelled(workload.small(tmp_path_factory.mktemp("small") / "models"))


@pytest.fixture(scope="session")
def plaid_workload(tmp_path_factory: pytest.TempPathFactory) -> workload.Workload:
    plaid.require()
    tell("training on PLAID, as pickle and with ONNX")
    return labelled(workload.plaid_as_deployed(tmp_path_factory.mktemp("plaid")))


@pytest.fixture(scope="session")
def models(plaid_workload: workload.Workload) -> Path:
    """The models folder of PLAID as deployed: ONNX where there is one."""
    return plaid_workload.best
