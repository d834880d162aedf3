"""The classifier's side of the contract: functions for authors of classifiers. Standard library only.

A program receives a job's path as its last argument and answers on stdout: any number of lines `LOG: text` and
`PROGRESS: 0.4 text`, then one `OUTPUT: json` or `ERROR: text`; the first of these counts. `run(function)` does all
of it. This module writes protocol lines straight to the descriptor of stdout, each after a line break, so that the
prefix begins its line even if user code or a native library left an unfinished line. (It always writes the line
break, because it cannot know the output of native code; the contract ignores empty lines.)

A function declared with `batch` receives several jobs at once if several wait. For a single job it receives a list
of one.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from io import FileIO
from typing import Any, NamedTuple, TypeAlias, TypeVar

from classifier import tracebacks
from classifier.result_json import encoded

_STDOUT = 1
#: The attribute in which a function holds the function that runs its batches; with `@batch`, both are the same.
_FORM_FOR_MANY = "form_for_many"

Job: TypeAlias = dict[str, Any]
Function: TypeAlias = Callable[[Job], object]
BatchFunction: TypeAlias = Callable[[list[Job]], object]
_F = TypeVar("_F", bound=BatchFunction)

# Mutable state of the module: whether the running job has its answer. `_claimed` sets it, `answer` clears it.
_answered = False
# The jobs of the running batch, None for a single job. `answers` sets and clears it.
_batch: list[Context] | None = None


class JobError(Exception):
    """The job is bad and would fail again. The message becomes the `ERROR:` line, without a traceback."""


class LoadError(Exception):
    """The classifier cannot be loaded. If `preload()` raises it, the service prints only its message."""


class AlreadyAnsweredError(RuntimeError):
    """The classifier answered a job twice. The first answer counts."""


class BatchAnswerError(RuntimeError):
    """A batch's function called `output()` or `error()`, but must return a list of results."""


class Context(NamedTuple):
    """The facts about a job that are not in its body. Outside of the service: empty texts, and attempt 1."""

    job_id: str
    attempt: int
    traceparent: str


def context() -> Context:
    """Return the current job's id, attempt (from 1) and W3C trace context, from the environment."""
    attempt = os.environ.get("JOB_ATTEMPT", "")
    return Context(
        job_id=os.environ.get("JOB_ID", ""),
        attempt=int(attempt) if attempt.isdecimal() else 1,
        traceparent=os.environ.get("TRACEPARENT", ""),
    )


def contexts() -> list[Context]:
    """Return the context of each job of the running batch, in order; for a single job, a list of one.

    In a batch of several jobs, `context()` is empty, because none of them is the current job.
    """
    return [context()] if _batch is None else list(_batch)


def batch(function: _F) -> _F:
    """Declare that `function` takes a list of jobs and returns a list with one result for each, in their order.

    A result may be a `JobError`, which fails only that job. If the function raises, no job fails: each job then
    runs alone, as the only one in the list.
    """
    return batch_of(function)(function)


def batch_of(one: Callable[..., object]) -> Callable[[_F], _F]:
    """Return a decorator that declares the decorated function as the batch form of `one`.

    The setting `classifier` names `one`, which takes a job and returns its result; it still runs single jobs. The
    decorated function runs batches: it takes and returns lists, as `batch` describes.
    """

    def declare(many: _F) -> _F:
        setattr(one, _FORM_FOR_MANY, many)
        return many

    return declare


def form_for_many(function: Callable[..., object]) -> BatchFunction | None:
    """Return the function that runs the batches of `function`; None if none was declared."""
    found: BatchFunction | None = getattr(function, _FORM_FOR_MANY, None)
    return found


def form_for_one(function: Callable[..., object]) -> Function:
    """Return a function that runs one job.

    This is `function` itself, or, if that takes lists of jobs, a function that calls it with a list of one.
    """
    if form_for_many(function) is not function:
        return function

    def one(job: Job) -> object:
        (answer,) = _called(function, [job])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return one


def log(text: str) -> None:
    """Write `text` to the service's log with the job's id, each of its lines as one record."""
    for line in text.splitlines() or [""]:
        write(f"LOG: {line}")


def progress(fraction: float, text: str = "") -> None:
    """Report the job's progress, from 0 to 1, and a description, to a producer that has asked for it.

    The service passes on the latest report a few times a second. Each report counts as output on stdout. A
    fraction out of range does not fail the job: the nearest valid number replaces it.
    """
    write(f"PROGRESS: {min(max(float(fraction), 0.0), 1.0):.4g} {_on_one_line(text)}".rstrip())


def output(value: object) -> None:
    """Answer with `value` as the job's result.

    `value` is anything with a natural form in JSON: numbers, text, lists, dicts, dataclasses, and values and keys
    of numpy and pandas (json_types.py).

    Raises:
        ValueError: a part of `value` is NaN, an infinity or a lone surrogate, or contains itself; the message
            names its place, such as `output["a"][3]`.
        TypeError: JSON cannot express the type of a part of `value`; the message names its place.
        AlreadyAnsweredError: the job already has its answer.
    """
    write(_claimed(f"OUTPUT: {encoded(value)}"))


def error(text: str) -> None:
    """Answer that the job failed and would fail again. Line breaks in `text` are escaped.

    Raises:
        AlreadyAnsweredError: the job already has its answer.
    """
    write(_claimed(f"ERROR: {_on_one_line(text)}"))


