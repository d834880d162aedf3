"""The wire: what a producer may send and what it gets back, rule by rule."""

from __future__ import annotations

import codecs
import gzip
import json
import math
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from fuzz import fuzz_messages
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic
from pydantic_core import from_json

from consumer.config.job_limits import STDERR_TAIL_BYTES
from consumer.config.limit_settings import MAX_LINE_BYTES
from consumer.job import Crashed, Failed, Interrupted, Invalid, Job, Request, Succeeded, TimedOut, Unsuccessful
from consumer.rabbitmq import pamqp_patch
from consumer.runners.output_parser import parse
from consumer.wire import encoding
from consumer.wire.message import Message
from consumer.wire.read import JobRules, read_message
from consumer.wire.topology import Topology
from consumer.wire.write import ErrorRecord, Reply, error_record, reply, retry_copy

#: Without the time, which would be another in each process and in the names of its tests.
gzipped = partial(gzip.compress, mtime=0)
TOPOLOGY = Topology("ours", max_attempts=3)
RULES = JobRules(max_body_bytes=100, timeout_s=60.0, longest_timeout_s=600.0)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#: As RabbitMQ 3.10 made it for a caller.
DIRECT = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA3MjM1MDM1NgAABAYAAAAAawVh/A==.4JvskeO57NM70zCNfzHWaA=="
CRASHED = Crashed(message="killed")
REQUEST = Request(id="id-1", correlation_id="asked-1", reply_to="answers", attempt=2, traceparent=TRACEPARENT)
#: Everything that an AMQP table may hold, as the client library hands it over.
HEADER_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=20)
    | st.decimals()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HEADER_NAMES = st.sampled_from(["job-id", "attempt", "timeout-s", "traceparent"]) | st.text(max_size=10)
#: A short string of AMQP: at most 255 bytes.
SHORT = st.none() | st.text(max_size=255).filter(lambda text: len(text.encode()) <= 255)
MESSAGES = st.builds(
    Message,
    body=st.binary(max_size=50) | st.sampled_from([b"{}", b'{"signal": [1]}']),
    headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=4),
    message_id=SHORT,
    correlation_id=SHORT,
    reply_to=SHORT | st.sampled_from(["ours.jobs", "amq.direct", "answers"]),
    timestamp=st.none() | st.floats(0, 2**63),
)


def read_all(**fields: Any) -> tuple[Request, str | None]:  # noqa: ANN401 - a message's own
    """Read the request, and why it is refused, if it is."""
    request, job = read_message(Message(body=b"{}", **fields), TOPOLOGY, RULES)
    return request, job.message if isinstance(job, Invalid) else None


def request_in(message: Message) -> Request:
    return read_message(message, TOPOLOGY, RULES)[0]


def request_of(**fields: Any) -> Request:  # noqa: ANN401 - a message's own
    return read_all(**fields)[0]


def job_of(body: bytes = b"{}", **headers: object) -> Job | Invalid:
    message = Message(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return read_message(message, TOPOLOGY, RULES)[1]


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        (None, "ours.results"),
        ("", "ours.results"),
        ("ours.results", "ours.results"),
        ("answers", "answers"),
        ("ours", "ours"),
        ("ours-2.jobs", "ours-2.jobs"),
        ("amq.gen-JzTY20BRgKO", "amq.gen-JzTY20BRgKO"),
        (DIRECT, DIRECT),
    ],
)
def test_the_reply_goes_where_it_is_asked_to_or_to_the_results(asked: str | None, used: str) -> None:
    request, refusal = read_all(reply_to=asked)
    assert request.reply_to == used
    assert refusal is None


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("ours.jobs", "one of this service's own queues"),
        ("ours.dead", "one of this service's own queues"),
        ("ours.errors", "one of this service's own queues"),
        ("ours.retry.1s", "one of this service's own queues"),
        ("ours.results.2", "one of this service's own queues"),
        ("amq.direct", "one of RabbitMQ's own names"),
        ("amq.rabbitmq.trace", "one of RabbitMQ's own names"),
        ("amq.rabbitmq.reply-to", "one of RabbitMQ's own names"),
    ],
)
def test_a_reply_to_that_we_must_not_write_to_is_refused_and_gets_no_reply(asked: str, why: str) -> None:
    request, refusal = read_all(reply_to=asked)
    assert request.reply_to is None
    assert why in str(refusal)
    assert asked in str(refusal)
    assert "use a queue of your own" in str(refusal)


