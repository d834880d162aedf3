"""Compares the consumers of the jobs queue with each other, and with the one that these settings would start.

RabbitMQ gives each job to any of them, so one that runs another classifier answers a part of the jobs. AMQP
exposes only their number; the management API shows what each runs.
"""

from __future__ import annotations

from consumer.errors import BrokerRefusedError, BrokerUnreachableError
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, ok, skipped, warning
from consumer.rabbitmq.admin import count_consumers
from consumer.service.consumer_info import arguments
from consumer.service.fleet import REMEDY, Member, described, differences, members_of

#: The name of the consumer that `consumer run` would start.
THESE = "these settings"


async def compared(site: Site) -> list[Finding]:
    """Query the consumers of the jobs queue, and compare them."""
    console, queue = site.console, site.topology.jobs
    if console is not None:
        try:
            return judged(await in_daemon_thread(lambda: members_of(console, queue)), _would_be(site), queue)
        except (BrokerRefusedError, BrokerUnreachableError) as error:
            return [warning(f"cannot compare the consumers of {queue}: {error}", "correct management_url")]
    count = await count_consumers(site.connected(), queue)
    if not count:
        return [ok(f"{queue} has no other consumer")]
    return [
        skipped(
            f"{queue} has other consumers ({count}): only the management API shows what they run",
            "set management_url",
        )
    ]


def _would_be(site: Site) -> Member | None:
    """Describe the consumer that would start; None if its classifier does not load."""
    return described(THESE, arguments(site.settings, site.runner.loaded, "")) if site.runner else None


def judged(others: list[Member], us: Member | None, queue: str) -> list[Finding]:
    """Make a finding for each difference between the consumers."""
    if not others:
        return [ok(f"{queue} has no other consumer")]
    found = differences([*others, us] if us else others, queue)
    if found:
        return [warning(difference, REMEDY) for difference in found]
    names = ", ".join(member.name for member in others)
    return [ok(f"{names} on {queue}: the same classifier and version" + (" as these settings" if us else ""))]
