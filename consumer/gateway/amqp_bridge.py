"""The gateway's connection to RabbitMQ: publishes jobs with confirms, and reads the stream of replies.

The gateway uses the service's sessions (session.py) and reconnects like the service (supervisor.py). It does not
repeat a publish that RabbitMQ did not confirm: the caller's answer states whether RabbitMQ has the job, does not
have it, or may have it. The first session reads the stream from the oldest kept reply; each later one starts a
little before the end of the last one. Each session publishes a marker to the stream, the fence. When the session
reads the fence, it has read all earlier replies.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from consumer.config.amqp_url import redacted
from consumer.config.settings import Settings
from consumer.errors import ConnectionLostError
from consumer.gateway import ids
from consumer.gateway.problems import Reason
from consumer.gateway.reply_cache import Replies
from consumer.rabbitmq.admin import Depth
from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.session import Session
from consumer.rabbitmq.supervisor import Supervisor
from consumer.wire.message import FAILED_TYPE, SUCCEEDED_TYPE, Message, MessageTooLargeError
from consumer.wire.topology import GATEWAY_KEPT_S
from consumer.wire.write import Reply

log = logging.getLogger(__name__)

#: How long to wait for the confirm of a job. Later the answer is that RabbitMQ may have the job. This is less than
#: the timeout of most HTTP clients.
CONFIRM_S = 10.0
#: The least interval between queries for the depth of the queue, however many web pages request it.
DEPTH_S = 2.0
#: The interval of checks for an alarm during the wait for a confirm.
POLL_S = 0.5
#: When to publish another fence if the last was not read: RabbitMQ may lose one while it starts.
FENCE_S = 3.0
#: A stream's consumer must set a prefetch: the number of unacked replies in flight.
PREFETCH = 500
#: A new session starts to read this much earlier, because this machine's clock and RabbitMQ's may differ by as
#: much.
OVERLAP_S = 60.0
#: The `type` of a fence. Other gateways ignore it.
FENCE_TYPE = "gateway.fence"


class Relay:
    """Publishes jobs and reads replies.

    Mutable state: `_seen_at`, the time up to which the stream was read; `_fence`, the id of this session's fence;
    `caught_up`, set when the fence was read; `_publishing`, the unconfirmed jobs; `broken`, has the
    exception of a bug; `_depth`, the last query for the queue's depth, and `_asked_at`, its time.
    """

    def __init__(self, settings: Settings, urls: Sequence[str], replies: Replies, *, name: str) -> None:
        self.topology = settings.topology
        self.replies = replies
        self.caught_up = asyncio.Event()
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._name = name
        self._limits = BrokerLimits()
        self._supervisor = Supervisor(urls, self._session, what="replies")
        self._is_declared = False
        self._seen_at = time.time() - GATEWAY_KEPT_S
        self._fence = ""
        self._publishing: set[asyncio.Task[Reason | None]] = set()
        self._depth: asyncio.Task[Depth | Reason] | None = None
        self._asked_at = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether RabbitMQ is connected."""
        return self._supervisor.session is not None

    async def run(self) -> None:
        """Run until cancelled; raises as `Supervisor.run` does."""
        try:
            await self._supervisor.run()
        finally:
            for task in (*self._publishing, *([self._depth] if self._depth else [])):
                task.cancel()

    @asynccontextmanager
    async def _session(self, url: str) -> AsyncIterator[Session]:
        opening = Session.open(url, name=self._name, limits=self._limits, credentials=self._settings.credentials)
        async with opening as broker:
            await self._prepare(broker)
            take = self._started(self._read_replies(broker), "read replies")
            fence = self._started(self._set_fence(broker), "fence")
            if not self._is_declared:
                log.info(
                    "jobs go to %s at %s", self.topology.jobs, redacted(url), extra={"event": "gateway_connected"}
                )
            self._is_declared = True
            try:
                yield broker
            finally:
                self.caught_up.clear()
                for task in (take, fence):
                    task.cancel()
                await asyncio.wait({take, fence})

    async def _prepare(self, broker: Session) -> None:
        """Declare or check the stream, and start to read it.

        As in the service, only the first session declares.
        """
        create = self._settings.declare and not self._is_declared
        await broker.admin.declare_queue(self.topology.gateway_queue(), create=create)
        self._fence = secrets.token_hex(16)
        since = datetime.fromtimestamp(max(self._seen_at - OVERLAP_S, 0), UTC)
        tag = f"{self.topology.prefix}.gateway.{secrets.token_hex(6)}"
        await broker.consume(
            self.topology.gateway, prefetch=PREFETCH, tag=tag, arguments={"x-stream-offset": since}
        )

    def _started(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Report an exception of the task: it is a bug, after which no caller would get a reply."""
        if not task.cancelled() and (error := task.exception()) and not self.broken.done():
            self.broken.set_exception(error)

    async def _set_fence(self, broker: Session) -> None:
        async with asyncio.TaskGroup() as writing:
            while not self.caught_up.is_set():
                if not await broker.publisher.is_blocked():  # RabbitMQ would accept it only after the alarm
                    writing.create_task(self._write_fence(broker), name="write fence")
                with suppress(TimeoutError):
                    async with asyncio.timeout(FENCE_S):
                        await self.caught_up.wait()

    async def _write_fence(self, broker: Session) -> None:
        fence = Message(body=b"", type=FENCE_TYPE, message_id=secrets.token_hex(16), correlation_id=self._fence)
        with suppress(ConnectionLostError):
            if refusal := await broker.publisher.publish(fence, self.topology.gateway):
                broker.lifetime.end(refusal)

    async def _read_replies(self, broker: Session) -> None:
        with suppress(ConnectionLostError):
            while True:
                delivery = await broker.inbox.get()
                self._see(delivery.message)
                await delivery.ack()

    def _see(self, message: Message) -> None:
        """Store a reply, and skip other messages: every user who may publish can write to the stream."""
        job_id = message.correlation_id or ""
        if message.type == FENCE_TYPE:
            if job_id == self._fence and not self.caught_up.is_set():
                self.caught_up.set()
                log.info(
                    "ready: reading replies from %s, %d kept",
                    self.topology.gateway,
                    len(self.replies),
                    extra={"event": "ready"},
                )
        elif message.type in (SUCCEEDED_TYPE, FAILED_TYPE) and ids.made_at(job_id) is not None:
            with suppress(ValidationError):
                Reply.model_validate_json(message.body)
                self.replies.keep(job_id, message.body)
        if self.caught_up.is_set():
            self._seen_at = time.time()

    async def submit(self, job: Message) -> Reason | None:
        """Publish a job. A caller that stops waiting does not cancel the publish.

        Returns:
            None if RabbitMQ has confirmed the job; otherwise why it has not, or why this is unknown.
        """
        broker = self._supervisor.session
        if broker is None:
            return Reason.AWAY
        if await broker.publisher.is_blocked():
            return Reason.ALARM
        publishing = asyncio.create_task(self._publish(broker, job), name=f"publish {job.message_id}")
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        for _ in range(round(CONFIRM_S / POLL_S)):
            await asyncio.wait({publishing}, timeout=POLL_S)
            if publishing.done():
                return publishing.result()
            # RabbitMQ reports an alarm only after a publish, and accepts the job after the alarm.
            if await broker.publisher.is_blocked():
                break
        return Reason.CONFIRM_LATE

    async def depth(self) -> Depth | Reason:
        """Return the numbers of waiting jobs and of consumers; they are at most `DEPTH_S` seconds old."""
        broker = self._supervisor.session
        if broker is None:
            return Reason.AWAY
        if self._depth is None or time.monotonic() - self._asked_at >= DEPTH_S:
            self._asked_at = time.monotonic()
            self._depth = asyncio.create_task(self._ask_depth(broker), name="depth")
        return await asyncio.shield(self._depth)

    async def _ask_depth(self, broker: Session) -> Depth | Reason:
        try:
            return await broker.admin.depth(self.topology.jobs) or Reason.NO_QUEUE
        except ConnectionLostError:
            return Reason.AWAY

    async def _publish(self, broker: Session, job: Message) -> Reason | None:
        jobs = self.topology.jobs
        try:
            if await broker.publisher.publish(job, jobs, is_patient=False) is None:
                return None
        except MessageTooLargeError:
            return Reason.TOO_LARGE
        except ConnectionLostError:  # RabbitMQ closes the channel because of a message that is too large
            return Reason.TOO_LARGE if self._limits.refuses(job) else Reason.MAYBE_TAKEN
        return Reason.QUEUE_FULL if jobs in self._limits.refusing else Reason.NO_QUEUE