@pytest.mark.parametrize("queue", TOPOLOGY.queues(), ids=lambda queue: queue.name)
def test_of_our_queues_only_the_results_take_replies(queue: Any) -> None:  # noqa: ANN401 - pytest's ids want no type
    assert (read_all(reply_to=queue.name)[1] is None) == (queue.name == TOPOLOGY.results)


@pytest.mark.parametrize(
    ("properties", "job_id", "correlation_id"),
    [
        ({"message_id": "m"}, "m", "m"),
        ({"message_id": "m", "correlation_id": "c"}, "m", "c"),
        ({"message_id": "m", "headers": {"job-id": "j"}}, "j", "m"),
        ({"headers": {"job-id": "j"}, "correlation_id": "c"}, "j", "c"),
        ({"headers": {"job-id": "j"}}, "j", "j"),
    ],
)
def test_the_id_is_the_retried_jobs_or_the_messages(
    properties: dict[str, Any], job_id: str, correlation_id: str
) -> None:
    request, refusal = read_all(**properties)
    assert (request.id, request.correlation_id, refusal) == (job_id, correlation_id, None)


@pytest.mark.parametrize("properties", [{}, {"message_id": ""}, {"headers": {"job-id": 5}}])
def test_without_a_usable_id_a_new_one_is_made(properties: dict[str, Any]) -> None:
    (first, refusal), (second, _) = read_all(**properties), read_all(**properties)
    assert UUID(first.id) != UUID(second.id)
    assert first.correlation_id == first.id
    assert refusal is None


def test_without_an_id_the_correlation_id_is_kept() -> None:
    assert request_of(correlation_id="c").correlation_id == "c"


@pytest.mark.parametrize("bad", ["a\nb", "\x1b[2J", "\x00"])
def test_an_id_that_could_forge_a_log_record_is_refused_and_replaced(bad: str) -> None:
    request, refusal = read_all(message_id=bad)
    assert UUID(request.id).version == 4
    assert "message_id must be printable" in str(refusal)


def test_a_job_id_of_any_length_leaves_a_correlation_id_that_amqp_can_carry() -> None:
    request = request_of(headers={"job-id": "x" * 300})
    assert len(request.correlation_id.encode()) <= 255


@pytest.mark.parametrize(("header", "attempt"), [(1, 1), (2, 2), (2**63 - 1, 2**63 - 1)])
def test_the_attempt_is_the_headers(header: int, attempt: int) -> None:
    request, refusal = read_all(headers={"attempt": header})
    assert (request.attempt, refusal) == (attempt, None)


@pytest.mark.parametrize("header", [0, -1, True, 1.0, "2", None, [2], b"2"])
def test_an_attempt_that_cannot_be_ours_is_refused_and_counts_as_the_first(header: object) -> None:
    request, refusal = read_all(headers={"attempt": header})
    assert request.attempt == 1
    assert "header attempt must be a whole number" in str(refusal)


@pytest.mark.parametrize(
    ("header", "used"),
    [
        (TRACEPARENT, TRACEPARENT),
        (TRACEPARENT.upper(), None),
        (TRACEPARENT + "\n", None),
        (TRACEPARENT[:-1], None),
        ("", None),
        (5, None),
        (TRACEPARENT.encode(), None),
    ],
)
def test_a_malformed_traceparent_is_ignored_and_not_refused(header: object, used: str | None) -> None:
    request, refusal = read_all(headers={"traceparent": header})
    assert (request.traceparent, refusal) == (used, None)


def test_every_complaint_is_told_at_once() -> None:
    _, refusal = read_all(message_id="\n", reply_to="amq.x", headers={"attempt": 0})
    assert str(refusal).count("; ") >= 2
    assert all(word in str(refusal) for word in ("message_id", "amq.x", "attempt"))


@pytest.mark.parametrize(
    ("header", "seconds"), [(5, 5.0), (0.5, 0.5), ("5", 5.0), ("0.5", 0.5), ("1e2", 100.0), (600, 600.0)]
)
def test_a_run_time_may_be_a_number_or_the_text_of_one(header: object, seconds: float) -> None:
    job = job_of(timeout_s=header)
    assert isinstance(job, Job)
    assert job.timeout_s == seconds


