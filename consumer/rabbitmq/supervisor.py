"""Opens one connection session after another, until the service stops.

A broken session is not repaired: it is closed as a whole, and a new one replaces it. At the start a fault ends the
process, because most likely a setting is wrong. After a successful start, the same fault lies with RabbitMQ: the
supervisor logs it and reconnects without a limit.
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
from consumer.rabbitmq.backoff import STABLE_S, Outage
from consumer.rabbitmq.connection import raise_if_cancelled

log = logging.getLogger(__name__)


class Supervised(Protocol):
    """An open session, while RabbitMQ is connected."""

    async def lost(self) -> str:
        """Wait until the session is lost; return the reason."""


S = TypeVar("S", bound=Supervised)
Open = Callable[[str], AbstractAsyncContextManager[S]]


class Supervisor(Generic[S]):
    """Keeps a session open, at one of several addresses.

    Mutable state: `session`, the open session or None; `fault`, the last reason why no session was open;
    `_outage`, the current or the last outage; `_lost_at`, the time of the last loss; `_is_last`, set when no
    session may follow.
    """

    def __init__(
        self,
        urls: Sequence[str],
        open_session: Open[S],
        *,
        stable_s: float = STABLE_S,
        changed: Callable[[bool], None] = lambda _consuming: None,
        what: str = "jobs",
    ) -> None:
        """Open nothing yet; `run` opens the first session.

        Args:
            urls: the addresses, tried in random order, which spreads consumers over a cluster's nodes.
            open_session: opens a session at one URL.
            stable_s: the seconds after which a session ends the outage before it.
            changed: called with the new value whenever `consuming` changes.
            what: the noun in the log for the messages that the sessions receive.
        """
        self.session: S | None = None
        self.fault = ""
        self._urls = random.sample(urls, len(urls))
        self._open = open_session
        self._stable_s = stable_s
        self._changed = changed
        self._what = what
        self._outage = Outage(0.0)
        self._lost_at: float | None = None
        self._is_last = False

    @property
    def consuming(self) -> bool:
        """Whether jobs reach this consumer now."""
        return self.session is not None

    def end_with_this_session(self) -> None:
        """Make `run` return when the open session is lost, instead of opening another."""
        self._is_last = True

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            BrokerUnreachableError: at the start, no address answered.
            BrokerRefusedError: at the start, RabbitMQ refused.
            ConfigurationError: at the start, a file of the credentials could not be used.
            ConnectionLostError: the connection was lost during the start.
        """
        untried = len(self._urls)
        for url in cycle(self._urls):
            fault = await self._run_session(url)
            raise_if_cancelled()
            if self._is_last:
                return
            if self._lost_at is None:
                untried -= 1
                if not untried or not isinstance(fault, BrokerUnreachableError):
                    raise fault
                continue
            self._log(fault, since=self._lost_at)
            await asyncio.sleep(self._outage.pause_s(time.monotonic()))

    async def _run_session(self, url: str) -> ConsumerError:
        """Run one session; return the fault that ended or prevented it."""
        try:
            async with self._open(url) as session:
                raise_if_cancelled()
                began = time.monotonic()
                self._began(session, began)
                reason = await session.lost()
                self._ended(began, reason)
        except (BrokerRefusedError, BrokerUnreachableError, ConfigurationError, ConnectionLostError) as fault:
            return fault  # ConfigurationError: a certificate's file may be missing for a moment during its renewal
        finally:
            self.session = None
        return ConnectionLostError(reason)

    def _began(self, session: S, now: float) -> None:
        self.session = session
        self._changed(True)
        if self._lost_at is not None:
            away_s, attempts = now - self._lost_at, self._outage.failures
            log.info(
                "taking %s again after %.2f s, attempts: %d",
                self._what,
                away_s,
                attempts,
                extra={"event": "reconnected"},
            )

    def _ended(self, began: float, reason: str) -> None:
        self.session = None
        self._changed(False)
        self._lost_at = time.monotonic()
        if self._lost_at - began >= self._stable_s or not self._outage.failures:
            self._outage = Outage(since=self._lost_at)
        else:
            self._outage.exclude(self._lost_at - began)
        self._log(reason, since=self._lost_at)  # before the close, which takes seconds if the peer is silent

    def _log(self, fault: ConsumerError | str, since: float) -> None:
        """Log the reason that ended the session, or the error that prevents the next one."""
        now = time.monotonic()
        self.fault = str(fault)
        event = {"event": "connection_lost"}
        if isinstance(fault, ConsumerError):
            event = {"event": "reconnect_failed", "error": type(fault).__name__}
        if self._outage.is_worth_logging(str(fault), now):
            log.warning("disconnected for %.1f s: %s; reconnecting", now - since, fault, extra=event)
