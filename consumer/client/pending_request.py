"""A request in flight: makes its message, and passes the reply and the progress to its caller.

Knows the wire format and no connection: the client publishes the message, again if needed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from consumer.client.exceptions import UnreadableReplyError
from consumer.client.types import OnProgress
from consumer.job import Progress
from consumer.wire.message import PROGRESS_TYPE, Message
from consumer.wire.write import ProgressReport, Reply

log = logging.getLogger(__name__)


def new_job_id() -> str:
    """Make an id for a job."""
    return str(uuid.uuid4())


@dataclass(slots=True)
class PendingRequest:
    """A request in flight. `mailbox`: the mailbox of the connection that published it; None until the confirm.

    `on_publishing` is called before each publish, `on_published` at each confirm. `confirming`: done when RabbitMQ
    has answered a publish; None while no publish is in flight. `returned`: done when the caller has its reply
    or its exception; whether it has the reply, so that this may be acked.
    """

    body: bytes
    headers: dict[str, Any]
    on_progress: OnProgress
    key: str
    answered: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    mailbox: object = None
    confirming: asyncio.Future[None] | None = None
    returned: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    on_publishing: Callable[[], None] = lambda: None
    on_published: Callable[[], None] = lambda: None

    def message(self, reply_to: str | None) -> Message:
        """Make the message to publish; `reply_to` is the address for its reply, None: the results queue."""
        return Message(
            body=self.body,
            headers=self.headers,
            content_type="application/json",
            message_id=self.key,
            correlation_id=self.key,
            reply_to=reply_to,
            timestamp=time.time(),
        )

    def fail(self, error: Exception) -> None:
        """Raise the error in the waiting caller, unless there is a reply."""
        if not self.answered.done():
            self.answered.set_exception(error)

    def receive(self, message: Message) -> asyncio.Future[bool]:
        """Process a reply or a progress message, and drop a second reply. Return when and whether to ack it."""
        if self.answered.done():
            log.debug("dropped the reply %s: no request waits for it", message.correlation_id)
        elif message.type == PROGRESS_TYPE:
            self._report_progress(message)
            return _done()
        else:
            self._answer(message)
        return self.returned

    def _answer(self, message: Message) -> None:
        try:
            self.answered.set_result(Reply.model_validate_json(message.body))
        except ValidationError as error:
            fault = (
                f"the answer to job {self.key} is not a reply that this version of the client can read: {error}"
            )
            self.answered.set_exception(UnreadableReplyError(fault))

    def _report_progress(self, message: Message) -> None:
        """Call `on_progress`. Its exceptions are logged and do not fail the job."""
        if self.on_progress is None:
            return
        try:
            report = ProgressReport.model_validate_json(message.body)
            self.on_progress(Progress(report.progress, report.text))
        except Exception:
            log.exception("on_progress failed for job %s", self.key)


def _done() -> asyncio.Future[bool]:
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    done.set_result(True)
    return done
