"""Runs `consumer gateway` as a process, and sends it HTTP requests like any client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, gone_afterwards
from support.waiting import PATIENCE_S

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answered:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


class Caller:
    """One connection to a gateway. It is kept alive, and opened again if the gateway has closed it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
        """Send a request and return the answer; header names have `_` in place of `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, {**(JSON if body is not None else {}), **named})
        response = self._connection.getresponse()
        return Answered(response.status, dict(response.headers), response.read())

    def post(self, job: object, **headers: str) -> Answered:
        """Submit a job and return the answer."""
        return self.ask("POST", "/jobs", json.dumps(job).encode(), **headers)


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    process: ConsumerProcess
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
        with Caller(self.port) as caller:
            return caller.ask(method, path, body, **headers)

    def post(self, job: object, **headers: str) -> Answered:
        with Caller(self.port) as caller:
            return caller.post(job, **headers)

    def get(self, job_id: str, **headers: str) -> Answered:
        return self.ask("GET", f"/jobs/{job_id}", None, **headers)


@contextmanager
def gateway(url: str, *, is_ready: bool = True, **settings: object) -> Iterator[Gateway]:
    """Run a gateway on a free port during the block, and kill it afterwards.

    `is_ready`: wait until it is ready.
    """
    variables = environment(url, **{"gateway_port": 0, **settings})
    with gone_afterwards(ConsumerProcess(variables, command="gateway")) as running:
        page = running.wait_for_event("gateway_listening").text.split()[-1]
        port = int(page.rpartition(":")[2].rstrip("/"))
        if is_ready:
            running.wait_for_event("ready")
        yield Gateway(running, port)
