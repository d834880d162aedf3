"""Checks the arguments of the client's calls before anything is sent.

asyncio accepts a NaN or a text as a timeout and fails later or never; with a window of 0 a call would wait for
ever. Each check raises an error of this package that names the argument.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from numbers import Real

from pamqp import encode

from consumer.client.exceptions import ArgumentError
from consumer.config.amqp_url import check_url, split_urls
from consumer.errors import ConfigurationError
from consumer.wire.message import MAX_ID_BYTES
from consumer.wire.reply_address import DIRECT_REPLY_TO

#: The length of AMQP's short string, the type of a queue's name.
MAX_NAME_BYTES = 255
#: pamqp cuts longer header names.
MAX_HEADER_BYTES = 128
#: The exceptions that pamqp raises for a value that it cannot encode.
UNENCODABLE = (TypeError, ValueError, AttributeError, OverflowError, RecursionError, struct.error)


def check_urls(urls: object) -> None:
    """Check an AMQP URL, or several separated by spaces. No message quotes a URL, because it may hold a password.

    Raises:
        ConfigurationError
    """
    if not isinstance(urls, str):
        raise ConfigurationError(f"the AMQP URL must be a str such as amqp://localhost, not {type(urls).__name__}")
    for url in split_urls(urls):
        try:
            check_url(url)
        except ValueError as error:
            raise ConfigurationError(
                f"the AMQP URL cannot be used: {error}; write amqp://user:password@host:5672"
            ) from None


def check_client(queue: object, window: object, outage_s: object) -> None:
    """Check the arguments of a client.

    Raises:
        ArgumentError
    """
    if not isinstance(queue, str) or not 0 < len(queue.encode(errors="replace")) <= MAX_NAME_BYTES:
        raise ArgumentError(f"queue must be a name of 1 to {MAX_NAME_BYTES} bytes, such as classifier.jobs")
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise ArgumentError(f"window must be a whole number from 1, not {window!r}")
    if seconds("outage_s", outage_s) is None:
        raise ArgumentError("outage_s must be a number of seconds, not None; float('inf') waits for ever")


def check_body(body: object) -> None:
    """Check that a body is bytes.

    Raises:
        ArgumentError
    """
    if not isinstance(body, bytes):
        raise ArgumentError(f"body must be bytes, not {type(body).__name__}; for a mapping use run")


def check_job_id(job_id: object) -> None:
    """Check a job id as the service does: it refuses a job whose id it cannot log.

    Raises:
        ArgumentError
    """
    if job_id is None:
        return
    if not isinstance(job_id, str) or not job_id.isprintable() or not 0 < _size(job_id) <= MAX_ID_BYTES:
        raise ArgumentError(f"job_id must be a printable text of 1 to {MAX_ID_BYTES} bytes, not {job_id!r:.60}")


def check_reply_to(reply_to: object) -> None:
    """Check the name of a reply queue.

    If a job names direct reply-to, but its channel consumes no such replies, RabbitMQ closes the channel. The
    client would reconnect and publish the job again until the call times out, and every other call would wait.

    Raises:
        ArgumentError
    """
    if reply_to == DIRECT_REPLY_TO:
        raise ArgumentError(
            f"reply_to must be the name of a queue, not {DIRECT_REPLY_TO}: nothing would read that reply; "
            "use run, which waits for it"
        )
    if reply_to is not None and not (isinstance(reply_to, str) and 0 < _size(reply_to) <= MAX_NAME_BYTES):
        raise ArgumentError(f"reply_to must be the name of a queue or None, not {reply_to!r:.60}")


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def check_headers(headers: object) -> None:
    """Check that AMQP can encode each header. Without this check, pamqp's exception would look like a bug.

    Raises:
        ArgumentError
    """
    if not isinstance(headers, Mapping):
        raise ArgumentError(f"headers must be a mapping or None, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not 0 < len(name.encode(errors="replace")) <= MAX_HEADER_BYTES:
            raise ArgumentError(f"the header {name!r:.60} must be a name of 1 to {MAX_HEADER_BYTES} bytes")
        try:
            encode.field_table({name: value})
        except UNENCODABLE:
            raise ArgumentError(
                f"the header {name!r:.60} is {value!r:.60}, a {type(value).__name__}, which AMQP cannot encode; "
                "send a text, a number or a bool"
            ) from None


def check_jobs(jobs: object, model: object) -> None:
    """Check the iterable of jobs.

    Raises:
        ArgumentError
    """
    if isinstance(jobs, str | bytes | Mapping) or hasattr(jobs, "columns"):
        remedy = (
            "frame.to_numpy() for its rows as signals" if hasattr(jobs, "columns") else "a list, [job] for one"
        )
        raise ArgumentError(
            f"jobs must be an iterable of jobs or signals, not a {type(jobs).__name__}; pass {remedy}"
        )
    if not isinstance(jobs, Iterable):
        raise ArgumentError(f"jobs must be an iterable of jobs or signals, not {type(jobs).__name__}")
    if model is not None and not isinstance(model, str):
        raise ArgumentError(f"model must be a name or None, not {type(model).__name__}")


def seconds(name: str, value: object, *, may_be_endless: bool = True) -> float | None:
    """Convert a number of seconds to a float; None stays None.

    Raises:
        ArgumentError
    """
    if value is None:
        return None
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if math.isnan(number) or number < 0 or (math.isinf(number) and not may_be_endless):
        raise ArgumentError(f"{name} must be a number of seconds from 0, or None, not {value!r}")
    return number
