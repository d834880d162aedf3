"""Checks whether exchanges and queues exist or can be created, and finds all unexpected properties.

AMQP does not expose a queue's arguments. When a client declares an existing queue, RabbitMQ accepts equal
arguments without any effect; otherwise it refuses and names only the first difference. So the check declares the
queue again and again, each time with the value that RabbitMQ has just named, until RabbitMQ accepts. It does so
only for a queue that it has just found. For a missing queue, it sends only requests that RabbitMQ must refuse
for their invalid TTL (`NO_TTL`). So it creates nothing, unless a queue is deleted between two of its requests.

With `declare` false, a policy may have set the expected values, which is as good as an argument. Only the
management API shows this, some seconds after the policy was set. Without `management_url` the check cannot know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed

from consumer.preflight.amqp_probe import CREATED, Ask, granted, rabbitmqctl, reason, refusal
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, failure, merged, ok, warning
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, is_away
from consumer.rabbitmq.management import Console
from consumer.wire.topology import EXCHANGE_TYPE, Queue

Value: TypeAlias = str | int | bool | None

#: Invalid values. RabbitMQ first checks the permission to create the queue or exchange, then refuses the value.
NO_TTL: Final = "none: only asks for the permission"
NO_ALTERNATE: Final = 0
#: The most declarations of one queue. No queue has so many arguments, so RabbitMQ would refuse for ever.
MOST_DIFFERENCES = 20
DURABLE = "durable"
TYPE = "type"

#: The differences that lose jobs, with their effects. With `declare` false, RabbitMQ refuses none of them.
LOSES: Final = {
    DURABLE: "its messages are lost when RabbitMQ restarts",
    TYPE: "dead letters are not routed as they should be",
    "x-queue-type": "it is not replicated, and dead-letters at most once",
    "x-dead-letter-exchange": "RabbitMQ deletes messages that are rejected or expire",
    "x-dead-letter-routing-key": "its messages do not return to the jobs queue",
    "x-message-ttl": "its messages return at another time, or never",
    "x-dead-letter-strategy": "dead letters may be lost on their way",
    "x-overflow": "dead letters may be lost on their way",
}

_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .*?: received (?P<ours>.*?) but current is (?P<theirs>.*)", re.DOTALL
)
_TYPED: Final = re.compile(r"the value '(?P<text>.*)' of type '(?P<type>\w+)'", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Difference:
    """One property of a queue or an exchange that differs from the expected one. None: a missing argument."""

    name: str
    wanted: Value
    found: Value

    def __str__(self) -> str:
        return f"{self.name} is {_shown(self.found)} and should be {_shown(self.wanted)}"


def _shown(value: Value) -> str:
    return "not set" if value is None else repr(value)


async def topology(site: Site) -> list[Finding]:
    """Check the exchange and each queue."""
    exchange, queues = site.topology.dead_letter_exchange, site.topology.queues()
    found = [await _exchange(site, exchange), *[await _queue(site, queue) for queue in queues]]
    missing = [one for one in found if isinstance(one, str)]
    problems = merged([finding for one in found if not isinstance(one, str) for finding in one])
    if missing:
        return [*problems, ok(f"`run` will create {', '.join(missing)}, and this user may do so")]
    return problems or [ok(f"{exchange} and {len(queues)} queues are as expected")]


async def _exchange(site: Site, exchange: str) -> list[Finding] | str:
    """Return the exchange's faults, or its name if it is missing and `run` may create it. So does `_queue`."""
    what = f"exchange {exchange}"
    if closed := await refusal(site.connected(), _making(exchange, passive=True)):
        return await _missing(site, what, closed, _making(exchange, NO_ALTERNATE))
    if (console := _witness(site)) is not None:
        described: Mapping[str, Any] = await in_daemon_thread(lambda: console.exchange(exchange) or {})
        have = {**described.get("arguments", {}), TYPE: described.get(TYPE), DURABLE: described.get(DURABLE)}
        wanted: dict[str, Value] = {TYPE: EXCHANGE_TYPE, DURABLE: True}
        return _judged(site, what, _differences(wanted, have))
    again = await refusal(site.connected(), _making(exchange))
    if again is None:
        return []
    if difference := difference_in(reason(again)):
        return _judged(site, what, [difference])
    return _refused(site, what, again)


