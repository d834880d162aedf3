"""Classifier functions that do what a classifier must not: what test_hostile.py runs both runners on.

Each is bounded by itself, too: should the limit that it is after not work, it ends, and the test fails. A case
tells of the processes that it leaves by log lines `pid N`; the others the test finds by their environment.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from classifier.contract import log, output

Job = dict[str, Any]

MIB = 1024**2
#: No case goes on longer, whatever the service does.
LONGEST_S = 20.0
_libc = ctypes.CDLL(None, use_errno=True)


def dispatch(job: Job) -> object:
    """Do what the job's `case` names."""
    chosen: Callable[[Job], object] = globals()[job["case"]]
    return chosen(job)


def echo(job: Job) -> Job:
    return job


def _hang() -> NoReturn:
    """Wait to be killed."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        time.sleep(0.05)
    os._exit(99)


def _in_child(do: Callable[[], object]) -> int:
    """Fork a child that does something and ends."""
    if (pid := os.fork()) == 0:
        with suppress(BaseException):
            do()
        os._exit(0)
    return pid


def exits(job: Job) -> NoReturn:
    os._exit(job["code"])


def hangs(_: Job) -> NoReturn:
    _hang()


# Memory


def asks_for_64_gib(_: Job) -> int:
    return len(bytearray(64 * 1024 * MIB))


def asks_for_64_gib_natively(_: Job) -> NoReturn:
    _libc.malloc.restype = ctypes.c_void_p
    if not _libc.malloc(ctypes.c_size_t(64 * 1024 * MIB)):
        _libc.perror(b"native code")
    os._exit(1)


def grows_bit_by_bit(_: Job) -> int:
    kept = [bytearray(b"x") * (4 * MIB) for _ in range(250)]
    return len(kept)


def grows_in_shared_memory(_: Job) -> NoReturn:
    shared = mmap.mmap(-1, 600 * MIB)
    for page in range(0, len(shared), 4096):
        shared[page] = 1
    _hang()


def grows_in_a_memory_file(_: Job) -> NoReturn:
    """Kept under the size of a file: five of them."""
    files = [os.memfd_create(str(number)) for number in range(5)]
    kept = []
    for file in files:
        os.ftruncate(file, 100 * MIB)
        kept.append(mmap.mmap(file, 100 * MIB))
        kept[-1].write(b"x" * (100 * MIB))
    _hang()


def grows_in_children(_: Job) -> NoReturn:
    def grow() -> None:
        kept = bytearray(b"x") * (100 * MIB)
        time.sleep(LONGEST_S)
        del kept

    for _number in range(5):
        _in_child(grow)
    _hang()


def survives_a_refusal(_: Job) -> str:
    with suppress(MemoryError):
        bytearray(64 * 1024 * MIB)
    return "survived"


# CPU time


def computes_without_end(_: Job) -> NoReturn:
    while True:
        if time.process_time() > LONGEST_S:
            os._exit(99)


def computes_for(job: Job) -> int:
    """The good one among them."""
    until = time.process_time() + job["seconds"]
    while time.process_time() < until:
        pass
    return 1


def computes_in_children_of_other_sessions(_: Job) -> NoReturn:
    def compute() -> None:
        os.setsid()
        computes_without_end({})

    for _number in range(3):
        _in_child(compute)
    _hang()


# Processes


def forks_many(job: Job) -> NoReturn:
    for _ in range(job["number"]):
        _in_child(_hang)
    _hang()


def forks_like_a_bomb(job: Job) -> NoReturn:
    """Every process forks, for a number of generations."""
    for _ in range(job["generations"]):
        os.fork()
    _hang()


def forks_like_a_bomb_in_sessions_of_their_own(job: Job) -> NoReturn:
    for _ in range(job["generations"]):
        if os.fork() == 0:
            os.setsid()
    _hang()


def starts_a_runaway(job: Job) -> int | None:
    """A process that is never the same for long: it forks and ends, again and again.

    Its dead generations count as processes of the job, so a run that goes on beside it exceeds a limit. A run that
    answers before the runaway starts does not; what matters then is that nothing of it is left.
    """
    if not job.get("stays"):
        output(1)
    runs, running = os.pipe()

    def run_away() -> None:
        os.setsid()
        os.write(running, b"!")
        deadline = time.monotonic() + LONGEST_S
        while time.monotonic() < deadline:
            if os.fork():
                os._exit(0)

    _in_child(run_away)
    os.read(runs, 1)
    return _hang() if job.get("stays") else None


def leaves_zombies(job: Job) -> int:
    """Dead processes that nobody reaps count like living ones: each keeps a number of the machine."""
    for _number in range(job["number"]):
        _in_child(lambda: None)
    if job.get("stays"):
        _hang()
    return 1


# Children that want to stay


def _told(pid: int) -> int:
    log(f"pid {pid}")
    return pid


def leaves_a_child_in_another_group(_: Job) -> int:
    os.setpgid(_told(_in_child(_hang)), 0)
    return 1


def leaves_a_daemon(_: Job) -> int:
    """Fork, setsid, fork, no descriptor, no environment, deaf: all that the books say."""
    ours, theirs = os.pipe()

    def first() -> None:
        os.setsid()
        if (pid := os.fork()) == 0:
            os.chdir("/")
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 64)
            os.execve("/bin/sleep", ["sleep", str(LONGEST_S)], {})  # noqa: S606
        os.write(theirs, str(pid).encode())

    os.waitpid(_in_child(first), 0)
    _told(int(os.read(ours, 20)))
    return 1


def leaves_a_daemon_that_holds_stdout(_: Job) -> int:
    def first() -> None:
        os.setsid()
        log(f"pid {os.getpid()}")
        _hang()

    _in_child(first)
    time.sleep(0.1)
    return 1


def leaves_a_stopped_child(_: Job) -> int:
    os.kill(_told(_in_child(_hang)), signal.SIGSTOP)
    return 1


def leaves_nohup(_: Job) -> int:
    command = ["/usr/bin/env", "-i", "/usr/bin/nohup", "/usr/bin/setsid", "/bin/sleep", str(LONGEST_S)]
    _told(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)
    return 1


def leaves_a_tree(_: Job) -> int:
    """Four generations, each the leader of a session."""

    def grow(generations: int) -> None:
        os.setsid()
        if generations:
            _in_child(lambda: grow(generations - 1))
        _hang()

    _told(_in_child(lambda: grow(3)))
    time.sleep(0.1)
    return 1


# Signals and time


def ignores_all_it_can(_: Job) -> NoReturn:
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    _hang()


def blocks_all_it_can_natively(_: Job) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    ctypes.PyDLL(None).sleep(int(LONGEST_S))  # holds the GIL
    os._exit(99)


def stops_itself(_: Job) -> NoReturn:
    os.kill(os.getpid(), signal.SIGSTOP)
    _hang()


def stops_its_group(_: Job) -> NoReturn:
    _in_child(_hang)
    os.kill(0, signal.SIGSTOP)
    _hang()


def kills_its_group(_: Job) -> NoReturn:
    os.kill(0, signal.SIGKILL)
    _hang()


def kills_its_parent(_: Job) -> NoReturn:
    os.kill(os.getppid(), signal.SIGKILL)
    _hang()


def answers_and_goes_on_deaf(job: Job) -> None:
    output(1)
    ignores_all_it_can(job)


def segfaults(_: Job) -> object:
    return ctypes.string_at(0)


def aborts(_: Job) -> NoReturn:
    os.abort()


def overflows_its_stack(_: Job) -> object:
    sys.setrecursionlimit(10**9)

    def deeper() -> object:
        return sorted([1, 2], key=lambda _: deeper())  # type: ignore[arg-type, return-value] # through C

    return deeper()


def recurses_for_ever(job: Job) -> object:
    return recurses_for_ever(job)


def has_an_exit_that_hangs(_: Job) -> NoReturn:
    threading.Thread(target=_hang).start()
    sys.exit(3)


def calls_itself_something_awkward(_: Job) -> NoReturn:
    pr_set_name = 15
    _libc.prctl(pr_set_name, b") R 1 (\n", 0, 0, 0)
    _hang()


# Descriptors


def closes_everything(_: Job) -> NoReturn:
    os.closerange(0, 1024)
    _hang()


def closes_stdout_and_runs_on(_: Job) -> NoReturn:
    os.close(1)
    _hang()


def opens_all_it_can(_: Job) -> int:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    opened = []
    with suppress(OSError):
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    return len(opened)


def writes_to_what_it_finds(_: Job) -> NoReturn:
    """To every descriptor that it was given, and not only to its own two."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"nonsense\n")
    os._exit(3)


