"""Makes the OpenAPI document, the published HTTP contract. FastAPI describes the routes that app.py declares.

This module adds the problems (problems.py), and the schemas of the job and its reply, which are the same as by
AMQP (schemas.py). `deploy/openapi.json` holds a copy; a test fails when it is out of date.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from consumer._version import VERSION
from consumer.gateway.jobs import JobsQueue, Pending
from consumer.gateway.problems import CONTENT_TYPE, KINDS, Problem
from consumer.gateway.request_body import JSON_TYPE
from consumer.wire import schemas

Json = dict[str, Any]

TITLE = "rabbitmq-classifier"
_DESCRIPTION = (
    "Jobs by HTTP, for callers without AMQP. The HTTP status describes the request; the `status` in a reply "
    "describes the job: the reply to a failed job is a 200, too. Every other failure is a problem (RFC 9457) with "
    "a `reason` for programs."
)
_SHARED = "#/components/schemas/{model}"
_HEADERS = {
    "Retry-After": "Seconds to wait before the next request.",
    "Location": "The path that returns the reply.",
    "Preference-Applied": "The wait that the gateway applied, if the request asked for one.",
}
#: The request body of POST /jobs. FastAPI does not know it, because the handler reads the body itself.
JOB_BODY: Json = {
    "requestBody": {"required": True, "content": {JSON_TYPE: {"schema": {"$ref": _SHARED.format(model="Job")}}}}
}


def _answer(description: str, *models: str, kind: str = JSON_TYPE, headers: Collection[str] = ()) -> Json:
    found = [{"$ref": _SHARED.format(model=model)} for model in models]
    return {
        "description": description,
        "headers": {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers},
        "content": {kind: {"schema": found[0] if len(found) == 1 else {"oneOf": found}}},
    }


_PROBLEMS = [f"* {int(kind.status)} `{reason}`: {kind.detail}" for reason, kind in KINDS.items()]
_PROBLEM = _answer("\n".join(["Problems by status and `reason`:", *_PROBLEMS]), "Problem", kind=CONTENT_TYPE)
#: The answers of a route about jobs by status: a reply, no reply yet, or a problem.
ANSWERS: dict[int | str, Json] = {
    200: _answer("The reply: the job has succeeded or failed.", "SucceededReply", "FailedReply"),
    202: _answer("RabbitMQ has the job; there is no reply yet.", "Pending", headers=_HEADERS),
    "default": _PROBLEM,
}
QUEUE_ANSWERS: dict[int | str, Json] = {
    200: _answer("The jobs queue, at most two seconds ago.", "JobsQueue"),
    "default": _PROBLEM,
}


class Contracted(FastAPI):
    """A FastAPI application with a complete OpenAPI document."""

    def openapi(self) -> Json:
        """Return the document; the first call makes it."""
        if self.openapi_schema is None:
            made = get_openapi(
                title=TITLE,
                version=VERSION,
                description=_DESCRIPTION,
                license_info={"name": "MIT", "identifier": "MIT"},
                routes=self.routes,
            )
            for page in made["paths"].values():
                for operation in page.values():
                    operation["responses"].pop("422", None)  # FastAPI accepts any value of our headers
            _, models = models_json_schema(
                [(model, "serialization") for model in (JobsQueue, Pending, Problem)],
                ref_template=_SHARED,
                schema_generator=schemas.Wire,
            )
            made["components"]["schemas"] = {
                "Job": schemas.JOB,
                **schemas.of_replies(_SHARED),
                **models["$defs"],
            }
            self.openapi_schema = made
        return self.openapi_schema
