"""RabbitMQ's own console: the queues, the consumer of the jobs, a dead letter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from selenium import webdriver
from support.browser.chromium import browser
from support.browser.management_console import Console
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

#: Enough for the table of queues.
WIDTH = 1160
#: The lower end of what the page is for; below it are forms and the footer.
HEIGHT = """
const ends = [...document.querySelectorAll('#main table, #main pre')].filter(one => one.offsetHeight)
  .map(one => one.getBoundingClientRect().bottom + window.scrollY);
return Math.ceil(Math.max(...ends)) + 20;
"""
#: What the window's height has beyond the page's.
FRAME = 139
USUAL_PER_S = 6
#: Answers, unless the job is one that it is told to fail.
CLASSIFIER = (
    'if grep -q unplugged "$1"; then echo "ERROR: the signal is empty"; exit; fi',
    "sleep 0.3",  # so some ten a second in three slots
    """echo 'OUTPUT: {"label": "fan"}'""",
)


def pictures(management: Management, folder: Path) -> Iterator[str]:
    """Take them, into the folder; give their names."""
    url, vhost = management.node.vhost_url(management.vhost), quote(management.vhost, safe="")
    with (
        consumer(url, command=script(folder, *CLASSIFIER), pool_size=3) as running,
        Producer(url) as producer,
        browser(folder / "profile", WIDTH, 900) as opened,
    ):
        bad = {"signal": [], "why": "unplugged"}
        producer.publish("classifier.jobs", json.dumps(bad).encode(), message_id="pump-7-0815", reply_to=None)
        running.wait_for_event("job_settled", settlement="dead-letter")
        for number in range(300):
            producer.publish(
                "classifier.jobs", json.dumps({"signal": [0.1, 0.5]}).encode(), message_id=str(number)
            )
        console = Console(opened, management, folder)
        # RabbitMQ counts every five seconds, and a rate takes two counts.
        wait_until(lambda: _rate(management) > USUAL_PER_S, "a rate")
        console.shows(f"queues/{vhost}/classifier.jobs", "console-jobs", "x-dead-letter-exchange", "running")
        console.press("Consumers")
        console.wait_for("console-jobs", "Prefetch count", "3")
        yield _whole(opened, folder / "console-jobs.png")
        console.shows("queues", "console-queues", "classifier.errors", "running")
        yield _whole(opened, folder / "console-queues.png")
        console.shows(f"queues/{vhost}/classifier.dead", "console-dead-letter", "Ready\n1")
        for section in ("Overview", "Get messages", "Get Message(s)"):
            console.press(section)
        console.wait_for("console-dead-letter", "pump-7-0815", "rejected")
        yield _whole(opened, folder / "console-dead-letter.png")


def _rate(management: Management) -> float:
    told = management.get("queues/{vhost}/classifier.jobs").get("message_stats", {})
    return float(told.get("ack_details", {}).get("rate", 0.0))


def _whole(browser: webdriver.Chrome, picture: Path) -> str:
    """Take the page again as high as it is, without scroll bars; give the picture's name."""
    browser.execute_script("window.scrollTo(0, 0)")
    browser.set_window_size(WIDTH, int(browser.execute_script(HEIGHT)) + FRAME)
    browser.save_screenshot(str(picture))
    browser.set_window_size(WIDTH, 900)
    return picture.stem
