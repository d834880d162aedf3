"""The README's blocks of code, fenced or indented, so that tests can run what stands there and nothing else.

A block is found by the words that lead to it, and the address of a RabbitMQ is filled in, as a reader would do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

README = Path(__file__).parents[1] / "README.md"
#: What the examples have in place of an address.
ANY_URL = "amqp://localhost"
_FENCED = r"^```(?P<language>\w*)\n(?P<fenced>.*?)^```$"
_INDENTED = r"(?<=\n\n)(?P<indented>(?:    [^\n]*\n)+)"
_BLOCK = re.compile(f"{_FENCED}|{_INDENTED}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code, and the paragraph that leads to it."""

    lead: str
    language: str
    text: str

    def at(self, url: str) -> str:
        """Fill in the address of a RabbitMQ."""
        assert ANY_URL in self.text
        return self.text.replace(ANY_URL, url)


def blocks() -> Iterator[Block]:
    """Take all blocks, from the top. Of several in a row, the same words lead to each."""
    text, end, lead = README.read_text(), 0, ""
    for found in _BLOCK.finditer(text):
        before = text[end : found.start()].rstrip()
        lead = " ".join(before.rpartition("\n\n")[2].split()) or lead
        code = found["fenced"] if found["indented"] is None else dedent(found["indented"])
        yield Block(lead, found["language"] or "", code)
        end = found.end()


def block(lead: str, language: str | None = None) -> Block:
    """Take the one block that these words lead to; of several, that in the language, "" if it is indented."""
    [found] = [block for block in blocks() if block.lead.startswith(lead) and language in (None, block.language)]
    return found


def rows(lead: str) -> list[list[str]]:
    """Take the table that these words lead to: its cells, without the backquotes."""
    _, _, rest = README.read_text().partition(lead)
    [table] = re.findall(r"\n\n((?:\|.*\n)+)", rest)[:1]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
