"""Shared by the tests of `consumer check`: a row of their tables, and a function that runs the checks on it.

A row has a misconfiguration and the expected finding: the check, its level, its words and its remedy. The checks
are the real ones, in their order. A test runs only the check of the row, and the checks that it requires.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from consumer.config.loader import load
from consumer.preflight.checks import CHECKS, examine
from consumer.preflight.finding import Finding, Level

#: The environment of each check; the settings of a row are added to it.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUMER_", "OMP_"))}


@dataclass(frozen=True)
class Row:
    """One misconfiguration and the expected finding.

    `arrange` creates the misconfiguration and returns settings; a name in capitals is an environment variable.
    `told`: a part of the finding's detail.
    """

    name: str
    arrange: Callable[[Any], Mapping[str, object]]
    check: str
    level: Level
    told: str
    remedy: str


def checked(given: Mapping[str, object], *names: str, sample: Path | None = None) -> list[Finding]:
    """Run the checks with these names; without names, all. A name in capitals in `given` is a variable."""
    variables = {
        name if name.isupper() else f"CONSUMER_{name.upper()}": str(value) for name, value in given.items()
    }
    environment = {**ENVIRONMENT, **variables}
    checks = [check for check in CHECKS if not names or check.name in names]

    async def findings() -> list[Finding]:
        return [one async for one in examine(lambda: load({}, environment), environment, sample, checks)]

    return uvloop.run(findings())


def assert_told(row: Row, findings: list[Finding]) -> None:
    """Assert that the check of the row has findings with the expected words, level and remedy.

    A finding with these words but another level or remedy fails, too.
    """
    told = [one for one in findings if one.what == row.check and row.told in _as_before_4(one.detail)]
    assert {one.level for one in told} == {row.level}, findings
    assert all(row.remedy in one.remedy for one in told), told


def _as_before_4(detail: str) -> str:
    """Remove the kind of access, which a refusal names only from RabbitMQ 4.0 on."""
    return re.sub(r"(configure|write|read) access to", "access to", detail)
