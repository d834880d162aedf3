"""The Celery contender, set as a careful user would for work like this: `celery -A celery_app worker`.

Ack after the work, results over rpc in JSON, a quorum queue as ours is. Prefetch stays at Celery's default of four
per process; 1 and 16 made no difference beyond the noise. Its results are not confirmed by RabbitMQ, as confirms
are off by default: there Celery promises less than ours and FastStream do. The model is loaded before the fork.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from inside import JOBS_QUEUE, URL_VARIABLE, resolve
from kombu import Queue

function = resolve()
app = Celery("bench", broker=os.environ[URL_VARIABLE], backend="rpc://")
app.conf.update(
    task_default_queue=JOBS_QUEUE,
    task_queues=[Queue(JOBS_QUEUE, queue_arguments={"x-queue-type": "quorum"}, routing_key=JOBS_QUEUE)],
    task_acks_late=True,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
)


@app.task(name="classify")
def classify(job: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    return function(job)
