"""Runs this project's commands in forks of a process that has imported their modules, which saves the imports.

A run has its own arguments, environment, working directory, `sys.path` and streams. It ends as the interpreter
ends, except that it does not free the modules. Tests of the start itself (folders of imports, missing libraries,
entries in /proc) must start the command instead.

The process that forks (`_serve`) runs no command itself and has no threads. It forks a parent for each run, which
forks the run, waits for it and reports its exit code. This file imports no other module of the tests, because the
process that forks runs it without their folders in `sys.path`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

PRELOADED = {
    "classifier": ("classifier.cli", "classifier.classify", "classifier.training.train_command"),
    "consumer": ("consumer.cli.main", "consumer.gateway.server"),
}
#: No run takes so long unless it hangs.
PATIENCE_S = 180.0
#: The most bytes of a request, which contains the environment, and of an answer.
MOST_BYTES = 200_000
STREAMS = 3
FROM_SHELL = "from-shell"


class Process:
    """A run, with the part of the interface of `subprocess.Popen` that tests use."""

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        command: str,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        streams: Sequence[int],
        through: Sequence[str] = (),
    ) -> None:
        """Start a run. `streams`: the descriptors of its stdin, stdout and stderr; `through`: see `run`."""
        self.args = [command, *map(str, arguments)]
        self.returncode: int | None = None
        request = {
            "argv": self.args,
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
        }
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(
                _server(command, tuple(through)), [json.dumps(request).encode()], [*streams, theirs.fileno()]
            )
        self.pid = int(self._end.recv(MOST_BYTES))

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal that killed the run; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the run; return its exit code, or minus the signal that killed it.

        Raises:
            subprocess.TimeoutExpired: it still runs after `timeout` seconds.
        """
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._end.recv(MOST_BYTES))
            self._end.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    command: str,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    through: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, like `subprocess.run`; by default with the environment of this process.

    `through`: a program, such as `bwrap`, that starts the forking process in a sandbox. All runs with the same
    `through` share one sandbox.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        streams = [file.fileno() for file in (given, out, err)]
        process = Process(command, arguments, env=env, cwd=cwd, streams=streams, through=through)
        try:
            code = process.wait(PATIENCE_S)
        finally:
            process.kill()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode())
    return subprocess.CompletedProcess(process.args, code, *said)


def shell(lines: str, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run lines of shell up to the first that fails. The commands in them run in forks, too."""
    with tempfile.TemporaryDirectory() as commands:
        inherited = []
        for command in PRELOADED:
            inherited.append(_server(command, ()).fileno())
            script = Path(commands, command)
            argv = [sys.executable, "-I", "-S", __file__, FROM_SHELL, command, str(inherited[-1])]
            script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
            script.chmod(0o755)
        return subprocess.run(
            ["sh", "-euc", lines],
            cwd=folder,
            env={**env, "PATH": os.pathsep.join((commands, str(Path(sys.executable).parent), os.environ["PATH"]))},
            pass_fds=inherited,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_S,
            check=False,
        )


def _run_from_shell(command: str, server: str, *arguments: str) -> NoReturn:
    """Run a command in a fork, with the shell's streams, and exit with its exit code."""
    _SERVERS[command, ()] = socket.socket(fileno=int(server))
    code = Process(command, arguments, streams=(0, 1, 2)).wait()
    sys.exit(code if code >= 0 else 128 - code)


_SERVERS: dict[tuple[str, tuple[str, ...]], socket.socket] = {}


def _server(command: str, through: tuple[str, ...]) -> socket.socket:
    """Start the process that forks, once per command; return its socket. It ends when the socket is closed."""
    if found := _SERVERS.get((command, through)):
        return found
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    chosen = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # with more threads than one, forks may hang
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | chosen
    argv = [*through, sys.executable, "-P", __file__, command, str(theirs.fileno())]
    with theirs:
        server = subprocess.Popen(argv, env=variables, pass_fds=[theirs.fileno()], start_new_session=True)
    _SERVERS[command, through] = ours
    atexit.register(_end, ours, server)
    return ours


def _end(requests: socket.socket, server: subprocess.Popen[bytes]) -> None:
    """End the process that forks when the tests are over."""
    requests.close()
    server.wait(PATIENCE_S)


def _serve(command: str, requests: socket.socket) -> None:
    """Fork for each request. Only the forked run returns from this function."""
    for name in PRELOADED[command]:
        importlib.import_module(name)
    if command == "consumer":
        _prepare_commands()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the parents of the runs
    while True:
        line, descriptors, _, _ = socket.recv_fds(requests, MOST_BYTES, STREAMS + 1)
        if not line:
            sys.exit()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if (pid := os.fork()) != 0:
                _tell_end(pid, descriptors.pop())
            requests.close()
            _become(json.loads(line), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)


def _prepare_commands() -> None:
    """Import all commands, and build the validator of the settings, so that no run has to."""
    from consumer.cli.main import COMMANDS  # noqa: PLC0415 - only here, where the service's modules are imported
    from consumer.config.settings import Settings  # noqa: PLC0415 - as above

    for entry in COMMANDS.values():
        entry.load()
    Settings.model_rebuild()


def _tell_end(pid: int, listener: int) -> NoReturn:
    """Report the pid of the run and then its exit code. Keep none of the run's descriptors open."""
    os.dup2(listener, 0)
    os.closerange(1, listener + 1)
    os.write(0, str(pid).encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        os.write(0, str(code).encode())
    os._exit(0)


def _become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Set the streams, working directory, environment and arguments that a started process would have."""
    for number in range(STREAMS):
        os.dup2(descriptors[number], number)
    os.closerange(STREAMS, max(descriptors) + 2)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115 - descriptors
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = list(request["argv"])
    sys.path[:0] = [folder for folder in request["env"].get("PYTHONPATH", "").split(os.pathsep) if folder]


def _run(command: str) -> None:
    """Run the command like the installed `consumer`, or like `python -m classifier`."""
    if command == "consumer":
        import rabbitmq_classifier  # noqa: PLC0415 - first

        rabbitmq_classifier.consumer()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as Python writes it
    runpy.run_module(command, run_name="__main__", alter_sys=True)


def _exit_code_of(command: str) -> int:
    """Run the command; return its exit code, after what the interpreter prints of an exception."""
    try:
        _run(command)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        return 1
    return 0


def _end_run(code: int) -> NoReturn:
    """End as the interpreter ends, but free none of the modules: to copy their pages takes 25 ms.

    What the run itself has left is freed before, so that its destructors can complain.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads, and has no public name
    atexit._run_exitfuncs()  # noqa: SLF001 - as above
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if sys.argv[1] == FROM_SHELL:
        _run_from_shell(*sys.argv[2:])
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    _end_run(_exit_code_of(sys.argv[0]))
