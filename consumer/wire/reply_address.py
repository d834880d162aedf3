"""Decides which `reply_to` addresses are allowed, because the service may have permission to write to any queue.

This module refuses the service's own queues, except the results and the stream of the gateways. It also refuses
RabbitMQ's own names, except those that RabbitMQ gives to a caller's queue or channel. Such a name may be invented,
which cannot be recognised here; address_breaker.py handles it. An operator can restrict addresses further with a
pattern. Pure.
"""

from __future__ import annotations

import re

from consumer.wire.topology import Topology

#: A pseudo-queue: RabbitMQ replaces this name by the address of the channel that consumes from it.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
#: A direct reply-to address: not a queue but a name that RabbitMQ routes to one channel.
DIRECT_REPLY_PREFIX = f"{DIRECT_REPLY_TO}."
#: How RabbitMQ names a queue whose name it chooses itself.
SERVER_NAMED_PREFIX = "amq.gen-"
#: Addresses that belong to one caller and disappear with it.
CALLERS_OWN_PREFIXES = (DIRECT_REPLY_PREFIX, SERVER_NAMED_PREFIX)


def refusal(name: str, topology: Topology, allowed: str | None) -> str | None:
    """Return why replies to `name` are refused, with the remedy; None if they are allowed.

    Args:
        name: the producer's `reply_to`; not empty.
        topology: this service's own names.
        allowed: the operator's regular expression for the whole name.
    """
    if name in (topology.results, topology.gateway):
        return None
    if name.startswith(topology.prefix + "."):
        return (
            f"reply_to {name!r} is one of this service's own queues; "
            f"use a queue of your own, or none to get the reply in {topology.results}"
        )
    if name.startswith("amq.") and not name.startswith(CALLERS_OWN_PREFIXES):
        return f"reply_to {name!r} is one of RabbitMQ's own names; use a queue of your own"
    if allowed is not None and not re.fullmatch(allowed, name):
        return (
            f"reply_to {name!r} is not one that this service may write to (reply_to_allowed); "
            f"use a queue of your own that is, or none to get the reply in {topology.results}"
        )
    return None