def test_without_a_header_the_run_time_is_the_services() -> None:
    job = job_of()
    assert isinstance(job, Job)
    assert job.timeout_s == 60.0


@pytest.mark.parametrize(
    "header",
    [0, -1, 600.001, math.nan, math.inf, True, None, "", "soon", "nan", "inf", "601", [5], {"s": 5}, b"5"],
)
def test_a_run_time_that_we_cannot_give_is_refused(header: object) -> None:
    allowed = "a number of seconds above 0, at most 600 (job_timeout_cap_s)"
    assert job_of(timeout_s=header) == Invalid(message=f"header timeout-s must be {allowed}, not {header!r}")


def test_a_run_time_that_is_refused_is_quoted_on_one_short_line() -> None:
    refused = job_of(timeout_s="soon\n" * 100)
    assert isinstance(refused, Invalid)
    assert "\n" not in refused.message
    assert len(refused.message) < 200


@pytest.mark.parametrize("body", [b"{}", b'{"a": [1, null]}', b'\n {"\xc3\xa9": "\\u00e9"}\r\n'])
def test_any_json_object_is_a_job_and_its_bytes_are_untouched(body: bytes) -> None:
    job = job_of(body)
    assert isinstance(job, Job)
    assert job.body == body


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b"{}", None),
        (b'{"signal": [1], "model": "pumps"}', "pumps"),
        (b'{"model": "pumps", "NaN": 1}', "pumps"),
        (b'{"model": {"no": "name"}}', None),
        (b'{"model": null}', None),
        (b'{"model": "two\\nlines"}', None),
    ],
)
def test_the_model_is_what_the_job_names_if_that_is_a_name(body: bytes, model: str | None) -> None:
    job = job_of(body)
    assert isinstance(job, Job)
    assert job.model == model


@pytest.mark.parametrize("body", [b"{", b"signal", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\xff"}', b"{}{}"])
def test_a_body_that_is_no_json_is_invalid(body: bytes) -> None:
    job = job_of(body)
    assert isinstance(job, Invalid)
    assert job.message.startswith("the body is not JSON: ")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
#: Near misses are made by putting a piece where it may not belong.
PIECES = st.sampled_from(
    [b"", b"NaN", b"-Infinity", b",", b"}", b'"', b"\\ud800", b"\xff", b"\x00", b"01", b"[" * 300]
)


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b"{}", "machines"),
        (b'{"model": null}', "machines"),
        (b'{"model": "pumps"}', "pumps"),
        (b'{"model": 7}', None),
    ],
)
def test_a_job_that_names_no_model_has_the_default_one(body: bytes, model: str | None) -> None:
    _, job = read_message(Message(body=body), TOPOLOGY, RULES, default_model="machines")
    assert isinstance(job, Job)
    assert job.model == model


@given(JSON_VALUES, PIECES, st.integers(0, 100))
def test_a_body_is_judged_as_a_strict_parser_does(value: object, piece: bytes, place: int) -> None:
    text = json.dumps(value).encode()
    body = text[:place] + piece + text[place:]
    try:
        good = isinstance(from_json(body, allow_inf_nan=False), dict)
    except ValueError:
        good = False
    _, job = read_message(Message(body=body), TOPOLOGY, replace(RULES, max_body_bytes=len(body)))
    assert isinstance(job, Job) == good


@pytest.mark.parametrize("body", [b'{"Name": 1}', b'{"a": "NaN", "b": "Infinity"}'])
def test_a_word_that_begins_like_no_number_is_no_fault(body: bytes) -> None:
    assert isinstance(job_of(body), Job)


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_body_is_called_so(body: bytes) -> None:
    assert job_of(body) == Invalid(message="the body is empty; send {...}")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null"])
def test_a_body_that_is_no_object_is_invalid(body: bytes) -> None:
    assert job_of(body) == Invalid(message="the body is JSON but not an object; send {...}")


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
def test_a_body_over_the_limit_is_invalid(size: int, *, fits: bool) -> None:
    job = job_of(b'{"a": "' + b"x" * (size - 9) + b'"}')
    assert isinstance(job, Job) == fits
    assert fits or job == Invalid(message="the body has 101 bytes, the limit is 100 (max_body_bytes)")


