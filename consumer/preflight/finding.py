"""Makes the results of checks, and formats them: as text with the remedy below each, or all as JSON.

Every warning and every failure names a remedy. A failure would stop `consumer run` or lose jobs. A warning is a
fact that may be intended, or that the check cannot determine. Pure.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from consumer.errors import ConfigurationError, ConnectionLostError, ConsumerError
from consumer.escaping import escaped, escaped_lines
from consumer.line_breaks import wrapped
from consumer.telemetry.log_format import MAX_CHARACTERS

#: The width of the level, and of level and check name together.
_LEVEL_WIDTH = 9
_INDENT = " " * 25
#: The remedies for messages that name none: for a fault of the installation, and of RabbitMQ.
_OURS = "correct the setting or the file that is named there: it must be there, and readable by this user"
_THEIRS = "check again; if the fault remains, see RabbitMQ's log"


class Level(StrEnum):
    """The severity of a finding. SKIPPED: the check did not run."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result. `what`: the name of the check, set by checks.py; `cause`: the failed check that it needs."""

    level: Level
    detail: str
    remedy: str = ""
    what: str = ""
    cause: str = ""


def ok(detail: str) -> Finding:
    """Report that nothing is wrong."""
    return Finding(Level.OK, detail)


def warning(detail: str, remedy: str) -> Finding:
    """Report a possible problem, or a fact that the check cannot determine."""
    return Finding(Level.WARNING, detail, remedy)


def failure(detail: str, remedy: str) -> Finding:
    """Report a fault that stops `consumer run` or loses jobs."""
    return Finding(Level.FAILURE, detail, remedy)


def skipped(detail: str, remedy: str = "") -> Finding:
    """Report that the check did not run."""
    return Finding(Level.SKIPPED, detail, remedy)


def skipped_because_of(cause: str) -> Finding:
    """Report that the check did not run, because another one has failed."""
    return Finding(Level.SKIPPED, f"because of {cause}", cause=cause)


def gathered(findings: Sequence[Finding]) -> list[Finding]:
    """Combine the checks that were skipped because of the same failed check into one finding."""
    return [
        Finding(Level.SKIPPED, f"because of {cause}: {', '.join(whats)}", what=f"{len(whats)} checks")
        if len(whats) > 1
        else replace(skipped_because_of(cause), what=whats[0])
        for cause, whats in _by_cause(findings).items()
    ]


def _by_cause(findings: Sequence[Finding]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for one in findings:
        if one.cause:
            names.setdefault(one.cause, []).append(one.what)
    return names


def mib(size: int) -> str:
    """Format a number of bytes for people."""
    return f"{size / 2**20:,.0f} MiB"


def blamed(error: ConsumerError) -> Finding:
    """Make a failure from an error.

    The text after its first semicolon is the remedy; a lost connection has none.
    """
    detail, _, remedy = str(error).partition("; ")
    if isinstance(error, ConnectionLostError):
        return failure(str(error), _THEIRS)
    return failure(detail, remedy or (_OURS if isinstance(error, ConfigurationError) else _THEIRS))


def refused(line: str) -> Finding:
    """Make a failure from the line with which the classifier refuses a model. Its last part is the remedy."""
    for mark in ("; ", ": "):
        detail, found, remedy = line.rpartition(mark)
        if found:
            return failure(detail, remedy)
    return failure(line, _OURS)


def would_run(findings: Sequence[Finding]) -> bool:
    """Return whether `consumer run` would start and lose no jobs: no finding is a failure."""
    return all(finding.level != Level.FAILURE for finding in findings)


def shown(finding: Finding, width: int | None = None) -> str:
    """Format a finding as lines that are safe on a terminal: details quote RabbitMQ and classifiers.

    If a width is given, lines are wrapped, but never within a command, so that a user can copy it.
    """
    details = escaped_lines(finding.detail, MAX_CHARACTERS)
    remedy = [f"remedy: {escaped(finding.remedy, MAX_CHARACTERS)}"] if finding.remedy else []
    lines = [part for line in (*details, *remedy) for part in wrapped(line, width and width - len(_INDENT))]
    head = f"{finding.level:{_LEVEL_WIDTH}}{finding.what}".ljust(len(_INDENT) - 1)
    return "\n".join((f"{head} {lines[0]}", *(_INDENT + line for line in lines[1:])))


def summary(findings: Sequence[Finding]) -> str:
    """Count the findings by level."""
    counts = Counter(finding.level for finding in findings)
    words = {Level.WARNING: "warnings", Level.FAILURE: "failures"}
    return ", ".join(
        f"{counts[level]} {words.get(level, level) if counts[level] > 1 else level}"
        for level in Level
        if counts[level]
    )


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """Combine findings that have the same remedy."""
    details: dict[tuple[Level, str], list[str]] = {}
    for one in findings:
        details.setdefault((one.level, one.remedy), []).append(one.detail)
    return [Finding(level, "\n".join(lines), remedy) for (level, remedy), lines in details.items()]


def as_json(findings: Sequence[Finding]) -> str:
    """Format all findings as a JSON document, for deployment scripts; of skipped checks only the names."""
    checks = [
        {"check": one.what, "level": one.level.value, "detail": one.detail, "remedy": one.remedy or None}
        for one in findings
        if not one.cause
    ]
    skipped = [{"because_of": cause, "checks": names} for cause, names in _by_cause(findings).items()]
    return json.dumps({"would_run": would_run(findings), "checks": checks, "skipped": skipped}, indent=2)
