"""Where replies may go: a `reply_to` that a stranger chose is a queue that we write to with our own permissions.

Never into this service's own queues, but for the results and the stream of the gateways; never to a name of
RabbitMQ's own, but for those that it gives to a caller's queue or channel; which of those it has made nobody can
tell (address_breaker.py). An operator narrows it down further with a pattern. Pure.
"""

from __future__ import annotations

import re

from consumer.wire.topology import Topology

#: A direct reply-to caller's address: not a queue but a name that RabbitMQ routes to one channel.
DIRECT_REPLY_PREFIX = "amq.rabbitmq.reply-to."
#: How RabbitMQ names a queue whose name it chooses itself.
SERVER_NAMED_PREFIX = "amq.gen-"
#: Addresses that are their caller's own and end with it.
CALLERS_OWN_PREFIXES = (DIRECT_REPLY_PREFIX, SERVER_NAMED_PREFIX)


def refusal(name: str, topology: Topology, allowed: str | None) -> str | None:
    """Say why no reply may go to `name`, with the remedy; None if one may.

    Args:
        name: what the producer has asked for; not empty.
        topology: our own names.
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