def test_a_refused_request_is_invalid_whatever_its_body() -> None:
    _, refusal = read_all(reply_to="amq.x")
    _, job = read_message(Message(body=b"-", reply_to="amq.x"), TOPOLOGY, RULES)
    assert job == Invalid(message=str(refusal))


@given(MESSAGES)
def test_reading_never_raises_and_what_comes_of_it_can_be_answered(message: Message) -> None:
    request, job = read_message(message, TOPOLOGY, replace(RULES, max_body_bytes=40))
    assert request.id.isprintable()
    assert request.attempt >= 1
    outcome = job if isinstance(job, Invalid) else Succeeded(output=b"1")
    answer = reply(request, outcome, consumer="host:1")
    assert Reply.model_validate_json(answer.body).job_id == request.id
    assert len(str(answer.correlation_id).encode()) <= 255


#: Longer names are cut by the client library.
SHORT_NAMES = HEADER_NAMES.filter(lambda name: len(name.encode()) <= 128)
#: What RabbitMQ may deliver in a header, within what the client library encodes.
WIRE_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.decimals(-(2**31), 2**31 - 1, places=0)
    | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants it
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT_NAMES, inner, max_size=3),
    max_leaves=5,
)


@given(
    st.builds(
        Basic.Properties,
        headers=st.dictionaries(SHORT_NAMES, WIRE_VALUES, max_size=4),
        message_id=SHORT,
        correlation_id=SHORT,
        reply_to=SHORT,
        message_type=SHORT,
        content_type=SHORT,
        content_encoding=SHORT,
        app_id=SHORT,
        user_id=SHORT,
        priority=st.none() | st.integers(0, 255),
        timestamp=st.none() | st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - as above
    ),
    st.sampled_from([b"{}", b"[]"]),
    st.binary(max_size=3),
    st.integers(0, 300),
)
def test_any_properties_on_the_wire_are_answered_and_sent_again(
    sent: Basic.Properties, body: bytes, damage: bytes, place: int
) -> None:
    pamqp_patch.install()
    wire = sent.marshal()
    fuzz_messages.one(wire + body + bytes([len(body)]))
    fuzz_messages.one(wire[:place] + damage + wire[place + len(damage) :] + body + bytes([len(body)]))


def test_the_reply_to_a_success_holds_the_output_as_it_was_printed() -> None:
    output = b'{"b":1.10,  "a":12345678901234567890, "\xc3\xa9":"\\u00e9", "n":null}'
    answer = reply(REQUEST, Succeeded(output=output, run_s=0.0012345), consumer="host:1")
    assert b'"output":' + output in answer.body
    assert json.loads(answer.body) == {
        "job_id": "id-1",
        "status": "succeeded",
        "output": json.loads(output),
        "attempt": 2,
        "run_ms": 1.234,
        "consumer": "host:1",
    }
    assert answer.type == "job.succeeded"


def test_the_reply_to_a_failure_holds_the_error() -> None:
    answer = reply(REQUEST, TimedOut(message='"too" late', stderr_tail="é\n", run_s=60.0), consumer="host:1")
    assert json.loads(answer.body) == {
        "job_id": "id-1",
        "status": "failed",
        "error": {"code": "timed_out", "message": '"too" late', "retryable": True, "stderr_tail": "é\n"},
        "attempt": 2,
        "run_ms": 60000.0,
        "consumer": "host:1",
    }
    assert answer.type == "job.failed"
    parsed = Reply.model_validate_json(answer.body)
    assert parsed.error is not None
    assert parsed.error.code == "timed_out"
    assert parsed.consumer == "host:1"


@pytest.mark.parametrize("outcome", [Succeeded(output=b"1"), Failed(message="m"), Invalid(message="m")], ids=str)
def test_a_reply_carries_what_its_receiver_needs_to_match_it(outcome: Succeeded | Unsuccessful) -> None:
    answer = reply(REQUEST, outcome, consumer="host:1")
    assert answer.correlation_id == "asked-1"
    assert answer.headers == {"job-id": "id-1", "traceparent": TRACEPARENT}
    assert answer.content_type == "application/json"
    assert answer.reply_to is None


def test_without_a_traceparent_a_reply_has_none() -> None:
    untraced = replace(REQUEST, traceparent=None)
    assert reply(untraced, Succeeded(output=b"1"), consumer="host:1").headers == {"job-id": "id-1"}