def run(function: Callable[..., object], path: str | None = None) -> None:
    """Read one job, call `function` with it, and answer with its result or its exception.

    `path` is the program's last argument by default. `function` may also call `output()` or `error()` and return
    None. An exception becomes an `ERROR:` line, and its traceback goes to stderr; a `JobError` prints no
    traceback. In all these cases `run` returns normally, because the line, and not the exit code, is the answer.

    `run` does not catch `SystemExit`, `KeyboardInterrupt`, or the error of an exceeded limit of memory or file
    size. The job then ends without an answer.
    """
    write(*answer(form_for_one(function), path))


def answer(function: Function, path: str | None = None) -> list[str]:
    """Run one job like `run`, but return the answer's line in a list instead of writing it: for warm workers.

    `function` takes one job. If it has called `output()` or `error()`, the list is empty.
    """
    global _answered  # noqa: PLW0603 - a process runs one job at a time; see its definition
    _answered = False
    try:
        value = function(_read_job(path))
        return [] if value is None and _answered else [_claimed(f"OUTPUT: {encoded(value)}")]
    except JobError as bad_job:
        return _error_line(str(bad_job))
    except Exception as raised:  # user code may raise anything, and each exception is the job's answer
        if _is_refusal(raised) and not _answered:
            raise
        _print_traceback(raised)
        return _error_line(_in_words(raised))


def answers(function: BatchFunction, paths: Sequence[str], of: Sequence[Context]) -> list[str]:
    """Read several jobs, call `function` with them, and return a line for each, in order: for warm workers.

    Besides `OUTPUT:` and `ERROR:` a line may be `ALONE: reason`: that job must run again alone, which shows
    whether the job itself is at fault. So one bad job never fails another.
    """
    global _batch  # noqa: PLW0603 - see its definition
    read = list(map(_read_or_refused, paths))
    good = [number for number, job in enumerate(read) if not isinstance(job, JobError)]
    given: list[object] = [job if isinstance(job, JobError) else None for job in read]
    _batch = [of[number] for number in good]
    try:
        if good:
            for number, value in zip(good, _called(function, [read[number] for number in good]), strict=True):
                given[number] = value
    except Exception as raised:  # noqa: BLE001 - user code may raise anything; runs alone show the bad job
        return [_line_of(job) if isinstance(job, JobError) else _alone(raised) for job in read]
    finally:
        _batch = None
    return list(map(_line_of, given))


def _read_or_refused(path: str) -> Any:  # noqa: ANN401 - a job or a JobError
    try:
        return _read_job(path)
    except JobError as bad_job:
        return bad_job


def _called(function: BatchFunction, jobs: list[Job]) -> list[object]:
    """Call a batch's function; return its results from a list, a tuple, or an array.

    Raises:
        TypeError: the function returned another type, such as a dict or a text, whose length may fit by chance.
        ValueError: the function returned more or fewer results than jobs.
    """
    given = function(jobs)
    if not isinstance(given, list | tuple) and not hasattr(given, "tolist"):
        raise TypeError(f"a batch needs a list of results, one per job, not a {type(given).__name__}")
    found: list[object] = list(given)  # type: ignore[call-overload] # with tolist it is an array, or fails here
    if len(found) != len(jobs):
        raise ValueError(
            f"the function returned {len(found)} results for a batch of {len(jobs)} jobs; return one per job"
        )
    return found


def _line_of(answer: object) -> str:
    """Make one job's line in a batch. A job whose result cannot be JSON must run alone."""
    if isinstance(answer, JobError):
        return f"ERROR: {_on_one_line(str(answer))}"
    if isinstance(answer, Exception):
        return _alone(answer)
    try:
        return f"OUTPUT: {encoded(answer)}"
    except Exception as raised:  # noqa: BLE001 - NaN, or whatever an element's own tolist() raised
        return _alone(raised)


def _alone(raised: Exception) -> str:
    return f"ALONE: {_on_one_line(_in_words(raised))}"


def _in_words(raised: Exception) -> str:
    return ": ".join(filter(None, (type(raised).__name__, str(raised))))


def _read_job(path: str | None) -> Job:
    if path is None and len(sys.argv) < 2:  # noqa: PLR2004 - the program's name and the path
        raise JobError("no job given: pass the path of the job's file as the last argument")
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
    """Return whether a limit refused memory or a larger file; the service reports this itself."""
    return isinstance(raised, MemoryError) or (isinstance(raised, OSError) and raised.errno == errno.EFBIG)


def _error_line(text: str) -> list[str]:
    """Make the line of an exception; none if the job already has its answer, because the first counts."""
    return [] if _answered else [_claimed(f"ERROR: {_on_one_line(text)}")]


def _print_traceback(raised: Exception) -> None:
    if sys.stderr is not None:
        sys.stderr.write(tracebacks.of_user(raised))


def _claimed(line: str) -> str:
    global _answered  # noqa: PLW0603 - see its definition
    if _batch is not None:
        raise BatchAnswerError(
            "a function for batches must return a list of results, and must not call output() or error()"
        )
    if _answered:
        raise AlreadyAnsweredError(
            "this job already has its answer: call output() or error() only once, or return a value"
        )
    # Set before the write: if the write fails halfway, a second answer would only do more damage.
    _answered = True
    return line


def write(*lines: str) -> None:
    """Write protocol lines to the descriptor, after Python's buffered output."""
    if sys.stdout is not None:
        sys.stdout.flush()
    # Text, such as a file name, may hold half a surrogate pair, which is escaped.
    rest = memoryview("".join(f"\n{line}\n" for line in lines).encode(errors="backslashreplace"))
    while rest:
        rest = rest[os.write(_STDOUT, rest) :]


def _on_one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")
