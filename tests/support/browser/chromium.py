"""Runs headless Chromium during a block."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

#: Chromium must load only the requested pages: no updates, no reports.
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
    "--hide-scrollbars",
)


def driver() -> str | None:
    """Return the path of chromedriver, which controls Chromium; None if it is not installed."""
    return shutil.which("chromedriver")


@contextmanager
def browser(profile: Path, width: int = 1300, height: int = 1500) -> Iterator[webdriver.Chrome]:
    """Run Chromium during the block, with its profile in `profile` and a window of this size in pixels."""
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(option)
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver()))
    try:
        yield opened
    finally:
        opened.quit()