def test_every_message_of_ours_has_a_message_id_of_its_own() -> None:
    outcome = Failed(message="m")
    replies = [reply(REQUEST, outcome, consumer="c") for _ in range(2)]
    made = [*replies, error_record(REQUEST, outcome, consumer="c")]
    ids = {message.message_id for message in made}
    assert len(ids) == 3
    assert None not in ids
    assert REQUEST.id not in ids


def test_an_interrupted_job_has_no_reply() -> None:
    with pytest.raises(TypeError, match="Interrupted has no reply"):
        reply(REQUEST, Interrupted(), consumer="host:1")


def test_an_error_record_says_what_a_dead_letter_cannot() -> None:
    outcome = Crashed(message="killed by SIGSEGV", stderr_tail="boom", run_s=0.5)
    before = datetime.now(UTC)
    message = error_record(REQUEST, outcome, consumer="host:1")
    record = ErrorRecord.model_validate_json(message.body)
    assert record.model_dump(exclude={"time"}) == {
        "job_id": "id-1",
        "correlation_id": "asked-1",
        "code": "crashed",
        "message": "killed by SIGSEGV",
        "stderr_tail": "boom",
        "attempt": 2,
        "run_ms": 500.0,
        "consumer": "host:1",
    }
    assert abs((datetime.fromisoformat(record.time) - before).total_seconds()) < 60
    assert message.type == "job.error"


def test_a_retried_copy_keeps_all_that_the_producer_sent() -> None:
    original = Message(
        body=b'{"a": 1}',
        headers={"timeout-s": "5", "mine": [1], "traceparent": TRACEPARENT},
        message_id="m",
        correlation_id="c",
        reply_to="answers",
        type="signal",
        timestamp=1.7e9,
        content_type="application/json",
        content_encoding="utf-8",
        priority=7,
        app_id="producer",
    )
    copy = retry_copy(original, request_in(original), CRASHED)
    assert copy == replace(
        original, headers={**original.headers, "attempt": 2, "job-id": "m", "last-error": "crashed: killed"}
    )


@pytest.mark.parametrize("text", ["\x1b[2Jall well", "x" * 100_000])
def test_why_a_job_is_tried_again_is_short_and_safe_to_show(text: str) -> None:
    copy = retry_copy(Message(body=b"{}"), request_of(), Crashed(message=text))
    why = copy.headers["last-error"]
    assert why.startswith("crashed: ")
    assert why.isprintable()
    assert len(why) < 250


def test_a_retried_copy_drops_what_belongs_to_rabbitmq() -> None:
    original = Message(body=b"{}", headers={"x-death": [{"count": 1}], "x-delivery-count": 3, "fox-x-": "stays"})
    assert set(retry_copy(original, request_of(), CRASHED).headers) == {
        "fox-x-",
        "attempt",
        "job-id",
        "last-error",
    }


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_retried_copy_goes_to_no_further_queues_that_a_producer_named(header: str) -> None:
    original = Message(body=b"{}", headers={header: ["ours.results", "ours.jobs"]})
    assert header not in retry_copy(original, request_of(), CRASHED).headers


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"x", b"\\", "\u202e".encode()])
def test_error_replies_and_records_stay_small_whatever_the_classifier_writes(byte: bytes) -> None:
    line = parse(b"ERROR:" + byte * 2**20)
    tail = (byte * STDERR_TAIL_BYTES)[-STDERR_TAIL_BYTES:].decode("utf-8", "backslashreplace")
    outcome = Failed(message=line.text, stderr_tail=tail, run_s=1.0)
    assert len(reply(REQUEST, outcome, consumer="host:1").body) < 64 * 1024
    assert len(error_record(REQUEST, outcome, consumer="host:1").body) < 64 * 1024


def test_around_the_largest_output_a_reply_stays_below_what_rabbitmq_takes() -> None:
    request = replace(REQUEST, id="\u00e9" * 127, correlation_id="c" * 255)
    head = len(reply(request, Succeeded(output=b"", run_s=86_400.0), consumer="h" * 255).body)
    assert MAX_LINE_BYTES + head < 16 * 1024 * 1024