def _making(exchange: str, alternate: int | None = None, *, passive: bool = False) -> Ask:
    return lambda channel: channel.declare_exchange(
        exchange,
        EXCHANGE_TYPE,
        durable=True,
        passive=passive,
        arguments={} if alternate is None else {"alternate-exchange": alternate},
        timeout=CALL_TIMEOUT_S,
    )


async def _queue(site: Site, queue: Queue) -> list[Finding] | str:
    what = f"queue {queue.name}"
    if closed := await refusal(site.connected(), _declaring(queue.name, {}, passive=True)):
        # Exclusive: if a RabbitMQ accepts it after all, the queue ends with our connection.
        impossible = {**queue.arguments, "x-message-ttl": NO_TTL}
        return await _missing(site, what, closed, _declaring(queue.name, impossible, durable=True, exclusive=True))
    if (console := _witness(site)) is not None:
        return _judged(
            site, what, compared(queue, await in_daemon_thread(lambda: console.queue(queue.name) or {}))
        )
    return await _declared_again(site, queue)


def _witness(site: Site) -> Console | None:
    """Return the management API if policies may replace arguments, because only this API shows policies."""
    return None if site.settings.declare else site.console


async def _missing(site: Site, what: str, closed: ChannelClosed, make: Ask) -> list[Finding] | str:
    if not isinstance(closed, ChannelNotFoundEntity):
        return [failure(f"{what} cannot be checked: {reason(closed)}", granted(site))]
    if is_away(closed):
        return [
            failure(
                f"{what} is unavailable: {reason(closed)}",
                "start the node that has it (`rabbitmqctl cluster_status`)",
            )
        ]
    if not site.settings.declare:
        return [
            failure(
                f"{what} is missing, and with `declare` = false `run` does not create it",
                f"set `declare` to true, or {CREATED}",
            )
        ]
    refused = await refusal(site.connected(), make)
    if isinstance(refused, ChannelPreconditionFailed):
        return what.partition(" ")[2]
    why = reason(refused) if refused else "RabbitMQ did not refuse"
    return [failure(f"{what} is missing, and this user may not create it: {why}", granted(site))]


async def _declared_again(site: Site, queue: Queue) -> list[Finding]:
    """Find all differences: declare the queue again, each time with the value that RabbitMQ has just named."""
    what, durable = f"queue {queue.name}", True
    arguments: dict[str, Any] = dict(queue.arguments)
    differences: list[Difference] = []
    while len(differences) < MOST_DIFFERENCES:
        closed = await refusal(site.connected(), _declaring(queue.name, arguments, durable=durable))
        if closed is None:
            break
        difference = difference_in(reason(closed))
        if difference is None or any(one.name == difference.name for one in differences):
            return [*_judged(site, what, differences), *_refused(site, what, closed)]
        differences.append(difference)
        if difference.name == DURABLE:
            durable = False
        elif difference.found is None:
            arguments.pop(difference.name, None)
        else:
            arguments[difference.name] = difference.found
    return _judged(site, what, differences)


def _declaring(name: str, arguments: dict[str, Any], **how: bool) -> Ask:
    return lambda channel: channel.declare_queue(name, arguments=arguments, timeout=CALL_TIMEOUT_S, **how)


def _refused(site: Site, what: str, closed: ChannelClosed) -> list[Finding]:
    """Report a refusal that names no difference."""
    is_right = isinstance(closed, ChannelAccessRefused)
    if is_right and not site.settings.declare:
        return [
            warning(
                f"{what} exists; its arguments are unknown, because this user may not configure it",
                "set management_url, or run `consumer check` once as a user who may configure",
            )
        ]
    remedy = granted(site) if is_right else _again(site, what)
    return [failure(f"RabbitMQ would refuse to declare {what}: {reason(closed)}", remedy)]


