"""The wire: an AMQP message in, a `Job` out; an `Outcome` in, a reply or an error record out.

Pure: knows properties and bytes, not connections. Nothing here raises over what a producer sent: a message
that is no job becomes `Invalid` with a sentence that names the remedy. Copies keep the body as it came.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic_core import SchemaValidator, core_schema, from_json, to_json

from consumer.escaping import escaped
from consumer.job import ErrorCode, Invalid, Job, Outcome, Progress, Request, Succeeded, Unsuccessful
from consumer.wire import reply_address
from consumer.wire.encoding import decoded, foreign
from consumer.wire.topology import Topology

SUCCEEDED_TYPE = "job.succeeded"
FAILED_TYPE = "job.failed"
ERROR_TYPE = "job.error"
PROGRESS_TYPE = "job.progress"
ATTEMPT_HEADER = "attempt"
JOB_ID_HEADER = "job-id"
TIMEOUT_HEADER = "timeout-s"
TRACEPARENT_HEADER = "traceparent"
#: Of a job's object, the one key that we look at, and only to log it.
MODEL_KEY = "model"
#: How often a dead letter was published again; on the copies, and on what becomes of them.
REPLAYED_HEADER = "replayed"
PROGRESS_HEADER = "progress"

#: On a copy that is tried again: why it is. The console shows it with the dead letter, and cannot read the errors:
#: RabbitMQ has no basic.get for streams.
LAST_ERROR_HEADER = "last-error"
#: Of that; the error record, where it comes to one, has all of it.
HEADER_CHARACTERS = 200

#: RabbitMQ's sender-selected distribution: more routing keys for a message.
_ROUTING_HEADERS = ("CC", "BCC")

#: AMQP's short string, which message_id and correlation_id are.
MAX_ID_BYTES = 255
#: Reads JSON to its end and makes nothing of it but the one value that is wanted. Half the time of `from_json`
#: (5 us instead of 10 for 300 points, 95 instead of 182 for 5,000), but NaN and Infinity pass.
_OBJECT = SchemaValidator(
    core_schema.typed_dict_schema(
        {MODEL_KEY: core_schema.typed_dict_field(core_schema.any_schema(), required=False)},
        extra_behavior="ignore",
    )
)
#: W3C Trace Context, section 3.2; one that is malformed is to be ignored, not to be refused.
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An AMQP message, coming or going; None where a property is absent. `timestamp` is seconds since the epoch.

    Two properties are missing on purpose, so that no copy of ours can carry them: a foreign `user_id` makes
    RabbitMQ close the channel, and `expiration` is RabbitMQ's own business.
    """

    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None
    timestamp: float | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    priority: int | None = None
    app_id: str | None = None
    #: Of a message that goes: whether it is to survive a restart of RabbitMQ.
    persistent: bool = True
    #: Of a message that came: properties that could not be decoded, and why. They are None above.
    undecodable: Mapping[str, str] = field(default_factory=dict)


class MessageTooLargeError(Exception):
    """RabbitMQ's limit (`max_message_size`) is below the size of a message; the pipeline decides again."""

    def __init__(self, size: int, limit: int | None) -> None:
        super().__init__(f"the result has {size} bytes, RabbitMQ takes at most {limit} (max_message_size)")


