"""Lists the checks in their order, with the requirements and the time limit of each, and runs them.

A check is skipped if a check that it requires has failed; its finding names that check. Only a bug raises an
exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from consumer.config.loader import unknown_variables
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError, ConsumerError
from consumer.preflight import classifier, consumers, limits, machine, models, permissions, queues, rabbitmq
from consumer.preflight.context import Site
from consumer.preflight.finding import Finding, Level, blamed, failure, ok, skipped_because_of, warning
from consumer.runners.fork_client import START_TIMEOUT_S

SETTINGS: Final = "settings"
#: Seconds: the default time limit of a check, and the addition to the time limits of a start and of a job.
AROUND_S = 15.0


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `within_s`: its time limit; None: a job's time limit in the settings, plus `AROUND_S`."""

    name: str
    ask: Callable[[Site], Awaitable[list[Finding]]]
    needs: tuple[str, ...] = ()
    within_s: float | None = AROUND_S


#: The requirements of most checks of RabbitMQ: the login was accepted, and the version is supported.
_TAKEN: Final = ("RabbitMQ", "version")

CHECKS: Final = (
    Check("threads", machine.threads),
    Check("open files", machine.open_files),
    Check("limits", limits.contradictions),
    Check("memory", limits.memory),
    Check("processes", limits.processes),
    Check("job folder", machine.job_folder),
    Check("statsd", machine.statsd),
    Check("http", machine.http),
    Check("tracing", machine.tracing),
    Check("models", models.models),
    Check("classifier", classifier.load, ("job folder", "models"), START_TIMEOUT_S + AROUND_S),
    Check("sample job", classifier.sample, ("classifier",), None),
    Check("RabbitMQ", rabbitmq.connect, within_s=60.0),
    Check("version", rabbitmq.version, ("RabbitMQ",)),
    Check("management", rabbitmq.management, ("RabbitMQ",)),
    Check("consumers", consumers.compared, _TAKEN),
    Check("queues", queues.topology, _TAKEN, within_s=60.0),
    Check("dead letters", queues.dead_letters, _TAKEN),
    Check("permissions", permissions.permissions, _TAKEN),
    Check("publishing", permissions.publishing, _TAKEN, within_s=30.0),
    Check("time limits", rabbitmq.time_limits),
)


async def examine(
    load: Callable[[], Settings],
    environment: Mapping[str, str],
    sample: Path | None,
    checks: Sequence[Check] = CHECKS,
) -> AsyncIterator[Finding]:
    """Run all checks, one after the other, and yield the findings of each when it ends.

    Args:
        load: reads the settings; raises ConfigurationError if they cannot be used.
        environment: the environment variables of this process.
        sample: the file of a job to run.
        checks: the checks to run.
    """
    settings, found = _settings(load, environment)
    for finding in found:
        yield replace(finding, what=SETTINGS)
    passed = {SETTINGS} if settings else set()
    async with AsyncExitStack() as opened:
        site = Site(settings, environment, sample, opened) if settings else None
        for check in checks:
            findings = await _made(check, site, passed)
            if not any(finding.level in (Level.FAILURE, Level.SKIPPED) for finding in findings):
                passed.add(check.name)
            for finding in findings:
                yield replace(finding, what=check.name)


def _settings(
    load: Callable[[], Settings], environment: Mapping[str, str]
) -> tuple[Settings | None, Sequence[Finding]]:
    misspelt = [warning(line, "rename it, or remove it") for line in unknown_variables(environment)]
    try:
        settings = load()
    except ConfigurationError as error:
        return None, [*misspelt, *(blamed(ConfigurationError(line)) for line in str(error).splitlines())]
    return settings, misspelt or [ok("all are valid")]


async def _made(check: Check, site: Site | None, passed: set[str]) -> list[Finding]:
    missing = [need for need in check.needs if need not in passed]
    if site is None or missing:
        return [skipped_because_of(SETTINGS if site is None else missing[0])]
    within_s = site.settings.job_timeout_s + AROUND_S if check.within_s is None else check.within_s
    try:
        async with asyncio.timeout(within_s):
            return await check.ask(site)
    except TimeoutError:
        return [failure(f"no answer within {within_s:g} s", "find what blocks it, and check again")]
    except ConsumerError as error:
        return [blamed(error)]
