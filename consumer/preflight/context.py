"""Holds the input of the checks and what earlier checks open for later ones; everything is closed at the end.

No check exceeds its time limit: calls that may block (a name server, a network disk, HTTP) run in a daemon thread,
which does not keep the process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aio_pika.abc import AbstractConnection

from consumer.config.settings import Settings
from consumer.rabbitmq.management import Console
from consumer.runners.runner import Runner
from consumer.wire.topology import Topology

T = TypeVar("T")


@dataclass
class Site:
    """The installation to check. `sample`: the file of a job to run.

    Mutable state, set by checks: `url` and `connection`, a RabbitMQ that has accepted the login; `console`, its
    management API, if there is one; `runner`, with one slot and the classifier loaded.
    """

    settings: Settings
    environment: Mapping[str, str]
    sample: Path | None
    opened: AsyncExitStack
    url: str = ""
    connection: AbstractConnection | None = None
    console: Console | None = None
    runner: Runner | None = None
    topology: Topology = field(init=False)

    def __post_init__(self) -> None:
        self.topology = self.settings.topology

    def connected(self) -> AbstractConnection:
        """Return the connection. A check that needs it must require the check `RabbitMQ`."""
        if self.connection is None:
            raise RuntimeError("there is no connection yet")
        return self.connection


async def in_daemon_thread(ask: Callable[[], T]) -> T:
    """Run a blocking call in a thread, and return its result. If the caller is cancelled, the thread continues."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = ask()
        except Exception as raised:  # noqa: BLE001 - raised again in the caller
            error = raised
        with suppress(RuntimeError):  # the loop is closed: no caller waits
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await answer
