"""Consumers whose jobs sleep (sleeping.py), so that many slots run side by side on two processors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import measure
from amqp_socket import ID_PLACEHOLDER, Connection, encode
from contender import HERE
from openloop import Stream
from ours import OURS
from pamqp.commands import Basic
from running import PATIENCE_S, Host, vhost
from support.processes.commands import BIN, environment
from support.waiting import wait_until


@dataclass(frozen=True)
class Site:
    """The consumers of a virtual host, by a connection to their queue."""

    connection: Connection

    def stream(self, arrivals_s: Sequence[float], run_s: Sequence[float]) -> Stream:
        return Stream(self.connection, arrivals_s, [self._message(seconds) for seconds in run_s])

    def _message(self, seconds: float) -> bytes:
        properties = Basic.Properties(
            content_type="application/json",
            delivery_mode=2,
            correlation_id=ID_PLACEHOLDER,
            message_id=ID_PLACEHOLDER,
            reply_to=self.connection.replies,
        )
        return encode(OURS.queue, json.dumps({"sleep_s": seconds}).encode(), properties)


@contextmanager
def site(host: Host, name: str, *, slots: int, consumers: int = 1) -> Iterator[Site]:
    """Have so many consumers at work in the block, with our defaults but for the slots of each."""
    with ExitStack() as stack:
        url = stack.enter_context(vhost(host.node))
        connection = stack.enter_context(closing(Connection(url, PATIENCE_S)))
        connection.declare(OURS.queue, OURS.queue_arguments)
        variables = environment(url, classifier="sleeping:classify", pool_size=slots)
        logs = [host.logs / f"{name}-{number}.log" for number in range(consumers)]
        for path in logs:
            log = stack.enter_context(path.open("wb"))
            process = subprocess.Popen(
                [BIN / "consumer", "run"],
                env={**variables, "PYTHONPATH": str(HERE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=host.logs,
            )
            stack.callback(measure.stop, process)
        for path in logs:
            wait_until(lambda path=path: "ready:" in path.read_text(), f"{path} to say that it is ready")  # type: ignore[misc]
        yield Site(connection)
