"""RabbitMQ's management API, as much of it as a private node, `check`, `status` and the tests need.

One rule: it knows an address and a login, and nothing of who started the node or where its files are. What
goes wrong is told in the words of errors.py: nobody answered, or RabbitMQ answered and said no.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from contextlib import closing
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import SplitResult, quote, urlsplit

from consumer.errors import BrokerRefusedError, BrokerUnreachableError

TIMEOUT_S = 10
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


class ManagementRefusedError(BrokerRefusedError):
    """The management API refused a request; `status` is HTTP's: 401 the login, 404 the name."""

    def __init__(self, request: str, status: int, answer: str) -> None:
        super().__init__(f"{request} was refused: {status} {answer}")
        self.status = status


class Managed(Protocol):
    """Whom to ask: where the console and its API listen, and the login to both."""

    @property
    def management_url(self) -> str: ...

    @property
    def user(self) -> str: ...

    @property
    def password(self) -> str: ...


def api(node: Managed, method: str, path: str, body: object = None, *, tls: ssl.SSLContext | None = None) -> Any:  # noqa: ANN401 - JSON
    """Ask the management API, `path` without `/api/`, and return its JSON; None where it says nothing.

    An https:// address is asked with `tls`, or else with the system's CAs.

    Raises:
        RefusedError: it said no; `status` tells why.
        BrokerUnreachableError: it does not answer.
    """
    with closing(_connection(urlsplit(node.management_url), tls)) as connection:
        status, answer = _exchange(connection, node, method, path, json.dumps({} if body is None else body))
    if status >= HTTPStatus.BAD_REQUEST:
        raise ManagementRefusedError(f"{method} /api/{path}", status, answer.decode(errors="replace"))
    return json.loads(answer) if answer else None


def create_vhost(node: Managed, name: str) -> None:
    """Make a vhost in which the user of this login may do everything."""
    vhost = quote(name, safe="")
    api(node, "PUT", f"vhosts/{vhost}")
    api(node, "PUT", f"permissions/{vhost}/{node.user}", EVERYTHING)


def delete_vhost(node: Managed, name: str) -> None:
    """Delete a vhost with its queues, messages and connections."""
    api(node, "DELETE", f"vhosts/{quote(name, safe='')}")


def _connection(address: SplitResult, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    # http.client, because urllib would send this through the proxy of the environment.
    if address.scheme == "https":
        return http.client.HTTPSConnection(address.netloc, timeout=TIMEOUT_S, context=tls)
    return http.client.HTTPConnection(address.netloc, timeout=TIMEOUT_S)


def _exchange(
    connection: http.client.HTTPConnection, node: Managed, method: str, path: str, body: str
) -> tuple[int, bytes]:
    """One request on a connection of its own: HTTP's status and the body of the answer."""
    folder = urlsplit(node.management_url).path.rstrip("/")  # management.path_prefix
    try:
        connection.request(method, f"{folder}/api/{path}", body, _headers(node))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise BrokerUnreachableError(
            f"the console at {node.management_url} does not answer ({error}): see the node's log, and whether its "
            "plugin rabbitmq_management is enabled"
        ) from error


def _headers(node: Managed) -> dict[str, str]:
    login = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
    return {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
