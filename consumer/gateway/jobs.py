"""What becomes of a request about a job: POST publishes one, GET asks for its reply. Each returns an `Answer`.

HTTP's status says what became of the request, the body's `status` what became of the job: a reply is 200 whether
the job succeeded or failed, by POST with `Prefer: wait` as by GET. Knows no framework and no connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, Protocol

from pydantic import BaseModel, Field
from pydantic_core import to_json

from consumer.config.settings import Settings
from consumer.gateway import ids
from consumer.gateway import prefer as preferences
from consumer.gateway.problems import Answer, Reason, answer
from consumer.gateway.reply_cache import Replies
from consumer.gateway.request_body import JSON_TYPE
from consumer.job import Invalid
from consumer.telemetry.metrics import Metrics
from consumer.wire import read
from consumer.wire.message import TIMEOUT_HEADER, TRACEPARENT_HEADER, Message
from consumer.wire.topology import GATEWAY_KEPT_S, Topology

#: What may be passed on of the request's headers, under the same names.
PASSED_ON = (TIMEOUT_HEADER, TRACEPARENT_HEADER)
#: A caller who asks again is told to wait about half as long as the job has waited already.
RETRY_FIRST_S, RETRY_LAST_S = 1, 30
#: Clocks of two gateways may differ by so much.
SKEW_S = 60.0
#: How long a GET without a wish to wait stands while the replies so far are read.
CATCH_UP_S = 2.0


class Relaying(Protocol):
    """What is needed of RabbitMQ: see `Relay`."""

    topology: Topology
    replies: Replies
    caught_up: asyncio.Event

    @property
    def is_there(self) -> bool:
        """Whether RabbitMQ is."""

    async def submit(self, job: Message) -> Reason | None:
        """Publish a job; None if RabbitMQ has it."""


class Pending(BaseModel):
    """The body of a 202: no reply yet."""

    job_id: str = Field(description="ask for it at /jobs/{job_id}")
    status: Literal["pending"] = "pending"


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a request's headers counts. `wait_s`: None if it does not want to wait."""

    wait_s: int | None
    passed_on: Mapping[str, str]


def wish(headers: Mapping[str, str], prefer: Sequence[str]) -> Wish:
    """Read it; `prefer` are all lines of that header."""
    passed_on = {name: headers[name] for name in PASSED_ON if name in headers}
    return Wish(preferences.wait_s(prefer), passed_on)


class Jobs:
    """Answers. `hurry`, done when those that wait shall wait no longer."""

    def __init__(self, settings: Settings, relay: Relaying, metrics: Metrics) -> None:
        self._settings = settings
        self._relay = relay
        self._metrics = metrics
        self.hurry: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def read(self, body: bytes, asked: Wish) -> Message | Answer:
        """Make the message of a job, judged as the service will judge it."""
        job_id = ids.new()
        message = Message(
            body=body,
            headers=dict(asked.passed_on),
            content_type=JSON_TYPE,
            message_id=job_id,
            correlation_id=job_id,
            reply_to=self._relay.topology.gateway,
            timestamp=time.time(),
        )
        request = read.read_request(message, self._relay.topology)
        found = read.read_job(message, request, self._settings.job_rules)
        return answer(Reason.NOT_A_JOB, found.message) if isinstance(found, Invalid) else message

    async def submit(self, message: Message) -> Answer | None:
        """Publish a job; None if RabbitMQ has it, otherwise what to answer."""
        reason = await self._relay.submit(message)
        if reason is None:
            self._metrics.count("gateway.submitted")
            return None
        may_have_it = reason in (Reason.MAYBE_TAKEN, Reason.CONFIRM_LATE)
        return answer(reason, job_id=message.message_id if may_have_it else None)

    async def result(self, job_id: str, wait_s: int | None, gone: asyncio.Future[Any]) -> Answer:
        """Give the reply to a job that was just published, if it comes in the time that is wished."""
        body = await self._relay.replies.wait(job_id, wait_s or 0, gone, self.hurry)
        return _pending(job_id, wait_s, 0.0) if body is None else _reply(body, wait_s)

    async def fetch(self, job_id: str, wait_s: int | None, gone: asyncio.Future[Any]) -> Answer:
        """Give the reply to a job, whichever gateway took it."""
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
        if (body := await replies.wait(job_id, wait_s or 0, gone, self.hurry)) is not None:
            return _reply(body, wait_s)
        if not self._relay.caught_up.is_set():
            return answer(Reason.READING if self._relay.is_there else Reason.AWAY)
        return _pending(job_id, wait_s, age_s)

    async def _catch_up(self) -> None:
        """Wait a moment for what other gateways were told while we were not there: after it we know."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_S):
                await self._relay.caught_up.wait()


def retry_after_s(age_s: float) -> int:
    """How long to wait before the next question about a job that was sent so long ago."""
    return max(RETRY_FIRST_S, min(RETRY_LAST_S, round(age_s / 2)))


def _applied(wait_s: int | None) -> dict[str, str]:
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s}"}


def _reply(body: bytes, wait_s: int | None) -> Answer:
    """The reply as the service wrote it, byte for byte."""
    return Answer(HTTPStatus.OK, body, {"Content-Type": JSON_TYPE, **_applied(wait_s)})


def _pending(job_id: str, wait_s: int | None, age_s: float) -> Answer:
    headers = {
        "Content-Type": JSON_TYPE,
        "Location": f"/jobs/{job_id}",
        "Retry-After": str(retry_after_s(age_s)),
        **_applied(wait_s),
    }
    return Answer(HTTPStatus.ACCEPTED, to_json(Pending(job_id=job_id)), headers)
