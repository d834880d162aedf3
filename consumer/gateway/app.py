"""The gateway's FastAPI application: paths, methods, their arguments and their answers.

jobs.py, problems.py and health.py decide the answers. request_body.py reads bodies, because the framework would
read them without a limit.

FastAPI makes the OpenAPI document, the published HTTP contract, from the routes. It does not know the schemas of
the job and its reply, which are the same as by AMQP (schemas.py). `deploy/openapi.json` holds a copy; a test fails
when it is out of date.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.routing import Route

from consumer._version import PRODUCT, VERSION
from consumer.gateway.jobs import MAX_WAIT_S, Jobs, JobsQueue, Pending, wish_to_wait_s
from consumer.gateway.problems import CONTENT_TYPE, KINDS, Problem, Reason, answer
from consumer.gateway.request_body import JSON_TYPE, Bodies
from consumer.gateway.tokens import Tokens
from consumer.telemetry.health import LIVE, METRICS, READY
from consumer.telemetry.http_server import Pages
from consumer.wire import schemas
from consumer.wire.message import TIMEOUT_HEADER, TRACEPARENT_HEADER

#: Status -> description, as FastAPI takes it.
Answers = dict[int | str, dict[str, Any]]

DESCRIPTION = (
    "Jobs by HTTP, for callers without AMQP. The HTTP status describes the request; the `status` in a reply "
    "describes the job: the reply to a failed job is a 200, too. Every other failure is a problem (RFC 9457) with "
    "a `reason` for programs."
)
#: All files of the web page, with their media types.
ASSETS = {
    "page.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "signals.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
_TOKEN = Depends(HTTPBearer(scheme_name="token", description="Where gateway_token_file is set.", auto_error=False))
Prefer = Annotated[
    list[str],
    Header(
        default_factory=list,
        description=(
            f"`wait=10`: wait up to 10 seconds for the reply; the limit is {MAX_WAIT_S} seconds (RFC 7240). "
            "Malformed preferences are ignored."
        ),
    ),
]
TimeoutS = Annotated[str | None, Header(description=schemas.JOB_HEADERS[TIMEOUT_HEADER]["description"])]
Traceparent = Annotated[str | None, Header(description=schemas.JOB_HEADERS[TRACEPARENT_HEADER]["description"])]

#: Where the document has its schemas. FastAPI's own would allow null, but unknown values are left out.
_SHARED = "#/components/schemas/{model}"
_, _OURS = models_json_schema(
    [(model, "serialization") for model in (JobsQueue, Pending, Problem)],
    ref_template=_SHARED,
    schema_generator=schemas.Wire,
)
_SCHEMAS = {"Job": schemas.JOB, **schemas.of_replies(_SHARED), **_OURS["$defs"]}
_PENDING_HEADERS = {
    "Retry-After": "Seconds to wait before the next request.",
    "Location": "The path that returns the reply.",
    "Preference-Applied": "The wait that the gateway applied, if the request asked for one.",
}
_PROBLEMS = [f"* {int(kind.status)} `{reason}`: {kind.detail}" for reason, kind in KINDS.items()]
_PROBLEM = {
    "description": "\n".join(["Problems by status and `reason`:", *_PROBLEMS]),
    "content": {CONTENT_TYPE: {"schema": schemas.ref(_SHARED, "Problem")}},
}
_JOB_ANSWERS: Answers = {
    200: {
        "description": "The reply: the job has succeeded or failed.",
        "content": {
            JSON_TYPE: {
                "schema": {"oneOf": [schemas.ref(_SHARED, name) for name in ("SucceededReply", "FailedReply")]}
            }
        },
    },
    202: {
        "description": "RabbitMQ has the job; there is no reply yet.",
        "model": Pending,
        "headers": {
            name: {"description": text, "schema": {"type": "string"}} for name, text in _PENDING_HEADERS.items()
        },
    },
    "default": _PROBLEM,
}
_PROBE_ANSWERS: Answers = {
    503: {"description": "No; the text has the reason.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@dataclass(frozen=True, slots=True)
class Served:
    """The state that the routes share. `pages`: the pages for probes, by path."""

    jobs: Jobs
    tokens: Tokens
    bodies: Bodies
    pages: Pages


# HEAD gets the same headers as GET; uvicorn omits the body. Each is declared separately, because FastAPI would
# describe both.
router = APIRouter()


@router.post(
    "/jobs",
    operation_id="submitJob",
    summary="Submit a job; with Prefer: wait, also wait for its reply.",
    dependencies=[_TOKEN],
    responses=_JOB_ANSWERS,
    openapi_extra={
        "requestBody": {"required": True, "content": {JSON_TYPE: {"schema": schemas.ref(_SHARED, "Job")}}}
    },
)
async def post_job(
    request: Request, prefer: Prefer, timeout_s: TimeoutS = None, traceparent: Traceparent = None
) -> Response:
    """The answer contains a `job_id`. Keep it: GET /jobs/{job_id} returns the reply."""
    served: Served = request.app.state.served
    if not served.tokens.allow(request.headers.get("authorization")):
        return answer(Reason.NO_TOKEN)
    async with served.bodies.reading(request) as body:
        if isinstance(body, Reason):
            limit = f"a job has at most {served.bodies.max_bytes} bytes (max_body_bytes)"
            return answer(body, limit if body is Reason.TOO_LARGE else None)
        message = served.jobs.read(body, {TIMEOUT_HEADER: timeout_s, TRACEPARENT_HEADER: traceparent})
        if isinstance(message, Response):
            return message
        if refusal := await served.jobs.submit(message):
            return refusal
    async with _disconnect_of(request) as disconnected:
        return await served.jobs.result(str(message.message_id), wish_to_wait_s(prefer), disconnected)


@router.head("/jobs/{job_id}", include_in_schema=False)
@router.get(
    "/jobs/{job_id}",
    operation_id="getJob",
    summary="Return the reply to a job, if there is one yet.",
    dependencies=[_TOKEN],
    responses=_JOB_ANSWERS,
)
async def get_job(request: Request, job_id: str, prefer: Prefer) -> Response:
    """Every gateway can answer, no matter which one received the job."""
    served: Served = request.app.state.served
    if not served.tokens.allow(request.headers.get("authorization")):
        return answer(Reason.NO_TOKEN)
    async with _disconnect_of(request) as disconnected:
        return await served.jobs.fetch(job_id, wish_to_wait_s(prefer), disconnected)


@router.head("/queue", include_in_schema=False)
@router.get(
    "/queue",
    operation_id="getQueue",
    summary="Return how many jobs wait, and how many consumers take them.",
    responses={
        200: {"description": "The jobs queue, at most two seconds ago.", "model": JobsQueue},
        "default": _PROBLEM,
    },
)
async def get_queue(request: Request) -> Response:
    """The web page requests this to explain a wait. No token is needed."""
    served: Served = request.app.state.served
    return await served.jobs.queue()


@router.head(METRICS, include_in_schema=False)
@router.get(METRICS, summary="Return the metrics, for Prometheus.", response_class=PlainTextResponse)
@router.head(READY, include_in_schema=False)
@router.get(
    READY,
    summary="Return whether the gateway can pass on jobs and replies now.",
    response_class=PlainTextResponse,
    responses=_PROBE_ANSWERS,
)
@router.head(LIVE, include_in_schema=False)
@router.get(
    LIVE,
    summary="Return whether the gateway is alive.",
    response_class=PlainTextResponse,
    responses=_PROBE_ANSWERS,
)
async def get_page(request: Request) -> Response:
    """Probes and scrapers need no token."""
    said = request.app.state.served.pages[request.url.path]()
    return Response(said.text, said.status, media_type=said.content_type)


def application(served: Served | None = None) -> FastAPI:
    """Make the application; without `served` it can only describe its contract."""
    app = FastAPI(
        title=PRODUCT,
        version=VERSION,
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.served = served
    app.include_router(router)
    for name, kind in ASSETS.items():
        path = "/" if name == "page.html" else f"/{name}"
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
        app.router.routes.append(Route(path, Response(text, media_type=kind), methods=["GET"]))
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _refused)  # FastAPI raises it again, and admission.py logs it
    app.openapi()["components"]["schemas"] = _SCHEMAS  # FastAPI makes the document only once
    return app


async def _refused(_request: Request, error: Exception) -> Response:
    """Answer a request that the framework refuses because of its path or method, or that met a bug."""
    match error:
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return answer(Reason.NO_PAGE)
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": allowed}):
            return answer(Reason.METHOD, Allow="GET, HEAD" if allowed == "GET" else allowed)
    return answer(Reason.BUG)


@asynccontextmanager
async def _disconnect_of(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """Yield a future that is done when the caller has disconnected: after the body, ASGI reports nothing else."""

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    listening = asyncio.create_task(listen(), name="caller")
    try:
        yield listening
    finally:
        listening.cancel()
