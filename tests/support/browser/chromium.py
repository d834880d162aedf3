"""Headless Chromium, run for a block."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

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
    "--hide-scrollbars",
)


def driver() -> str | None:
    """Find what Chromium is steered with."""
    return shutil.which("chromedriver")


@contextmanager
def browser(profile: Path, width: int = 1300, height: int = 1500) -> Iterator[webdriver.Chrome]:
    """Run one for the block, with a profile of its own."""
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
        options.add_argument(option)
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver()))
    try:
        yield opened
    finally:
        opened.quit()
