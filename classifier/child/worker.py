"""One warm worker: a forked process that runs job after job. Standard library only; never returns.

A job arrives as one line of JSON on the first pipe: `{"id", "path", "environment"}`. On stdout a worker writes the
same lines as a program, and three more that user code need not know. `BEGIN: id` and `END: id` enclose the run, so
that output of an earlier job never counts as this job's answer. `RETIRE: reason` between them requests a
replacement of the worker, because the job left a thread, a child process or much memory behind.

Several jobs at once, a batch, arrive as `{"batch": token, "folder", "jobs": [[id, attempt, traceparent], ...],
"environment"}`, with files `0.json`, `1.json`, ... in the folder. The token, which no job can know, replaces the
id. The worker writes `BEGIN: token`, the output of the function, `ANSWERS: token`, a line for each job in their
order (`OUTPUT:`, `ERROR:`, or `ALONE: reason` for a job that must run again alone), and `END: token`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final, NamedTuple, NoReturn

from classifier import contract, tracebacks
from classifier.child import confinement, descriptors, ending, randomness
from classifier.child.descriptors import Opened
from classifier.child.loading import Loaded

#: os.EX_SOFTWARE: an exception in this file, never in user code.
EXIT_BUG: Final = 70

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Inherited(NamedTuple):
    """Files that the import opened, and random generators that it seeded. Each worker reopens and reseeds them."""

    files: Sequence[Opened]
    generators: Sequence[Any]


def serve(
    loaded: Loaded,
    inherited: Inherited,
    pipes: Sequence[int],
    *,
    max_growth: int,
    bounds: Mapping[str, int | None],
) -> NoReturn:
    """Run jobs until the pipe of jobs ends.

    `max_growth`: the bytes by which the memory of the process may grow; `bounds`: as in `confinement.confine`.
    """
    code = EXIT_BUG
    try:
        jobs = _become(pipes, bounds)
        ending.leave_to_parent()
        descriptors.reopen(inherited.files)
        randomness.reseed(inherited.generators)
        hook = _Hook(loaded.on_worker_start)
        hook.try_now()
        if not _has_order(jobs):
            _warm_up(loaded.warm_up)
        retirement = Retirement(max_growth)
        function = loaded.function
        one, many = contract.form_for_one(function), contract.form_for_many(function)
        while line := jobs.readline():
            order = json.loads(line)
            hook.insist()
            if many and "batch" in order:
                _run_batch(many, order, retirement)
            else:
                _run(one, order, retirement)
        code = 0
    except SystemExit as ended:
        code = _exit_code(ended)
    except BaseException:  # noqa: BLE001 - a fork must not continue as a second fork server
        sys.excepthook(*sys.exc_info())
    finally:
        ending.run()
        _flush()
        os._exit(code)


class _Hook:
    """The user's `on_worker_start`, which must succeed once before a job runs.

    The worker calls it before the first job arrives, so that no job waits for a connection. If that call fails,
    the worker calls it again for the first job, because a database may be back by then. If that fails, too, the
    worker ends with the traceback on stderr: that job's attempt is `Crashed` and is retried.

    Mutable state: `_call`, None after it has succeeded.
    """

    def __init__(self, call: Callable[[], object] | None) -> None:
        self._call = call

    def try_now(self) -> None:
        with suppress(Exception):  # user code may raise anything; the first job repeats the call and reports
            self._succeed()

    def insist(self) -> None:
        try:
            self._succeed()
        except Exception as raised:  # noqa: BLE001 - user code may raise anything; the attempt of this job fails
            sys.stderr.write(tracebacks.of_user(raised))
            sys.exit("on_worker_start() failed")

    def _succeed(self) -> None:
        if self._call:
            self._call()
            self._call = None


def _warm_up(call: Callable[[], object] | None) -> None:
    """Call the user's `warm_up`, so that the kernel copies the pages that jobs write to before the first job.

    This saves the first job of a worker 1 to 4 of its 5 ms (scaler and logistic regression). The fork server
    passes on only a quick warm-up: with a slow one, each worker would do the work of one more job.
    """
    if call:
        with suppress(Exception):  # user code may raise anything; it has succeeded in the fork server
            call()


def _has_order(jobs: BinaryIO) -> bool:
    """Return whether a job waits already. A warm-up would delay it by more than it saves."""
    waiting = select.poll()  # select.select refuses a descriptor above 1023
    waiting.register(jobs, select.POLLIN)
    return bool(waiting.poll(0))


def _become(pipes: Sequence[int], bounds: Mapping[str, int | None]) -> BinaryIO:
    """Make the fork behave like a newly started process; return the pipe of jobs."""
    os.setsid()
    confinement.adopt_orphans()
    confinement.confine(bounds)
    return _take_pipes(pipes)


def _exit_code(ended: SystemExit) -> int:
    """Return the exit code that Python would use for a SystemExit."""
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    sys.stderr.write(f"{ended.code}\n")
    return 1


def _flush() -> None:
    """Flush as at a normal end: no output of user code is lost, and a closed reader is ignored."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # no reader, closed by user code, or None
            stream.flush()
    confinement.flush_c_stdio()


