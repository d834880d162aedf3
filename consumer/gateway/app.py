"""The gateway's FastAPI application: paths, methods and their arguments.

jobs.py, problems.py and health.py decide the answers. request_body.py reads bodies, because the framework would
read them without a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from consumer.gateway import openapi
from consumer.gateway.jobs import MAX_WAIT_S, JobOptions, Jobs
from consumer.gateway.problems import Answer, Reason, answer
from consumer.gateway.request_body import Bodies
from consumer.gateway.tokens import Tokens
from consumer.telemetry.health import LIVE, METRICS, READY
from consumer.telemetry.http_server import Pages
from consumer.wire import schemas
from consumer.wire.message import TIMEOUT_HEADER, TRACEPARENT_HEADER

#: HEAD gets the same headers as GET; uvicorn omits the body. Routes of the contract declare each method
#: separately, because FastAPI would describe both.
READING = ["GET", "HEAD"]
#: All files of the web page, with their media types.
ASSETS = {
    "page.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "signals.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
_TOKEN = Depends(HTTPBearer(scheme_name="token", description="Where gateway_token_file is set.", auto_error=False))
Prefer = Annotated[
    list[str] | None,
    Header(
        description=(
            f"`wait=10`: wait up to 10 seconds for the reply; the limit is {MAX_WAIT_S} seconds (RFC 7240). "
            "Malformed preferences are ignored."
        )
    ),
]
TimeoutS = Annotated[str | None, Header(description=schemas.JOB_HEADERS[TIMEOUT_HEADER]["description"])]
Traceparent = Annotated[str | None, Header(description=schemas.JOB_HEADERS[TRACEPARENT_HEADER]["description"])]


@dataclass(frozen=True, slots=True)
class Served:
    """The state that the routes share. `pages`: the pages for probes, by path."""

    jobs: Jobs
    tokens: Tokens
    bodies: Bodies
    pages: Pages


router = APIRouter()


@router.post(
    "/jobs",
    operation_id="submitJob",
    summary="Submit a job; with Prefer: wait, also wait for its reply.",
    dependencies=[_TOKEN],
    responses=openapi.ANSWERS,
    openapi_extra=openapi.JOB_BODY,
)
async def post_job(
    request: Request, prefer: Prefer = None, timeout_s: TimeoutS = None, traceparent: Traceparent = None
) -> Response:
    """The answer contains a `job_id`. Keep it: GET /jobs/{job_id} returns the reply."""
    served: Served = request.app.state.served
    if not served.tokens.allow(request.headers.get("authorization")):
        return _sent(answer(Reason.NO_TOKEN))
    asked = JobOptions.of(prefer, {TIMEOUT_HEADER: timeout_s, TRACEPARENT_HEADER: traceparent})
    async with served.bodies.reading(request) as body:
        if isinstance(body, Reason):
            limit = f"a job has at most {served.bodies.max_bytes} bytes (max_body_bytes)"
            return _sent(answer(body, limit if body is Reason.TOO_LARGE else None))
        message = served.jobs.read(body, asked)
        if isinstance(message, Answer):
            return _sent(message)
        if refusal := await served.jobs.submit(message):
            return _sent(refusal)
    async with _disconnect_of(request) as disconnected:
        return _sent(await served.jobs.result(str(message.message_id), asked.wait_s, disconnected))


@router.head("/jobs/{job_id}", include_in_schema=False)
@router.get(
    "/jobs/{job_id}",
    operation_id="getJob",
    summary="Return the reply to a job, if there is one yet.",
    dependencies=[_TOKEN],
    responses=openapi.ANSWERS,
)
async def get_job(request: Request, job_id: str, prefer: Prefer = None) -> Response:
    """Every gateway can answer, no matter which one received the job."""
    served: Served = request.app.state.served
    if not served.tokens.allow(request.headers.get("authorization")):
        return _sent(answer(Reason.NO_TOKEN))
    async with _disconnect_of(request) as disconnected:
        return _sent(await served.jobs.fetch(job_id, JobOptions.of(prefer, {}).wait_s, disconnected))


@router.head("/queue", include_in_schema=False)
@router.get(
    "/queue",
    operation_id="getQueue",
    summary="Return how many jobs wait, and how many consumers take them.",
    responses=openapi.QUEUE_ANSWERS,
)
async def get_queue(request: Request) -> Response:
    """The web page requests this to explain a wait. No token is needed."""
    served: Served = request.app.state.served
    return _sent(await served.jobs.queue())


_FAILS: dict[int | str, dict[str, Any]] = {
    503: {"description": "No; the text has the reason.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.head(METRICS, include_in_schema=False)
@router.get(METRICS, summary="Return the metrics, for Prometheus.", response_class=PlainTextResponse)
@router.head(READY, include_in_schema=False)
@router.get(
    READY,
    summary="Return whether the gateway can pass on jobs and replies now.",
    response_class=PlainTextResponse,
    responses=_FAILS,
)
@router.head(LIVE, include_in_schema=False)
@router.get(
    LIVE, summary="Return whether the gateway is alive.", response_class=PlainTextResponse, responses=_FAILS
)
async def get_page(request: Request) -> Response:
    """Probes and scrapers need no token."""
    said = request.app.state.served.pages[request.url.path]()
    return Response(said.text, said.status, media_type=said.content_type)


def application(served: Served | None = None) -> FastAPI:
    """Make the application; without `served` it can only describe its contract."""
    app = openapi.Contracted(docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.served = served
    app.include_router(router)
    for name, kind in ASSETS.items():
        path = "/" if name == "page.html" else f"/{name}"
        text = files(__package__).joinpath(name).read_text(encoding="utf-8")
        app.add_api_route(path, _fixed(text, kind), methods=READING, include_in_schema=False)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _bug)  # FastAPI raises it again, and admission.py logs it
    return app


def _fixed(text: str, kind: str) -> Callable[[], Any]:
    async def give() -> Response:
        return Response(text, media_type=kind)

    return give


def _sent(said: Answer) -> Response:
    return Response(said.body, said.status, said.headers)


async def _refused(_request: Request, error: Exception) -> Response:
    """Answer a request that the framework refuses because of its path or method."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers: Mapping[str, str] = getattr(error, "headers", None) or {}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers.get("Allow", headers.get("allow", ""))
        return _sent(answer(Reason.METHOD, Allow=", ".join(READING) if allowed == "GET" else allowed))
    return _sent(answer(Reason.NO_PAGE if status == HTTPStatus.NOT_FOUND else Reason.BUG))


async def _bug(_request: Request, _error: Exception) -> Response:
    return _sent(answer(Reason.BUG))


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
