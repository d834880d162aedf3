"""Lists every failure of the gateway in one table: its status, its sentence, and when to retry.

The answer to a failed request is `application/problem+json` (RFC 9457): `reason` is for programs; `detail` is for
people and names the remedy; `job_id` is set if RabbitMQ may have the job, so that a GET can find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class Reason(StrEnum):
    """The kind of failure, for programs."""

    NOT_A_JOB = "not_a_job"
    NO_TOKEN = "no_token"  # noqa: S105 - a reason, not a token
    NO_PAGE = "no_page"
    NO_JOB = "no_job"
    METHOD = "method"
    SLOW_BODY = "slow_body"
    REPLY_GONE = "reply_gone"
    TOO_LARGE = "too_large"
    MEDIA_TYPE = "media_type"
    BUG = "bug"
    AWAY = "rabbitmq_away"
    MAYBE_TAKEN = "maybe_taken"
    ALARM = "alarm"
    QUEUE_FULL = "queue_full"
    NO_QUEUE = "no_queue"
    READING = "reading"
    BUSY = "busy"
    STOPPING = "stopping"
    CONFIRM_LATE = "confirm_late"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """The status and sentence of a reason. `retry_after_s`: 0 if a retry is useless."""

    status: HTTPStatus
    detail: str
    retry_after_s: int = 0


_MAYBE = "it may have the job: GET the job, or send it again, which may run it twice"
KINDS = {
    Reason.NOT_A_JOB: ProblemKind(HTTPStatus.BAD_REQUEST, "the body is not a job, or Timeout-S cannot be used"),
    Reason.NO_TOKEN: ProblemKind(
        HTTPStatus.UNAUTHORIZED, "send a token that this gateway knows: Authorization: Bearer ..."
    ),
    Reason.NO_PAGE: ProblemKind(
        HTTPStatus.NOT_FOUND, "there is no such page; jobs are at /jobs, the contract at /openapi.json"
    ),
    Reason.NO_JOB: ProblemKind(HTTPStatus.NOT_FOUND, "no gateway has ever given a job this id"),
    Reason.METHOD: ProblemKind(
        HTTPStatus.METHOD_NOT_ALLOWED, "this page does not allow that method; use one in the header Allow"
    ),
    Reason.SLOW_BODY: ProblemKind(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time"),
    Reason.REPLY_GONE: ProblemKind(
        HTTPStatus.GONE, "the job is too old: its reply is no longer kept, or it never got one"
    ),
    Reason.TOO_LARGE: ProblemKind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too large"),
    Reason.MEDIA_TYPE: ProblemKind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "send the job as Content-Type: application/json, in UTF-8, not compressed",
    ),
    Reason.BUG: ProblemKind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "this is a bug in the gateway; its log has the traceback"
    ),
    Reason.AWAY: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway has no connection to RabbitMQ", 2),
    Reason.MAYBE_TAKEN: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE, f"the connection was lost before RabbitMQ confirmed the job; {_MAYBE}", 2
    ),
    Reason.ALARM: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "RabbitMQ accepts no messages now (memory or disk alarm)", 10
    ),
    Reason.QUEUE_FULL: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "the jobs queue is full", 5),
    Reason.NO_QUEUE: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "there is no jobs queue; start a consumer with the same prefix", 10
    ),
    Reason.READING: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway is still reading earlier replies", 1),
    Reason.BUSY: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "the gateway has reached its limit of requests", 1),
    Reason.STOPPING: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "the gateway is stopping; ask another, or this one again", 1
    ),
    Reason.CONFIRM_LATE: ProblemKind(
        HTTPStatus.GATEWAY_TIMEOUT, f"RabbitMQ did not confirm the job in time; {_MAYBE}", 2
    ),
}


class Problem(BaseModel):
    """The body of every answer with a status of 400 or more."""

    type: str = Field("about:blank", description="always about:blank; `reason` identifies the problem")
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="the problem and its remedy, for people")
    reason: Reason = Field(description="the problem, for programs")
    job_id: str | None = Field(
        None, description="the job's id, if RabbitMQ may have the job in spite of the problem"
    )


def answer(reason: Reason, detail: str | None = None, *, job_id: str | None = None, **headers: str) -> Response:
    """Make the answer for a failure.

    Args:
        reason: the failure.
        detail: replaces the sentence in the table.
        job_id: set if RabbitMQ may have the job.
        headers: additional headers, with `_` in place of `-`.
    """
    kind = KINDS[reason]
    problem = Problem(
        title=kind.status.phrase, status=kind.status, detail=detail or kind.detail, reason=reason, job_id=job_id
    )
    more: dict[str, Any] = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind.retry_after_s:
        more["Retry-After"] = str(kind.retry_after_s)
    if kind.status is HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = 'Bearer realm="jobs"'
    if job_id is not None:
        more["Location"] = f"/jobs/{job_id}"
    return Response(to_json(problem, exclude_none=True), kind.status, more, CONTENT_TYPE)
