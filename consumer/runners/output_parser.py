"""The classifier contract: bytes of stdout in, contract lines out.

Pure: no I/O, no clock, no asyncio. The same bytes give the same lines however they are cut into chunks, and
never more than one line's cap is held. A prefix counts at the start of a line only; whatever is not one of
ours is `OTHER` and stays out of the protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from pydantic_core import from_json

from consumer.escaping import escaped
from consumer.job import Progress

#: What fits beside a bar.
MAX_PROGRESS_CHARACTERS = 200
#: More digits than any float has; to read a million of them would take its time.
MAX_NUMBER_BYTES = 40
#: Of a line that a message quotes: enough to find the print that it came from.
QUOTED_BYTES = 160
#: Quoted before a prefix that does not begin its line.
QUOTED_BEFORE = 40
#: What follows ERROR: where Python's logging has written the line, in its default format.
_LOGGER_NAME = re.compile(rb"[^\s:]+:")
#: The answers as authors misspell them: not at the start of a line, in other letters, with a space.
_ALMOST_AN_ANSWER = re.compile(rb"OUTPUT:|ERROR:|\A\W*(?i:output)\s*:")


class LineKind(Enum):
    """What a line is; the value is the prefix it starts with. The last five are a warm worker's own."""

    LOG = b"LOG:"
    OUTPUT = b"OUTPUT:"
    ERROR = b"ERROR:"
    #: Followed by a number from 0 to 1, and a text or nothing.
    PROGRESS = b"PROGRESS:"
    OTHER = b""
    #: Followed by the job's id: what comes before is not this job's.
    BEGIN = b"BEGIN:"
    #: Followed by the job's id: what comes after is not this job's.
    END = b"END:"
    #: Followed by a reason: the worker is not fit for another job.
    RETIRE = b"RETIRE:"
    #: Followed by a batch's token: then comes a line for each of its jobs, in their order.
    ANSWERS = b"ANSWERS:"
    #: Followed by a reason: this job of a batch is to be run alone.
    ALONE = b"ALONE:"

    @property
    def answers(self) -> bool:
        """Whether a line of this kind ends the job."""
        return self in (LineKind.OUTPUT, LineKind.ERROR)


_KINDS = {kind.value: kind for kind in LineKind}


@dataclass(frozen=True, slots=True)
class ContractLine:
    """One line of stdout: its kind, and what follows the prefix without surrounding white space.

    `is_spaced`: white space stood between the two, or there was no prefix.
    """

    kind: LineKind
    content: bytes
    is_spaced: bool = field(default=True, compare=False)

    @property
    def text(self) -> str:
        """The content for a log or a message: one line, undecodable bytes and control characters escaped."""
        return printable(self.content)

    @property
    def quoted(self) -> str:
        """The line, prefix included, in quotes for a message: escaped, and no more than is needed to find it."""
        whole = b"".join((self.kind.value, b" " * (self.is_spaced and bool(self.kind.value)), self.content))
        found = _ALMOST_AN_ANSWER.search(whole)
        start = max(found.start() - QUOTED_BEFORE, 0) if found else 0
        excerpt = whole[start : start + QUOTED_BYTES]
        before, after = "..." * (start > 0), "..." * (start + len(excerpt) < len(whole))
        return f'"{before}{printable(excerpt)}{after}"'

    @property
    def is_almost_an_answer(self) -> bool:
        """Whether its author has meant it to be one: a prefix stands elsewhere than at the start of the line."""
        return self.kind is LineKind.OTHER and _ALMOST_AN_ANSWER.search(self.content) is not None

    @property
    def is_of_logging(self) -> bool:
        """Whether it is a record of Python's logging, `ERROR:name:text`, that nobody has meant to be an answer."""
        return self.kind is LineKind.ERROR and not self.is_spaced and _LOGGER_NAME.match(self.content) is not None


class LineParser:
    """Cuts a stream into lines. After a limit was passed `excess` says which, and nothing more comes out.

    `max_line_bytes` bounds one line without its newline, `max_total_bytes` all of stdout.
    """

    def __init__(self, *, max_line_bytes: int, max_total_bytes: int) -> None:
        self._max_line = max_line_bytes
        self._max_total = max_total_bytes
        self._left = max_total_bytes
        self._unfinished = bytearray()
        self.excess: str | None = None

    def feed(self, chunk: bytes) -> list[ContractLine]:
        """Take the next bytes; return the lines that they complete, but for empty ones."""
        if self.excess:
            return []
        within = chunk[: self._left]
        self._left -= len(within)
        lines = self._split(within)
        if len(within) < len(chunk) and not self.excess:
            self.excess = f"more than {self._max_total} bytes on stdout (max_stdout_bytes)"
        return lines

    def finish(self) -> ContractLine | None:
        """At the end of the stream: the last line, if the program did not end it with a newline."""
        rest, self._unfinished = bytes(self._unfinished), bytearray()
        return parse(rest) if rest and not self.excess else None

    def _split(self, chunk: bytes) -> list[ContractLine]:
        lines: list[ContractLine] = []
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if not self._append(piece):
                return lines
            if self._unfinished:  # our SDK begins each line with a line break: half of all lines are empty
                lines.append(parse(bytes(self._unfinished)))
                self._unfinished.clear()
        self._append(rest)
        return lines

    def _append(self, piece: bytes) -> bool:
        if len(self._unfinished) + len(piece) > self._max_line:
            self._unfinished.clear()
            self.excess = f"a line of more than {self._max_line} bytes on stdout (max_line_bytes)"
            return False
        self._unfinished += piece
        return True


def parse(line: bytes) -> ContractLine:
    """Tell what one line, without its newline, is."""
    prefix, colon, content = line.partition(b":")
    kind = _KINDS.get(prefix + colon, LineKind.OTHER)
    if kind is LineKind.OTHER:
        return ContractLine(kind, line.strip())
    return ContractLine(kind, content.strip(), is_spaced=content[:1].isspace())


def read_progress(content: bytes) -> Progress | None:
    """Read what follows `PROGRESS:`; None if it does not begin with a number from 0 to 1."""
    number, _, text = content.partition(b" ")
    if len(number) > MAX_NUMBER_BYTES:
        return None
    try:
        fraction = float(number)
    except ValueError:
        return None
    if not 0 <= fraction <= 1:  # nor NaN
        return None
    return Progress(fraction, printable(text.strip(), MAX_PROGRESS_CHARACTERS))


def json_fault(content: bytes) -> str | None:
    """Say why this is not one JSON value, or None if it is. NaN and Infinity are not JSON."""
    try:
        from_json(content, allow_inf_nan=False)
    except ValueError as error:
        return str(error)
    return None


def printable(content: bytes, limit: int = 8192) -> str:
    """Make one safe line of text: a classifier's bytes must not forge a log record or move a cursor.

    Longer than `limit` characters is cut, and says so.
    """
    text = content[: 4 * limit].decode("utf-8", "backslashreplace")
    safe = escaped(text, 4 * limit)
    return safe if len(safe) <= limit else f"{safe[:limit]}... ({len(content)} bytes)"
