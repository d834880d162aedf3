"""A client of RabbitMQ's management API, for private nodes, `check`, `status`, `run` and the tests.

`api` sends one request, to any address with a login. `Console` reads what AMQP does not expose: bindings,
policies, consumers, rates. The setting `management_url` enables it, and it sends only GET requests. Both raise an
error of errors.py if nothing answers or RabbitMQ refuses.
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
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from consumer.config.amqp_url import vhost_of
from consumer.config.credentials import Credentials
from consumer.config.settings import Settings
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError

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


@dataclass(frozen=True, slots=True)
class Console:
    """The management API's address and login, for the virtual host of the service."""

    management_url: str
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, settings: Settings, amqp_url: str) -> Console | None:
        """Read the settings; `amqp_url` is the URL of the connected RabbitMQ. None without `management_url`.

        Raises:
            ConfigurationError: a file of the credentials cannot be used, or no setting has a login.
        """
        if settings.management_url is None:
            return None
        address = urlsplit(settings.management_url.get_secret_value())
        if not address.username and address.scheme == "http" and amqp_url.startswith("amqps:"):
            raise ConfigurationError(
                "the password in amqp_url, which TLS protects, would be sent unencrypted to an http:// address; "
                "write https:// in management_url, or give it a user:password@ of its own"
            )
        login = address if address.username else urlsplit(settings.credentials.complete(amqp_url))
        if not login.username:
            raise ConfigurationError(
                "management_url names no user, and amqp_url has no password to use; write http://user:password@host"
            )
        return cls(
            management_url=urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2])),
            user=unquote(login.username),
            password=unquote(login.password or ""),
            vhost=vhost_of(amqp_url),
            tls=_context(settings) if address.scheme == "https" else None,
        )

    def answers(self) -> bool:
        """Query an exchange that every virtual host has. This tests the login and its permission to read."""
        return self.exchange("amq.direct") is not None

    def queue(self, name: str) -> dict[str, Any] | None:
        """Query a queue with its arguments and policy; None if it does not exist."""
        found: dict[str, Any] | None = self._found(f"queues/{self._here}/{quote(name, safe='')}")
        return found

    def exchange(self, name: str) -> dict[str, Any] | None:
        """Query an exchange; None if it does not exist."""
        found: dict[str, Any] | None = self._found(f"exchanges/{self._here}/{quote(name, safe='')}")
        return found

    def bound_to(self, exchange: str) -> list[str]:
        bindings = self._found(f"exchanges/{self._here}/{quote(exchange, safe='')}/bindings/source") or []
        return [binding["destination"] for binding in bindings if binding["destination_type"] == "queue"]

    def queues(self) -> list[dict[str, Any]]:
        """List all queues with their counts and rates."""
        return self._listed(f"queues/{self._here}")

    def consumers(self) -> list[dict[str, Any]]:
        """List all consumers with their arguments, queues and channels.

        RabbitMQ still lists a consumer whose queue was deleted, but without a channel. Such consumers are left
        out, unless no consumer has a channel.
        """
        found = self._listed(f"consumers/{self._here}")
        return [one for one in found if one.get("channel_details")] or found

    def alarmed(self) -> list[str]:
        """List the nodes with a memory or disk alarm; none if this user lacks the tag `monitoring`."""
        try:
            nodes = api(self, "GET", "nodes?columns=name,mem_alarm,disk_free_alarm", tls=self.tls)
        except ManagementRefusedError:
            return []
        return [node["name"] for node in nodes if node.get("mem_alarm") or node.get("disk_free_alarm")]

    def unacked(self) -> dict[str, int]:
        """Return the number of unsettled deliveries by channel, as far as it is known."""
        channels = self._listed(f"vhosts/{self._here}/channels?columns=name,messages_unacknowledged")
        return {
            one["name"]: one["messages_unacknowledged"] for one in channels if "messages_unacknowledged" in one
        }

    def _listed(self, path: str) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = api(self, "GET", path, tls=self.tls)
        except ManagementRefusedError as error:
            if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise BrokerRefusedError(
                    f"the management API at {self.management_url} refused the user {self.user!r}: give it the "
                    "tag `monitoring`, and permissions in the virtual host, or put another login into "
                    "management_url"
                ) from None
            raise
        return found

    @property
    def _here(self) -> str:
        return quote(self.vhost, safe="")

    def _found(self, path: str) -> Any:  # noqa: ANN401 - JSON
        try:
            return api(self, "GET", path, tls=self.tls)
        except ManagementRefusedError as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise


def _context(settings: Settings) -> ssl.SSLContext | None:
    """Trust the same CAs as for AMQP; no client certificate, because the API asks for a password."""
    return Credentials(ca_file=settings.amqp_ca_file).context("amqps://console")
