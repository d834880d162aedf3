"""Detects that RabbitMQ delivers no jobs although some are ready and this consumer has room for them.

When the leader of a quorum queue is killed, RabbitMQ may lose acks of a channel that began to consume only seconds
before: the next leader may not know the channel yet, and never asks it to send them again (3.10.8, and
rabbitmq-server#13095). RabbitMQ then counts settled jobs against the prefetch for ever, without any error. A new
session gets a new prefetch, so this module ends the session. It never opens a session, and settles nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.service.queue_gauges import Measurable

#: Seconds between checks. A check asks RabbitMQ only if no job has arrived since the last one.
PERIOD_S: Final = 15.0
#: The session ends at this check in a row with ready jobs and no delivery. RabbitMQ delivers within milliseconds,
#: and after the loss of a leader within seconds.
CHECKS: Final = 3


class Receiving(Protocol):
    """The part of a session that this module watches."""

    @property
    def lifetime(self) -> Lifetime:
        """Ends when the session is lost."""

    @property
    def admin(self) -> Measurable:
        """Reads the depth of a queue."""

    @property
    def received(self) -> int:
        """How many messages RabbitMQ has delivered in this session."""


@dataclass
class Starvation:
    """Watches one session after another for deliveries from `queue`. `has_room`: whether another job would fit.

    Mutable state: `_has_tried`, set when a session was ended, until a job arrives. A consumer that waits behind
    the single active consumer of its queue starves rightly, and must not reconnect again and again.
    """

    queue: str
    has_room: Callable[[], bool]
    _has_tried: bool = False

    async def watch(self, session: Receiving) -> None:
        """Check repeatedly; end the session's lifetime when it starves."""
        received = in_vain = 0
        while not session.lifetime.ended.done():
            await asyncio.sleep(PERIOD_S)
            if session.received != received:
                received, in_vain, self._has_tried = session.received, 0, False
                continue
            in_vain = in_vain + 1 if await self._is_starving(session.admin) else 0
            if in_vain >= CHECKS and session.received == received and not self._has_tried:
                self._has_tried = True
                session.lifetime.end(
                    f"RabbitMQ has delivered no job for {CHECKS * PERIOD_S:g} s, although jobs are ready in "
                    f"{self.queue} and a slot is free"
                )

    async def _is_starving(self, admin: Measurable) -> bool:
        if not self.has_room():
            return False
        with suppress(ConnectionLostError):  # or no answer in time
            depth = await admin.depth(self.queue)
            return bool(depth and depth.ready)
        return False
