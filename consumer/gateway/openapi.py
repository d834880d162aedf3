"""The published contract of the HTTP door: an OpenAPI 3.1 document, made from what the code itself goes by.

As asyncapi.py, whose models it shares: the reply by HTTP is the reply by AMQP. What is written here is only which
answer is where. `deploy/openapi.json` holds a copy, and a test finds it outdated. Pure; needs no framework.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import models_json_schema

from consumer.gateway import prefer
from consumer.gateway.jobs import PASSED_ON, Pending
from consumer.gateway.problems import CONTENT_TYPE, KINDS, Problem, Reason
from consumer.telemetry.health import LIVE, METRICS, READY
from consumer.wire import asyncapi, message

Json = dict[str, Any]

VERSION = "3.1.0"
_SHARED = "#/components/schemas/{model}"
_JSON = "application/json"
_TEXT = "text/plain"
#: What each request about a job may be refused with.
_ANY = (Reason.NO_TOKEN, Reason.METHOD, Reason.BUSY, Reason.STOPPING, Reason.BUG)
_POST = (
    *_ANY,
    Reason.NOT_HTTP,
    Reason.NOT_A_JOB,
    Reason.SLOW_BODY,
    Reason.TOO_LARGE,
    Reason.MEDIA_TYPE,
    Reason.AWAY,
    Reason.MAYBE_TAKEN,
    Reason.ALARM,
    Reason.QUEUE_FULL,
    Reason.NO_QUEUE,
    Reason.CONFIRM_LATE,
)
_GET = (*_ANY, Reason.NOT_HTTP, Reason.NO_JOB, Reason.REPLY_GONE, Reason.READING, Reason.AWAY)
_HEADERS: Json = {
    "Retry-After": {
        "description": "Seconds to wait before asking again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Location": {"description": "Where the job is to be asked for.", "schema": {"type": "string"}},
    "Preference-Applied": {
        "description": "How long the request has been ready to wait, where it had asked for that.",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods that the page takes.", "schema": {"type": "string"}},
}
_PREFER: Json = {
    "name": "Prefer",
    "in": "header",
    "description": (
        f"`wait=10`: answer with the reply if it comes within 10 seconds, at most {prefer.MAX_WAIT_S} "
        "(RFC 7240). What cannot be read is ignored."
    ),
    "schema": {"type": "string"},
    "example": "wait=10",
}


def text(made: Json) -> str:
    """Write it as the file in `deploy/` is."""
    return asyncapi.text(made)


def document(version: str, longest_timeout_s: float) -> Json:
    """Make the OpenAPI document of a gateway that lets jobs ask for at most so many seconds of run time."""
    return {
        "openapi": VERSION,
        "info": {
            "title": "rabbitmq-classifier",
            "version": version,
            "description": (
                "Jobs by HTTP, for callers that have no AMQP. HTTP's status says what became of the request, the "
                "`status` in a reply what became of the job: a job that failed is a 200, too. Every failure is a "
                "problem (RFC 9457) whose `reason` tells it apart."
            ),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/jobs": {"post": _post()},
            "/jobs/{job_id}": {"get": _get()},
            LIVE: {"get": _page("Whether a restart would mend nothing.", fails=True)},
            READY: {"get": _page("Whether jobs and their replies pass through now.", fails=True)},
            METRICS: {"get": _page("The metrics, for Prometheus.")},
        },
        "components": {
            "schemas": _schemas(),
            "headers": _HEADERS,
            "parameters": {"Prefer": _PREFER, **_passed_on(longest_timeout_s)},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Where gateway_token_file is set."}
            },
        },
    }


def _post() -> Json:
    return {
        "operationId": "submitJob",
        "summary": "Send a job; with Prefer: wait, have its reply as well.",
        "security": [{"token": []}, {}],
        "parameters": [_ref("parameters", name) for name in ("Prefer", *map(str.title, PASSED_ON))],
        "requestBody": {"required": True, "content": {_JSON: {"schema": _schema("Job")}}},
        "responses": {**_replies(), **_problems(_POST)},
    }


def _get() -> Json:
    job_id = {
        "name": "job_id",
        "in": "path",
        "required": True,
        "description": "As the answer to the POST has it.",
        "schema": {"type": "string"},
    }
    return {
        "operationId": "getJob",
        "summary": "The reply to a job, once there is one; of any gateway.",
        "security": [{"token": []}, {}],
        "parameters": [job_id, _ref("parameters", "Prefer")],
        "responses": {**_replies(), **_problems(_GET)},
    }


def _replies() -> Json:
    reply = {"oneOf": [_schema("SucceededReply"), _schema("FailedReply")]}
    return {
        "200": {
            "description": "The reply: the job has succeeded or failed.",
            "headers": {"Preference-Applied": _ref("headers", "Preference-Applied")},
            "content": {_JSON: {"schema": reply}},
        },
        "202": {
            "description": "RabbitMQ has the job; there is no reply yet.",
            "headers": {name: _ref("headers", name) for name in ("Location", "Retry-After", "Preference-Applied")},
            "content": {_JSON: {"schema": _schema("Pending")}},
        },
    }


def _problems(reasons: tuple[Reason, ...]) -> Json:
    statuses: dict[HTTPStatus, list[Reason]] = {}
    for reason in reasons:
        statuses.setdefault(KINDS[reason].status, []).append(reason)
    return {str(int(status)): _problem(status, statuses[status]) for status in sorted(statuses)}


def _problem(status: HTTPStatus, reasons: list[Reason]) -> Json:
    names = ["Retry-After"] if any(KINDS[reason].retry_after_s for reason in reasons) else []
    named = {HTTPStatus.UNAUTHORIZED: "WWW-Authenticate", HTTPStatus.METHOD_NOT_ALLOWED: "Allow"}
    names += [named[status]] if status in named else []
    return {
        # Without the status in words, which are not the same in each version of Python.
        "description": "\n".join(f"* `{reason}`: {KINDS[reason].detail}" for reason in reasons),
        "headers": {name: _ref("headers", name) for name in names},
        "content": {CONTENT_TYPE: {"schema": _schema("Problem")}},
    }


def _page(summary: str, *, fails: bool = False) -> Json:
    said = {"content": {_TEXT: {"schema": {"type": "string"}}}}
    bad = {"503": {"description": "No; the text says why.", **said}} if fails else {}
    return {"summary": summary, "responses": {"200": {"description": "Yes." if fails else "They.", **said}, **bad}}


def _passed_on(longest_timeout_s: float) -> Mapping[str, Json]:
    """The job's headers that are HTTP's as well. A trace context that is malformed is ignored, as W3C has it."""
    schemas: Mapping[str, Json] = {
        message.TIMEOUT_HEADER: {"type": "number", "exclusiveMinimum": 0, "maximum": longest_timeout_s},
        message.TRACEPARENT_HEADER: {"type": "string"},
    }
    return {
        name.title(): {
            "name": name.title(),
            "in": "header",
            "description": asyncapi.JOB_HEADERS[name]["description"],
            "schema": schemas[name],
        }
        for name in PASSED_ON
    }


def _schemas() -> Json:
    _, made = models_json_schema(
        [(Pending, "serialization"), (Problem, "serialization")],
        ref_template=_SHARED,
        schema_generator=asyncapi.Wire,
    )
    replies = asyncapi.reply_models(_SHARED)
    return json.loads(json.dumps({"Job": asyncapi.JOB, **replies, **made["$defs"]}))  # type: ignore[no-any-return]


def _schema(name: str) -> Json:
    return _ref("schemas", name)


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