def _take_pipes(pipes: Sequence[int]) -> BinaryIO:
    """Use two pipes as stdout and stderr; return the pipe of jobs.

    It is not stdin, so that user code cannot read it.
    """
    jobs, stdout, stderr = pipes
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    os.close(stdout)
    os.close(stderr)
    return os.fdopen(jobs, "rb")


def _run(function: contract.Function, job: dict[str, Any], retirement: Retirement) -> None:
    path, job_id = job["path"], job["id"]
    # os.path: a Path would cost more than chdir.
    _begin(job_id, os.path.dirname(path), job["environment"], retirement)  # noqa: PTH120
    _end(job_id, contract.answer(function, path), retirement)


def _run_batch(function: contract.BatchFunction, order: dict[str, Any], retirement: Retirement) -> None:
    token, folder = order["batch"], order["folder"]
    contexts = [contract.Context(*job) for job in order["jobs"]]
    paths = [f"{folder}/{number}.json" for number in range(len(contexts))]
    _begin(token, folder, order["environment"], retirement)
    _end(token, [f"ANSWERS: {token}", *contract.answers(function, paths, contexts)], retirement)


def _begin(name: str, folder: str, environment: dict[str, str | None], retirement: Retirement) -> None:
    """Set the working directory, environment and temporary folder that a separate program would have."""
    retirement.begin()
    os.chdir(folder)
    tempfile.tempdir = None  # the module caches the last job's folder
    for variable, value in environment.items():
        if value is None:
            os.environ.pop(variable, None)
        elif os.environ.get(variable) != value:  # most are unchanged, and setting one costs four times as much
            os.environ[variable] = value
    contract.write(f"BEGIN: {name}")


def _end(name: str, answers: list[str], retirement: Retirement) -> None:
    confinement.flush_c_stdio()
    reason = retirement.reason()
    retire = [f"RETIRE: {reason}"] if reason else []
    contract.write(*answers, *retire, f"END: {name}")


class Retirement:
    """Decides whether this process may run another job.

    It compares the process with its state before the first job: threads, child processes and resident memory.
    """

    def __init__(self, max_growth: int) -> None:
        self._max_growth = max_growth
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._peak = _opened_if_possible("/proc/self/clear_refs")
        self._at_birth = self._resident()
        self._threads = set(threading.enumerate())  # includes the threads of `on_worker_start`
        self._has_children = confinement.has_children()

    def begin(self) -> None:
        """Reset the peak of the memory for a new job (proc(5), clear_refs)."""
        if self._peak is not None:
            os.write(self._peak, b"5")

    def reason(self) -> str | None:
        """Return why the process must not run another job; None if it may."""
        if threads := [thread.name for thread in threading.enumerate() if thread not in self._threads]:
            return f"the classifier left a thread running: {', '.join(threads)}"
        if confinement.has_children() and not self._has_children:
            return "the classifier left a process running"
        if not confinement.has_room_for_descriptors():
            return "the classifier left too many descriptors open"
        if (growth := self._resident() - self._at_birth) > self._max_growth:
            return f"its memory has grown by {growth:,} bytes (max_worker_growth_bytes)"
        return None

    def _resident(self) -> int:
        """Return the resident memory in bytes. The open file returns the present value at each read."""
        return int(os.pread(self._statm, 100, 0).split()[1]) * _PAGE


def _opened_if_possible(path: str) -> int | None:
    """Open a file of /proc for writing; None if it is read-only, as in some containers."""
    with suppress(OSError):
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    return None
