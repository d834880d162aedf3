"""The management console as a person sees it, in headless Chromium. The pictures stay in the test's folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from harness import PATIENCE_S, Producer, consumer, script
from management import Management
from pages import rows
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

PICTURES = "CONSOLE_PICTURES"
#: Chromium must not look for anything but the console: no updates, no reports, no shared profile.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--window-size=1300,1500",
)


class Console:
    """A browser that is logged in."""

    def __init__(self, browser: webdriver.Chrome, management: Management, pictures: Path) -> None:
        self._browser = browser
        self._address = management.node.management_url
        self._pictures = pictures
        self._log_in(management.node.user, management.node.password)

    def _log_in(self, user: str, password: str) -> None:
        self._browser.get(self._address)
        self._until("form input[name=username]")
        self._browser.find_element(By.NAME, "username").send_keys(user)
        self._browser.find_element(By.NAME, "password").send_keys(password)
        self._browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
        self._until("#menu")

    def _until(self, selector: str) -> None:
        WebDriverWait(self._browser, PATIENCE_S).until(
            lambda browser: browser.find_elements(By.CSS_SELECTOR, selector)
        )

    def shows(self, page: str, picture: str, *texts: str) -> None:
        """Open a page, wait until it has all the texts, keep a picture of it."""
        self._browser.get(f"{self._address}#/{page}")
        self._browser.refresh()
        self._until("#main h1")
        WebDriverWait(self._browser, PATIENCE_S, ignored_exceptions=[Exception]).until(
            lambda browser: all(text in browser.find_element(By.ID, "main").text for text in texts),
            f"{page} does not show all of {texts}",
        )
        self._browser.save_screenshot(str(self._pictures / f"{picture}.png"))

    def press(self, text: str) -> None:
        """Open a section of the page, or press a button."""
        path = f"//h2[contains(., '{text}')] | //input[@value='{text}']"
        WebDriverWait(self._browser, PATIENCE_S).until(
            expected_conditions.element_to_be_clickable((By.XPATH, path))  # sections open in a short animation
        ).click()

    def publish(self, fields: list[list[str]]) -> None:
        """Fill in the form of a queue's page, a field, a name and a value at a time, and send it."""
        self.press("Publish message")
        for field, name, value in fields:
            if field == "Payload":
                self._clickable("textarea[name=payload]").send_keys(value)
            else:
                self._add({"Headers": "headers", "Properties": "props"}[field], name, value)
        self._clickable("input[type=submit][value='Publish message']").click()
        WebDriverWait(self._browser, PATIENCE_S).until(
            expected_conditions.text_to_be_present_in_element(
                (By.CSS_SELECTOR, ".form-popup-info"), "Message published."
            )
        )

    def _add(self, list_id: str, name: str, value: str) -> None:
        """Fill in the last pair of a list: the console adds another as soon as there is something in it."""
        number = len(self._browser.find_elements(By.CSS_SELECTOR, f"#{list_id} input[name$=_mfkey]"))
        self._clickable(f"#{list_id}_{number}_mfkey").send_keys(name)
        self._clickable(f"#{list_id}_{number}_mfvalue").send_keys(value)

    def _clickable(self, selector: str) -> WebElement:
        return WebDriverWait(self._browser, PATIENCE_S).until(
            expected_conditions.element_to_be_clickable((By.CSS_SELECTOR, selector))
        )

    def wait_for(self, picture: str, *texts: str) -> None:
        """Wait until the page, as it is, has all the texts; keep a picture of it."""
        WebDriverWait(self._browser, PATIENCE_S).until(
            lambda browser: all(text in browser.find_element(By.ID, "main").text for text in texts)
        )
        self._browser.save_screenshot(str(self._pictures / f"{picture}.png"))


@pytest.fixture
def console(management: Management, tmp_path: Path) -> Iterator[Console]:
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver; install it with `sudo apt-get install chromium chromium-driver`")
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(option)
    pictures = Path(os.environ.get(PICTURES) or tmp_path)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield Console(browser, management, pictures)
    finally:
        browser.quit()


def test_the_console_shows_queues_consumer_connections_and_a_dead_letter(
    console: Console, vhost_url: str, management: Management, tmp_path: Path
) -> None:
    command = script(tmp_path, "echo 'ERROR: as told'")
    with consumer(vhost_url, command=command, pool_size=3) as running, Producer(vhost_url) as producer:
        producer.publish("classifier.jobs", b'{"why": "to fail"}', message_id="the-failing-one")
        running.wait_for("dead-letter")
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
        console.publish(rows("docs/producers.md", "**The management console**"))
        console.shows(f"queues/{vhost}/classifier.results", "results", "Ready\n1")
        console.press("Get messages")
        console.press("Get Message(s)")
        told = ("job.succeeded", "my-key", '"job_id":"job-1"', '"output":{"signal": [0.1, 0.5, -0.2]}')
        console.wait_for("reply", *told)


def _host() -> str:
    return os.uname().nodename
