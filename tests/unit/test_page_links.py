"""Links between the pages, to headings and to files of the repository lead to something that is there."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import pytest
from support.docs_pages.pages import PAGES, ROOT, anchors, links

#: Pages that are read on their own, too.
ALL = (*PAGES, "SECURITY.md", "CONTRIBUTING.md")


@pytest.mark.parametrize("page", ALL)
def test_every_link_leads_somewhere(page: str) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = os.path.normpath(PurePosixPath(page).parent / path) if path else page
        if not (ROOT / target).exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES[1:])
def test_the_readme_leads_to_every_page(page: str) -> None:
    assert page in links("README.md")


def test_a_heading_is_linked_to_as_github_does_it() -> None:
    assert {"what-consumer-check-looks-at", "error-codes"} <= anchors("docs/reference.md")
