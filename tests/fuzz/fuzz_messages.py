"""A producer's message from the bytes of its header frame on: a job or a refusal, and an answer that can be sent.

The bytes are the property flags and properties, then the body, then one byte: how long the body is.
"""

from __future__ import annotations

import logging
import struct

from pamqp import frame
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader
from pydantic_core import from_json

from consumer.job import Invalid, Job, Succeeded, TimedOut
from consumer.rabbitmq import pamqp_patch
from consumer.rabbitmq.codec import properties, received
from consumer.telemetry.log_format import formatter
from consumer.wire.message import MAX_ID_BYTES, Message
from consumer.wire.read import JobRules, read_message
from consumer.wire.topology import Topology
from consumer.wire.write import error_record, reply, retry_copy

MODULES = (
    "consumer.wire.message",
    "consumer.wire.read",
    "consumer.wire.write",
    "consumer.wire.encoding",
    "consumer.rabbitmq.codec",
    "consumer.wire.reply_address",
    "consumer.rabbitmq.pamqp_patch",
    "consumer.escaping",
    "consumer.telemetry.log_format",
)
TOPOLOGY = Topology("ours", max_attempts=3)
ALLOWED = r"answers|replies\..*|amq\.gen-.*"
MAX_BODY_BYTES = 200
FORMATTER = formatter("text")
LAST = TimedOut(message="too late", stderr_tail="\x1b\ufffd")


def one(data: bytes) -> None:
    pamqp_patch.install()
    length = data[-1] if data else 0
    place = max(len(data) - 1 - length, 0)
    message = _message(data[:place], data[place:-1])
    if message is None:
        return
    for allowed in (None, ALLOWED):
        rules = JobRules(
            max_body_bytes=MAX_BODY_BYTES, timeout_s=1.0, longest_timeout_s=9.0, reply_to_allowed=allowed
        )
        _handle(message, rules)


def _message(header: bytes, body: bytes) -> Message | None:
    """Go the way of a delivery; None where the client library would take the connection for broken."""
    payload = struct.pack(">HHQ", 60, 0, len(body)) + header
    raw = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    try:
        _, _, content = frame.unmarshal(raw)
    except PAMQPException:
        return None
    assert isinstance(content, ContentHeader)
    return received(content.properties, body)


def _handle(message: Message, rules: JobRules) -> None:
    request, outcome = read_message(message, TOPOLOGY, rules)
    assert request.id
    assert request.id.isprintable()
    assert len(request.id.encode()) <= MAX_ID_BYTES
    assert request.attempt >= 1
    _see_one_line(f"{request.correlation_id}: {getattr(outcome, 'message', outcome)}")
    _see_sent(error_record(request, outcome if isinstance(outcome, Invalid) else LAST, consumer="ours"))
    if isinstance(outcome, Invalid):
        _see_sent(reply(request, outcome, consumer="host:1"))
        return
    _see_sent(reply(request, LAST, consumer="host:1"))
    _see_sent(reply(request, Succeeded(output=outcome.body), consumer="host:1"))
    if request.attempt < TOPOLOGY.max_attempts:
        _see_again(message, outcome, rules)


def _see_sent(message: Message) -> None:
    assert isinstance(from_json(message.body, allow_inf_nan=False), dict)
    assert _travelled(message) is not None


def _see_again(message: Message, job: Job, rules: JobRules) -> None:
    """A copy for another attempt is the same job, counted."""
    copy = _travelled(retry_copy(message, job.request, TimedOut(message=message.body.decode(errors="replace"))))
    assert copy is not None
    again, job_again = read_message(copy, TOPOLOGY, rules)
    first = job.request
    assert isinstance(job_again, Job)
    assert (again.id, again.correlation_id, again.attempt) == (first.id, first.correlation_id, first.attempt + 1)
    assert (again.reply_to, again.traceparent, copy.body) == (first.reply_to, first.traceparent, message.body)


def _travelled(message: Message) -> Message | None:
    """Encode the properties and decode them again."""
    marshalled = properties(message).marshal()
    return _message(marshalled, message.body)


def _see_one_line(text: str) -> None:
    record = logging.LogRecord("fuzz", logging.INFO, __file__, 1, "%s", (text,), None)
    line = FORMATTER.format(record)
    assert line.replace("\t", "").isprintable()
    line.encode()
