"""Opens one connection session after another, until the service stops.

A session that breaks is closed as a whole and replaced by a new one; nothing in it is repaired. At the start a
fault ends the process, because a setting is most likely wrong and a supervisor then reports it. After a successful
start, the same fault is a fault of RabbitMQ: it is logged and retried without a limit.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import cycle
from typing import Generic, Protocol, TypeVar

from consumer.errors import (
    BrokerRefusedError,
    BrokerUnreachableError,
    ConfigurationError,
    ConnectionLostError,
    ConsumerError,
)
from consumer.rabbitmq.backoff import STABLE_S, Trouble
from consumer.rabbitmq.connection import raise_if_cancelled

log = logging.getLogger(__name__)


class Life(Protocol):
    """An open session, while RabbitMQ is connected."""

    async def lost(self) -> str:
        """Wait until the session is useless; return what happened."""


L = TypeVar("L", bound=Life)
Open = Callable[[str], AbstractAsyncContextManager[L]]


class Link(Generic[L]):
    """Keeps a session open, at one of several addresses.

    Mutable state: `life`, the open session or None; `_trouble`, from the loss of a session until one is stable;
    `_lost_at`, the time of the last loss; `_is_last`, set when the current session is the last.
    """

    def __init__(
        self,
        urls: Sequence[str],
        open_life: Open[L],
        *,
        stable_s: float = STABLE_S,
        changed: Callable[[bool], None] = lambda _consuming: None,
        what: str = "jobs",
    ) -> None:
        """Make a link; `run` opens the first session.

        Args:
            urls: tried in turn, from a random one: many consumers spread over a cluster's nodes.
            open_life: opens a session at one URL; it is usable as soon as it is entered.
            stable_s: a session that lasts so many seconds ends the outage before it.
            changed: called whenever `consuming` changes.
            what: what the sessions receive, for the log.
        """
        self.life: L | None = None
        self._urls = random.sample(urls, len(urls))
        self._open = open_life
        self._stable_s = stable_s
        self._changed = changed
        self._what = what
        self._trouble = Trouble(0.0)
        self._lost_at: float | None = None
        self._is_last = False

    @property
    def consuming(self) -> bool:
        """Whether jobs reach this consumer now."""
        return self.life is not None

    def end_with_this_life(self) -> None:
        """Let `run` return when the open session is lost, instead of opening another."""
        self._is_last = True

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            BrokerUnreachableError: at the start, no address answered.
            BrokerRefusedError, ConfigurationError, ConnectionLostError: at the start.
        """
        untried = len(self._urls)
        for url in cycle(self._urls):
            fault = await self._live(url)
            raise_if_cancelled()
            if self._is_last:
                return
            if self._lost_at is None:
                untried -= 1
                if not untried or not isinstance(fault, BrokerUnreachableError):
                    raise fault
                continue
            self._tell(fault, since=self._lost_at)
            await asyncio.sleep(self._trouble.pause_s(time.monotonic()))

    async def _live(self, url: str) -> ConsumerError:
        """Run one session; return what ended or prevented it."""
        try:
            async with self._open(url) as life:
                raise_if_cancelled()
                began = time.monotonic()
                self._began(life, began)
                reason = await life.lost()
                self._ended(began, reason)
        except (BrokerRefusedError, BrokerUnreachableError, ConfigurationError, ConnectionLostError) as fault:
            return fault  # a certificate's file may be missing for the moment in which it is renewed
        finally:
            self.life = None
        return ConnectionLostError(reason)

    def _began(self, life: L, now: float) -> None:
        self.life = life
        self._changed(True)
        if self._lost_at is not None:
            away_s, attempts = now - self._lost_at, self._trouble.failures
            log.warning(
                "taking %s again after %.2f s, attempts: %d",
                self._what,
                away_s,
                attempts,
                extra={"event": "reconnected"},
            )

    def _ended(self, began: float, reason: str) -> None:
        self.life = None
        self._changed(False)
        self._lost_at = time.monotonic()
        if self._lost_at - began >= self._stable_s or not self._trouble.failures:
            self._trouble = Trouble(since=self._lost_at)
        else:
            self._trouble.pass_over(self._lost_at - began)
        self._tell(reason, since=self._lost_at)  # now: closing a peer that is silent takes seconds

    def _tell(self, fault: ConsumerError | str, since: float) -> None:
        """Log what ended the session (a reason), or what prevents the next one (an error)."""
        now = time.monotonic()
        event = {"event": "connection_lost"}
        if isinstance(fault, ConsumerError):
            event = {"event": "reconnect_failed", "error": type(fault).__name__}
        if self._trouble.is_worth_telling(str(fault), now):
            log.warning("no %s since %.1f s: %s; connecting again", self._what, now - since, fault, extra=event)