# Output


def prints_without_end(_: Job) -> NoReturn:
    while True:
        os.write(1, b"x" * 1000 + b"\n")


def prints_one_endless_line(_: Job) -> NoReturn:
    while True:
        os.write(1, b"x" * 1000)


def prints_errors_without_end(_: Job) -> NoReturn:
    while True:
        os.write(2, b"x" * 1000 + b"\n")


def prints_bytes(_: Job) -> NoReturn:
    os.write(1, bytes(range(256)) * 100)
    os._exit(0)


def prints_the_end_of_its_own_run(_: Job) -> NoReturn:
    os.write(1, b"\nEND: id-1\nEND: id-1\nBEGIN: id-1\n")
    _hang()


def prints_an_answer_for_another(_: Job) -> int:
    os.write(1, b"\nEND: after\nBEGIN: after\nLOG: END: id-1\n")
    return 1


def prints_half_an_answer(_: Job) -> NoReturn:
    os.write(1, b"\nOUTPUT: {")
    os.kill(os.getpid(), signal.SIGKILL)
    _hang()


# Files


def waits_to_be_looked_at(_: Job) -> str:
    """Longer than the service takes to look, twice."""
    time.sleep(0.6)
    return "unharmed"


def waits_for(job: Job) -> str:
    """Until the file is there."""
    deadline = time.monotonic() + LONGEST_S
    while not Path(job["path"]).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return "unharmed"


