"""The pages of the gateway as a FastAPI application: paths and methods, and what each is handed.

Thin on purpose: what is answered is decided in jobs.py, problems.py and health.py. Bodies are read by ourselves
(request_body.py), as the framework would read them without a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from consumer._version import VERSION
from consumer.config.settings import Settings
from consumer.gateway import openapi
from consumer.gateway.jobs import Jobs, wish
from consumer.gateway.problems import Answer, Reason, answer
from consumer.gateway.request_body import Room, reading
from consumer.gateway.tokens import Tokens
from consumer.telemetry.http_server import Pages

#: Both get the same headers; the server leaves out the body of the answer to a HEAD.
READING = ["GET", "HEAD"]
#: File -> its type; all that the page in a browser is made of.
ASSETS = {
    "page.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}


def application(jobs: Jobs, tokens: Tokens, pages: Pages, settings: Settings) -> FastAPI:
    """Make the application.

    Args:
        jobs: who answers about jobs.
        tokens: who may ask.
        pages: plain ones, such as those for probes, by path.
        settings: of which the largest job and the longest run time count here.
    """
    app = FastAPI(
        title="rabbitmq-classifier", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    room, max_body_bytes = Room(), settings.max_body_bytes

    @app.post("/jobs")
    async def post_job(request: Request) -> Response:
        if not tokens.allow(request.headers.get("authorization")):
            return _sent(answer(Reason.NO_TOKEN))
        asked = wish(request.headers, request.headers.getlist("prefer"))
        async with reading(request.receive, request.headers, max_body_bytes, room) as body:
            if not isinstance(body, bytes):
                return _sent(_unread(body, max_body_bytes))
            message = jobs.read(body, asked)
            if isinstance(message, Answer):
                return _sent(message)
            if refusal := await jobs.submit(message):
                return _sent(refusal)
        async with _gone(request) as gone:
            return _sent(await jobs.result(str(message.message_id), asked.wait_s, gone))

    @app.api_route("/jobs/{job_id}", methods=READING)
    async def get_job(request: Request, job_id: str) -> Response:
        if not tokens.allow(request.headers.get("authorization")):
            return _sent(answer(Reason.NO_TOKEN))
        asked = wish(request.headers, request.headers.getlist("prefer"))
        async with _gone(request) as gone:
            return _sent(await jobs.fetch(job_id, asked.wait_s, gone))

    contract = openapi.text(openapi.document(VERSION, settings.longest_timeout_s))
    app.add_api_route("/openapi.json", _fixed(contract, "application/json"), methods=READING)
    for name, kind in ASSETS.items():
        path = "/" if name == "page.html" else f"/{name}"
        app.add_api_route(
            path, _fixed(files(__package__).joinpath(name).read_text(encoding="utf-8"), kind), methods=READING
        )
    for path, page in pages.items():
        app.add_api_route(path, partial(_page, page), methods=READING)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _bug)  # it is raised further, and logged at the door
    return app


def _fixed(text: str, kind: str) -> Callable[[], Any]:
    async def give() -> Response:
        return Response(text, media_type=kind)

    return give


async def _page(page: Callable[[], Any]) -> Response:
    said = page()
    return Response(said.text, said.status, media_type=said.content_type)


def _sent(said: Answer) -> Response:
    return Response(said.body, said.status, said.headers)


def _unread(reason: Reason | None, max_body_bytes: int) -> Answer:
    """Say why a body was not read. To a caller who has gone it does not matter what."""
    if reason is Reason.TOO_LARGE:
        return answer(reason, f"a job has at most {max_body_bytes} bytes (max_body_bytes)")
    return answer(reason or Reason.SLOW_BODY)


async def _refused(_request: Request, error: Exception) -> Response:
    """What the framework refuses before it comes to us: a path, or a method."""
    status = error.status_code if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    headers: Mapping[str, str] = getattr(error, "headers", None) or {}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return _sent(answer(Reason.METHOD, Allow=headers.get("Allow", headers.get("allow", ""))))
    return _sent(answer(Reason.NO_PAGE if status == HTTPStatus.NOT_FOUND else Reason.NOT_HTTP))


async def _bug(_request: Request, _error: Exception) -> Response:
    return _sent(answer(Reason.BUG))


@asynccontextmanager
async def _gone(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """Give what is done when the caller has hung up: once the body is read, nothing else comes."""

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    listening = asyncio.create_task(listen(), name="caller")
    try:
        yield listening
    finally:
        listening.cancel()
