"""The caller in Python on docs/gateway.md: what it does when the gateway cannot take or find a job at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import ClassVar

import pytest
from support.docs_pages.pages import block
from support.waiting import PATIENCE_S

PENDING = (202, {"job_id": "j", "status": "pending"})
DONE = (200, {"job_id": "j", "status": "succeeded"})


def problem(status: int, reason: str) -> tuple[int, dict[str, str]]:
    return status, {"reason": reason, "detail": f"because of {reason}"}


class Gateway(BaseHTTPRequestHandler):
    """Gives the answers of a list, in order, and notes the requests."""

    answers: ClassVar[list[tuple[int, dict[str, str]]]] = []
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_POST = do_GET  # noqa: N815 - the base class's name

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def serving(*answers: tuple[int, dict[str, str]]) -> Iterator[int]:
    Gateway.answers[:], Gateway.requests[:] = answers, []
    with HTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def called(port: int) -> subprocess.CompletedProcess[str]:
    code = block("docs/gateway.md", "python-caller").text.replace("localhost:8080", f"127.0.0.1:{port}")
    argv = [sys.executable, "-c", code]
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_the_caller_asks_again_after_a_503() -> None:
    with serving(problem(503, "queue_full"), PENDING, problem(503, "reading"), PENDING, DONE) as port:
        done = called(port)
    assert json.loads(done.stdout) == DONE[1]
    assert Gateway.requests == ["POST /jobs"] * 2 + ["GET /jobs/j"] * 3


@pytest.mark.parametrize("answer", [problem(503, "maybe_taken"), problem(504, "confirm_late"), problem(400, "x")])
def test_the_caller_ends_with_the_reason_where_a_second_request_might_run_the_job_twice(
    answer: tuple[int, dict[str, str]],
) -> None:
    with serving(answer) as port:
        done = called(port)
    assert (done.returncode, done.stderr) == (1, f"{answer[1]['detail']}\n")
    assert Gateway.requests == ["POST /jobs"]