def difference_in(refused: str) -> Difference | None:
    """Parse the difference that RabbitMQ's refusal names; None if it names none."""
    if (found := _INEQUIVALENT.match(refused)) is None:
        return None
    ours = _value(found["ours"], None)
    theirs = _value(found["theirs"], ours)
    return Difference(found["name"], _value(found["ours"], theirs), theirs)


def _value(text: str, other: Value) -> Value:
    """Parse a value. If both values have one type, RabbitMQ does not name it, and `other` determines the type."""
    if text == "none":
        return None
    typed = _TYPED.fullmatch(text)
    content = typed["text"] if typed else text.strip("'")
    if content in ("true", "false") and (typed is None or typed["type"] == "bool"):
        return content == "true"
    is_text = typed["type"] == "longstr" if typed else isinstance(other, str)
    return content if is_text or not re.fullmatch(r"-?\d+", content) else int(content)


def compared(queue: Queue, described: Mapping[str, Any]) -> list[Difference]:
    """Compare a queue with the management API's description; a policy counts like an argument."""
    effective = dict(described.get("effective_policy_definition") or {})
    policy = {f"x-{name}": value for name, value in effective.items()}
    have = {**policy, **described.get("arguments", {}), DURABLE: described.get(DURABLE)}
    return _differences({**queue.arguments, DURABLE: True}, have)


def _differences(want: Mapping[str, Value], have: Mapping[str, Any]) -> list[Difference]:
    return [Difference(name, value, have.get(name)) for name, value in want.items() if have.get(name) != value]


def _judged(site: Site, what: str, differences: list[Difference]) -> list[Finding]:
    if not differences:
        return []
    detail = f"{what} is not as expected:" + "".join(f"\n- {one}{_consequence(one)}" for one in differences)
    if site.settings.declare or any(one.name in LOSES for one in differences):
        return [failure(detail, _again(site, what))]
    return [warning(detail, f"if this is not intended: {_again(site, what)}")]


def _consequence(difference: Difference) -> str:
    return f" ({LOSES[difference.name]})" if difference.name in LOSES else ""


def _again(site: Site, what: str) -> str:
    kind, _, name = what.partition(" ")
    delete = (
        f"if its messages may be lost, {rabbitmqctl(site, 'delete_queue', name)}"
        if kind == "queue"
        else f"delete the exchange {name} in the management console"
    )
    then = "`run` creates it anew" if site.settings.declare else CREATED
    return f"{delete}, then {then}; or choose another `prefix`"


async def dead_letters(site: Site) -> list[Finding]:
    """Check that dead-lettered messages arrive in a queue. AMQP has no query for that."""
    exchange, dead = site.topology.dead_letter_exchange, site.topology.dead
    if site.console is None:
        return [_unknown_binding(site)]
    console = site.console
    queues = await in_daemon_thread(lambda: console.bound_to(exchange))
    if dead in queues:
        return [ok(f"{exchange} is bound to {', '.join(sorted(queues))}")]
    if site.settings.declare:
        return [ok(f"{exchange} is not bound to {dead} yet: `run` binds it")]
    nowhere = " or to any other queue: RabbitMQ cannot dead-letter a job"
    others = f", only to {', '.join(sorted(queues))}" if queues else nowhere
    return [
        failure(
            f"{exchange} is not bound to {dead}{others}",
            f"bind {dead} to it in the management console, or {CREATED}",
        )
    ]


def _unknown_binding(site: Site) -> Finding:
    exchange, dead = site.topology.dead_letter_exchange, site.topology.dead
    if site.settings.declare:
        return ok(f"`run` binds {dead} to {exchange} at each start")
    return warning(
        f"unknown whether {exchange} is bound to {dead}: only the management API exposes it",
        f"set management_url; or see that {rabbitmqctl(site, 'list_bindings', 'source_name', 'destination_name')} "
        f"prints {exchange} and {dead} on one line",
    )
