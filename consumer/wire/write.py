"""Turns an `Outcome` into a reply, an error record or a copy of the message. Pure. Copies keep the body."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import to_json

from consumer.escaping import escaped
from consumer.job import ErrorCode, Outcome, Progress, Request, Succeeded, Unsuccessful
from consumer.wire.message import (
    ATTEMPT_HEADER,
    ERROR_TYPE,
    FAILED_TYPE,
    JOB_ID_HEADER,
    LAST_ERROR_HEADER,
    PROGRESS_TYPE,
    REPLAYED_HEADER,
    SUCCEEDED_TYPE,
    TRACEPARENT_HEADER,
    Message,
    replayed,
)

#: The length of the reason in the header. The error record, if there is one, has the whole reason.
HEADER_CHARACTERS = 200
#: RabbitMQ's sender-selected distribution: further routing keys of a message.
_ROUTING_HEADERS = ("CC", "BCC")


class Used(BaseModel):
    """Usage of a run: CPU seconds, peak memory, the signal that ended it. Unknown values are left out."""

    cpu_s: float | None = Field(None, description="CPU seconds of the attempt")
    peak_memory_bytes: int | None = Field(None, description="peak memory of the attempt, in bytes")
    signal: str | None = Field(None, description="the signal that ended the classifier, such as SIGSEGV")

    @model_serializer(mode="wrap")
    def _known(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known = [(name, value) for name, value in serialize(self).items() if value is not None]
        return dict(sorted(known, key=lambda item: item[0] in Used.model_fields))  # the reason comes first


class ReplyError(Used):
    """The reason why there is no output. `retryable`: the same job may succeed at another time.

    The service has used all attempts before it replies, so a producer must not send the job again at once.
    """

    #: A code that this version does not know, from a newer service, is a plain text.
    code: ErrorCode | str = Field(union_mode="left_to_right")
    message: str
    retryable: bool = Field(
        description="whether the same job may succeed at another time; all attempts are used, and the job is kept "
        "as a dead letter, so do not send it again at once"
    )
    stderr_tail: str = Field(description="the end of what the classifier wrote to stderr")


class Reply(BaseModel):
    """The body of a reply: `output`, the classifier's JSON, or `error`, the reason why there is no output."""

    job_id: str = Field(description="the job's id, the same in each reply to the job: it identifies duplicates")
    status: Literal["succeeded", "failed"]
    output: Any = Field(None, description="the classifier's JSON, byte for byte")
    error: ReplyError | None = None
    attempt: int = Field(description="which attempt this was, from 1")
    run_ms: float = Field(description="how long the attempt ran, in ms")
    consumer: str | None = Field(None, description="the consumer that ran the attempt: host and process")


class ProgressReport(BaseModel):
    """The body of a progress message: the progress from 0 to 1, and a description of the step."""

    job_id: str
    progress: float
    text: str


class ErrorRecord(Used):
    """One line of the errors stream: facts that a dead-lettered message cannot carry. `time` is ISO 8601, UTC."""

    job_id: str = Field(description="the job's id, also that of its dead letter")
    correlation_id: str = Field(description="the correlation_id of the reply, even if no reply was sent")
    code: ErrorCode
    message: str
    stderr_tail: str = Field(description="the end of what the classifier wrote to stderr")
    attempt: int = Field(description="which attempt this was, from 1")
    run_ms: float = Field(description="how long the attempt ran, in ms")
    time: str = Field(description="when the record was written: ISO 8601, UTC")
    consumer: str = Field(description="the consumer that ran the attempt: host and process")


def reply(request: Request, outcome: Outcome, *, consumer: str) -> Message:
    """Make the reply to a job that has ended. The output is copied byte for byte from the classifier."""
    if isinstance(outcome, Succeeded):
        kind, status, tail = SUCCEEDED_TYPE, "succeeded", b'"output":' + outcome.output
    elif isinstance(outcome, Unsuccessful):
        error = ReplyError(retryable=outcome.retryable, **_facts(outcome))
        kind, status, tail = FAILED_TYPE, "failed", b'"error":' + error.model_dump_json().encode()
    else:
        raise TypeError(f"{type(outcome).__name__} has no reply")
    head = to_json({"job_id": request.id, "status": status})[:-1]
    last = to_json({"attempt": request.attempt, "run_ms": _milliseconds(outcome), "consumer": consumer})[1:]
    return Message(body=b",".join((head, tail, last)), type=kind, **_answering(request))


def progress_report(request: Request, progress: Progress) -> Message:
    """Make the message that reports a job's progress. Its loss does no harm."""
    report = ProgressReport(job_id=request.id, progress=progress.fraction, text=progress.text)
    return Message(
        body=report.model_dump_json().encode(), type=PROGRESS_TYPE, persistent=False, **_answering(request)
    )


def error_record(request: Request, outcome: Unsuccessful, *, consumer: str) -> Message:
    """Make the record of a job that failed for good."""
    record = ErrorRecord(
        job_id=request.id,
        correlation_id=request.correlation_id,
        **_facts(outcome),
        attempt=request.attempt,
        run_ms=_milliseconds(outcome),
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        consumer=consumer,
    )
    return Message(body=record.model_dump_json().encode(), type=ERROR_TYPE, **_answering(request))


def retry_copy(message: Message, request: Request, outcome: Outcome) -> Message:
    """Make the copy for a retry: the producer's message, the attempt, the id that the job keeps, and the reason.

    The copy has no `x-` headers, because RabbitMQ itself uses them, for example to count deaths. It has no CC and
    BCC: they name further queues that the producer chose, and this service would publish to them.
    """
    ours = {ATTEMPT_HEADER: request.attempt + 1, JOB_ID_HEADER: request.id}
    if isinstance(outcome, Unsuccessful):
        ours[LAST_ERROR_HEADER] = escaped(f"{outcome.code}: {outcome.message}", HEADER_CHARACTERS)
    return replace(message, headers={**_kept(message.headers), **ours}, correlation_id=request.correlation_id)


def replay_copy(message: Message) -> Message:
    """Make the copy for a replay, which starts over: the producer's message, the job's id, and a mark.

    The copy has no time to live, because the message has expired once, or its job already has a reply. It has no
    timestamp, so that it gets the time of its publishing: its wait in the queue begins anew.
    """
    kept = _kept(message.headers)
    for of_its_last_life in (ATTEMPT_HEADER, LAST_ERROR_HEADER):
        kept.pop(of_its_last_life, None)
    return replace(message, headers={**kept, REPLAYED_HEADER: replayed(message) + 1}, timestamp=None)


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in headers.items()
        if not name.startswith("x-") and name not in _ROUTING_HEADERS
    }


def _answering(request: Request) -> dict[str, Any]:
    """Make the properties that every message about a job has.

    The message id is new each time: of two messages with one id in flight, aiormq would take a return of one for a
    return of the other. Receivers recognise duplicates by the job's id.
    """
    headers = {JOB_ID_HEADER: request.id}
    if request.traceparent:
        headers[TRACEPARENT_HEADER] = request.traceparent
    return {
        "headers": headers,
        "message_id": os.urandom(16).hex(),
        "correlation_id": request.correlation_id,
        "content_type": "application/json",
    }


def _facts(outcome: Unsuccessful) -> dict[str, Any]:
    """Return the fields that a reply and an error record have in common."""
    return {
        "code": outcome.code,
        "message": outcome.message,
        "stderr_tail": outcome.stderr_tail,
        **asdict(outcome.usage),
    }


def _milliseconds(outcome: Outcome) -> float:
    return round(outcome.run_s * 1000, 3)