def test_a_job_keeps_its_ids_and_counts_up_over_all_its_copies() -> None:
    message = Message(body=b"{}")
    first = request_in(message)
    second_message = retry_copy(message, first, CRASHED)
    second = request_in(second_message)
    third = request_in(retry_copy(second_message, second, CRASHED))
    assert [first.attempt, second.attempt, third.attempt] == [1, 2, 3]
    assert {first.id, second.id, third.id} == {first.id}
    assert {second.correlation_id, third.correlation_id} == {first.correlation_id}


def decoded_job(body: bytes, **properties: str) -> bytes | str:
    message = Message(body=body, **properties)  # type: ignore[arg-type]
    _, job = read_message(message, TOPOLOGY, RULES)
    return job.body if isinstance(job, Job) else job.message


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (b'{"n": 1}', {"content_encoding": "utf-8", "content_type": "application/json; charset=UTF-8"}),
        (b'{"n": 1}', {"content_encoding": "identity"}),
        (codecs.BOM_UTF8 + b'{"n": 1}', {}),
        (gzipped(b'{"n": 1}'), {"content_encoding": "gzip"}),
        (gzipped(b'{"n": 1}'), {"content_encoding": " X-GZIP "}),
        (gzipped(codecs.BOM_UTF8 + b'{"n": 1}'), {"content_encoding": "GZIP"}),
        (
            gzipped(b'{"n"') + gzipped(b"") + gzipped(b": 1}"),
            {"content_encoding": "gzip"},
        ),
    ],
)
def test_the_job_is_the_decoded_body_and_its_retry_the_one_that_came(
    body: bytes, properties: dict[str, str]
) -> None:
    assert decoded_job(body, **properties) == b'{"n": 1}'
    message = Message(body=body, **properties)  # type: ignore[arg-type]
    copy = retry_copy(message, request_in(message), CRASHED)
    assert (copy.body, copy.content_encoding) == (body, properties.get("content_encoding"))


@pytest.mark.parametrize(
    ("body", "properties", "told"),
    [
        (gzipped(b"{}"), {}, "is gzip data without a content_encoding"),
        (b"\x28\xb5\x2f\xfd..", {}, "is zstd data without a content_encoding"),
        (b"{}", {"content_encoding": "gzip"}, "content_encoding is gzip, but the body is not gzip"),
        (b"", {"content_encoding": "gzip"}, "content_encoding is gzip, but the body is cut off"),
        (gzipped(b"{}")[:-3], {"content_encoding": "gzip"}, "the body is cut off"),
        (
            gzipped(b"{}") + b"more",
            {"content_encoding": "gzip"},
            "followed by bytes that are not gzip",
        ),
        (gzipped(b" " * 101), {"content_encoding": "gzip"}, "more than 100 bytes when unpacked"),
        (gzipped(b" " * 60) * 2, {"content_encoding": "gzip"}, "more than 100 bytes when unpacked"),
        (zlib.compress(b"{}"), {"content_encoding": "deflate"}, "content_encoding is 'deflate', which is not"),
        (b"{}", {"content_encoding": "zstd"}, "content_encoding is 'zstd', which is not decoded"),
        (b"{}", {"content_encoding": "gzip, gzip"}, "content_encoding is 'gzip, gzip', which is not decoded"),
        (b"{}", {"content_encoding": "utf-16"}, "content_encoding is 'utf-16', which is not decoded"),
        (b"{}", {"content_type": 'application/json;charset="utf-16"'}, "names the charset 'utf-16'"),
        ("{}".encode("utf-16"), {}, "the body is UTF-16; send JSON as UTF-8"),
        ("{}".encode("utf-16-be"), {}, "the body is UTF-16"),
        ("{}".encode("utf-32"), {}, "the body is UTF-32"),
        ("{}".encode("utf-32-le"), {}, "the body is UTF-32"),
        (b'{"a": "\xe4"}', {}, "it is not UTF-8, byte 7 is 0xe4"),
    ],
)
def test_a_body_in_another_encoding_is_refused_by_its_name(
    body: bytes, properties: dict[str, str], told: str
) -> None:
    assert told in str(decoded_job(body, **properties))


def test_a_body_of_many_empty_gzip_members_is_refused_soon() -> None:
    assert "more than 100 members" in str(encoding.decoded(gzipped(b"") * 200_000, 1 << 23, "gzip", None))
