"""Parses the classifier contract: bytes of stdout in, contract lines out.

Pure: no I/O, no clock, no asyncio. The same bytes give the same lines, however they are cut into chunks. The
parser holds at most `max_line_bytes`. A prefix counts only at the start of a line. A line without a known prefix
is `OTHER` and has no effect.
"""

from __future__ import annotations

import re
from dataclasses import field
from enum import Enum

from pydantic_core import from_json

from consumer.config.units import limit
from consumer.escaping import escaped
from consumer.job import Progress
from consumer.values import value

#: A description of this length fits beside a progress bar.
MAX_PROGRESS_CHARACTERS = 200
#: More digits than any float has. Converting a million digits would take long.
MAX_NUMBER_BYTES = 40
#: The length of a quoted line in a message: enough to find the `print` that wrote it.
QUOTED_BYTES = 160
#: The bytes that are quoted before a prefix that does not begin its line.
QUOTED_BEFORE = 40
#: The text after ERROR: in a line of Python's logging in its default format.
_LOGGER_NAME = re.compile(rb"[^\s:]+:")
#: Common misspellings of an answer: not at the start of a line, in lower case, with a space before the colon.
_MISSPELT_ANSWER = re.compile(rb"OUTPUT:|ERROR:|\A\W*(?i:output)\s*:")


class LineKind(Enum):
    """The kinds of lines; the value is the prefix. The last five are printed by the worker, not by user code."""

    LOG = b"LOG:"
    OUTPUT = b"OUTPUT:"
    ERROR = b"ERROR:"
    #: Followed by a number from 0 to 1, and an optional text.
    PROGRESS = b"PROGRESS:"
    OTHER = b""
    #: Followed by the job's id. Lines before it do not belong to this job.
    BEGIN = b"BEGIN:"
    #: Followed by the job's id. Lines after it do not belong to this job.
    END = b"END:"
    #: Followed by a reason: the worker requests its replacement.
    RETIRE = b"RETIRE:"
    #: Followed by the token of a batch. The next lines answer its jobs, one each, in order.
    ANSWERS = b"ANSWERS:"
    #: Followed by a reason: this job of a batch must run alone.
    ALONE = b"ALONE:"

    @property
    def answers(self) -> bool:
        """Whether a line of this kind ends the job."""
        return self in (LineKind.OUTPUT, LineKind.ERROR)


_KINDS = {kind.value: kind for kind in LineKind}


@value(frozen=True, slots=True)
class ContractLine:
    """One line of stdout: its kind, and the text after the prefix, without surrounding white space.

    `is_spaced`: the text began with white space, or there was no prefix.
    """

    kind: LineKind
    content: bytes
    is_spaced: bool = field(default=True, compare=False)

    @property
    def text(self) -> str:
        """The content for a log or a message: one line, with undecodable bytes and control characters escaped."""
        return printable(self.content)

    @property
    def quoted(self) -> str:
        """The line with its prefix, quoted for a message: escaped, and cut to `QUOTED_BYTES`."""
        whole = b"".join((self.kind.value, b" " * (self.is_spaced and bool(self.kind.value)), self.content))
        found = _MISSPELT_ANSWER.search(whole)
        start = max(found.start() - QUOTED_BEFORE, 0) if found else 0
        excerpt = whole[start : start + QUOTED_BYTES]
        before, after = "..." * (start > 0), "..." * (start + len(excerpt) < len(whole))
        return f'"{before}{printable(excerpt)}{after}"'

    @property
    def is_misspelt_answer(self) -> bool:
        """Whether the line looks like a misspelt answer: for example, other text precedes the prefix."""
        return self.kind is LineKind.OTHER and _MISSPELT_ANSWER.search(self.content) is not None

    @property
    def is_of_logging(self) -> bool:
        """Whether the line is a record of Python's logging, `ERROR:name:text`, and not meant as an answer."""
        return self.kind is LineKind.ERROR and not self.is_spaced and _LOGGER_NAME.match(self.content) is not None


class LineParser:
    """Cuts a stream into lines. Once the stream exceeds a limit, `excess` describes it, and no more lines follow.

    `max_line_bytes` limits one line without its newline, `max_total_bytes` all of stdout.
    """

    def __init__(self, *, max_line_bytes: int, max_total_bytes: int) -> None:
        self._max_line = max_line_bytes
        self._max_total = max_total_bytes
        self._left = max_total_bytes
        self._unfinished = bytearray()
        self.excess: str | None = None

    def feed(self, chunk: bytes) -> list[ContractLine]:
        """Take the next bytes; return the lines that they complete, without empty lines."""
        if self.excess:
            return []
        within = chunk[: self._left]
        self._left -= len(within)
        lines = self._split(within)
        if len(within) < len(chunk) and not self.excess:
            self.excess = f"more than {limit(self._max_total)} on stdout (max_stdout_bytes)"
        return lines

    def finish(self) -> ContractLine | None:
        """At the end of the stream, return the last line if it has no newline; else None."""
        rest, self._unfinished = bytes(self._unfinished), bytearray()
        return parse(rest) if rest and not self.excess else None

    def _split(self, chunk: bytes) -> list[ContractLine]:
        lines: list[ContractLine] = []
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            if not (piece or self._unfinished):  # classifier.contract begins each line with a line break
                continue
            if not self._append(piece):
                return lines
            lines.append(parse(bytes(self._unfinished)))
            self._unfinished.clear()
        self._append(rest)
        return lines

    def _append(self, piece: bytes) -> bool:
        if len(self._unfinished) + len(piece) > self._max_line:
            self._unfinished.clear()
            self.excess = f"a line of more than {limit(self._max_line)} on stdout (max_line_bytes)"
            return False
        self._unfinished += piece
        return True


def parse(line: bytes) -> ContractLine:
    """Parse one line, given without its newline."""
    prefix, colon, content = line.partition(b":")
    kind = _KINDS.get(prefix + colon, LineKind.OTHER)
    if kind is LineKind.OTHER:
        return ContractLine(kind, line.strip())
    return ContractLine(kind, content.strip(), is_spaced=content[:1].isspace())


def read_progress(content: bytes) -> Progress | None:
    """Read the content of a `PROGRESS:` line; None if it does not begin with a number from 0 to 1."""
    number, _, text = content.partition(b" ")
    if len(number) > MAX_NUMBER_BYTES:
        return None
    try:
        fraction = float(number)
    except ValueError:
        return None
    if not 0 <= fraction <= 1:  # also true for NaN
        return None
    return Progress(fraction, printable(text.strip(), MAX_PROGRESS_CHARACTERS))


def json_fault(content: bytes) -> str | None:
    """Return why `content` is not one JSON value; None if it is one. NaN and Infinity are not JSON."""
    try:
        from_json(content, allow_inf_nan=False)
    except ValueError as error:
        return str(error)
    return None


def printable(content: bytes, limit: int = 8192) -> str:
    """Make one safe line of text: a classifier's bytes must not forge a log record or move a cursor.

    A text of more than `limit` characters is cut, and the number of bytes is appended.
    """
    text = content[: 4 * limit].decode("utf-8", "backslashreplace")
    safe = escaped(text, 4 * limit)
    return safe if len(safe) <= limit else f"{safe[:limit]}... ({len(content)} bytes)"