class Used(BaseModel):
    """What a run has used: CPU seconds, peak of memory, the signal that ended it; left out where not known."""

    cpu_s: float | None = Field(None, description="CPU seconds of the attempt")
    peak_memory_bytes: int | None = Field(None, description="the most memory that the attempt has had")
    signal: str | None = Field(None, description="the signal that ended the classifier, such as SIGSEGV")

    @model_serializer(mode="wrap")
    def _known(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known = [(name, value) for name, value in serialize(self).items() if value is not None]
        return dict(sorted(known, key=lambda item: item[0] in Used.model_fields))  # the reason comes first


class ReplyError(Used):
    """Why there is no output. `retryable`: the same job may well succeed at another time."""

    #: As text where a newer service knows more of them than we do.
    code: ErrorCode | str = Field(union_mode="left_to_right")
    message: str
    retryable: bool = Field(description="whether the same job may well succeed at another time")
    stderr_tail: str = Field(description="the end of what the classifier wrote to stderr")


class Reply(BaseModel):
    """The body of a reply. `output` is the classifier's JSON; `error` says why there is none. Times in ms."""

    job_id: str = Field(description="the same in each reply to a job: by it duplicates are told")
    status: Literal["succeeded", "failed"]
    output: Any = Field(None, description="the classifier's JSON, byte for byte")
    error: ReplyError | None = None
    attempt: int = Field(description="which attempt this was, from 1")
    run_ms: float = Field(description="how long the attempt ran, in ms")


class ProgressReport(BaseModel):
    """The body of a progress message: how far the job is, from 0 to 1, and what it is at."""

    job_id: str
    progress: float
    text: str


class ErrorRecord(Used):
    """One line of the errors stream: what a dead-lettered message itself cannot carry. `time` is ISO 8601, UTC."""

    job_id: str = Field(description="the job's id, also that of its dead letter")
    correlation_id: str = Field(description="what the reply had, or would have had")
    code: ErrorCode
    message: str
    stderr_tail: str = Field(description="the end of what the classifier wrote to stderr")
    attempt: int = Field(description="which attempt this was, from 1")
    run_ms: float = Field(description="how long the attempt ran, in ms")
    time: str = Field(description="when the record was written: ISO 8601, UTC")
    consumer: str = Field(description="which consumer wrote it: prefix, host and process")


def read_request(message: Message, topology: Topology, *, reply_to_allowed: str | None = None) -> Request:
    """Read who asks and where the answer goes. Never fails: what cannot be used is told in `refusal`."""
    complaints = [f"property {name} cannot be decoded: {why}" for name, why in message.undecodable.items()]
    job_id = message.headers.get(JOB_ID_HEADER) or message.message_id
    if not (isinstance(job_id, str) and job_id):
        job_id = str(uuid.uuid4())
    elif not job_id.isprintable() or len(job_id.encode()) > MAX_ID_BYTES:
        complaints.append(f"message_id must be printable, at most {MAX_ID_BYTES} bytes; leave it out to get one")
        job_id = str(uuid.uuid4())
    reply_to = message.reply_to or topology.results
    if complaint := reply_address.refusal(reply_to, topology, reply_to_allowed):
        complaints.append(complaint)
    is_trusted = not complaint and not _is_address_damaged(message)
    attempt = message.headers.get(ATTEMPT_HEADER, 1)
    if type(attempt) is not int or attempt < 1:
        complaints.append(f"header {ATTEMPT_HEADER} must be a whole number from 1; it is ours, leave it out")
        attempt = 1
    return Request(
        id=job_id,
        correlation_id=message.correlation_id or message.message_id or job_id,
        reply_to=reply_to if is_trusted else None,
        attempt=attempt,
        sent_at=message.timestamp,
        replayed=replayed(message),
        traceparent=_traceparent(message.headers.get(TRACEPARENT_HEADER)),
        refusal="; ".join(complaints) or None,
        wants_progress=str(message.headers.get(PROGRESS_HEADER, "")).lower() == "true",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """What a message must keep to be a job: bytes of its body, seconds of its run time, by default and at most."""

    max_body_bytes: int
    timeout_s: float
    longest_timeout_s: float


def read_job(message: Message, request: Request, rules: JobRules) -> Job | Invalid:
    """Check that the message is a job: a JSON object within the size, asking for a run time we may give."""
    asked = _seconds(message.headers.get(TIMEOUT_HEADER, rules.timeout_s))
    body = _text(message, rules.max_body_bytes)
    found = body if isinstance(body, str) else _object(body)
    fault = request.refusal or (found if isinstance(found, str) else None)
    if asked is None or not 0 < asked <= rules.longest_timeout_s:
        fault = (
            fault or f"header {TIMEOUT_HEADER} must be a number of seconds, at most {rules.longest_timeout_s:g}"
        )
    if fault or asked is None or isinstance(found, str) or isinstance(body, str):
        return Invalid(message=str(fault))
    return Job(request=request, body=body, timeout_s=asked, model=_name(found.get(MODEL_KEY)))


def _is_address_damaged(message: Message) -> bool:
    """Whether a reply could reach the wrong caller, or one who takes it for the reply to something else."""
    named_by = "correlation_id" if message.correlation_id else "message_id"
    return not message.undecodable.keys().isdisjoint({"reply_to", "correlation_id", named_by})


def _seconds(value: object) -> float | None:
    """Read a number; as text too, since amqp-publish and the management console send headers as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _text(message: Message, max_bytes: int) -> bytes | str:
    """Decode the body, within the limit; a str says why that cannot be done."""
    size = len(message.body)
    if size > max_bytes:
        return f"the body has {size} bytes, the limit is {max_bytes} (max_body_bytes)"
    return decoded(message.body, max_bytes, message.content_encoding, message.content_type)


def _object(body: bytes) -> dict[str, Any] | str:
    """Read the JSON object, or say why there is none. Only the key that we look at is sure to be there."""
    if (found := _sure_object(body)) is not None:
        return found
    try:
        job = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        return foreign(body) or f"the body is not JSON: {error}"
    return job if isinstance(job, dict) else "the body is JSON but not an object; send {...}"


def _sure_object(body: bytes) -> dict[str, Any] | None:
    """Read what is surely a JSON object. Any N or I could be NaN's or Infinity's."""
    if b"N" in body or b"I" in body:
        return None
    try:
        found: dict[str, Any] = _OBJECT.validate_json(body)
    except ValueError:
        return None
    return found


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value.isprintable() and len(value) <= MAX_ID_BYTES else None


def _traceparent(value: object) -> str | None:
    return value if isinstance(value, str) and TRACEPARENT.fullmatch(value) else None


def reply(request: Request, outcome: Outcome) -> Message:
    """Make the reply to a job that ended. The output's bytes go in as the classifier printed them."""
    if isinstance(outcome, Succeeded):
        kind, status, tail = SUCCEEDED_TYPE, "succeeded", b'"output":' + outcome.output
    elif isinstance(outcome, Unsuccessful):
        kind, status, tail = FAILED_TYPE, "failed", b'"error":' + _reply_error(outcome)
    else:
        raise TypeError(f"{type(outcome).__name__} has no reply")
    head = to_json({"job_id": request.id, "status": status})[:-1]
    last = to_json({"attempt": request.attempt, "run_ms": _milliseconds(outcome)})[1:]
    return Message(
        body=b",".join((head, tail, last)),
        type=kind,
        **_answering(request),
    )


def progress_report(request: Request, progress: Progress) -> Message:
    """Make the message that tells how far a job is. Nothing is lost if it is."""
    report = ProgressReport(job_id=request.id, progress=progress.fraction, text=progress.text)
    return Message(
        body=report.model_dump_json().encode(), type=PROGRESS_TYPE, persistent=False, **_answering(request)
    )


def error_record(request: Request, outcome: Unsuccessful, *, consumer: str) -> Message:
    """Make the record of a job that ended without a result for good."""
    record = ErrorRecord(
        job_id=request.id,
        correlation_id=request.correlation_id,
        code=outcome.code,
        message=outcome.message,
        stderr_tail=outcome.stderr_tail,
        **asdict(outcome.usage),
        attempt=request.attempt,
        run_ms=_milliseconds(outcome),
        time=datetime.now(UTC).isoformat(timespec="milliseconds"),
        consumer=consumer,
    )
    return Message(
        body=record.model_dump_json().encode(),
        type=ERROR_TYPE,
        **_answering(request),
    )


def retry_copy(message: Message, request: Request, outcome: Outcome) -> Message:
    """Make the copy that is tried again: all of the producer's, the count, the id that it must keep, and why.

    `x-` headers belong to RabbitMQ, which counts on, and acts on, what it finds there. CC and BCC are further
    queues for whoever publishes: they were the producer's to fill, and would now be filled by us.
    """
    ours = {ATTEMPT_HEADER: request.attempt + 1, JOB_ID_HEADER: request.id}
    if isinstance(outcome, Unsuccessful):
        ours[LAST_ERROR_HEADER] = escaped(f"{outcome.code}: {outcome.message}", HEADER_CHARACTERS)
    return replace(message, headers={**_kept(message.headers), **ours}, correlation_id=request.correlation_id)


def replay_copy(message: Message) -> Message:
    """Make the copy of a dead letter that starts over: all of the producer's, the job's id, and a mark.

    Its time to live is not brought back: it has run out once, or the job was answered for before.
    """
    kept = _kept(message.headers)
    for of_its_last_life in (ATTEMPT_HEADER, LAST_ERROR_HEADER):
        kept.pop(of_its_last_life, None)
    return replace(message, headers={**kept, REPLAYED_HEADER: replayed(message) + 1})


def replayed(message: Message) -> int:
    """Read how often the message was replayed: 0 where the header is not there, or not ours."""
    count = message.headers.get(REPLAYED_HEADER)
    return count if type(count) is int and count > 0 else 0


def _kept(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in headers.items()
        if not name.startswith("x-") and name not in _ROUTING_HEADERS
    }


def _answering(request: Request) -> dict[str, Any]:
    """Make the properties that every message about a job has.

    The message id is new each time: with two publishes of one id in flight, RabbitMQ's answer to the one is
    taken for the other's. Duplicates are told by the job's id.
    """
    trace = {TRACEPARENT_HEADER: request.traceparent} if request.traceparent else {}
    return {
        "headers": {JOB_ID_HEADER: request.id, **trace},
        "message_id": str(uuid.uuid4()),
        "correlation_id": request.correlation_id,
        "content_type": "application/json",
    }


def _reply_error(outcome: Unsuccessful) -> bytes:
    error = ReplyError(
        code=outcome.code,
        message=outcome.message,
        retryable=outcome.retryable,
        stderr_tail=outcome.stderr_tail,
        **asdict(outcome.usage),
    )
    return error.model_dump_json().encode()


def _milliseconds(outcome: Outcome) -> float:
    return round(outcome.run_s * 1000, 3)
