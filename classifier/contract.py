"""The classifier's side of the contract: what an author of a classifier calls. Standard library only.

A program is started with a job's path as its last argument and answers on stdout: `LOG: text` and
`PROGRESS: 0.4 text` as often as it likes, then one `OUTPUT: json` or one `ERROR: text`, and the first of
these two decides. `run(function)` does all of it. Every protocol line is written past `sys.stdout`, straight
to the descriptor, and begins with a line break: whatever user code or a native library left unfinished on
stdout, a prefix stands at the start of its line. (The line break is unconditional because nobody can see what
native code wrote; an empty line means nothing to the contract.)
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from io import FileIO
from typing import Any, NamedTuple

_STDOUT = 1

# Whether the current job has its answer: the module's one piece of state, set by _claimed, cleared by answer.
_answered = False


class JobError(Exception):
    """This job is bad and will be so next time: its message is the whole `ERROR:` line, with no traceback."""


class LoadError(Exception):
    """What a classifier needs cannot be loaded as it is: out of `preload()`, its message is all the start says."""


class AlreadyAnsweredError(RuntimeError):
    """The classifier answered twice. The first answer stands."""


class Context(NamedTuple):
    """What the service says of a job beside its body; empty texts and attempt 1 where it says nothing."""

    job_id: str
    attempt: int
    traceparent: str


def context() -> Context:
    """The current job's id, attempt (from 1) and W3C trace context, out of the environment."""
    attempt = os.environ.get("JOB_ATTEMPT", "")
    return Context(
        job_id=os.environ.get("JOB_ID", ""),
        attempt=int(attempt) if attempt.isdecimal() else 1,
        traceparent=os.environ.get("TRACEPARENT", ""),
    )


def log(text: str) -> None:
    """Send `text` to the service's log, under the job's id; each of its lines becomes a line there."""
    for line in text.splitlines() or [""]:
        write(f"LOG: {line}")


def progress(fraction: float, text: str = "") -> None:
    """Say how far the job is, from 0 to 1, and what it is at; whoever has asked for it sees a bar.

    A few a second are passed on, the last one wins, and each counts as a line on stdout. Never fails the job: a
    number beyond is taken for the nearest.
    """
    write(f"PROGRESS: {min(max(float(fraction), 0.0), 1.0):.4g} {_on_one_line(text)}".rstrip())


def output(value: object) -> None:
    """Give `value` as the job's result, and end the job.

    `value` is anything `json` can write, and whatever turns itself into that by `tolist()` or `item()`
    (numpy's scalars and arrays).

    Raises:
        ValueError: `value` holds NaN or an infinity, which JSON does not have, or contains itself.
        TypeError: `value` holds something that is not JSON.
        AlreadyAnsweredError: the job has its answer.
    """
    write(_claimed(f"OUTPUT: {_to_json(value)}"))


def error(text: str) -> None:
    """Say that the job failed and would fail again, and end it. Line breaks in `text` are escaped.

    Raises:
        AlreadyAnsweredError: the job has its answer.
    """
    write(_claimed(f"ERROR: {_on_one_line(text)}"))


def run(function: Callable[[dict[str, Any]], object], path: str | None = None) -> None:
    """Read one job, call `function` with it, and answer with what it returns or raises.

    `path` is the program's last argument unless given. `function` may answer itself with `output()` or
    `error()` and return None. An exception becomes one `ERROR:` line with the traceback on stderr; a
    `JobError` the line alone. Returns normally in all these cases: the line is the answer, not the exit
    code. `SystemExit`, `KeyboardInterrupt`, and what says that memory or a larger file was refused, pass through:
    the service sees a program that ended without an answer.
    """
    write(*answer(function, path))


def answer(function: Callable[[dict[str, Any]], object], path: str | None = None) -> list[str]:
    """Do as `run`, but give back the line that is the answer instead of writing it: for warm workers.

    Nothing comes back where `function` answered itself.
    """
    global _answered  # noqa: PLW0603 - one process runs one job at a time; see the comment at its birth
    _answered = False
    try:
        value = function(_read_job(path))
        return [] if value is None and _answered else [_claimed(f"OUTPUT: {_to_json(value)}")]
    except JobError as bad_job:
        return _error_line(str(bad_job))
    except Exception as raised:  # user code may raise anything, and each is this job's answer
        if _is_refusal(raised) and not _answered:
            raise
        _print_traceback()
        return _error_line(": ".join(filter(None, (type(raised).__name__, str(raised)))))


def _read_job(path: str | None) -> dict[str, Any]:
    if path is None and len(sys.argv) < 2:  # noqa: PLR2004 - the program's name and the path
        raise JobError("no job was given: the path of the job's file is the last argument")
    try:
        with FileIO(path or sys.argv[-1]) as file:
            job = json.loads(file.readall())
    except OSError as unreadable:
        raise JobError(f"cannot read the job: {unreadable}") from None
    except (ValueError, RecursionError) as malformed:
        raise JobError(f"the job is not JSON: {malformed}") from None
    if not isinstance(job, dict):
        raise JobError(f"the job is not a JSON object but of type {type(job).__name__}")
    return job


def _is_refusal(raised: Exception) -> bool:
    """Whether the job was refused memory or a larger file: by its limits, and the service has words for that."""
    return isinstance(raised, MemoryError) or (isinstance(raised, OSError) and raised.errno == errno.EFBIG)


def _error_line(text: str) -> list[str]:
    """An error is the answer unless one was given before things went wrong: the first one stands."""
    return [] if _answered else [_claimed(f"ERROR: {_on_one_line(text)}")]


def _print_traceback() -> None:
    import traceback  # noqa: PLC0415 - only a failed job pays for it

    traceback.print_exc()


def _claimed(line: str) -> str:
    global _answered  # noqa: PLW0603 - see the comment at its birth
    if _answered:
        raise AlreadyAnsweredError(
            "this job has its answer already: call output() or error() once, or return a value"
        )
    # Before the write: should it break half way, a second attempt would only add to the damage.
    _answered = True
    return line


def write(*lines: str) -> None:
    """Write protocol lines at once, after all that Python code has printed."""
    if sys.stdout is not None:
        sys.stdout.flush()
    # Text may hold half a surrogate pair (a file name, say); it is shown rather than refused.
    rest = memoryview("".join(f"\n{line}\n" for line in lines).encode(errors="backslashreplace"))
    while rest:
        rest = rest[os.write(_STDOUT, rest) :]


def _on_one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")


def _to_json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=_plain)
    except ValueError as refused:
        raise ValueError(
            f"the output cannot be JSON: {refused}; replace NaN and infinities, by None say"
        ) from refused


def _plain(value: object) -> object:
    # By what it can do, not by its type: numpy must not be imported here.
    for method in ("tolist", "item"):
        if callable(convert := getattr(value, method, None)):
            return convert()
    raise TypeError(
        f"the output holds a {type(value).__name__}, which is not JSON: return numbers, text, lists, dicts"
    )
