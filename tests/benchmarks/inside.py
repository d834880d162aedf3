"""What the contenders' own processes and the benchmark both need to know. Standard library only.

Whatever is imported here is in the memory and the start-up time of each contender.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Final

#: Of the peers; ours has a name of its own.
JOBS_QUEUE: Final = "bench.jobs"
LOGISTIC_MODEL: Final = "logistic.pickle"
LOGISTIC_POINTS: Final = 300

#: Environment of the peers' processes: where RabbitMQ is, and the function as package.module:function.
URL_VARIABLE: Final = "BENCH_URL"
FUNCTION_VARIABLE: Final = "BENCH_FUNCTION"
#: ... and what a contender's row sets, as JSON.
OPTIONS_VARIABLE: Final = "BENCH_OPTIONS"

#: One thread in the numerical libraries of every process: there is a process for each processor already.
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)

Function = Callable[[dict[str, Any]], Any]


def resolve() -> Function:
    """Import the function that this run is about, and load its models, so that whoever forks shares them."""
    module_name, _, name = os.environ[FUNCTION_VARIABLE].partition(":")
    module = importlib.import_module(module_name)
    if preload := getattr(module, "preload", None):
        preload()
    function: Function = getattr(module, name)
    return function
