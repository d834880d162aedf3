"""The link to RabbitMQ: one life of the connections after the other, until we stop.

A life that breaks is thrown away whole and built anew from nothing; nothing of it is repaired. At the start a
fault ends the process, for it is most likely a wrong setting, and whoever runs us shows it; once we have served,
the same fault is RabbitMQ's own trouble: it is reported and tried again for as long as it takes.
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
    """What is open while RabbitMQ is there."""

    async def lost(self) -> str:
        """Wait until it is of no use any more; return what happened."""


L = TypeVar("L", bound=Life)
Open = Callable[[str], AbstractAsyncContextManager[L]]


class Link(Generic[L]):
    """Keeps a life open, at one of several addresses.

    Mutable state: `life`, the open one or None; `_trouble`, since a life was lost and until one is stable again;
    `_lost_at`, when the last one was lost; `_is_last`, set when no other shall follow.
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
        """Make a link that `run` brings to life.

        Args:
            urls: tried in turn, from a random one on: many consumers spread over a cluster's nodes.
            open_life: opens a life at one URL; it is of use from the moment that it is entered.
            stable_s: how many seconds a life must last before the one before it is forgiven.
            changed: is told whenever `consuming` changes.
            what: comes by the link, for the log.
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
        """Whether jobs reach us now."""
        return self.life is not None

    def end_with_this_life(self) -> None:
        """Let `run` return when the open life is lost, instead of opening another."""
        self._is_last = True

    async def run(self) -> None:
        """Live until cancelled.

        Raises:
            BrokerUnreachableError: at the start, nobody answered at any of the addresses.
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
        """Go through one life; return what ended or prevented it."""
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
        """Log what ended the life (a reason), or what prevents the next one (an error)."""
        now = time.monotonic()
        event = {"event": "connection_lost"}
        if isinstance(fault, ConsumerError):
            event = {"event": "reconnect_failed", "error": type(fault).__name__}
        if self._trouble.is_worth_telling(str(fault), now):
            log.warning("no %s since %.1f s: %s; connecting again", self._what, now - since, fault, extra=event)
