"""Parses README.md and docs/*.md: blocks of code, fenced or indented, tables, headings and links.

A test finds a block by its page and its id, which is in a comment before the block: `<!-- block: ID -->`. So the
words on a page may change. Tests run a block unchanged, except that they replace the address of RabbitMQ, as a
reader would.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[3]
#: The pages, by their paths from the root.
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
#: The address of RabbitMQ in examples, which tests replace.
ANY_URL = "amqp://localhost"
_FENCED = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
#: Blank lines between indented ones are part of a block.
_INDENTED = r"(?<=\n\n)(?P<indented>(?:    [^\n]*\n|\n+(?=    ))+)"
_ID = r"<!-- {kind}: (?P<id>[a-z0-9-]+) -->\n\s*"
_BLOCK = re.compile(f"{_FENCED}|{_INDENTED}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code. `id` is empty if the block has none."""

    page: str
    id: str
    language: str
    text: str

    def at(self, url: str) -> str:
        """Return the text, with RabbitMQ's address replaced by `url`."""
        assert ANY_URL in self.text
        return self.text.replace(ANY_URL, url)


def text_of(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """Return the text of a page without its blocks of code."""
    return _BLOCK.sub("", text_of(page))


def blocks(page: str) -> Iterator[Block]:
    """Yield all blocks of a page in their order."""
    text, end = text_of(page), 0
    for found in _BLOCK.finditer(text):
        named = re.search(_ID.format(kind="block") + r"\Z", text[end : found.start()])
        code = found["fenced"] if found["indented"] is None else dedent(found["indented"])
        yield Block(page, named["id"] if named else "", found["language"] or "", code)
        end = found.end()


def block(page: str, block_id: str) -> Block:
    """Return the block with this id."""
    [found] = [block for block in blocks(page) if block.id == block_id]
    return found


def code_of(page: str) -> list[str]:
    """Return the code of a page: spans within a line, and the lines of blocks that a reader types in a shell."""
    typed = [block.text for block in blocks(page) if block.language in ("", "sh", "console")]
    spans = re.findall(r"`([^`]+)`", prose_of(page))
    return [*(line for text in typed for line in text.splitlines()), *(" ".join(span.split()) for span in spans)]


def rows(page: str, table_id: str) -> list[list[str]]:
    """Return the rows of the table with the id in `<!-- table: ID -->`; the cells are without backquotes."""
    tables = re.finditer(_ID.format(kind="table") + r"(?P<table>(?:\|.*\n)+)", text_of(page))
    [table] = [found["table"] for found in tables if found["id"] == table_id]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, by GitHub's rule."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(name for n in range(100) if (name := f"{slug}-{n}" if n else slug) not in found))
    return found


def links(page: str) -> list[str]:
    """Return the targets of a page's links and pictures, except those on other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
