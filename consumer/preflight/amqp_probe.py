"""Queries RabbitMQ without changing anything there, and interprets its answers.

A request that RabbitMQ must refuse reveals permissions without any effect: RabbitMQ checks permissions first, and
its refusal shows whether they suffice. Each request has its own channel, because a refusal closes the channel.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import unquote, urlsplit

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelClosed

from consumer.config.amqp_url import vhost_of
from consumer.preflight.context import Site
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, throwaway_channel

#: A remedy. It does not recommend `import_definitions`, because a second import removes the users' passwords.
CREATED: Final = "let a user who may configure create it (`consumer run --declare`, once)"

Ask = Callable[[AbstractChannel], Awaitable[object]]


async def refusal(opened: AbstractConnection, ask: Ask) -> ChannelClosed | None:
    """Send a request on its own channel, and return RabbitMQ's refusal, if any.

    Raises:
        ConnectionLostError
    """
    async with throwaway_channel(opened) as channel:
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await ask(channel)
        except ChannelClosed as closed:
            return closed
    return None


def reason(closed: ChannelClosed) -> str:
    """Return RabbitMQ's reason in its own words."""
    return re.sub(r"^[A-Z_]+ - ", "", str(closed.args[-1] if closed.args else closed))


def granted(site: Site) -> str:
    """Make the remedy for a missing permission: the command that sets the permissions of definitions.json."""
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
    """Turn a name into a regular expression that needs no quotes in a shell."""
    return name.replace(".", "[.]")


def rabbitmqctl(site: Site, command: str, *arguments: str) -> str:
    """Format a command for the virtual host, ready to be copied into a shell."""
    return f"`{shlex.join(('rabbitmqctl', command, '-p', vhost_of(site.url), *arguments))}`"