def writes_beside_its_input(job: Job) -> NoReturn:
    """In several files, each smaller than the kernel's limit for one."""
    for number in range(2):
        Path(f"part-{number}").write_bytes(b"x" * (job["kibibytes"] * 512))
    _hang()


def writes_a_large_file(_: Job) -> NoReturn:
    with Path("large").open("wb") as file:
        file.writelines(b"x" * MIB for _number in range(100))
    os._exit(99)


def makes_a_sparse_file(_: Job) -> NoReturn:
    with Path("sparse").open("wb") as file:
        file.truncate(1024**4)
    os._exit(99)


def writes_many_files(_: Job) -> NoReturn:
    for number in range(30):
        Path(str(number)).write_bytes(b"x" * MIB)
    _hang()


def writes_a_file_without_a_name(job: Job) -> NoReturn:
    with Path("nameless").open("wb") as file:
        Path("nameless").unlink()
        with suppress(OSError):
            file.writelines(b"x" * MIB for _ in range(job["mebibytes"]))
        _hang()


def makes_thousands_of_files(_: Job) -> int:
    for number in range(1000):
        Path(str(number)).touch()
    return 1


def makes_a_deep_tree(_: Job) -> int:
    for _number in range(200):
        Path("d").mkdir()
        os.chdir("d")
    return 1


def closes_its_folder(_: Job) -> int:
    Path("closed").mkdir()
    Path("closed/file").touch()
    for path in ("closed", "."):
        Path(path).chmod(0)
    return 1


def makes_odd_files(_: Job) -> int:
    os.mkfifo("pipe")
    Path("root").symlink_to("/")
    Path("itself").symlink_to("itself")
    socket.socket(socket.AF_UNIX).bind("socket")
    Path(os.fsdecode(b"\xff\n")).touch()
    return 1


def puts_a_file_in_place_of_its_folder(_: Job) -> int:
    folder = Path.cwd()
    shutil.rmtree(folder)
    folder.touch()
    return 1


def puts_a_link_in_place_of_its_folder(job: Job) -> int:
    folder = Path.cwd()
    shutil.rmtree(folder)
    folder.symlink_to(job["to"])
    return 1


def replaces_its_job_file(job: Job) -> int:
    Path("job.json").unlink()
    Path("job.json").symlink_to(job["to"])
    return 1
