"""The FastStream contender: `faststream run faststream_app:app`. Its prefetch and its logging come from peers.py.

A plain `def`, which FastStream runs in a thread: so the event loop goes on reading and confirming meanwhile, and
of what was tried (`async def` too, with and without pydantic) this was the fastest, or as fast. It acks after the
reply was confirmed, as ours does. With uvloop, which it uses when it is installed.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from faststream import FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from inside import JOBS_QUEUE, OPTIONS_VARIABLE, URL_VARIABLE, resolve

options = json.loads(os.environ[OPTIONS_VARIABLE])
function = resolve()
# The option `--log-level` would not filter the two lines for every message but give them that level.
quiet = {"logger": logging.getLogger()} if options["quiet"] else {}
broker = RabbitBroker(
    os.environ[URL_VARIABLE], default_channel=Channel(prefetch_count=options["prefetch"]), **quiet
)
app = FastStream(broker)


@broker.subscriber(RabbitQueue(JOBS_QUEUE, queue_type=QueueType.QUORUM, durable=True))
def classify(job: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    return function(job)
