"""Operates RabbitMQ's management console in headless Chromium, for tests and for pictures."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from support.rabbitmq.management_api import Management
from support.waiting import PATIENCE_S


class Console:
    """The management console in a browser, after the login."""

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
        """Open a page, wait until it shows all `texts`, and save a picture of it."""
        self._browser.get(f"{self._address}#/{page}")
        self._browser.refresh()
        self._until("#main h1")
        WebDriverWait(self._browser, PATIENCE_S, ignored_exceptions=[Exception]).until(
            lambda browser: all(text in browser.find_element(By.ID, "main").text for text in texts),
            f"{page} does not show all of {texts}",
        )
        self._browser.save_screenshot(str(self._pictures / f"{picture}.png"))

    def press(self, text: str) -> None:
        """Open the section with this heading, or press the button with this text."""
        path = f"//h2[contains(., '{text}')] | //input[@value='{text}']"
        WebDriverWait(self._browser, PATIENCE_S).until(
            expected_conditions.element_to_be_clickable((By.XPATH, path))  # sections open in a short animation
        ).click()

    def publish(self, fields: list[list[str]]) -> None:
        """Fill in and send the form `Publish message` of a queue's page.

        `fields`: rows of field, name and value.
        """
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
        """Fill in the last pair of inputs of a list. The console then adds another pair."""
        number = len(self._browser.find_elements(By.CSS_SELECTOR, f"#{list_id} input[name$=_mfkey]"))
        self._clickable(f"#{list_id}_{number}_mfkey").send_keys(name)
        self._clickable(f"#{list_id}_{number}_mfvalue").send_keys(value)

    def _clickable(self, selector: str) -> WebElement:
        return WebDriverWait(self._browser, PATIENCE_S).until(
            expected_conditions.element_to_be_clickable((By.CSS_SELECTOR, selector))
        )

    def wait_for(self, picture: str, *texts: str) -> None:
        """Wait until the open page shows all `texts`, without a reload, and save a picture of it."""
        WebDriverWait(self._browser, PATIENCE_S).until(
            lambda browser: all(text in browser.find_element(By.ID, "main").text for text in texts)
        )
        self._browser.save_screenshot(str(self._pictures / f"{picture}.png"))
