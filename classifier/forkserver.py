"""Import the classifier once, then fork workers on request. Standard library only around the user's import.

`python -m classifier.forkserver package.module:function [--batch]`, with a socket as stdin, as
`classifier/forking.py` describes it; with `--batch` the function must have declared that it takes one.
`{"ready": threads}` says that the import is done. An order is `{"max_growth", "bounds"}`, its pipes are stdin,
stdout and stderr.

It never calls the function: threads of OpenMP and BLAS that a computation starts do not survive a fork.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import NoReturn, TypeAlias

from classifier import contract, forking, usermodule, worker

Function: TypeAlias = Callable[..., object]


def main(target: str, *, batch: bool) -> None:
    """Load the function, say so, serve.

    An exception is the user's, and Python's own traceback tells it best; a `LoadError` needs none.
    """
    channel = forking.take_socket()
    try:
        function = load(target)
    except contract.LoadError as refused:
        sys.exit(str(refused))
    if batch and contract.form_for_many(function) is None:
        sys.exit(
            f"{target} takes one job at a time, and batch_size is more than 1: declare one that takes a list of "
            "jobs with @contract.batch, or set batch_size to 1"
        )
    gc.collect()
    gc.freeze()  # a collection in a worker would write to every page that holds an object, and so copy it

    def become(order: forking.Order, pipes: list[int]) -> NoReturn:
        worker.serve(function, pipes, max_growth=order["max_growth"], bounds=order["bounds"])

    forking.serve(forking.Server(channel, become))


def load(target: str) -> Function:
    """Import `package.module:function`, and call the module's `preload()` if it has one.

    `preload` is where a classifier reads its models, once for all workers.
    """
    module_name, _, name = target.partition(":")
    module = usermodule.imported(module_name, name)
    function: Function = getattr(module, name)
    if callable(preload := getattr(module, "preload", None)):
        preload()
    return function


if __name__ == "__main__":
    main(sys.argv[1], batch="--batch" in sys.argv[2:])
