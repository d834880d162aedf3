"""Imports the classifier once, then forks workers on request. Standard library only around the user's import.

Run as `python -m classifier.child.fork_server package.module:function [--batch]`, with a socket as stdin;
`classifier/child/forking.py` describes the protocol. With `--batch` the function must accept batches. After the
import, the server sends `{"ready": threads, "opened": [...], "loaded": [...], "default_model": name}`: the number
of threads of the server; the descriptors and other state that workers share (`descriptors.py`, `shared_state.py`),
each as `[what, is_reopened]`; the code and models that were loaded, each as `[name, digest]`; and the model of
jobs that name none (`fingerprint.py`). An order is `{"max_growth", "bounds"}`; its pipes are for jobs, stdout and
stderr.

The server calls the module's `warm_up()` before the first fork, so that every worker starts with everything that a
first call allocates and caches. Threads of OpenMP and BLAS do not survive a fork: if the warm-up has started one,
the server restarts without it (`--cold`).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final, NoReturn

from classifier import contract, tracebacks
from classifier.child import (
    confinement,
    descriptors,
    ending,
    fingerprint,
    forking,
    huge_pages,
    loading,
    randomness,
    shared_state,
    worker,
)

#: The flag of a server that restarts because its warm-up has started threads.
_COLD: Final = "--cold"
#: The longest warm-up, in seconds, that each worker repeats. The repetition saves its first job 1 to 4 ms.
QUICK_S: Final = 0.003
#: The most descriptors of each kind in the report. More might not fit into a message, and no operator reads more.
_MOST_OPENED: Final = 20


def main(target: str, *, batch: bool, cold: bool) -> None:
    """Load the function, report the end of the import, and serve. With `cold`, `warm_up` is not called.

    Exceptions of user code print a traceback; a `LoadError` prints only its message.
    """
    channel = forking.take_socket()
    folder, environment = os.open(".", os.O_PATH | os.O_CLOEXEC), dict(os.environ)
    before = descriptors.present()
    try:
        loaded = loading.load(target)
    except contract.LoadError as refused:
        sys.exit(str(refused))
    takes_batches = contract.form_for_many(loaded.function) is not None
    if batch and not takes_batches:
        sys.exit(
            f"{target} takes one job at a time, and batch_size is more than 1: declare one that takes a list of "
            "jobs with @contract.batch, or set batch_size to 1"
        )
    if loaded.warm_up and not cold and _starts_threads(loaded.warm_up):
        _start_again(channel, environment, folder)
    gc.collect()  # so that no collection makes a quick warm-up slow
    if cold or not (loaded.warm_up and _is_quick(loaded.warm_up)):
        loaded = loaded._replace(warm_up=None)  # workers do not repeat it
    os.close(folder)
    _forget_signal_handlers()
    identity = fingerprint.of(target)
    ending.prepare()
    opened = descriptors.opened_since(before)
    reopened = [one for one in opened if one.is_reopened]
    shared = [*(one.what for one in opened if not one.is_reopened), *shared_state.found(opened)]
    inherited = worker.Inherited(reopened, randomness.generators(target.partition(":")[0]))
    gc.freeze()  # a collection in a worker would write to every page with an object, and so copy the page
    huge_pages.collapse()

    def become(order: forking.Order, pipes: list[int]) -> NoReturn:
        worker.serve(loaded, inherited, pipes, max_growth=order["max_growth"], bounds=order["bounds"])

    report = [*_first(shared, is_reopened=False), *_first([one.what for one in reopened], is_reopened=True)]
    facts = {"opened": report, "loaded": identity, "cold": cold, "batches": takes_batches}
    facts["default_model"] = fingerprint.default_model(target)
    forking.serve(forking.Server(channel, become), **facts)


def _starts_threads(warm_up: Callable[[], object]) -> bool:
    before = confinement.threads()
    warm_up()
    return confinement.threads() > before


def _is_quick(warm_up: Callable[[], object]) -> bool:
    began = time.perf_counter()
    warm_up()
    return time.perf_counter() - began < QUICK_S


def _forget_signal_handlers() -> None:
    """Reset signals to their defaults, as in a new process, whatever handlers the import has set.

    The server does it for all workers, because each call writes to ten more pages. The default of SIGXFSZ ends a
    process that writes too large a file. Python ignores SIGXFSZ, and its exception would not show the cause.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def _start_again(channel: socket.socket, environment: dict[str, str], folder: int) -> NoReturn:
    """Replace this process by a server that does not warm up, because the threads of a warm-up cannot be ended."""
    os.dup2(channel.fileno(), 0)
    os.fchdir(folder)
    os.execve(sys.executable, [*sys.orig_argv, _COLD], environment)  # noqa: S606 - our own command line


def _first(whats: list[str], *, is_reopened: bool) -> list[tuple[str, bool]]:
    """Return the first entries, and the number of the others."""
    rest = len(whats) - _MOST_OPENED
    more = [(f"{rest} more", is_reopened)] if rest > 0 else []
    return [*((what, is_reopened) for what in whats[:_MOST_OPENED]), *more]


if __name__ == "__main__":
    try:
        main(sys.argv[1], batch="--batch" in sys.argv[2:], cold=_COLD in sys.argv[2:])
    except Exception as raised:  # noqa: BLE001 - user code may raise anything while it is imported
        sys.exit(tracebacks.of_user(raised).rstrip())
