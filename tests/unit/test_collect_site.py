"""What the documentation site is made of: the README's pages in its order, and the files that they link to."""

from __future__ import annotations

import re
from pathlib import Path

import collect_site
import pytest
from support.docs_pages.pages import PAGES, text_of

import classifier.contract
import consumer.client

NAVIGATION = list(collect_site.navigation(text_of("README.md")))
LISTED = [next(iter(entry.values())) if isinstance(entry, dict) else entry for entry in NAVIGATION]
DOCUMENTED = re.findall(r"^::: consumer\.client\.(\w+)", text_of(collect_site.API), re.MULTILINE)


def test_the_navigation_has_every_page_of_docs_once() -> None:
    assert sorted(page for page in LISTED if page.startswith("docs/")) == sorted(
        [*PAGES[1:], collect_site.API_PAGE]
    )
    assert len(set(LISTED)) == len(LISTED)


def test_the_navigation_has_the_order_of_the_readme_and_the_api_after_the_reference() -> None:
    readme = text_of("README.md").partition("\n## Documentation\n")[2]
    own = [page for page in LISTED[1:] if page != collect_site.API_PAGE]
    assert own == sorted(own, key=lambda page: readme.index(f"({page})"))
    assert LISTED.index(collect_site.API_PAGE) == LISTED.index("docs/reference.md") + 1


def test_a_new_row_of_the_readme_is_a_new_entry() -> None:
    readme = "# S\n\n[x](docs/x.md)\n\n## Documentation\n\n| [All of it](docs/a.md) | [NEWS.md](NEWS.md) |\n"
    assert list(collect_site.navigation(readme)) == [
        {"Overview": "README.md"},
        {"All of it": "docs/a.md"},
        "NEWS.md",
    ]


def test_the_site_has_what_its_pages_link_to_and_nothing_else(tmp_path: Path) -> None:
    contents = {
        "README.md": "[a](docs/a.md#b) [gone](docs/gone.md) [site](https://example.com) ![x](docs/x.png)",
        "docs/a.md": "[more](../deploy/MORE.md), [outside](../../secret.md), [folder](../deploy)",
        "docs/unlisted.md": "",
        "docs/x.png": "",
        "docs/y.png": "",
        "deploy/MORE.md": "[file](settings.toml)",
        "deploy/settings.toml": "",
        "../secret.md": "",
    }
    root = tmp_path / "repository"
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    assert collect_site.files(root) == [
        *("README.md", "deploy/MORE.md", "deploy/settings.toml", "docs/a.md", "docs/unlisted.md", "docs/x.png")
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1. one\n\n       code\n2. two\n", "1. one\n\n        code\n\n2. two\n"),
        ("* one\n\n  more\n", "* one\n\n    more\n"),
        ("* one\n  more\n* two\n", "* one\n    more\n* two\n"),
        ("* one\n\nnot in it\n\n    code\n", "* one\n\nnot in it\n\n    code\n"),
        ("```\n* one\n  more\n```\n", "```\n* one\n  more\n```\n"),
        (r"| `a\|b` | c\|d |", r"| `a|b` | c\|d |"),
    ],
)
def test_a_page_is_rewritten_where_python_markdown_would_read_it_otherwise(written: str, read: str) -> None:
    assert collect_site.adapted(written) == read


def test_the_api_has_every_public_name_of_the_client() -> None:
    assert sorted(DOCUMENTED) == sorted(consumer.client.__all__)


def test_every_name_of_the_contract_that_a_page_shows_is_in_the_api() -> None:
    imported = re.findall(r"from classifier\.contract import ([\w, ]+)", "".join(map(text_of, PAGES)))
    used = re.findall(r"@?\bcontract\.(\w+)", "".join(map(text_of, PAGES)))
    shown = {name.strip() for names in imported for name in names.split(",")} | set(used)
    listed = set(re.findall(r"^ {8}- (\w+)$", text_of(collect_site.API), re.MULTILINE))
    assert shown & set(vars(classifier.contract)) <= listed
    assert len(shown) > 3
