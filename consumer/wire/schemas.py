"""Generates the JSON Schemas of all messages: job, reply, progress and error record.

Pure: the inputs are the models, headers and types of message.py and write.py, and the sentences of job.py; the
output is JSON. asyncapi.py and the gateway's app.py publish them in their documents. `deploy/schemas` holds a
copy; a test fails when the copy is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from consumer.job import ErrorCode
from consumer.wire import message, read
from consumer.wire.write import ErrorRecord, ProgressReport, Reply

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JOB: Json = {
    "title": "Job",
    "description": "Any JSON object. Producer and classifier agree on its content.",
    "type": "object",
    "examples": [{"signal": [0.1, 0.5, -0.2], "model": "pumps"}],
}
ID = {"type": "string", "maxLength": message.MAX_ID_BYTES}
TRACEPARENT = {
    "type": "string",
    "pattern": f"^{read.TRACEPARENT.pattern}$",
    "description": "W3C trace context: passed to the classifier and back in the reply.",
}
JOB_HEADERS: Json = {
    message.TIMEOUT_HEADER: {
        "type": ["number", "string"],
        "exclusiveMinimum": 0,
        "description": "Seconds the job may run, up to the service's job_timeout_cap_s; text is read as a number.",
    },
    message.TRACEPARENT_HEADER: TRACEPARENT,
    message.PROGRESS_HEADER: {
        "type": ["boolean", "string"],
        "description": "true: publish the job's progress to the queue in reply_to.",
    },
    message.REPLAYED_HEADER: {
        "type": "integer",
        "minimum": 1,
        "description": "Set by the service: how often the job was replayed as a dead letter. Do not send it.",
    },
    message.JOB_ID_HEADER: {
        **ID,
        "description": "Set by the service on the copy for a retry: the job's id. Do not send it.",
    },
    message.LAST_ERROR_HEADER: {
        "type": "string",
        "description": "Set by the service on the copy for a retry: the reason for the retry. Do not send it.",
    },
    message.ATTEMPT_HEADER: {
        "type": "integer",
        "minimum": 1,
        "description": "Set by the service on the copy for a retry: the number of the attempt. Do not send it.",
    },
}


class Wire(GenerateJsonSchema):
    """Makes the JSON Schema of a model as it is sent: without null, because unknown values are left out."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> Json:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> Literal[False]:  # noqa: ARG002 - pydantic's signature
        return False


def documents() -> dict[str, Json]:
    """Make the schemas of job, reply, progress and error record, by file name. Each is self-contained."""
    shared = "#/$defs/{model}"
    models = of_messages(shared)
    return {
        "job": {"$schema": DIALECT, **JOB},
        "reply": {
            "$schema": DIALECT,
            "title": "Reply",
            "oneOf": [ref(shared, name) for name in ("SucceededReply", "FailedReply")],
            "$defs": of_replies(shared),
        },
        "progress": {"$schema": DIALECT, **models["ProgressReport"]},
        "error-record": {
            "$schema": DIALECT,
            **models["ErrorRecord"],
            "$defs": {"ErrorCode": models["ErrorCode"]},
        },
    }


def of_replies(ref_template: str) -> dict[str, Json]:
    """Make the schemas of both kinds of reply, and of the models that they refer to."""
    models = of_messages(ref_template)
    return {name: model for name, model in models.items() if name not in ("ErrorRecord", "ProgressReport")}


def text(made: Json) -> str:
    """Format the JSON as in the files of `deploy/`."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def ref(ref_template: str, name: str) -> Json:
    """Refer to a schema by its name."""
    return {"$ref": ref_template.format(model=name)}


def of_messages(ref_template: str) -> dict[str, Json]:
    """Make the schemas of every message that the service sends, by name. A reply has two: succeeded and failed."""
    # mode="validation": in the serialization schema, pydantic sees only that `Used` makes a dict.
    wanted: Sequence[tuple[type[BaseModel], Literal["validation"]]] = [
        (model, "validation") for model in (Reply, ErrorRecord, ProgressReport)
    ]
    _, made = models_json_schema(wanted, ref_template=ref_template, schema_generator=Wire)
    models: dict[str, Json] = made["$defs"]
    models["ErrorCode"]["description"] = "\n".join(
        ["Why a job has no result.", "", *(f"* `{code}`: {code.meaning}" for code in ErrorCode)]
    )
    reply = models.pop("Reply")
    return {
        "SucceededReply": _half(reply, "SucceededReply", "succeeded", has="output", lacks="error"),
        "FailedReply": _half(reply, "FailedReply", "failed", has="error", lacks="output"),
        **models,
    }


def _half(reply: Json, title: str, status: str, *, has: str, lacks: str) -> Json:
    """Narrow the model of a reply to one status."""
    properties = {name: schema for name, schema in reply["properties"].items() if name != lacks}
    required = set(reply["required"]) | {has}
    return {
        "title": title,
        "type": "object",
        "properties": {**properties, "status": {"const": status}},
        "required": [name for name in properties if name in required],
    }
