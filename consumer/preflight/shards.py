"""Shards: whether all jobs that are published to them find a consumer."""

from __future__ import annotations

from consumer.preflight.amqp_probe import CREATED, Ask, refusal
from consumer.preflight.context import Site, aside
from consumer.preflight.finding import Finding, failure, ok, warning
from consumer.rabbitmq import lanes
from consumer.rabbitmq.connection import CALL_TIMEOUT_S


async def shards(site: Site) -> list[Finding]:
    """Compare the setting with the slots, with what is there and, where it is told, with what is bound."""
    settings, names = site.settings, site.topology.shard_names
    if complaint := lanes.complaint(settings.shards, settings.pool_size):
        told, _, remedy = complaint.partition("; ")
        return [failure(told, remedy)]
    found = []
    if await refusal(site.connected(), _finding(beyond := site.topology.shard(settings.shards))) is None:
        found.append(
            warning(
                f"{beyond} is there, a shard beyond `shards` = {settings.shards}: nobody takes its jobs",
                "raise `shards`; or unbind the queue, let a consumer with the old `shards` empty it, delete it",
            )
        )
    if site.console and settings.shards > 1 and not settings.declare:
        found += await _bound(site)
    return found or [ok("jobs come from " + ", ".join(names))]


def _finding(queue: str) -> Ask:
    return lambda channel: channel.declare_queue(queue, passive=True, timeout=CALL_TIMEOUT_S)


async def _bound(site: Site) -> list[Finding]:
    console, exchange = site.console, site.topology.jobs_exchange
    bound = await aside(lambda: console.bound_to(exchange)) if console else []
    missing = [name for name in site.topology.shard_names if name not in bound]
    if not missing:
        return []
    return [
        failure(
            f"{exchange} does not lead to {', '.join(missing)}",
            f"bind each to it with the routing key 1 in the management console, or {CREATED}",
        )
    ]
