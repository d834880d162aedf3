"""Runs what a page shows: a script saved as a file, a service started by its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.docs_pages.pages import Block
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess
from support.rabbitmq.producer import Producer


@contextmanager
def serving(command: str, url: str, folder: Path) -> Iterator[ConsumerProcess]:
    """Run a `NAME=value ... consumer run` in that folder, on this RabbitMQ."""
    *assignments, program, action = shlex.split(command.replace("\\\n", ""))
    assert (program, action) == ("consumer", "run")
    settings = dict(assignment.split("=", 1) for assignment in assignments)
    running = ConsumerProcess({**environment(url), **settings, "CONSUMER_AMQP_URL": url}, folder)
    try:
        running.wait_for_event("ready")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.end()


def answer(producer: Producer, job: bytes) -> object:
    """Publish a job and take its reply."""
    replies = producer.reply_queue()
    producer.publish("classifier.jobs", job, reply_to=replies)
    return producer.take(replies).json


def save(taken: Block, path: Path) -> None:
    """Write a block into a file that can be run."""
    path.write_text(taken.text)
    path.chmod(0o755)
