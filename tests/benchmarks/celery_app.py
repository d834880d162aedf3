"""The Celery contender: `celery -A celery_app worker`. Its prefetch and the time of its acks come from peers.py.

The queue is a quorum queue, as ours is. Results come over rpc in JSON. RabbitMQ does not confirm them, as Celery's
confirms are off by default: there it promises less than ours and FastStream do. The model is loaded before the
fork.
"""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery
from inside import JOBS_QUEUE, OPTIONS_VARIABLE, URL_VARIABLE, resolve
from kombu import Queue

function = resolve()
app = Celery("bench", broker=os.environ[URL_VARIABLE], backend="rpc://")
app.conf.update(
    task_default_queue=JOBS_QUEUE,
    task_queues=[Queue(JOBS_QUEUE, queue_arguments={"x-queue-type": "quorum"}, routing_key=JOBS_QUEUE)],
    **json.loads(os.environ[OPTIONS_VARIABLE]),
)


@app.task(name="classify")
def classify(job: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    return function(job)
