"""Queries RabbitMQ without changing anything there, and interprets its answers.

Some facts show only in a request that RabbitMQ must refuse: it checks permissions first, so the refusal shows
whether they suffice, and the request has no effect. Each request has its own channel, because a refusal closes it.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.exceptions import ChannelClosed

from consumer.config.amqp_url import vhost_of
from consumer.preflight.context import Site
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, may_be_lost

#: Not `import_definitions`, which a second time takes the users' passwords away.
CREATED: Final = "let a user who may configure create it (`consumer run --declare true`, once)"

Ask = Callable[[AbstractChannel], Awaitable[object]]


async def refusal(opened: AbstractConnection, ask: Ask) -> ChannelClosed | None:
    """Send a request on its own channel, and return RabbitMQ's refusal, if any.

    Raises:
        ConnectionLostError
    """
    with may_be_lost():
        async with asyncio.timeout(CALL_TIMEOUT_S):
            channel = await opened.channel(publisher_confirms=False)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await ask(channel)
        except ChannelClosed as closed:
            return closed
        finally:
            with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await channel.close()
    return None


def reason(closed: ChannelClosed) -> str:
    """Return RabbitMQ's own words."""
    return re.sub(r"^[A-Z_]+ - ", "", str(closed.args[-1] if closed.args else closed))


def granted(site: Site) -> str:
    """Make the remedy for a missing permission: the permissions in deploy/rabbitmq/definitions.json."""
    topology, ours = site.topology, f"^{_pattern(site.settings.prefix)}[.].*"
    user = unquote(urlsplit(site.url).username or "USER")
    if site.settings.declare:
        rights = (ours, f"^(amq[.]default|{ours[1:]})$", ours)
        return f"{rabbitmqctl(site, 'set_permissions', user, *rights)}; or set `declare` to false, and {CREATED}"
    others = (queue.name for queue in topology.queues() if queue.name != topology.jobs)
    written = "|".join(map(_pattern, ("amq.default", topology.dead_letter_exchange, *others)))
    rights = ("^$", f"^({written})$", f"^{_pattern(topology.jobs)}$")
    return rabbitmqctl(site, "set_permissions", user, *rights)


def _pattern(name: str) -> str:
    """Format it as a regular expression that no shell changes."""
    return name.replace(".", "[.]")


def rabbitmqctl(site: Site, command: str, *arguments: str) -> str:
    """Format a command for the virtual host, to be copied into a shell."""
    return f"`{shlex.join(('rabbitmqctl', command, '-p', vhost_of(site.url), *arguments))}`"
