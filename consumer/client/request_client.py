"""Publishes requests over changing connections, and passes each reply to the request that waits for it.

Knows the wire format of messages, but neither jobs nor results: bytes in, a `Reply` out. rpc_channel.py holds one
connection; supervisor.py reconnects.

The client publishes a request again, always with the same id, until RabbitMQ has confirmed one whose reply can
still arrive. So an outage costs time, and with direct reply-to perhaps a second run, but never a reply. A second
reply is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Self

from consumer.client.arguments import check_body, check_client, check_headers, check_job_id, seconds
from consumer.client.exceptions import ArgumentError, ClosedClientError, NoReplyError
from consumer.client.ownership import Owner, check_loop
from consumer.client.pending_request import PendingRequest, new_job_id
from consumer.client.rpc_channel import Address, Caller
from consumer.client.types import OnProgress
from consumer.config.amqp_url import split_urls
from consumer.config.credentials import Credentials
from consumer.errors import ConnectionLostError, ConsumerError
from consumer.rabbitmq.supervisor import Supervisor
from consumer.wire.message import PROGRESS_HEADER, Message
from consumer.wire.write import Reply

log = logging.getLogger(__name__)

#: The default number of jobs in flight. It keeps any pool busy during one round trip, and an interruption leaves
#: few jobs behind.
WINDOW = 64
#: A restart of RabbitMQ takes seconds, a restart of a cluster a minute or two.
OUTAGE_S = 300.0
#: How long a call waits for a reply by default; None waits for ever. The same as in `consumer submit`.
TIMEOUT_S = 300.0
#: How long a call that has timed out waits for the number of consumers, in seconds. A client that ends waits as
#: long for confirms.
CALL_PATIENCE_S = 2.0
CLOSED = "the client is closed; open another one"


class RequestClient:
    """Publishes requests to one jobs queue, and returns the reply to each to its caller.

    Mutable state: `_pending`, the requests in flight by correlation id; `_expected`, requests of an earlier
    process that no caller awaits yet; `_line`, a future of the connection, done while there is one; `_giving_up`,
    the timer that runs during an outage; `_outage`, the error message of every call after that timer has expired;
    `_counting`, the last query for the number of consumers; `_is_ending`, set by `finish`.
    """

    def __init__(self, queue: str, *, window: int = WINDOW, outage_s: float = OUTAGE_S) -> None:
        check_client(queue, window, outage_s)
        self.queue = queue
        self.window = window
        self._owner = Owner()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._outage_s = outage_s
        self._window = asyncio.Semaphore(window)
        self._pending: dict[str, PendingRequest] = {}
        self._expected: dict[str, PendingRequest] = {}
        self._counting: asyncio.Task[int | None] | None = None
        self._is_ending = False
        self._line: asyncio.Future[Caller] = self._loop.create_future()
        self._giving_up: asyncio.TimerHandle | None = None
        self._outage: str | None = None

    def __repr__(self) -> str:
        return f"<Client of {self.queue}: {len(self._pending)} in flight>"

    @asynccontextmanager
    async def connected(self, url: str, address: Address, credentials: Credentials) -> AsyncIterator[Self]:
        """Connect, and stay connected during the block."""
        session = partial(self._session, address, credentials)
        link = Supervisor(split_urls(url), session, changed=self._changed, what="replies")
        running = asyncio.create_task(link.run(), name="link")
        running.add_done_callback(self._link_ended)
        try:
            await _first({running, self._line})
            if running.done():
                running.result()  # raises: only a fault ends the task
            yield self
        finally:
            if self._owner.is_here:  # a fork's copy would close the connection of its parent
                self._is_closed = True
                self._changed(True)
                running.cancel()
                await asyncio.wait({running})

    def check_usable(self) -> None:
        """Raise unless the client is open and belongs to this process and event loop.

        Raises:
            ForkedClientError, WrongLoopError, ClosedClientError
        """
        self._owner.check()
        check_loop(self._loop)
        if self._is_closed:
            raise ClosedClientError(CLOSED)

    @asynccontextmanager
    async def _session(self, address: Address, credentials: Credentials, url: str) -> AsyncIterator[Caller]:
        if not self._owner.is_here:  # a fork's connection would take its parent's replies
            raise asyncio.CancelledError
        async with Caller.open(url, address, self._on_message, credentials) as line:
            self._line.set_result(line)
            try:
                yield line
            finally:
                self._line = asyncio.get_running_loop().create_future()

    async def request(  # noqa: PLR0913 - all by name, with defaults; each is one thing the caller decides
        self,
        body: bytes,
        *,
        headers: Mapping[str, Any] | None = None,
        job_id: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        on_progress: OnProgress = None,
        on_publishing: Callable[[], None] = lambda: None,
        on_published: Callable[[], None] = lambda: None,
        on_reply: Callable[[Reply], None] = lambda _: None,
    ) -> Reply:
        """Publish a job unchanged, with a confirm, and return its reply, whether it succeeded or failed.

        Args:
            body: the job, a JSON object; only the service checks it.
            headers: headers of the job, such as `timeout-s`.
            job_id: as in `run`.
            timeout_s: as in `run`.
            on_progress: called with the job's progress, if the classifier reports it.
            on_publishing: called right before each publish of the job.
            on_published: called when RabbitMQ has confirmed the job; again after each further publish of it.
            on_reply: stores the reply before it is acked. If it raises, a resumable reply queue keeps the reply.

        Raises:
            NoReplyError: no reply in time; the job may still be waiting or running.
            ConfigurationError: the jobs queue does not exist, or RabbitMQ accepts no message of that size.
            ConnectionLostError: RabbitMQ was unavailable for too long; the job runs, but its reply is lost.
            UnreadableReplyError: the reply is not from this service.
            ArgumentError: the body is not bytes, AMQP cannot encode a header, or the timeout is not a number.
            ClientUseError: the client is closed, or another process or event loop opened it.
        """
        self.check_usable()
        check_body(body)
        check_headers({} if headers is None else headers)
        check_job_id(job_id)
        timeout_s = seconds("timeout_s", timeout_s)
        wanted = {PROGRESS_HEADER: True} if on_progress else {}
        key = job_id or new_job_id()
        earlier = self._expected.get(key)
        asked = earlier or PendingRequest(body, {**(headers or {}), **wanted}, None, key)
        asked.on_progress, asked.on_publishing, asked.on_published = on_progress, on_publishing, on_published
        # A job that an earlier process has published does not count against the window.
        async with nullcontext() if earlier else self._window, self._asking(asked, timeout_s):
            reply = await self._until_answered(asked)
            on_reply(reply)
            return reply

    async def post(
        self,
        body: bytes,
        headers: dict[str, Any],
        *,
        job_id: str | None,
        reply_to: str | None,
        timeout_s: float | None,
    ) -> str:
        """Publish a job whose reply goes elsewhere; return its id when RabbitMQ has confirmed it.

        Raises:
            NoReplyError: RabbitMQ has not confirmed the job in time.
            ArgumentError, ConfigurationError, ConnectionLostError
        """
        asked = PendingRequest(body, headers, None, job_id or new_job_id())
        async with self._window, self._asking(asked, timeout_s):
            while not asked.answered.done():
                line = await self._line_for(asked)
                if line and await self._publish(line, asked, reply_to):
                    return asked.key
            asked.answered.result()  # raises: a reply goes elsewhere
        raise AssertionError("a reply to a job whose replies go elsewhere")

    def expect(self, body: bytes, job_id: str, mailbox: str | None) -> None:
        """Expect the reply to a job of an earlier process at the reply queue `mailbox`; call before connecting.

        `request` with this id then publishes the job only if the queue does not exist any more. With None, where
        RabbitMQ may or may not have the job, it publishes unless the reply is already there.
        """
        self._expected[job_id] = PendingRequest(body, {}, None, job_id, mailbox=mailbox)

    async def finish(self) -> None:
        """Stop publishing; return when the requests that have a reply have returned it, and drop the others.

        Later replies stay in a resumable reply queue. The caller then cancels its calls.
        """
        self._is_ending = True
        if confirms := {asked.confirming for asked in self._pending.values() if asked.confirming}:
            await asyncio.wait(confirms, timeout=CALL_PATIENCE_S)
        self._pending = {key: asked for key, asked in self._pending.items() if asked.answered.done()}
        self._expected.clear()
        if self._pending:
            await asyncio.wait({asked.returned for asked in self._pending.values()})

    async def count_consumers(self) -> int | None:
        """Return how many consumers the jobs queue has; None if RabbitMQ does not answer or is not connected.

        During an alarm that the client knows of, it does not ask: RabbitMQ would not read the question.
        """
        if self._counting is None or self._counting.done():  # one request for all calls that time out together
            self._counting = asyncio.create_task(self._count())
        return await asyncio.shield(self._counting)

    async def _count(self) -> int | None:
        if not self._line.done() or await self._is_blocked():
            return None
        with suppress(ConnectionLostError, TimeoutError):
            async with asyncio.timeout(CALL_PATIENCE_S):
                return await self._line.result().count_consumers(self.queue)
        return None

    async def _is_blocked(self) -> bool:
        """Return whether the client is connected and knows of an alarm."""
        return self._line.done() and await self._line.result().is_blocked()

    @asynccontextmanager
    async def _asking(self, asked: PendingRequest, timeout_s: float | None) -> AsyncIterator[None]:
        """Deliver messages to a request during the block, for so many seconds."""
        if asked.key in self._pending:
            raise ArgumentError(f"job_id {asked.key!r:.60} is the id of a job that is in flight")
        self._pending[asked.key] = asked
        self._expected.pop(asked.key, None)
        has_reply = False
        try:
            async with asyncio.timeout(timeout_s) as limit:
                yield
            has_reply = True
        except TimeoutError:
            if timeout_s is None or not limit.expired():
                raise
            raise NoReplyError(
                asked.key,
                timeout_s,
                self.queue,
                is_published=asked.mailbox is not None,
                is_connected=self._line.done(),
                is_blocked=await self._is_blocked(),
                consumers=await self.count_consumers(),
            ) from None
        finally:
            self._pending.pop(asked.key, None)
            asked.returned.set_result(has_reply)
            if asked.answered.done() and not asked.answered.cancelled():
                asked.answered.exception()  # marks it as retrieved: the caller was cancelled

    async def _until_answered(self, asked: PendingRequest) -> Reply:
        """Publish, wait for the reply, and publish again on a connection that the first reply cannot reach."""
        while not asked.answered.done():
            line = await self._line_for(asked)
            if line and (asked.mailbox == line.mailbox or await self._publish(line, asked, line.reply_to)):
                await _first({asked.answered, line.lifetime.ended})
                await asyncio.sleep(0)
        return asked.answered.result()

    async def _line_for(self, asked: PendingRequest) -> Caller | None:
        """Wait for a connection; None if the request has ended meanwhile."""
        if self._outage:
            asked.fail(ConnectionLostError(self._outage))
        if not self._line.done():
            await _first({self._line, asked.answered})
        return self._line.result() if self._line.done() and not asked.answered.done() else None

    async def _publish(self, line: Caller, asked: PendingRequest, reply_to: str | None) -> bool:
        """Publish the job; return whether RabbitMQ has confirmed it."""
        if self._is_ending:
            await self._loop.create_future()  # until the caller is cancelled
        asked.on_publishing()
        asked.confirming = self._loop.create_future()
        try:
            await line.publish(asked.message(reply_to), self.queue)
            asked.mailbox = line.mailbox
            asked.on_published()
        except ConnectionLostError:
            await asyncio.sleep(0)  # the link removes the connection in the loop's next turn
            return False
        finally:
            asked.confirming.set_result(None)
            asked.confirming = None
        return True

    def _on_message(self, message: Message) -> asyncio.Future[bool] | None:
        """Pass a message to the request that waits for it, if there is one.

        `on_reply` stores the reply before the ack, so a process that is killed has not lost it.
        """
        key = message.correlation_id or ""
        if asked := self._pending.get(key) or self._expected.get(key):
            return asked.receive(message)
        log.debug("dropped the reply %s: no request waits for it", message.correlation_id)
        return None

    def _changed(self, there: bool) -> None:
        """Start the timer of an outage when the connection is lost; stop it when there is a new one."""
        self._outage = None
        if self._giving_up:
            self._giving_up.cancel()
        if not there:
            away = f"the connection to RabbitMQ was lost for more than {self._outage_s:g} s"
            self._giving_up = asyncio.get_running_loop().call_later(
                self._outage_s, self._give_up, f"{away}; jobs that it has will still run, their replies are lost"
            )

    def _link_ended(self, link: asyncio.Task[None]) -> None:
        """Fail the waiting calls after a close, a fault at the start, or a bug."""
        if not link.cancelled() and not isinstance(error := link.exception(), ConsumerError):
            log.error("no more connections to RabbitMQ; this is a bug", exc_info=error)
        self._give_up(CLOSED)

    def _give_up(self, why: str) -> None:
        self._outage = why
        for asked in self._pending.values():
            asked.fail(ConnectionLostError(why))


async def _first(futures: set[asyncio.Future[Any]]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
