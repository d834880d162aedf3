"""A request on its way: what is published for it, and who hears its reply and its progress.

Knows the wire and no connection: the client publishes it, again where that is needed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from consumer.client.exceptions import UnreadableReplyError
from consumer.client.types import OnProgress
from consumer.job import Progress
from consumer.wire.message import PROGRESS_TYPE, Message
from consumer.wire.write import ProgressReport, Reply

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Asked:
    """A request on its way. `mailbox` is where its reply can reach us, once RabbitMQ has confirmed it for that."""

    body: bytes
    headers: dict[str, Any]
    on_progress: OnProgress
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    answered: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    mailbox: object = None

    def message(self, reply_to: str) -> Message:
        """Make what is published, with the address for its reply."""
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
        """Let who waits raise the error, unless there is an answer."""
        if not self.answered.done():
            self.answered.set_exception(error)

    def hear(self, message: Message) -> None:
        """Take what has come for it. A second reply to one job, or one that came too late, is for nobody."""
        if self.answered.done():
            log.debug("nobody waits for the reply %s", message.correlation_id)
        elif message.type == PROGRESS_TYPE:
            self._tell_progress(message)
        else:
            self._answer(message)

    def _answer(self, message: Message) -> None:
        try:
            self.answered.set_result(Reply.model_validate_json(message.body))
        except ValidationError as error:
            fault = f"what answered job {self.key} is no reply of this service's; is its version ours? {error}"
            self.answered.set_exception(UnreadableReplyError(fault))

    def _tell_progress(self, message: Message) -> None:
        """Tell it to who wants to know. What goes wrong there is not the job's fault."""
        if self.on_progress is None:
            return
        try:
            report = ProgressReport.model_validate_json(message.body)
            self.on_progress(Progress(report.progress, report.text))
        except Exception:
            log.exception("progress of job %s could not be told", self.key)
