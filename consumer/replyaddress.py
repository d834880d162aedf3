"""Where replies may go: a `reply_to` that a stranger chose is a queue that we write to with our own permissions.

Never into this service's own queues, but for the results; never to a name of RabbitMQ's own, but for those that
it gives to a caller's queue or channel. An operator narrows it down further with a pattern. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re

from consumer.topology import Topology

#: A direct reply-to caller's address: not a queue but a name that RabbitMQ routes to one channel.
DIRECT_REPLY_PREFIX = "amq.rabbitmq.reply-to."
#: How RabbitMQ names a queue whose name it chooses itself.
SERVER_NAMED_PREFIX = "amq.gen-"

#: A process number in Erlang's external term format begins with the version, PID_EXT or NEW_PID_EXT, and the
#: length of the node's name, as which RabbitMQ writes a number. So many bytes follow that.
_PROCESS_NUMBER = re.compile(rb"\x83([gX])(?:v(..)|w(.))", re.DOTALL)
_NODE = re.compile(rb"[^@]+@\d{1,9}")
_AFTER_NODE = {b"g": 9, b"X": 12}


def refusal(name: str, topology: Topology, allowed: str | None) -> str | None:
    """Say why no reply may go to `name`, with the remedy; None if one may.

    Args:
        name: what the producer has asked for; not empty.
        topology: our own names.
        allowed: the operator's regular expression for the whole name.
    """
    if name == topology.results:
        return None
    if name.startswith(topology.prefix + "."):
        return (
            f"reply_to {name!r} is one of this service's own queues; "
            f"use a queue of your own, or none to get the reply in {topology.results}"
        )
    if name.startswith("amq.") and not _is_callers_own(name):
        return f"reply_to {name!r} is one of RabbitMQ's own names; use a queue of your own"
    if allowed is not None and not re.fullmatch(allowed, name):
        return (
            f"reply_to {name!r} is not one that this service may write to (reply_to_allowed); "
            f"use a queue of your own that is, or none to get the reply in {topology.results}"
        )
    return None


def _is_callers_own(name: str) -> bool:
    return name.startswith(SERVER_NAMED_PREFIX) or (
        name.startswith(DIRECT_REPLY_PREFIX) and _is_direct_address(name.removeprefix(DIRECT_REPLY_PREFIX))
    )


def _is_direct_address(address: str) -> bool:
    """Whether RabbitMQ can have made it: `<process number>.<key>`, both in base64.

    Up to 4.1 RabbitMQ ends the connection of whoever publishes to one whose first part it cannot decode: one such
    job would cut us off at each of its deliveries. What has the right form and still does so is for the publisher.
    """
    parts = address.split(".")
    try:
        process, key = (base64.b64decode(part, validate=True) for part in parts)
    except (ValueError, binascii.Error):
        return False
    return bool(key) and _is_process_number(process)


def _is_process_number(term: bytes) -> bool:
    begin = _PROCESS_NUMBER.match(term)
    if begin is None:
        return False
    size = int.from_bytes(begin[2] or begin[3])
    node, rest = term[begin.end() :][:size], term[begin.end() + size :]
    return _NODE.fullmatch(node) is not None and len(rest) == _AFTER_NODE[begin[1]]
