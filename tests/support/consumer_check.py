"""What the tests of `consumer check` share: a row of their tables, and what the checks make of it.

A row says what is wrong and what must be told: by which check, at which level, in which words, with which remedy.
The checks are the real ones, in their order; only those that a row is about, and what they need, are made.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.cli.event_loop import run_async
from consumer.config.loader import load
from consumer.preflight.checks import CHECKS, examine
from consumer.preflight.finding import Finding, Level

#: What is not named by any row's settings.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUMER_", "OMP_"))}


@dataclass(frozen=True)
class Row:
    """One misconfiguration. `arrange` brings it about, and returns settings (or any variable in capitals)."""

    name: str
    arrange: Callable[[Any], Mapping[str, object]]
    check: str
    level: Level
    told: str
    remedy: str


def checked(given: Mapping[str, object], *names: str, sample: Path | None = None) -> list[Finding]:
    """Make the named checks; all without a name. A name in capitals in `given` is a variable, not a setting."""
    variables = {
        name if name.isupper() else f"CONSUMER_{name.upper()}": str(value) for name, value in given.items()
    }
    environment = {**ENVIRONMENT, **variables}
    checks = [check for check in CHECKS if not names or check.name in names]

    async def findings() -> list[Finding]:
        return [one async for one in examine(lambda: load({}, environment), environment, sample, checks)]

    return run_async(findings())


def assert_told(row: Row, findings: list[Finding]) -> None:
    """See that the row's check tells of it as it should."""
    told = [one for one in findings if one.what == row.check and row.told in _as_before_4(one.detail)]
    assert {one.level for one in told} == {row.level}, findings
    assert all(row.remedy in one.remedy for one in told), told


def _as_before_4(detail: str) -> str:
    """From RabbitMQ 4.0 on a refusal also says which access was refused."""
    return re.sub(r"(configure|write|read) access to", "access to", detail)
