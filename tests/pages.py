"""README.md and docs/*.md as tests read them: blocks of code, fenced or indented, tables, headings and links.

A block is found by its page and by the words that lead to it. What is run is what stands there and nothing else,
but for the address of a RabbitMQ, which is filled in as a reader would do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[1]
#: By their path from the root, as tests name them.
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))
#: What the examples have in place of an address.
ANY_URL = "amqp://localhost"
_FENCED = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
_INDENTED = r"(?<=\n\n)(?P<indented>(?:    [^\n]*\n)+)"
_BLOCK = re.compile(f"{_FENCED}|{_INDENTED}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code, and the paragraph that leads to it."""

    page: str
    lead: str
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
    """Take all blocks of a page, from the top. Of several in a row, the same words lead to each."""
    text, end, lead = text_of(page), 0, ""
    for found in _BLOCK.finditer(text):
        before = text[end : found.start()].rstrip()
        lead = " ".join(before.rpartition("\n\n")[2].split()) or lead
        code = found["fenced"] if found["indented"] is None else dedent(found["indented"])
        yield Block(page, lead, found["language"] or "", code)
        end = found.end()


def block(page: str, lead: str, language: str | None = None) -> Block:
    """Take the one block that these words lead to; of several, that in the language, "" if it is indented."""
    found = [block for block in blocks(page) if block.lead.startswith(lead) and language in (None, block.language)]
    assert len(found) == 1, f"{len(found)} blocks in {page} after {lead!r}"
    return found[0]


def code_of(page: str) -> list[str]:
    """What a page shows as code: spans within a line, and the lines of blocks that are for typing."""
    typed = [block.text for block in blocks(page) if block.language in ("", "sh", "console")]
    spans = re.findall(r"`([^`]+)`", prose_of(page))
    return [*(line for text in typed for line in text.splitlines()), *(" ".join(span.split()) for span in spans)]


def rows(page: str, lead: str) -> list[list[str]]:
    """Take the table that these words lead to: its cells, without the backquotes."""
    _, _, rest = text_of(page).partition(lead)
    [table] = re.findall(r"\n\n((?:\|.*\n)+)", rest)[:1]
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


def assert_shows(said: str, shown: str) -> None:
    """See that what a command says is what a page shows.

    Numbers, blanks and the length of a ruled line may differ, and `...` on the page stands for anything.
    """
    pattern = r"\s*".join(_pattern(line) for line in shown.split("\n") if line.strip())
    assert re.search(pattern, _even(said)), f"said:\n{said}\nand not, as the page shows:\n{shown}"


def _even(text: str) -> str:
    return " ".join(re.sub("─+", "─", re.sub(r"\d+(?:[.,]\d+)*", "0", text)).split())


def _pattern(line: str) -> str:
    return ".*?".join(re.escape(_even(part)).replace(r"\ ", r"\s*") for part in line.split("..."))
