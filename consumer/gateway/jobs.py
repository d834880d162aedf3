"""Handles requests about jobs: POST publishes a job, GET returns its reply.

The HTTP status describes the request, and the `status` in the body describes the job. So a GET, or a POST with
`Prefer: wait`, answers 200 even if the job has failed. Knows no routes and no connection.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

from consumer.config.settings import Settings
from consumer.gateway import ids
from consumer.gateway.problems import Reason, answer
from consumer.gateway.reply_cache import Replies
from consumer.gateway.request_body import JSON_TYPE
from consumer.job import Invalid
from consumer.rabbitmq.admin import Depth
from consumer.telemetry.metrics import Metrics
from consumer.wire import read
from consumer.wire.message import Message
from consumer.wire.topology import GATEWAY_KEPT_S, Topology

#: The limits of `Retry-After` in seconds; the header has half the job's age.
RETRY_FIRST_S, RETRY_LAST_S = 1, 30
#: The clocks of two gateways may differ by so much.
SKEW_S = 60.0
#: How long a GET waits for the gateway to catch up with the stream of replies.
CATCH_UP_S = 2.0
#: The longest wait in seconds. Most proxies end a request after a minute (nginx: proxy_read_timeout 60s).
MAX_WAIT_S = 50
#: A preference: a token, and perhaps a value, quoted or not. Parameters after `;` are ignored.
_PREFERENCE = re.compile(
    r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*))?\s*(?:;[^,]*)?'
)


class Relaying(Protocol):
    """The interface to RabbitMQ: see `Relay`."""

    topology: Topology
    replies: Replies
    caught_up: asyncio.Event

    @property
    def is_connected(self) -> bool:
        """Whether RabbitMQ is connected."""

    async def submit(self, job: Message) -> Reason | None:
        """Publish a job. Return None once RabbitMQ has confirmed it, and otherwise the reason why not."""

    async def depth(self) -> Depth | Reason:
        """Return the state of the jobs queue, or why it is not known."""


class Pending(BaseModel):
    """The body of a 202: there is no reply yet."""

    job_id: str = Field(description="the job's id; GET /jobs/{job_id} returns the reply")
    status: Literal["pending"] = "pending"


class JobsQueue(BaseModel):
    """The body of the answer about the jobs queue."""

    waiting: int | None = Field(None, description="jobs that no consumer has taken yet; left out if not known")
    consumers: int | None = Field(
        None,
        description="AMQP consumers of the queue, including those that fetch ahead; 0: no job runs; left out if "
        "RabbitMQ refuses to answer",
    )


class Jobs:
    """Answers requests about jobs. `hurry`: a future; when it is done, all waits for replies end."""

    def __init__(
        self, settings: Settings, relay: Relaying, metrics: Metrics, *, catch_up_s: float = CATCH_UP_S
    ) -> None:
        self._settings = settings
        self._relay = relay
        self._metrics = metrics
        self._catch_up_s = catch_up_s
        self.hurry: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def read(self, body: bytes, headers: Mapping[str, str | None]) -> Message | Response:
        """Check a job by the service's rules; return its message, or the answer that refuses it.

        `headers`: what the job gets of the request's headers; None if the request does not have it.
        """
        job_id = ids.new()
        message = Message(
            body=body,
            headers={name: value for name, value in headers.items() if value is not None},
            content_type=JSON_TYPE,
            message_id=job_id,
            correlation_id=job_id,
            reply_to=self._relay.topology.gateway,
            timestamp=time.time(),
        )
        _, found = read.read_message(message, self._relay.topology, self._settings.job_rules)
        return answer(Reason.NOT_A_JOB, found.message) if isinstance(found, Invalid) else message

    async def submit(self, message: Message) -> Response | None:
        """Publish a job. Return None once RabbitMQ has confirmed it, and otherwise the answer to the request."""
        reason = await self._relay.submit(message)
        if reason is None:
            self._metrics.count("gateway.submitted")
            return None
        may_have_it = reason in (Reason.MAYBE_TAKEN, Reason.CONFIRM_LATE)
        return answer(reason, job_id=message.message_id if may_have_it else None)

    async def result(self, job_id: str, wait_s: int | None, disconnected: asyncio.Future[Any]) -> Response:
        """Return the reply to a job that was just published, if it arrives in the requested time."""
        body = await self._relay.replies.wait(job_id, wait_s or 0, disconnected, self.hurry)
        return _pending(job_id, wait_s, 0.0) if body is None else _reply(body, wait_s)

    async def fetch(self, job_id: str, wait_s: int | None, disconnected: asyncio.Future[Any]) -> Response:
        """Return the reply to a job of any gateway."""
        made_at = ids.made_at(job_id)
        if made_at is None or made_at > time.time() + SKEW_S:
            return answer(Reason.NO_JOB)
        age_s = max(0.0, time.time() - made_at)
        replies = self._relay.replies
        if (body := replies.find(job_id)) is not None:
            return _reply(body, wait_s)
        if age_s > GATEWAY_KEPT_S or replies.was_dropped(job_id):
            return answer(Reason.REPLY_GONE)
        await self._catch_up()
        if (body := await replies.wait(job_id, wait_s or 0, disconnected, self.hurry)) is not None:
            return _reply(body, wait_s)
        if not self._relay.caught_up.is_set():
            return answer(Reason.READING if self._relay.is_connected else Reason.AWAY)
        return _pending(job_id, wait_s, age_s)

    async def queue(self) -> Response:
        """Return how many jobs wait, and how many consumers the queue has."""
        depth = await self._relay.depth()
        if isinstance(depth, Reason):
            return answer(depth)
        body = JobsQueue(waiting=depth.ready, consumers=depth.consumers)
        return Response(to_json(body, exclude_none=True), media_type=JSON_TYPE)

    async def _catch_up(self) -> None:
        """Wait up to `CATCH_UP_S` for the replies that were published while this gateway was disconnected."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._catch_up_s):
                await self._relay.caught_up.wait()


def retry_after_s(age_s: float) -> int:
    """Return how long to wait before the next GET for a job of this age."""
    return max(RETRY_FIRST_S, min(RETRY_LAST_S, round(age_s / 2)))


def _applied(wait_s: int | None) -> dict[str, str]:
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}


def _reply(body: bytes, wait_s: int | None) -> Response:
    """Answer with the reply, byte for byte as the service published it."""
    return Response(body, HTTPStatus.OK, _applied(wait_s), JSON_TYPE)


def _pending(job_id: str, wait_s: int | None, age_s: float) -> Response:
    headers = {
        "Location": f"/jobs/{job_id}",
        "Retry-After": str(retry_after_s(age_s)),
        **_applied(wait_s),
    }
    return Response(to_json(Pending(job_id=job_id)), HTTPStatus.ACCEPTED, headers, JSON_TYPE)


def wish_to_wait_s(prefer: Iterable[str]) -> int | None:
    """Read the first wait in the lines of `Prefer` (RFC 7240), in seconds; None if there is none.

    An invalid preference is ignored, as the RFC requires. A wait that is too long is cut; the answer's
    `Preference-Applied` has the value used.
    """
    for line in prefer:
        for part in line.split(","):
            found = _PREFERENCE.fullmatch(part)
            if found and found[1].lower() == "wait":
                return _seconds(found[2] or "")
    return None


def _seconds(text: str) -> int | None:
    digits = text.strip('"')
    # More digits are no valid wait, and converting millions of them would take long.
    if not re.fullmatch(r"[0-9]{1,9}", digits):
        return None
    return min(int(digits), MAX_WAIT_S)
