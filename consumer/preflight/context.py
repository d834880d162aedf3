"""What the checks look at, and what an earlier one has opened for the later ones; all is closed at the end.

Nobody waits for a check longer than its time: what may block (a name server, a network disk, HTTP) is asked
aside, in a thread that does not keep the process from ending.
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
from consumer.rabbitmq.console import Console
from consumer.runners.runner import Runner
from consumer.wire.topology import Topology

T = TypeVar("T")


@dataclass
class Site:
    """One installation. `sample` is the file of a job to try.

    Mutable state: what the checks fill in. `url` and `connection`: a RabbitMQ that has taken us. `console`: its
    management API, where there is one. `runner`: with the classifier loaded, one slot.
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
        """Give the connection to who needs it: the table lets no such check run without."""
        if self.connection is None:
            raise RuntimeError("asked before there was a connection")
        return self.connection


async def aside(ask: Callable[[], T]) -> T:
    """Call what may block; whoever is cancelled meanwhile leaves it behind."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = ask()
        except Exception as raised:  # noqa: BLE001 - told to whoever asked
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await answer
