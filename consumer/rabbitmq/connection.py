"""Opens one named connection to RabbitMQ, always closes it, and explains its faults.

The class of the exception names the cause: nothing answered, RabbitMQ refused, or the connection was lost later.
The service, the client and the commands share this module.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import aio_pika
import aiormq.exceptions
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.abc import FieldTable
from yarl import URL

from consumer._version import PRODUCT, VERSION
from consumer.config.amqp_url import logs_in_by_certificate, redacted, split_urls
from consumer.config.credentials import Credentials
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConnectionLostError
from consumer.rabbitmq import tls_errors
from consumer.rabbitmq.fork_guard import ForkSafeConnection

CONNECT_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 10.0
#: A reconnection waits up to this long for the close. aiormq itself waits 2 s for the peer's close-ok.
CLOSE_TIMEOUT_S = 5.0
CANCEL_TIMEOUT_S = 0.2
#: A quorum queue that elects a new leader confirms late.
CONFIRM_TIMEOUT_S = 30.0
#: Seconds. A silent peer is detected after three times this; the usual 60 would take three minutes.
HEARTBEAT_S = 15

#: No files: the URL has user and password, and the system's CAs verify RabbitMQ's certificate.
NO_FILES = Credentials()
NOTHING_MORE: Mapping[str, str] = {}


@asynccontextmanager
async def connection(
    urls: str, name: str, credentials: Credentials = NO_FILES, about: Mapping[str, str] = NOTHING_MORE
) -> AsyncIterator[AbstractConnection]:
    """Open one connection with its name and properties; close it at the end.

    Args:
        urls: an AMQP URL, or several of one cluster separated by spaces; the first that answers is used.
        name: shown in the management console.
        credentials: files used with each URL.
        about: more client properties, shown in the management console.

    Raises:
        ConfigurationError: a file of the credentials cannot be used.
        BrokerUnreachableError: no address answers.
        BrokerRefusedError: the login, the virtual host or one of the certificates is refused.
    """
    opened = await _opened(split_urls(urls), name, credentials, about)
    try:
        yield opened
    finally:
        with suppress(asyncio.CancelledError):
            await _close(opened)


async def _opened(
    urls: Sequence[str], name: str, credentials: Credentials, about: Mapping[str, str]
) -> AbstractConnection:
    """Try each node until one answers. A node that refuses the login ends the search, as in the service."""
    *others, last = urls
    for url in others:
        with suppress(BrokerUnreachableError):
            return await _open(url, name, credentials, about)
    return await _open(last, name, credentials, about)


async def _open(url: str, name: str, credentials: Credentials, about: Mapping[str, str]) -> AbstractConnection:
    address = URL(credentials.complete(url))
    if "heartbeat" not in address.query:
        address = address.update_query(heartbeat=HEARTBEAT_S)
    properties: FieldTable = {
        "connection_name": f"{PRODUCT} {name}",
        "product": PRODUCT,
        "version": VERSION,
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        **about,
    }
    context = credentials.context(url)  # read anew for each connection: certificates are renewed
    with _explained(url, credentials):
        return await aio_pika.connect(
            address,
            ssl_context=context,
            timeout=CONNECT_TIMEOUT_S,
            client_properties=properties,
            connection_class=ForkSafeConnection,
        )


async def _close(opened: AbstractConnection) -> None:
    """Close in a bounded time, although RabbitMQ reads nothing during an alarm.

    After a cancellation, aiormq waits again until the socket has sent its data, so this function cancels the close
    twice. It does not use `wait_for`, which would wait for the end of the cancelled task. RabbitMQ may still
    receive the data after the alarm.
    """
    closing = asyncio.ensure_future(opened.close())
    try:
        for timeout_s in (CLOSE_TIMEOUT_S, CANCEL_TIMEOUT_S, CANCEL_TIMEOUT_S):
            await asyncio.wait({closing}, timeout=timeout_s)
            closing.cancel()
    finally:
        closing.cancel()
    if closing.done() and not closing.cancelled():
        closing.exception()  # retrieved and ignored: the connection is closed


@contextmanager
def _explained(url: str, credentials: Credentials) -> Iterator[None]:
    shown = redacted(url)
    try:
        yield
    except (aiormq.exceptions.AuthenticationError, aiormq.exceptions.ProbableAuthenticationError) as error:
        raise BrokerRefusedError(f"RabbitMQ at {shown} {_login_fault(url, error)}") from None
    except (aiormq.exceptions.ConnectionClosed, aiormq.exceptions.InvalidFrameError):
        # RabbitMQ has closed the connection instead of sending open-ok. aiormq does not pass on the reason.
        raise BrokerRefusedError(
            f"RabbitMQ at {shown} closed the connection while it was opened; check that the virtual host at the "
            "end of amqp_url exists, and that this user has permissions there"
        ) from None
    except (*CONNECTION_EXCEPTIONS, TimeoutError) as error:
        has_certificate = credentials.cert_file is not None
        if fault := tls_errors.explain(error, shown, has_certificate=has_certificate):
            raise BrokerRefusedError(fault) from None
        raise BrokerUnreachableError(
            f"no RabbitMQ answered at {shown}: {str(error) or type(error).__name__}; is it running, "
            "and are host and port right?" + tls_errors.hint(error, shown, has_certificate=has_certificate)
        ) from None


def _login_fault(url: str, error: Exception) -> str:
    if not logs_in_by_certificate(url):
        return "refused the user or the password; check amqp_url"
    if isinstance(error, aiormq.exceptions.ProbableAuthenticationError):
        return (
            "refused the client certificate's user; create one with the name that RabbitMQ takes from the "
            "certificate (ssl_cert_login_from), or check amqp_cert_file"
        )
    return (
        "offers no login by certificate; enable its plugin rabbitmq_auth_mechanism_ssl and list EXTERNAL in "
        "auth_mechanisms"
    )


@asynccontextmanager
async def throwaway_channel(opened: AbstractConnection) -> AsyncIterator[AbstractChannel]:
    """Open a channel for one request. RabbitMQ refuses a request by closing the channel, so it must not be shared.

    The block must catch a refusal (aiormq's ChannelClosed), as `refusal_explained` does.

    Raises:
        ConnectionLostError: the connection was lost, RabbitMQ did not answer in time, or the block did not catch a
            refusal.
    """
    with may_be_lost():
        async with asyncio.timeout(CALL_TIMEOUT_S):
            channel = await opened.channel(publisher_confirms=False)
        try:
            yield channel
        finally:
            with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await channel.close()


def raise_if_cancelled() -> None:
    """Raise a pending cancellation, which aiormq may have replaced by the error that closed its channel.

    Every loop that continues after a lost connection calls this; otherwise its cancellation would have no effect.
    """
    if (task := asyncio.current_task()) and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def may_be_lost() -> Iterator[None]:
    """Turn the errors of a lost connection into ConnectionLostError, but pass on a cancellation of this task.

    Raises:
        ConnectionLostError: the connection was lost, or RabbitMQ did not answer in time.
    """
    try:
        yield
    except asyncio.CancelledError:
        # When heartbeats stop, aiormq cancels all waiting calls, although no code has cancelled this task.
        raise_if_cancelled()
        raise ConnectionLostError("the connection to RabbitMQ went silent") from None
    except TimeoutError:
        raise ConnectionLostError("RabbitMQ did not answer in time") from None
    except CONNECTION_EXCEPTIONS as error:
        raise ConnectionLostError(
            f"the connection to RabbitMQ was lost: {str(error) or type(error).__name__}"
        ) from error
    except Exception as error:  # aiormq may end a waiting call by a bare Exception; a subclass is a bug
        if type(error) is not Exception:
            raise
        raise ConnectionLostError("the connection to RabbitMQ was lost") from error


@contextmanager
def refusal_explained(act: str) -> Iterator[None]:
    """Turn RabbitMQ's reason for closing a channel into an error with a remedy.

    Raises:
        BrokerRefusedError: RabbitMQ refused the request.
        BrokerUnreachableError: the queue exists, but its node is not up.
    """
    try:
        yield
    except aiormq.exceptions.ChannelPreconditionFailed as error:
        raise BrokerRefusedError(
            f"cannot {act}: {_reason(error)}. Delete the queue named there if it may be lost, "
            "or choose another `prefix`"
        ) from None
    except aiormq.exceptions.ChannelNotFoundEntity as error:
        if is_away(error):
            raise BrokerUnreachableError(f"cannot {act}: {_reason(error)}. Is RabbitMQ still starting?") from None
        raise BrokerRefusedError(
            f"cannot {act}: {_reason(error)}. Start a consumer with `declare` = true: only at its start does it "
            "create what is missing. Without a dead-letter exchange and queue RabbitMQ deletes the jobs that fail"
        ) from None
    except (aiormq.exceptions.ChannelAccessRefused, aiormq.exceptions.ChannelLockedResource) as error:
        raise BrokerRefusedError(
            f"cannot {act}: {_reason(error)}. Grant the permission, or set `declare` to false "
            "and let an administrator create the queues"
        ) from None


def is_away(error: aiormq.exceptions.ChannelNotFoundEntity) -> bool:
    """Return whether the queue exists, but its node is down or is starting."""
    return "down or inaccessible" in str(error)


def _reason(error: BaseException) -> str:
    return str(error.args[-1] if error.args else error).removeprefix("PRECONDITION_FAILED - ")
