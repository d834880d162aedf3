"""Results as lines of a file. A process that is killed leaves whole lines, and a later run resumes from them.

A file gets each result at once; at the end its lines are put into the order of the jobs.

Each line contains the job's place and digest, so that a later run knows which jobs are answered. That run drops an
incomplete line, and lines of jobs without a reply. A file without results is never changed.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from consumer.cli.submit.bars import Above
from consumer.cli.submit.sources import Key, Source
from consumer.errors import ConfigurationError, InputError
from consumer.escaping import escaped
from consumer.wire.write import Reply

NO_REPLY = "no_reply"
#: The limit of a spreadsheet's cell.
MAX_CELL_CHARACTERS = 32_000
#: What reading a line raises that is no result.
UNREADABLE = (ValueError, StopIteration, csv.Error)


@dataclass(frozen=True, slots=True)
class SourceResult:
    """The result of one source: its reply, or None and the reason why there is none."""

    source: Source
    reply: Reply | None
    fault: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether there is an output."""
        return self.reply is not None and self.reply.status == "succeeded"

    @property
    def code(self) -> str:
        """The error code; empty for a success."""
        if self.reply is None:
            return NO_REPLY
        return str(self.reply.error.code) if self.reply.error else ""

    @property
    def reason(self) -> str:
        """Why there is no output; empty for a success."""
        if self.reply is None:
            return self.fault
        return self.reply.error.message if self.reply.error else ""

    @property
    def fields(self) -> dict[str, Any]:
        """All facts, as JSON."""
        source = {"source": self.source.name, "digest": self.source.digest}
        if self.reply is None:
            return {**source, "status": NO_REPLY, "error": {"code": NO_REPLY, "message": self.fault}}
        return {
            **source,
            **self.reply.model_dump(mode="json", exclude={"error" if self.succeeded else "output"}),
        }

    def line(self) -> str:
        """The result as one line of JSON."""
        return json.dumps(self.fields)


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: an optional `head`, then a line for each result. `read` parses a line."""

    head: str
    line: Callable[[SourceResult], str]
    read: Callable[[str], dict[str, Any]]


_OUTCOME = ("status", "label", "output", "code", "message", "attempt", "run_ms", "consumer")
COLUMNS = ("source", "digest", "job_id", *_OUTCOME)


def _csv_line(result: SourceResult) -> str:
    fields = result.fields
    output = fields.get("output")
    label = output.get("label", "") if isinstance(output, dict) else ""
    cells = {
        **fields,
        "label": label,
        "output": json.dumps(output) if result.succeeded else "",
        "code": result.code,
        "message": result.reason,
    }
    return _csv_row([_one_line(column, str(cells.get(column, ""))) for column in COLUMNS])


def _one_line(column: str, cell: str) -> str:
    """Escape a cell, so each result is one line of UTF-8. JSON is one already, and stays whole."""
    return cell if column == "output" else escaped(cell, MAX_CELL_CHARACTERS)


def _csv_row(cells: list[str]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(cells)
    return row.getvalue()


def _read_csv(line: str) -> dict[str, Any]:
    return dict(zip(COLUMNS, next(csv.reader([line])), strict=True))


JSON_LINES = Format("", SourceResult.line, json.loads)
CSV = Format(_csv_row(list(COLUMNS)), _csv_line, _read_csv)


def done_before(path: Path, form: Format) -> dict[Key, bool]:
    """Read the results of an earlier run: name and digest of each job that has a reply, and whether it succeeded.

    Drop the lines of all other jobs.

    Raises:
        InputError: it cannot be read, or is not a file of results.
    """
    if not path.exists():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        *lines, torn = text.split("\n")
        if _is_json_result(torn):  # an editor has dropped the last line feed; a row of CSV may be torn anywhere
            lines.append(torn)
        found = {line: _read(line, form) for line in lines if line != form.head}
    except UNREADABLE:
        raise InputError(
            f"{path} contains no results in this format, so it cannot be resumed; pass another --out"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    kept = {line: (key, status) for line, (key, status) in found.items() if status != NO_REPLY}
    if torn or len(kept) < len(found):
        _replace(path, "".join(f"{line}\n" for line in [form.head] * bool(form.head) + list(kept)))
    return {key: status == "succeeded" for key, status in kept.values()}


def arrange(path: Path, form: Format, sources: Sequence[Source]) -> None:
    """Put the lines of the file into the order of the jobs, after those of other jobs.

    Raises:
        InputError: the file cannot be written, or another program has changed it.
    """
    at = {source.key: index for index, source in enumerate(sources)}
    try:
        *lines, _ = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
        found = [line for line in lines if line != form.head]
        ordered = sorted(found, key=lambda line: at.get(_read(line, form)[0], -1))
        if ordered != found:
            _replace(path, "".join(f"{line}\n" for line in [form.head] * bool(form.head) + ordered))
    except OSError as error:
        raise InputError(f"{path} cannot be put into the order of the jobs: {error.strerror}") from None
    except UNREADABLE:
        raise InputError(
            f"{path} cannot be put into the order of the jobs: another program has changed it meanwhile"
        ) from None


def _read(line: str, form: Format) -> tuple[Key, str]:
    match form.read(line):
        case {"source": str(source), "digest": str(digest), "status": str(status)}:
            return (source, digest), status
    raise ValueError("no line of results")


def _is_json_result(line: str) -> bool:
    try:
        return bool(_read(line, JSON_LINES))
    except UNREADABLE:
        return False


def _replace(path: Path, text: str) -> None:
    """Replace the file: a process that is killed here leaves the old file or the new one."""
    path = path.resolve()  # a link stays one
    fresh = path.with_name(f"{path.name}.resumed")
    fresh.write_text(text, encoding="utf-8")
    shutil.copymode(path, fresh)
    fresh.replace(path)


class Lines:
    """Writes results in the order in which they arrive, each at once and as a whole line."""

    def __init__(self, out: TextIO | Above, form: Format = JSON_LINES, *, head: bool = True) -> None:
        self._out = out
        self._form = form
        self._head = form.head if head else ""

    def add(self, _index: int, result: SourceResult) -> None:
        """Write the result of the source with this index, below the head of the file."""
        if self._head:
            self._write(self._head)
            self._head = ""
        self._write(self._form.line(result))

    def flush(self) -> None:
        """Do nothing: this class holds back no results."""

    def _write(self, line: str) -> None:
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except BrokenPipeError:  # the reader has ended; main.py turns this into the exit code
            raise
        except OSError as error:
            raise ConfigurationError(f"the results cannot be written: {error.strerror}") from None


class InOrder(Lines):
    """Writes results in the order of their sources. A result waits until all earlier ones have arrived.

    Mutable state: `_early`, results that wait for their turn; `_next`, the index of the next one.
    """

    def __init__(self, out: TextIO | Above, form: Format = JSON_LINES) -> None:
        super().__init__(out, form)
        self._next = 0
        self._early: dict[int, SourceResult] = {}

    def add(self, index: int, result: SourceResult) -> None:
        """Keep the result; write all results whose turn has come."""
        self._early[index] = result
        while self._next in self._early:
            super().add(self._next, self._early.pop(self._next))
            self._next += 1

    def flush(self) -> None:
        """Write the rest, with gaps: after an interruption the results that arrived are worth keeping."""
        for index in sorted(self._early):
            super().add(index, self._early.pop(index))
