"""A client of RabbitMQ's management API, for private nodes, `check`, `status` and the tests.

It knows an address and a login, and nothing about the process or files of a node. It raises an error of errors.py
if nothing answers or RabbitMQ refuses.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from contextlib import closing
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

from consumer.errors import BrokerRefusedError, BrokerUnreachableError

TIMEOUT_S = 10


class ManagementRefusedError(BrokerRefusedError):
    """The management API refused a request. `status`: the HTTP status; 401 for the login, 404 for the name."""

    def __init__(self, request: str, status: int, answer: str) -> None:
        super().__init__(f"{request} was refused: {status} {answer}")
        self.status = status


class Managed(Protocol):
    """The address of the management console and API, and a login for both."""

    @property
    def management_url(self) -> str: ...

    @property
    def user(self) -> str: ...

    @property
    def password(self) -> str: ...


def api(node: Managed, method: str, path: str, body: object = None, *, tls: ssl.SSLContext | None = None) -> Any:  # noqa: ANN401 - JSON
    """Send a request and return the answer's JSON, or None if it is empty. `path` lacks the leading `/api/`.

    `tls`, or by default the system's CAs, verifies an https:// address.

    Raises:
        ManagementRefusedError: the API refused the request; `status` has the reason.
        BrokerUnreachableError: the API does not answer.
    """
    with closing(_connection(urlsplit(node.management_url), tls)) as connection:
        status, answer = _exchange(connection, node, method, path, json.dumps({} if body is None else body))
    if status >= HTTPStatus.BAD_REQUEST:
        raise ManagementRefusedError(f"{method} /api/{path}", status, answer.decode(errors="replace"))
    return json.loads(answer) if answer else None


def _connection(address: SplitResult, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    # http.client, because urllib would use the proxy of the environment.
    if address.scheme == "https":
        return http.client.HTTPSConnection(address.netloc, timeout=TIMEOUT_S, context=tls)
    return http.client.HTTPConnection(address.netloc, timeout=TIMEOUT_S)


def _exchange(
    connection: http.client.HTTPConnection, node: Managed, method: str, path: str, body: str
) -> tuple[int, bytes]:
    """Send one request on its own connection; return the HTTP status and the body of the answer."""
    folder = urlsplit(node.management_url).path.rstrip("/")  # RabbitMQ's management.path_prefix
    try:
        connection.request(method, f"{folder}/api/{path}", body, _headers(node))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BrokerUnreachableError(
            f"the management API at {node.management_url} does not answer ({error}); see the node's log, and "
            "check that its plugin rabbitmq_management is enabled"
        ) from error


def _headers(node: Managed) -> dict[str, str]:
    login = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
    return {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
