"""The documentation site, built of this repository: its pages, and what a browser makes of them.

`SITE_PICTURES=DIR` keeps pictures of some pages: look at them after a change of docs/site.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import distributions
import pytest
from collect_site import API_PAGE, files
from markdown_it import MarkdownIt
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from support.browser.chromium import browser, driver
from support.docs_pages.pages import ROOT, text_of
from support.docs_pages.site import file_of, make, shown
from support.waiting import PATIENCE_S

import consumer.client

PAGES = [name for name in files(ROOT) if name.endswith(".md")]
WIDTHS = {"desktop": 1280, "phone": 390}
#: A rendered page that GitHub's rules make: the referee for what the site shows.
COMMONMARK = MarkdownIt("commonmark").enable("table")
#: Elements that stick out of the page although nothing scrolls them.
STICKING_OUT = """
const width = document.documentElement.clientWidth;
const scrolls = (one) => one && (getComputedStyle(one).overflowX !== 'visible' || scrolls(one.parentElement));
return [...document.querySelectorAll('article *')]
  .filter(one => one.getBoundingClientRect().right > width + 1 && !scrolls(one.parentElement))
  .map(one => one.outerHTML.slice(0, 100));
"""
#: Where everything came from that the page has loaded.
#: The pages that a search finds. Read in one step: each key that was typed may show the list anew.
FOUND = (
    "return [...document.querySelectorAll('.md-search-result__link')].map(link => link.href.replace(/[?].*/, ''))"
)
LOADED = "return performance.getEntriesByType('resource').map(one => one.name)"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the repository, build its site there, and add it to gh-pages twice, as two versions."""
    copy = distributions.tree_in(tmp_path_factory.mktemp("tree") / "repository")
    git(copy, "init", "--quiet")
    git(copy, "config", "user.name", "test")
    git(copy, "config", "user.email", "test@example.com")
    git(copy, "commit", "--quiet", "--allow-empty", "--message", "mike names the last commit")
    for version in ("0.1", "0.2"):
        made = make("docs-version", copy, DOCS_VERSION=version)
        assert made.returncode == 0, made.stdout + made.stderr
    git(copy, "worktree", "add", "--quiet", "published", "gh-pages")
    return copy


def git(tree: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=tree, check=True)


@pytest.fixture(scope="module")
def published(tree: Path) -> Iterator[str]:
    """Serve the branch gh-pages; give the address."""
    with serving(tree / "published") as url:
        yield url


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder by HTTP for the block; give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Silent(SimpleHTTPRequestHandler):
    """Serves files, and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if driver() is None:
        pytest.skip("no chromedriver; install it with `sudo apt-get install chromium chromium-driver`")
    with browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


def show(browser: webdriver.Chrome, url: str, width: int, *, is_dark: bool = False) -> None:
    resize(browser, width)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(url)


def resize(browser: webdriver.Chrome, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def elsewhere(browser: webdriver.Chrome, url: str) -> list[str]:
    """List what the page has loaded from other hosts."""
    return [loaded for loaded in browser.execute_script(LOADED) if not loaded.startswith(f"{url}/")]


def keep(browser: webdriver.Chrome, name: str) -> None:
    """Keep a picture, if somebody wants to look at it."""
    if folder := os.environ.get("SITE_PICTURES"):
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.mark.parametrize("page", PAGES)
def test_the_site_shows_what_a_page_says(tree: Path, page: str) -> None:
    assert shown((tree / "site" / file_of(page)).read_text()) == shown(COMMONMARK.render(text_of(page)))


def test_what_tests_find_blocks_by_is_not_seen(tree: Path) -> None:
    assert "block:" in text_of("README.md")
    assert [text for _, text in shown((tree / "site" / "index.html").read_text()) if "block:" in text] == []


def test_the_api_has_every_name_of_the_client_with_its_docstring(tree: Path) -> None:
    html = (tree / "site" / file_of(API_PAGE)).read_text()
    assert [name for name in consumer.client.__all__ if f'id="consumer.client.{name}"' not in html] == []
    texts = {text for _, text in shown(html)}
    assert "Connect and start to receive replies; reconnect after every outage." in texts
    assert "Answer with value as the job's result." in texts


def test_every_page_fits_a_phone_and_a_desktop_and_loads_nothing_from_elsewhere(
    published: str, opened: webdriver.Chrome
) -> None:
    for page in (*PAGES, API_PAGE):
        show(opened, f"{published}/0.2/{file_of(page).removesuffix('index.html')}", WIDTHS["desktop"])
        for width in WIDTHS.values():
            resize(opened, width)
            wide = opened.execute_script("return document.documentElement.scrollWidth")
            assert (page, wide, opened.execute_script(STICKING_OUT)) == (page, width, [])
        assert elsewhere(opened, published) == []


@pytest.mark.parametrize(("is_dark", "is_light_text"), [(False, False), (True, True)])
def test_the_colours_are_those_of_the_reader(
    published: str, opened: webdriver.Chrome, *, is_dark: bool, is_light_text: bool
) -> None:
    show(opened, f"{published}/0.2/", WIDTHS["desktop"], is_dark=is_dark)
    colour = opened.find_element(By.CSS_SELECTOR, "article p").value_of_css_property("color")
    first = int(colour.removeprefix("rgba(").removeprefix("rgb(").partition(",")[0])
    assert (first > 128) == is_light_text
    keep(opened, f"first-{'dark' if is_dark else 'light'}")


def test_a_search_finds_the_section(published: str, opened: webdriver.Chrome) -> None:
    show(opened, f"{published}/0.2/", WIDTHS["desktop"])
    box = opened.find_element(By.CSS_SELECTOR, ".md-search__input")
    box.click()
    box.send_keys("dead letters replay", Keys.SPACE)
    wanted = f"{published}/0.2/docs/operate/"
    WebDriverWait(opened, PATIENCE_S).until(lambda _: wanted in opened.execute_script(FOUND))
    keep(opened, "search")
    assert elsewhere(opened, published) == []


def test_the_reader_of_an_old_version_can_choose_the_new_one(published: str, opened: webdriver.Chrome) -> None:
    show(opened, f"{published}/0.1/docs/operate/", WIDTHS["desktop"])
    names = WebDriverWait(opened, PATIENCE_S).until(
        lambda _: opened.find_elements(By.CSS_SELECTOR, ".md-version__link")
    )
    assert [str(name.get_attribute("textContent")).strip() for name in names] == ["0.2", "0.1"]
    old = opened.find_element(By.CSS_SELECTOR, "[data-md-component=outdated]")
    WebDriverWait(opened, PATIENCE_S).until(lambda _: old.is_displayed())
    keep(opened, "old-version")
    old.find_element(By.TAG_NAME, "a").click()
    WebDriverWait(opened, PATIENCE_S).until(lambda _: opened.current_url == f"{published}/latest/")
    assert not opened.find_element(By.CSS_SELECTOR, "[data-md-component=outdated]").is_displayed()


def test_the_first_version_stays_when_the_second_is_added(tree: Path) -> None:
    versions = json.loads((tree / "published" / "versions.json").read_text())
    assert [(one["version"], one["aliases"]) for one in versions] == [("0.2", ["latest"]), ("0.1", [])]
    assert (tree / "published" / "0.1" / "index.html").exists()
