"""The classifier's side of the contract: what an author of a classifier calls. Standard library only.

A program is started with a job's path as its last argument and answers on stdout: `LOG: text` and
`PROGRESS: 0.4 text` as often as it likes, then one `OUTPUT: json` or one `ERROR: text`, and the first of
these two decides. `run(function)` does all of it. Every protocol line is written past `sys.stdout`, straight
to the descriptor, and begins with a line break: whatever user code or a native library left unfinished on
stdout, a prefix stands at the start of its line. (The line break is unconditional because nobody can see what
native code wrote; an empty line means nothing to the contract.)

A function that is declared with `batch` takes several jobs at once, where the service hands it several; whatever
runs a single job calls it with a list of one.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from io import FileIO
from typing import Any, NamedTuple, TypeAlias, TypeVar

from classifier.result_json import encoded

_STDOUT = 1
#: Where a function keeps its form for many jobs; of one that `batch` declares it is the function itself.
_FORM_FOR_MANY = "form_for_many"

Job: TypeAlias = dict[str, Any]
Function: TypeAlias = Callable[[Job], object]
BatchFunction: TypeAlias = Callable[[list[Job]], object]
_F = TypeVar("_F", bound=BatchFunction)

# What is at work, the module's state. Whether the job has its answer: set by _claimed, cleared by answer.
_answered = False
# The jobs of the batch that is at work, None where it is a single job: set and cleared by answers.
_batch: list[Context] | None = None


class JobError(Exception):
    """This job is bad and will be so next time: its message is the whole `ERROR:` line, with no traceback."""


class LoadError(Exception):
    """What a classifier needs cannot be loaded as it is: out of `preload()`, its message is all the start says."""


class AlreadyAnsweredError(RuntimeError):
    """The classifier answered twice. The first answer stands."""


class BatchAnswerError(RuntimeError):
    """A batch is answered by what its function returns, and by nothing else."""


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


def contexts() -> list[Context]:
    """What the service says of each job of the batch that is at work, in order; of a single job, a list of one.

    `context()` is empty in a batch of several jobs, as none of them is the current one.
    """
    return [context()] if _batch is None else list(_batch)


def batch(function: _F) -> _F:
    """Declare that `function` takes a list of jobs and returns a list: an answer for each, in their order.

    An answer may be a `JobError` instead, which fails that job alone. What the function raises fails none: each
    job is then run alone, as the only one in the list.
    """
    return batch_of(function)(function)


def batch_of(one: Callable[..., object]) -> Callable[[_F], _F]:
    """Declare the decorated function, as `batch` has it, to be the form of `one` that takes many jobs at once.

    `one` takes a job and returns its answer; it is what the service is told of, and calls for a job alone.
    """

    def declare(many: _F) -> _F:
        setattr(one, _FORM_FOR_MANY, many)
        return many

    return declare


def form_for_many(function: Callable[..., object]) -> BatchFunction | None:
    """The form of `function` that takes a batch; None if none was declared."""
    found: BatchFunction | None = getattr(function, _FORM_FOR_MANY, None)
    return found


def form_for_one(function: Callable[..., object]) -> Function:
    """The form of `function` that takes one job."""
    if form_for_many(function) is not function:
        return function

    def one(job: Job) -> object:
        (answer,) = _called(function, [job])
        if isinstance(answer, Exception):
            raise answer
        return answer

    return one


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

    `value` is anything that has a natural JSON: numbers, text, lists, dicts, dataclasses, and values and keys of
    numpy and pandas (json_types.py).

    Raises:
        ValueError: some part of `value` is NaN, an infinity, half a character, or contains itself; the message
            names its place, such as `output["a"][3]`.
        TypeError: some part of `value` is of a type that is not JSON; the message names its place.
        AlreadyAnsweredError: the job has its answer.
    """
    write(_claimed(f"OUTPUT: {encoded(value)}"))


def error(text: str) -> None:
    """Say that the job failed and would fail again, and end it. Line breaks in `text` are escaped.

    Raises:
        AlreadyAnsweredError: the job has its answer.
    """
    write(_claimed(f"ERROR: {_on_one_line(text)}"))


def run(function: Callable[..., object], path: str | None = None) -> None:
    """Read one job, call `function` with it, and answer with what it returns or raises.

    `path` is the program's last argument unless given. `function` may answer itself with `output()` or
    `error()` and return None. An exception becomes one `ERROR:` line with the traceback on stderr; a
    `JobError` the line alone. Returns normally in all these cases: the line is the answer, not the exit
    code. `SystemExit`, `KeyboardInterrupt`, and what says that memory or a larger file was refused, pass through:
    the service sees a program that ended without an answer.
    """
    write(*answer(form_for_one(function), path))


def answer(function: Function, path: str | None = None) -> list[str]:
    """Do as `run`, but give back the line that is the answer instead of writing it: for warm workers.

    `function` takes one job. Nothing comes back where it answered itself.
    """
    global _answered  # noqa: PLW0603 - one process runs one job at a time; see the comment at its birth
    _answered = False
    try:
        value = function(_read_job(path))
        return [] if value is None and _answered else [_claimed(f"OUTPUT: {encoded(value)}")]
    except JobError as bad_job:
        return _error_line(str(bad_job))
    except Exception as raised:  # user code may raise anything, and each is this job's answer
        if _is_refusal(raised) and not _answered:
            raise
        _print_traceback()
        return _error_line(_in_words(raised))


def answers(function: BatchFunction, paths: Sequence[str], of: Sequence[Context]) -> list[str]:
    """Read several jobs, call `function` with them, and give back a line for each, in order: for warm workers.

    Besides `OUTPUT:` and `ERROR:` there is `ALONE: reason`: that job is to be run alone, where what goes wrong is
    its own, and its traceback with it. Nothing here fails two jobs over one.
    """
    global _batch  # noqa: PLW0603 - see the comment at its birth
    read = list(map(_read_or_refused, paths))
    good = [number for number, job in enumerate(read) if not isinstance(job, JobError)]
    given: list[object] = [job if isinstance(job, JobError) else None for job in read]
    _batch = [of[number] for number in good]
    try:
        if good:
            for number, value in zip(good, _called(function, [read[number] for number in good]), strict=True):
                given[number] = value
    except Exception as raised:  # noqa: BLE001 - user code may raise anything; whose fault it is shows alone
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
    """The answers that a batch's function returned: in a list, a tuple, or an array.

    Raises:
        TypeError: it returned none of these, but a dict or a text, say, whose length could be right by chance.
        ValueError: there are more or fewer than jobs.
    """
    given = function(jobs)
    if not isinstance(given, list | tuple) and not hasattr(given, "tolist"):
        raise TypeError(f"a batch is answered by a list, one element per job, not by a {type(given).__name__}")
    found: list[object] = list(given)  # type: ignore[call-overload] # what has tolist is an array, or fails here
    if len(found) != len(jobs):
        raise ValueError(
            f"a batch of {len(jobs)} jobs was answered by {len(found)} elements; one per job is needed"
        )
    return found


def _line_of(answer: object) -> str:
    """One job's line in a batch. What is no plain answer is found out alone."""
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
    if _batch is not None:
        raise BatchAnswerError(
            "a batch is answered by the list that its function returns, not by output() or error()"
        )
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
