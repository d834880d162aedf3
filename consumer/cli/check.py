"""`consumer check`: prints each finding as soon as it is known, or all as one JSON document."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from consumer.cli.arguments import add_settings, load_settings, see_no_named_pipe
from consumer.cli.event_loop import run_async
from consumer.preflight.checks import examine
from consumer.preflight.finding import Finding, as_json, shown, summary, would_run

HELP = "find faults before the service starts; changes nothing"
EXAMPLES = ("consumer check --job job.json", "consumer check --json --config /etc/consumer.toml")
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
    findings = run_async(_examine(arguments))
    print(as_json(findings) if arguments.json else summary(findings))
    return os.EX_OK if would_run(findings) else EXIT_WOULD_FAIL


async def _examine(arguments: argparse.Namespace) -> list[Finding]:
    findings = []
    async for finding in examine(lambda: load_settings(arguments), os.environ, arguments.job):
        findings.append(finding)
        if not arguments.json:
            print(shown(finding), flush=True)
    return findings
