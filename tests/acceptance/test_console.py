"""The management console as a person sees it, in headless Chromium. The pictures stay in the test's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from support.browser.chromium import browser, driver
from support.browser.management_console import Console
from support.docs_pages.pages import rows
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer

PICTURES = "CONSOLE_PICTURES"


@pytest.fixture
def console(management: Management, tmp_path: Path) -> Iterator[Console]:
    if driver() is None:
        pytest.skip("no chromedriver; install it with `sudo apt-get install chromium chromium-driver`")
    with browser(tmp_path / "profile") as opened:
        yield Console(opened, management, Path(os.environ.get(PICTURES) or tmp_path))


def test_the_console_shows_queues_consumer_connections_and_a_dead_letter(
    console: Console, vhost_url: str, management: Management, tmp_path: Path
) -> None:
    command = script(tmp_path, "echo 'ERROR: as told'")
    with consumer(vhost_url, command=command, pool_size=3) as running, Producer(vhost_url) as producer:
        producer.publish("classifier.jobs", b'{"why": "to fail"}', message_id="the-failing-one")
        running.wait_for_event("job_settled", settlement="dead-letter")
        pid, vhost = str(running.process.pid), quote(management.vhost, safe="")
        console.shows("connections", "connections", f"rabbitmq-classifier read {_host()}:{pid}", "write")
        console.shows(f"queues/{vhost}/classifier.jobs", "jobs", "x-dead-letter-exchange", "classifier.dlx")
        console.press("Consumers")
        console.wait_for("consumer", f"classifier.{_host()}.{pid}", "Prefetch count", "3", "a program per job")
        console.shows(f"queues/{vhost}/classifier.dead", "dead", "Ready\n1")
        console.press("Get messages")
        console.press("Get Message(s)")
        console.wait_for("dead-letter", "the-failing-one", "rejected", '{"why": "to fail"}')
        queues = ("jobs", "dead", "results", "errors", "retry.1s", "retry.5s")
        console.shows("queues", "queues", *(f"classifier.{name}" for name in queues), "running")


def test_the_consoles_own_form_publishes_a_job_as_the_readme_fills_it_in(
    console: Console, vhost_url: str, management: Management, tmp_path: Path
) -> None:
    vhost = quote(management.vhost, safe="")
    command = script(tmp_path, "printf 'OUTPUT: '", 'cat "$1"', "echo")
    with consumer(vhost_url, command=command):
        console.shows(f"queues/{vhost}/classifier.jobs", "before", "Publish message")
        console.publish(rows("docs/producers.md", "console-fields"))
        console.shows(f"queues/{vhost}/classifier.results", "results", "Ready\n1")
        console.press("Get messages")
        console.press("Get Message(s)")
        told = ("job.succeeded", "my-key", '"job_id":"job-1"', '"output":{"signal": [0.1, 0.5, -0.2]}')
        console.wait_for("reply", *told)


def _host() -> str:
    return os.uname().nodename
