"""RabbitMQ's management API, as much of it as a private node, `consumer status` and the tests need.

One rule: it knows an address and a login, and nothing of who started the node or where its files are. What
goes wrong is told in the words of errors.py: nobody answered, or RabbitMQ answered and said no.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from consumer.errors import BrokerRefusedError, BrokerUnreachableError

TIMEOUT_S = 10
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


class RefusedError(BrokerRefusedError):
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


@dataclass(frozen=True, slots=True)
class Console:
    """A management API that is not of a private node. `context`: what an https:// connection is checked with."""

    management_url: str
    user: str
    password: str = field(repr=False)
    context: ssl.SSLContext | None = None

    @classmethod
    def at(cls, url: str, amqp_url: str, context: ssl.SSLContext | None = None) -> Console:
        """Take the login from the URL, or else from that of AMQP; neither is quoted afterwards."""
        parts = urlsplit(url)
        login = parts if parts.username else urlsplit(amqp_url)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
        return cls(bare, unquote(login.username or "guest"), unquote(login.password or "guest"), context)


def api(node: Managed, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """Ask the management API, `path` without `/api/`, and return its JSON; None where it says nothing.

    Raises:
        RefusedError: it said no; `status` tells why.
        BrokerUnreachableError: it does not answer.
    """
    status, answer = _exchange(node, method, f"/api/{path}", json.dumps({} if body is None else body))
    if status >= HTTPStatus.BAD_REQUEST:
        raise RefusedError(f"{method} /api/{path}", status, answer.decode(errors="replace"))
    return json.loads(answer) if answer else None


def create_vhost(node: Managed, name: str) -> None:
    """Make a vhost in which the user of this login may do everything."""
    vhost = quote(name, safe="")
    api(node, "PUT", f"vhosts/{vhost}")
    api(node, "PUT", f"permissions/{vhost}/{node.user}", EVERYTHING)


def delete_vhost(node: Managed, name: str) -> None:
    """Delete a vhost with its queues, messages and connections."""
    api(node, "DELETE", f"vhosts/{quote(name, safe='')}")


def _exchange(node: Managed, method: str, path: str, body: str) -> tuple[int, bytes]:
    """One request on a connection of its own: HTTP's status and the body of the answer."""
    url = urlsplit(node.management_url)
    with closing(_connection(node)) as connection:
        try:
            connection.request(method, url.path.rstrip("/") + path, body, _headers(node))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise BrokerUnreachableError(
                f"the console at {node.management_url} does not answer ({error}): see the node's log, and whether "
                "its plugin rabbitmq_management is enabled"
            ) from error


def _connection(node: Managed) -> http.client.HTTPConnection:
    """Not urllib, which would send this through the proxy of the environment."""
    url = urlsplit(node.management_url)
    if url.scheme == "https":
        return http.client.HTTPSConnection(
            url.netloc, timeout=TIMEOUT_S, context=getattr(node, "context", None) or ssl.create_default_context()
        )
    return http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)


def _headers(node: Managed) -> dict[str, str]:
    login = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
    return {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
