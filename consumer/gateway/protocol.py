"""uvicorn's HTTP/1.1, with two things that it leaves out: a time for the head of a request, and our words for 400.

A connection that says nothing, or says it byte by byte, would be kept for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from consumer.gateway.problems import Reason, answer

#: For the head of the first request; a later one has uvicorn's own time to begin, and this one to be complete.
HEAD_S = 10.0


class PatientH11(H11Protocol):
    """Mutable state: `_timer`, which runs while a head is waited for."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin to wait."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on while there is no whole head."""
        if self._timer is None and not self._is_answering():
            self._wait()
        super().data_received(data)
        if self._is_answering():
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = (
            self.cycle
        )  # None before the first request, whatever uvicorn's type says
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature; ours says more
        """Say it as all other problems are said, and close."""
        said = answer(Reason.NOT_HTTP)
        headers: dict[str, Any] = {**said.headers, "Content-Length": str(len(said.body)), "Connection": "close"}
        head = [
            f"HTTP/1.1 {said.status.value} {said.status.phrase}",
            *(f"{name}: {headers[name]}" for name in headers),
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + said.body)
        self.transport.close()
