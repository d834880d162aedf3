"""Imports the classifier once, then forks workers on request. Standard library only around the user's import.

Run as `python -m classifier.child.fork_server package.module:function [--batch]`, with a socket as stdin, whose
protocol is described in `classifier/child/forking.py`. With `--batch` the function must have declared that it
takes a batch. `{"ready": threads, "opened": [...]}` reports the end of the import, the number of threads that it
has left, and the descriptors and other things that workers share (`descriptors.py`, `shared_state.py`), each as
`[what, is_reopened]`. An order is `{"max_growth", "bounds"}`; its pipes are stdin, stdout and stderr.

It never calls the function: threads of OpenMP and BLAS that a computation starts do not survive a fork.
"""

from __future__ import annotations

import gc
import sys
from typing import Final, NoReturn

from classifier import contract
from classifier.child import descriptors, ending, forking, loading, randomness, shared_state, worker

#: The limit of each kind: as many as a message to the consumer can hold, and more than an operator reads.
_MOST_OPENED: Final = 20


def main(target: str, *, batch: bool) -> None:
    """Load the function, report it, serve.

    Exceptions of user code keep Python's traceback; a `LoadError` is reported without one.
    """
    channel = forking.take_socket()
    before = descriptors.present()
    try:
        loaded = loading.load(target)
    except contract.LoadError as refused:
        sys.exit(str(refused))
    if batch and contract.form_for_many(loaded.function) is None:
        sys.exit(
            f"{target} takes one job at a time, and batch_size is more than 1: declare one that takes a list of "
            "jobs with @contract.batch, or set batch_size to 1"
        )
    gc.collect()
    ending.prepare()
    opened = descriptors.opened_since(before)
    reopened = [one for one in opened if one.is_reopened]
    shared = [*(one.what for one in opened if not one.is_reopened), *shared_state.found(opened)]
    inherited = worker.Inherited(reopened, randomness.generators(target.partition(":")[0]))
    gc.freeze()  # a collection in a worker would write to every page with an object, and so copy the page

    def become(order: forking.Order, pipes: list[int]) -> NoReturn:
        worker.serve(loaded, inherited, pipes, max_growth=order["max_growth"], bounds=order["bounds"])

    report = [*_first(shared, is_reopened=False), *_first([one.what for one in reopened], is_reopened=True)]
    forking.serve(forking.Server(channel, become), opened=report)


def _first(whats: list[str], *, is_reopened: bool) -> list[tuple[str, bool]]:
    """Report the first ones, and the number of the others."""
    rest = len(whats) - _MOST_OPENED
    more = [(f"{rest} more", is_reopened)] if rest > 0 else []
    return [*((what, is_reopened) for what in whats[:_MOST_OPENED]), *more]


if __name__ == "__main__":
    main(sys.argv[1], batch="--batch" in sys.argv[2:])
