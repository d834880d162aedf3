"""An AMQP message in, a `Job` out.

Pure: knows properties and bytes, not connections. Nothing here raises over what a producer sent: who finds that a
message is no job says so with an `Invalid`, whose sentence names the remedy.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from pydantic_core import SchemaValidator, core_schema, from_json

from consumer.job import Invalid, Job, Request
from consumer.wire import reply_address
from consumer.wire.encoding import decoded, foreign
from consumer.wire.message import (
    ATTEMPT_HEADER,
    JOB_ID_HEADER,
    MAX_ID_BYTES,
    PROGRESS_HEADER,
    TIMEOUT_HEADER,
    TRACEPARENT_HEADER,
    Message,
    replayed,
)
from consumer.wire.topology import Topology

#: Of a job's object, the one key that we look at, and only to log it.
MODEL_KEY = "model"
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
class JobRules:
    """What a message must keep to be a job: bytes of its body, seconds of its run time, by default and at most.

    `reply_to_allowed` is the operator's regular expression for the whole of `reply_to`.
    """

    max_body_bytes: int
    timeout_s: float
    longest_timeout_s: float
    reply_to_allowed: str | None = None


def read_message(message: Message, topology: Topology, rules: JobRules) -> tuple[Request, Job | Invalid]:
    """Read who asks and where the answer goes, which is known of every message, and the job, if it is one.

    A job is a JSON object within the size, with properties that can be used, asking for a run time we may give.
    """
    request, complaints = _request(message, topology, rules)
    if complaints:
        return request, Invalid(message="; ".join(complaints))
    body = _text(message, rules.max_body_bytes)
    if isinstance(body, Invalid):
        return request, body
    found = _object(body)
    if isinstance(found, Invalid):
        return request, found
    asked = _seconds(message.headers.get(TIMEOUT_HEADER, rules.timeout_s))
    if asked is None or not 0 < asked <= rules.longest_timeout_s:
        at_most = f"{rules.longest_timeout_s:g}"
        return request, Invalid(message=f"header {TIMEOUT_HEADER} must be a number of seconds, at most {at_most}")
    return request, Job(request=request, body=body, timeout_s=asked, model=_name(found.get(MODEL_KEY)))


def _request(message: Message, topology: Topology, rules: JobRules) -> tuple[Request, list[str]]:
    """Read the properties; say of each that cannot be used why, and read something harmless in its place."""
    complaints = [f"property {name} cannot be decoded: {why}" for name, why in message.undecodable.items()]
    job_id = message.headers.get(JOB_ID_HEADER) or message.message_id
    if not (isinstance(job_id, str) and job_id):
        job_id = str(uuid.uuid4())
    elif not job_id.isprintable() or len(job_id.encode()) > MAX_ID_BYTES:
        complaints.append(f"message_id must be printable, at most {MAX_ID_BYTES} bytes; leave it out to get one")
        job_id = str(uuid.uuid4())
    reply_to = message.reply_to or topology.results
    if complaint := reply_address.refusal(reply_to, topology, rules.reply_to_allowed):
        complaints.append(complaint)
    is_trusted = not complaint and not _is_address_damaged(message)
    attempt = message.headers.get(ATTEMPT_HEADER, 1)
    if type(attempt) is not int or attempt < 1:
        complaints.append(f"header {ATTEMPT_HEADER} must be a whole number from 1; it is ours, leave it out")
        attempt = 1
    request = Request(
        id=job_id,
        correlation_id=message.correlation_id or message.message_id or job_id,
        reply_to=reply_to if is_trusted else None,
        attempt=attempt,
        sent_at=message.timestamp,
        replayed=replayed(message),
        traceparent=_traceparent(message.headers.get(TRACEPARENT_HEADER)),
        wants_progress=str(message.headers.get(PROGRESS_HEADER, "")).lower() == "true",
    )
    return request, complaints


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


def _text(message: Message, max_bytes: int) -> bytes | Invalid:
    """Decode the body, within the limit."""
    size = len(message.body)
    if size > max_bytes:
        return Invalid(message=f"the body has {size} bytes, the limit is {max_bytes} (max_body_bytes)")
    body = decoded(message.body, max_bytes, message.content_encoding, message.content_type)
    return Invalid(message=body) if isinstance(body, str) else body


def _object(body: bytes) -> dict[str, Any] | Invalid:
    """Read the JSON object. Only the key that we look at is sure to be there."""
    if (found := _sure_object(body)) is not None:
        return found
    try:
        job = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        return Invalid(message=foreign(body) or f"the body is not JSON: {error}")
    return job if isinstance(job, dict) else Invalid(message="the body is JSON but not an object; send {...}")


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
