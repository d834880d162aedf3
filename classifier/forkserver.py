"""Import the classifier once, then fork workers on request. Standard library only around the user's import.

`python -m classifier.forkserver package.module:function [--batch]`, with a socket as stdin, as
`classifier/forking.py` describes it; with `--batch` the function must have declared that it takes one.
`{"ready": threads, "opened": [...]}` says that the import is done, how many threads it has left, and which
descriptors (`descriptors.py`), each as `[what, is_reopened]`. An order is `{"max_growth", "bounds"}`, its pipes
are stdin, stdout and stderr.

It never calls the function: threads of OpenMP and BLAS that a computation starts do not survive a fork.
"""

from __future__ import annotations

import gc
import sys
from typing import Final, NoReturn

from classifier import contract, descriptors, ending, forking, loading, worker

#: As many as a message to the consumer can hold, and more than anybody reads.
_MOST_OPENED: Final = 20


def main(target: str, *, batch: bool) -> None:
    """Load the function, say so, serve.

    An exception is the user's, and Python's own traceback tells it best; a `LoadError` needs none.
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
    gc.freeze()  # a collection in a worker would write to every page that holds an object, and so copy it

    def become(order: forking.Order, pipes: list[int]) -> NoReturn:
        worker.serve(loaded, reopened, pipes, max_growth=order["max_growth"], bounds=order["bounds"])

    report = [(one.what, one.is_reopened) for one in opened[:_MOST_OPENED]]
    forking.serve(forking.Server(channel, become), opened=report)


if __name__ == "__main__":
    main(sys.argv[1], batch="--batch" in sys.argv[2:])
