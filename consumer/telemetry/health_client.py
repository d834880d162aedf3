"""Asks a consumer on this machine whether it is alive or ready: for `consumer health` and `consumer check`."""

from __future__ import annotations

import http.client

#: Less than the second that a Kubernetes probe waits by default would leave nothing for starting Python.
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4096
#: Where a consumer that listens at all addresses can be asked.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on here


def ask(http_host: str, port: int, page: str) -> tuple[bool, str]:
    """Get a page of the consumer with this `http_host`; return whether its status is 200, and its text."""
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
