"""README.md and docs/*.md as tests read them: blocks of code, fenced or indented, tables, headings and links.

A block is found by its page and its id, which stands in a comment before it: `<!-- block: ID -->`. So the words on
a page may change. What is run is what stands there and nothing else, but for the address of a RabbitMQ, which is
filled in as a reader would do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[3]
#: By their path from the root, as tests name them.
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
#: What the examples have in place of an address.
ANY_URL = "amqp://localhost"
_FENCED = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
#: Blank lines between indented ones are part of a block.
_INDENTED = r"(?<=\n\n)(?P<indented>(?:    [^\n]*\n|\n+(?=    ))+)"
_ID = r"<!-- {kind}: (?P<id>[a-z0-9-]+) -->\n\s*"
_BLOCK = re.compile(f"{_FENCED}|{_INDENTED}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code; its id is "" where it has none."""

    page: str
    id: str
    language: str
    text: str

    def at(self, url: str) -> str:
        """Fill in the address of a RabbitMQ."""
        assert ANY_URL in self.text
        return self.text.replace(ANY_URL, url)


def text_of(page: str) -> str:
    """The page as it is written."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """The page without its blocks of code."""
    return _BLOCK.sub("", text_of(page))


def blocks(page: str) -> Iterator[Block]:
    """Take all blocks of a page, from the top."""
    text, end = text_of(page), 0
    for found in _BLOCK.finditer(text):
        named = re.search(_ID.format(kind="block") + r"\Z", text[end : found.start()])
        code = found["fenced"] if found["indented"] is None else dedent(found["indented"])
        yield Block(page, named["id"] if named else "", found["language"] or "", code)
        end = found.end()


def block(page: str, block_id: str) -> Block:
    """Take the block with this id."""
    [found] = [block for block in blocks(page) if block.id == block_id]
    return found


def code_of(page: str) -> list[str]:
    """What a page shows as code: spans within a line, and the lines of blocks that are for typing."""
    typed = [block.text for block in blocks(page) if block.language in ("", "sh", "console")]
    spans = re.findall(r"`([^`]+)`", prose_of(page))
    return [*(line for text in typed for line in text.splitlines()), *(" ".join(span.split()) for span in spans)]


def rows(page: str, table_id: str) -> list[list[str]]:
    """Take the table with this id, `<!-- table: ID -->`: its cells, without the backquotes."""
    tables = re.finditer(_ID.format(kind="table") + r"(?P<table>(?:\|.*\n)+)", text_of(page))
    [table] = [found["table"] for found in tables if found["id"] == table_id]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def anchors(page: str) -> set[str]:
    """What a link to a heading of this page may be, by GitHub's rule."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(name for n in range(100) if (name := f"{slug}-{n}" if n else slug) not in found))
    return found


def links(page: str) -> list[str]:
    """Where the links of a page lead, pictures included; those to other sites left out."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose_of(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
