"""Reads text files of unknown origin as lines: regular files only, any Unicode encoding, any line end.

Windows programs write UTF-16 and byte-order marks; old programs end lines with only a carriage return. Other
characters that end a line in Python (U+2028, form feed, ...) are text here, because a label may contain them.
"""

from __future__ import annotations

import codecs
import re
import stat
from pathlib import Path
from typing import Final, NamedTuple

# The longer marks come first, because UTF-32's begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PACKED: Final = (
    (b"\x1f\x8b", "gzip data: unpack it with gunzip"),
    (b"PK\x03\x04", "a ZIP archive, as a spreadsheet's .xlsx is: unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (.xls): save the sheet as CSV"),
    (b"PAR1", "a Parquet file: save it as CSV (pandas: to_csv(..., index=False))"),
)
#: Kinds of files by the letter that `ls -l` shows.
_KINDS: Final = {"d": "a folder", "p": "a named pipe", "s": "a socket", "c": "a device", "b": "a device"}


class FormatError(ValueError):
    """The file violates its format. `place`: the line or the array with the fault; empty if it has no place."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


class TextLine(NamedTuple):
    """A line that is not blank, and its number in the file, from 1."""

    number: int
    text: str

    @property
    def place(self) -> str:
        return f"line {self.number}"


def content_of(path: Path) -> bytes:
    """Return the whole content of a regular file.

    Raises:
        OSError: the file cannot be read.
        FormatError: it is not a regular file; reading a pipe without a writer would never end.
    """
    if kind := _KINDS.get(stat.filemode(path.stat().st_mode)[0]):
        raise FormatError("", f"this is {kind}: give a file")
    return path.read_bytes()


def text_of(content: bytes) -> tuple[str, str]:
    """Decode the text; return it without its byte-order mark, and the name of the encoding.

    Raises:
        FormatError: it is not Unicode text.
    """
    for beginning, kind in _PACKED:
        if content.startswith(beginning):
            raise FormatError("", f"this is {kind}")
    encoding = _encoding_of(content)
    try:
        text = content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as wrong:
        place = f"line {content.count(10, 0, wrong.start) + 1}" if encoding == "utf-8" else ""
        message = f"not {encoding.upper()} text ({wrong.reason} at byte {wrong.start}): save the file as UTF-8"
        raise FormatError(place, message) from None
    if "\0" in text:
        raise FormatError("", "this is binary data, not text: it contains NUL characters")
    return text, encoding


def lines_of(text: str) -> list[TextLine]:
    """Return the lines that are not blank, with their numbers."""
    numbered = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
    return [TextLine(number, line) for number, line in numbered if line.strip()]


def _encoding_of(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding
    # In UTF-16 without a mark, every other byte of digits and separators is 0.
    head = content[:200]
    half = len(head) // 2
    if half and head.count(0) > half * 0.8:
        if head[1::2].count(0) > half * 0.8:
            return "utf-16-le"
        if head[::2].count(0) > half * 0.8:
            return "utf-16-be"
    return "utf-8"
