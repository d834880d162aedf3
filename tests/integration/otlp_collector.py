"""A tiny OpenTelemetry collector: takes spans by OTLP over HTTP, as protobuf, and keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What was received: `spans` in the order in which they ended, `resource` of the last request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """Listen at a port of loopback for the block."""

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                collector.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None:
                """Say nothing on stderr."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            collector = cls(f"http://127.0.0.1:{server.server_port}")
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield collector
            finally:
                server.shutdown()
                thread.join()

    def take(self, body: bytes) -> None:
        """Decode one request."""
        for told in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {one.key: one.value.string_value for one in told.resource.attributes}
            self.spans += [span for scope in told.scope_spans for span in scope.spans]


def attributes(span: Span) -> dict[str, str | int]:
    """Read a span's attributes that are text or whole numbers."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}
