"""Reads the jobs of a JSON file (one job) or a JSON lines file (a job per line), and the place of each.

A file named `.jsonl` or `.ndjson` holds a job per line. So does any other file that is not one JSON value, if at
least half of its lines are jobs. Only a line feed ends a line, because a text may contain U+2028 and the like.
consumer/cli/submit/sources.py follows similar rules, but sends each line without parsing it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from classifier.errors import RefusedError
from classifier.signals.text_file import FormatError, content_of, text_of

LINE_SUFFIXES: Final = (".jsonl", ".ndjson")
STDIN: Final = Path("-")

Job = dict[str, object]


class JobEntry(NamedTuple):
    """A job and its place in the file. For a line that is not a job, `job` is None and `fault` says why."""

    place: str
    job: Job | None
    fault: str


def read(path: Path) -> list[JobEntry]:
    """Read all jobs of a file; the path `-` means standard input.

    Raises:
        RefusedError: the file cannot be read, is not text, or has no job.
    """
    content = _content(path)
    if path.suffix.lower() in LINE_SUFFIXES:
        entries = list(_lines(path, content))
    else:
        entries = list(_one_or_lines(path, content))
    if not entries:
        raise RefusedError(f'{path} holds no job, such as {{"signal": [numbers]}}')
    return entries


def _content(path: Path) -> bytes:
    try:
        content = sys.stdin.buffer.read() if path == STDIN else _file(path)
        # UTF-16 or UTF-32, whose line feeds have several bytes.
        if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
            return text_of(content)[0].encode()
    except OSError as unreadable:
        raise RefusedError(f"cannot read {path}: {unreadable.strerror or unreadable}") from None
    except FormatError as unfit:
        raise RefusedError(f"cannot read {path}: {unfit}") from None
    if content.startswith(b"\x1f\x8b"):
        raise RefusedError(f"cannot read {path}: it is gzip data: unpack it with gunzip")
    return content.removeprefix(b"\xef\xbb\xbf")


def _file(path: Path) -> bytes:
    # The shell's <(command) is a pipe, which `content_of` would refuse.
    return path.read_bytes() if path.is_relative_to("/dev/fd") else content_of(path)


def _one_or_lines(path: Path, content: bytes) -> Iterator[JobEntry]:
    if not content.strip():
        return
    whole = _entry(str(path), content)
    lines = list(_lines(path, content))
    if whole.fault and len(lines) > 1 and 2 * sum(line.job is not None for line in lines) >= len(lines):
        yield from lines
    else:
        yield whole


def _lines(path: Path, content: bytes) -> Iterator[JobEntry]:
    for number, marked in enumerate(content.split(b"\n" if b"\n" in content else b"\r"), start=1):
        line = marked.removeprefix(b"\xef\xbb\xbf")  # concatenated files have byte-order marks in the middle
        if line.strip():
            yield _entry(f"{path}, line {number}", line)


def _entry(place: str, body: bytes) -> JobEntry:
    try:
        job = json.loads(body.decode())
    except UnicodeDecodeError as wrong:
        return JobEntry(place, None, f"is not UTF-8 text ({wrong.reason} at byte {wrong.start})")
    except RecursionError:
        return JobEntry(place, None, "is JSON nested too deeply: a job is an object of a few levels")
    except ValueError as malformed:
        return JobEntry(place, None, f"is neither JSON nor a data set by its name: {malformed}")
    if not isinstance(job, dict):
        return JobEntry(place, None, 'is not a job: {"signal": [numbers]} is one')
    return JobEntry(place, job, "")
