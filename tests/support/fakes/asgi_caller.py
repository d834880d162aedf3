"""Calls an ASGI application as a server would, one request at a time, without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Event = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass(frozen=True)
class Said:
    """The answer of the application."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


#: The default: no headers.
NONE: Mapping[str, str] = MappingProxyType({})


class Request:
    """A request whose body arrives in parts, and whose caller may disconnect.

    Mutable state: `hung_up`, set by the test to disconnect; `said`, the events of the answer.
    """

    def __init__(
        self,
        method: str,
        path: str,
        parts: Sequence[bytes] = (),
        *,
        headers: Mapping[str, str],
        is_whole: bool = True,
    ) -> None:
        self.hung_up = asyncio.Event()
        self._events = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        if is_whole:
            self._events.append({"type": "http.request", "body": b"", "more_body": False})
        self.said: list[Event] = []
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": named,
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }

    async def receive(self) -> Event:
        if self._events:
            return self._events.pop(0)
        await self.hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.said.append(event)

    async def through(self, app: App) -> Said:
        """Pass the request to the application, and return the answer."""
        await app(self.scope, self.receive, self.send)
        head = self.said[0]
        headers = {name.decode(): value.decode() for name, value in head["headers"]}
        return Said(head["status"], headers, b"".join(event.get("body", b"") for event in self.said[1:]))


async def ask(app: App, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = NONE) -> Said:
    """Send a request whose body is one part, and return the answer."""
    return await Request(method, path, [body] if body else [], headers=headers).through(app)
