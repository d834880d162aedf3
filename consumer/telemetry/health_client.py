"""Queries whether a consumer on this machine is alive or ready: for `consumer health` and `consumer check`."""

from __future__ import annotations

import http.client

#: Longer than a Kubernetes probe's default timeout of 1 s: the start of Python would use up a shorter one.
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4096
#: The address to connect to when the consumer listens on all addresses.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - this module does not listen


def ask(http_host: str, port: int, page: str) -> tuple[bool, str]:
    """Request a page from the consumer at `http_host`; return whether its status is 200, and its text."""
    host = LOOPBACK.get(http_host, http_host)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer from {host} port {port}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
    return response.status == http.HTTPStatus.OK, answer.decode(errors="replace").strip()
