"""Classifier functions that behave in every way the contract speaks of: what test_runners.py runs both runners on.

Each is called with a job; what it must find out (a pid, say) is told in a log line, as any classifier would.
"""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from classifier.contract import JobError, context, error, log, output

Job = dict[str, Any]


def dispatch(job: Job) -> object:
    """Do what the job's `case` names: so one worker can be put through one after another."""
    chosen: Callable[[Job], object] = globals()[job["case"]]
    return chosen(job)


def echo(job: Job) -> Job:
    return job


def nothing(_: Job) -> None:
    pass


def surroundings(_: Job) -> object:
    told = ("HOME", "TMPDIR", "JOB_ID", "JOB_ATTEMPT", "TRACEPARENT", "CONSUMER_AMQP_URL", "OMP_NUM_THREADS")
    return {
        "environment": {name: os.environ.get(name) for name in told},
        "context": context(),
        "cwd": str(Path.cwd()),
        "files": sorted(os.listdir()),  # noqa: PTH208 - names
        "leads": os.getpid() == os.getpgrp() == os.getsid(0),
        "stdin": sys.stdin.read(),
        "pid": os.getpid(),
        "random": random.random(),  # noqa: S311 - not a secret
    }


def logs(_: Job) -> int:
    log("one\ntwo")
    print("print, which is not in the contract")
    os.write(1, b"LOG: three\n\xff unfinished")
    return 3


def talks_around(_: Job) -> int:
    print("unfinished, ", end="")
    os.write(1, b"native, ERROR: not at the start of a line")
    ctypes.CDLL(None).printf(b"from C, and not flushed")
    return 1


def answers_itself(_: Job) -> None:
    output({"a": 1.5})
    print("OUTPUT: 2")
    Path("written-afterwards").touch()


def prints_and_hangs(job: Job) -> None:
    """Print without a flush, by itself or in a child, whose stdout is the same pipe."""
    program = "import time\nprint('LOG: at work')\nprint('PROGRESS: 0.5 half')\ntime.sleep(60)"
    if job["by"] == "a child":
        subprocess.run([sys.executable, "-c", program], check=False)
    exec(program)  # noqa: S102 - the same, here


def prints_its_answer(_: Job) -> None:
    print("OUTPUT: 1")


def answers_without_newline_and_exits(_: Job) -> None:
    os.write(1, b"OUTPUT: 1")
    os._exit(0)


def answers_and_raises(_: Job) -> None:
    output(1)
    raise ValueError("too late")


def answers_and_hangs(_: Job) -> None:
    log(f"pid {os.getpid()}")
    output(1)
    signal.pause()


def fails(_: Job) -> None:
    sys.stderr.write("why\n")
    error("no such\nmodel")


def raises(_: Job) -> None:
    raise ValueError("no such\nmodel")


def refuses(_: Job) -> None:
    raise JobError("the signal is empty")


def logs_an_error_to_stdout(job: Job) -> str:
    """As `logging.basicConfig(stream=sys.stdout, format=...)` does."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(job["format"]))
    logging.getLogger("mine").addHandler(handler)
    try:
        logging.getLogger("mine").error("the disk is slow")
    finally:
        logging.getLogger("mine").removeHandler(handler)
    return "up"


def holds_half_a_character(job: Job) -> object:
    if job["by"] == "print":
        print(r'OUTPUT: {"a": [1, "\ud800"]}')
    return {"a": [1, "\ud800"]}


def prints_no_json(_: Job) -> None:
    print("OUTPUT: {nonsense")


def exits(job: Job) -> None:
    sys.stderr.write("boom\n")
    sys.exit(job["code"])


def exits_at_once(_: Job) -> None:
    os._exit(3)


def kills_itself(job: Job) -> None:
    sys.stderr.write("boom\n")
    sys.stderr.flush()
    os.kill(os.getpid(), job["signal"])


def hangs(_: Job) -> None:
    log(f"pid {os.getpid()}")
    Path("left").touch()
    signal.pause()


def ignores_sigterm_and_hangs(job: Job) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hangs(job)


def hangs_in_native_code(_: Job) -> None:
    """A Python signal handler would run only once the C call returns, which is never."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    log(f"pid {os.getpid()}")
    ctypes.PyDLL(None).sleep(1000)  # holds the GIL, as a long computation in C does


def says_so_when_terminated(_: Job) -> None:
    signal.signal(signal.SIGTERM, lambda *_: error("terminated"))
    hangs({})


def prints_a_long_line(_: Job) -> None:
    log(f"pid {os.getpid()}")
    print("x" * 5_000_000, flush=True)
    signal.pause()


def answers_and_prints_a_long_line(_: Job) -> None:
    output(1)
    print("x" * 5_000_000)


def prints_without_end(_: Job) -> None:
    log(f"pid {os.getpid()}")
    while True:
        print("x" * 1000)


def floods_stderr(_: Job) -> None:
    sys.stderr.write("x" * 10_000_000 + "the end\n")
    error("e")


def leaves_a_child(_: Job) -> int:
    child = subprocess.Popen(["sleep", "1000"])
    log(f"pid {child.pid}")
    return 1


def leaves_a_child_of_another_group(_: Job) -> int:
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    log(f"pid {child.pid}")
    return 1


def leaves_files(_: Job) -> int:
    (Path("deep") / "er").mkdir(parents=True)
    (Path.home() / "left").touch()
    Path().chmod(0o500)
    return 1


# What one job can do to the next in the same worker


def leaves_a_thread_that_answers(_: Job) -> int:
    threading.Thread(target=_answer_late, name="late").start()
    return 1


def _answer_late() -> None:
    time.sleep(0.3)
    os.write(1, b"\nOUTPUT: 666\n")


def waits(job: Job) -> Any:  # noqa: ANN401 - JSON
    time.sleep(job["seconds"])
    return job["answer"]


_kept: list[bytearray] = []


def grows(job: Job) -> int:
    _kept.append(bytearray(os.urandom(1)) * job["bytes"])
    return os.getpid()


def closes_its_stdout(_: Job) -> None:
    os.close(1)


def waits_for(job: Job) -> int:
    """Say that it runs, and end when the file is there."""
    log("runs")
    while not Path(job["file"]).exists():
        time.sleep(0.005)
    return os.getpid()
