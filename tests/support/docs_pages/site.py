"""Runs the Makefile's targets for the documentation site, and extracts the visible content of an HTML page.

The targets run in a `tree`: a folder with the parts of the repository that become the site. They use this
repository's Makefile and configuration, so that a test notices when these accept a fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from support.docs_pages.pages import ROOT
from support.waiting import PATIENCE_S

#: Elements whose texts are compared. Paragraphs and items of lists are one kind: only looks differ.
_KINDS = {
    **{f"h{level}": f"h{level}" for level in range(1, 7)},
    **dict.fromkeys(("p", "li"), "text"),
    **{name: name for name in ("pre", "td", "th")},
}


def make(target: str, tree: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `make target` in a tree, with the installed packages of this Python."""
    command = ["make", "--no-print-directory", "--file", str(ROOT / "Makefile"), target]
    given = {"VENV": sys.prefix, **variables}
    return subprocess.run(
        [
            *command,
            "--old-file",
            f"{sys.prefix}/.installed-test",
            *(f"{name}={value}" for name, value in given.items()),
        ],
        cwd=tree,
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "SITE_URL")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def file_of(page: str) -> str:
    """Return the path of the HTML file that the site has for a page of the repository."""
    return "index.html" if page == "README.md" else f"{page.removesuffix('.md')}/index.html"


def shown(html: str) -> list[tuple[str, str]]:
    """Return the texts of headings, paragraphs, items, cells and blocks of code, and the pictures, in their order.

    If the page has an `<article>`, only its content counts, without the links to its own headings.
    """
    reader = _Reader(starts_at_once="<article" not in html)
    reader.feed(html)
    texts = ((kind, " ".join(text.split())) for kind, text in reader.found)
    return [(kind, text) for kind, text in texts if kind != "text" or text]


class _Reader(HTMLParser):
    """Collects kind and text of each element in `found`. The other fields are the position in the page."""

    def __init__(self, *, starts_at_once: bool) -> None:
        super().__init__()
        self.found: list[list[str]] = []
        self._open: list[list[str]] = []
        self._is_in_article = starts_at_once
        self._hidden_by: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._is_in_article |= tag == "article"
        if not self._is_in_article or self._hidden_by:
            return
        if tag in ("script", "style", "aside", "button") or attributes.get("class") == "headerlink":
            self._hidden_by = tag
        elif tag == "img":
            self.found.append(["img", attributes.get("alt") or ""])
        elif tag in _KINDS:
            self.found.append([_KINDS[tag], ""])
            self._open.append(self.found[-1])

    def handle_endtag(self, tag: str) -> None:
        self._is_in_article &= tag != "article"
        if tag == self._hidden_by:
            self._hidden_by = None
        elif tag in _KINDS and self._open and not self._hidden_by:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._is_in_article and self._open and not self._hidden_by:
            self._open[-1][1] += data
