"""The management API over HTTPS, and behind a path: what RabbitMQ is asked, and whom we believe."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from consumer.config.loader import load
from consumer.errors import BrokerUnreachableError
from consumer.rabbitmq.management import Console, api


class Answers(BaseHTTPRequestHandler):
    """Answers every request with the path that was asked for."""

    def do_GET(self) -> None:
        body = f'["{self.path}", "{self.headers["Authorization"]}"]'.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Secured:
    """A server with a certificate, and the file of the CA that signed it."""

    url: str
    ca_file: Path


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Secured(f"https://u:p@127.0.0.1:{server.server_port}/rabbit/", tmp_path / "ca.pem")
        server.shutdown()
        thread.join()


def console(secured: Secured, **files: Path) -> Console:
    made = Console.of(
        load(files, {"CONSUMER_AMQP_URL": "amqps://u@h", "CONSUMER_MANAGEMENT_URL": secured.url}), ""
    )
    assert made is not None
    return made


def test_who_is_signed_by_the_ca_of_amqp_is_asked_behind_its_path(secured: Secured) -> None:
    asked = console(secured, amqp_ca_file=secured.ca_file)
    assert api(asked, "GET", "overview", tls=asked.tls) == ["/rabbit/api/overview", "Basic dTpw"]


def test_who_is_not_is_told_nothing(secured: Secured) -> None:
    asked = console(secured)
    with pytest.raises(BrokerUnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        api(asked, "GET", "overview", tls=asked.tls)
