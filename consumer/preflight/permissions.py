"""Checks this user's permissions, and that RabbitMQ accepts messages. Its requests have no effect."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Final

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import PublishError
from aiormq.exceptions import ChannelAccessRefused

from consumer.preflight.amqp_probe import Ask, granted, reason, refusal
from consumer.preflight.context import Site
from consumer.preflight.finding import Finding, failure, ok
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, connection, may_be_lost

#: A confirm takes milliseconds; only an alarm takes longer.
CONFIRM_S = 5.0
#: An argument that RabbitMQ refuses: `basic.consume` fails before there is a consumer.
NO_PRIORITY: Final = {"x-priority": "none: only asks for the permission"}


async def permissions(site: Site) -> list[Finding]:
    """Send the requests of a running service, in a form that has no effect."""
    topology, found = site.topology, []
    binding = f"bind {topology.dead} to {topology.dead_letter_exchange}"
    wanted: list[tuple[str, Ask]] = [(f"read {topology.jobs}", _consuming(topology.jobs))]
    if site.settings.declare:
        wanted.append((binding, _unbinding(topology.dead, topology.dead_letter_exchange)))
    for what, ask in wanted:
        if isinstance(closed := await refusal(site.connected(), ask), ChannelAccessRefused):
            found.append(failure(f"this user may not {what}: {reason(closed)}", granted(site)))
    return found or [ok(f"this user may {' and '.join(what for what, _ in wanted)}")]


def _consuming(queue: str) -> Ask:
    async def ask(channel: AbstractChannel) -> None:
        underlay = await channel.get_underlay_channel()
        await underlay.basic_consume(queue, _ignore, arguments=dict(NO_PRIORITY), timeout=CALL_TIMEOUT_S)

    return ask


async def _ignore(_message: object) -> None:
    """A callback that is never called."""


def _unbinding(queue: str, exchange: str) -> Ask:
    """Return a request to remove a binding that cannot exist, because its key is random."""

    async def ask(channel: AbstractChannel) -> None:
        underlay = await channel.get_underlay_channel()
        await underlay.queue_unbind(queue, exchange, f"check.{secrets.token_hex(8)}", timeout=CALL_TIMEOUT_S)

    return ask


async def publishing(site: Site) -> list[Finding]:
    """Publish two messages that RabbitMQ must return. During an alarm, it accepts only the first."""
    # It has its own connection: during an alarm, RabbitMQ stops reading from one that has published.
    with may_be_lost():
        async with connection(site.url, "check publishing", site.settings.credentials) as opened:
            return [await _tried(site, opened)]


async def _tried(site: Site, opened: AbstractConnection) -> Finding:
    channel = await opened.channel(publisher_confirms=True, on_return_raises=True)
    try:
        async with asyncio.timeout(CONFIRM_S):
            for _ in range(2):
                with suppress(PublishError):
                    nowhere = f"check.{secrets.token_hex(16)}"
                    await channel.default_exchange.publish(Message(b""), nowhere, mandatory=True)
    except ChannelAccessRefused as closed:
        return failure(f"this user may not publish to queues: {reason(closed)}", granted(site))
    except TimeoutError:
        return failure(
            f"RabbitMQ has accepted no message for {CONFIRM_S:g} s: most likely a memory or disk alarm",
            "`rabbitmq-diagnostics alarms` shows which; free memory or disk there",
        )
    return ok("replies can be published")
