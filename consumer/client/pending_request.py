"""A request in flight: the message published for it, and the caller that receives its reply and progress.

Knows the wire format and no connection: the client publishes it, and republishes it if needed.
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
    """A request in flight. `mailbox` is where its reply can arrive, once RabbitMQ has confirmed the job."""

    body: bytes
    headers: dict[str, Any]
    on_progress: OnProgress
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    answered: asyncio.Future[Reply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    mailbox: object = None

    def message(self, reply_to: str) -> Message:
        """Make the message to publish, with the address for its reply."""
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

    def hear(self, message: Message) -> None:
        """Process a message for this request. Drop a second or a late reply."""
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
        """Call the caller's function. Its exceptions do not fail the job."""
        if self.on_progress is None:
            return
        try:
            report = ProgressReport.model_validate_json(message.body)
            self.on_progress(Progress(report.progress, report.text))
        except Exception:
            log.exception("progress of job %s could not be told", self.key)
