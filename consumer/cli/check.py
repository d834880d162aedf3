"""`consumer check`: prints each finding as soon as it is known, or all as one JSON document."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uvloop
from rich.console import Console
from rich.text import Text

from consumer.cli.arguments import add_settings, load_settings, see_no_named_pipe
from consumer.preflight.checks import examine
from consumer.preflight.finding import Finding, Level, as_json, gathered, shown, summary, would_run

EXAMPLES = ("consumer check --job job.json", "consumer check --json --config /etc/consumer.toml")
STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "bold red", Level.SKIPPED: "dim"}
#: A check has failed. Warnings do not count.
EXIT_WOULD_FAIL = 1


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "--job", type=Path, metavar="JOB.json", help="also run this job here, without RabbitMQ; default: none"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Check everything; return the exit code."""
    if arguments.job:
        see_no_named_pipe(arguments.job)
    console = Console()
    findings = uvloop.run(_examine(arguments, console))
    if arguments.json:
        print(as_json(findings))
    else:
        for finding in gathered(findings):
            _show(finding, console)
        print(summary(findings))
    return os.EX_OK if would_run(findings) else EXIT_WOULD_FAIL


async def _examine(arguments: argparse.Namespace, console: Console) -> list[Finding]:
    """Check everything; show each finding when it is known, except checks that are skipped because of another."""
    findings = []
    async for finding in examine(lambda: load_settings(arguments), os.environ, arguments.job):
        findings.append(finding)
        if not (arguments.json or finding.cause):
            _show(finding, console)
    return findings


def _show(finding: Finding, console: Console) -> None:
    """Print a finding, on a terminal with its level in colour, and no wider."""
    lines = Text(shown(finding, console.width if console.is_terminal else None))
    lines.stylize(STYLES[finding.level], 0, len(finding.level))
    console.print(lines, soft_wrap=True)
