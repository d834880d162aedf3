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
from consumer.service.fleet import REMEDY, SET_URL, UNKNOWN, UNLISTED, Member, described, differences, members_of

#: The name of the consumer that `consumer run` would start.
THESE = "these settings"


async def compared(site: Site) -> list[Finding]:
    """Query the consumers of the jobs queue, and compare them."""
    console, queue = site.console, site.topology.jobs
    count = await count_consumers(site.connected(), queue) or 0
    if console is not None:
        try:
            found = await in_daemon_thread(lambda: members_of(console, queue))
            us = described(THESE, arguments(site.settings, site.runner.loaded, "")) if site.runner else None
            return judged(found, us, queue, count)
        except (BrokerRefusedError, BrokerUnreachableError) as error:
            return [warning(f"cannot compare the consumers of {queue}: {error}", "correct management_url")]
    if not count:
        return [ok(f"{queue} has no other consumer")]
    return [skipped(f"the consumers of {queue} ({count}) cannot be compared: {UNKNOWN}", SET_URL)]


def judged(others: list[Member], us: Member | None, queue: str, count: int) -> list[Finding]:
    """Make a finding for each difference between the consumers.

    `us`: the one that would start; None if its classifier does not load.
    `count`: their number according to AMQP, which is never out of date.
    """
    if not others and count:
        return [skipped(f"{queue} has a consumer that is not listed yet: {UNLISTED}", "check again")]
    if not others:
        return [ok(f"{queue} has no other consumer")]
    found = differences([*others, us] if us else others, queue)
    if found:
        return [warning(difference, REMEDY) for difference in found]
    names = ", ".join(member.name for member in others)
    return [ok(f"{names} on {queue}: the same classifier and version" + (" as these settings" if us else ""))]
