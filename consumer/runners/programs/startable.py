"""Refuses at the start a command line whose program, script or module would fail with every job.

interpreter.py finds the parts of the command line. executable.py finds out whether the kernel runs a file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from consumer.errors import ConfigurationError
from consumer.runners.programs import executable, interpreter
from consumer.runners.programs.interpreter import Runs

#: The beginning of a script that is read: the first lines show its line ends.
_SCRIPT_BYTES: Final = 4096
#: The beginning of a Python program that is read: the imports are at the top.
_PROGRAM_BYTES: Final = 65_536
_IMPORTS_OURS: Final = re.compile(
    rb"^\s*((from|import)\s+classifier\.contract\b|from\s+classifier\s+import\b.*\bcontract\b)", re.MULTILINE
)
#: Python starts in 20 ms, on a busy machine more slowly. If it hangs, the first job shows this.
_PROBE_TIMEOUT_S: Final = 20.0
#: Finds modules without importing them. It does not search the working directory: a job has its own.
_PROBE: Final = """
import sys
import importlib.util
from importlib.machinery import PathFinder
sys.path[:] = [folder for folder in sys.path if folder]
for name in sys.argv[1:]:
    parts = name.split(".")
    spec = importlib.util.find_spec(parts[0])
    for count in range(2, len(parts) + 1):
        if spec is None:
            break
        spec = PathFinder.find_spec(".".join(parts[:count]), spec.submodule_search_locations or [])
    if spec is None:
        print("missing " + name)
    elif spec.submodule_search_locations is not None and name == sys.argv[1]:
        if PathFinder.find_spec(name + ".__main__", spec.submodule_search_locations) is None:
            print("package " + name)
"""


def refuse_what_cannot_start(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Check that the command line of the jobs can be started in their `environment`.

    Raises:
        ConfigurationError: it would fail with every job.
    """
    path = environment.get("PATH", os.defpath)
    if words := executable.fault(Path(argv[0]), path):
        raise ConfigurationError(f"command: {words}")
    runs = interpreter.read(argv)
    if runs.program and (words := _wrapped(argv, runs.program, path)):
        raise ConfigurationError(f"command: {words}")
    if runs.script is not None and (words := _script(argv[runs.program], argv[runs.script])):
        raise ConfigurationError(f"command: {words}")
    if words := _takes_our_name(argv, runs, environment):
        raise ConfigurationError(f"command: {words}")
    if runs.module and (words := _module(argv, runs, environment)):
        raise ConfigurationError(f"command: {words}")


def _wrapped(argv: Sequence[str], at: int, path: str) -> str | None:
    """Return why a wrapper such as `env` or `nice` cannot run its program."""
    found = shutil.which(argv[at], path=path)
    if found is not None:
        return executable.fault(Path(found), path)
    if "/" in argv[at]:
        return executable.fault(Path(argv[at]), path)
    return f"{argv[0]} cannot run {argv[at]!r}: no folder in PATH has such a program; give its full path"


def _script(program: str, word: str) -> str | None:
    script, runner = Path(word), Path(program).name
    if not os.path.exists(script):  # noqa: PTH110 - Path.exists raises PermissionError
        return _missing(script, runner)
    if os.path.isdir(script):  # noqa: PTH112
        is_python = interpreter.kind(program) in ("python", "pypy")
        if is_python and (script / "__main__.py").exists():
            return None
        return f"{runner} cannot run {word}, a folder{' without __main__.py' * is_python}; name the script in it"
    if not os.access(script, os.R_OK, effective_ids=True):
        return f"{runner} cannot run {word}, which this user may not read; permit it (chmod +r {word})"
    return _content(script, runner) if os.path.isfile(script) else None  # noqa: PTH113


def _missing(script: Path, runner: str) -> str | None:
    if (
        runner in interpreter.SHELLS and len(script.parts) == 1 and shutil.which(script)
    ):  # shells search PATH as well
        return None
    where = "" if script.is_absolute() else f" in {Path.cwd()}"
    return f"{runner} cannot run {str(script)!r}: there is no such file{where}; give its full path"


def _content(script: Path, runner: str) -> str | None:
    with script.open("rb") as file:
        head = file.read(_SCRIPT_BYTES)
    if not head:
        return f"{runner} cannot run {script}, which is empty; write the script, or correct the name"
    if runner in interpreter.SHELLS and b"\r\n" in head:
        return (
            f"{runner} cannot run {script}, which has Windows line ends (CRLF); convert it "
            f"(sed -i 's/\\r$//' {script})"
        )
    return None


def _takes_our_name(argv: Sequence[str], runs: Runs, environment: Mapping[str, str]) -> str | None:
    """Complain if a Python script imports this service's package `classifier` and would find a user's file."""
    script = Path(argv[runs.program if runs.script is None else runs.script])
    if script.suffix != ".py" or any(option.startswith(("-I", "-P")) for option in runs.options):
        return None
    try:
        with script.open("rb") as file:
            imports = _IMPORTS_OURS.search(file.read(_PROGRAM_BYTES))
    except OSError:
        return None
    folders = [script.parent, *map(Path, filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)))]
    for folder in folders if imports else ():
        if os.path.exists(folder / "classifier" / "contract.py"):  # noqa: PTH110
            return None
        for taken in (folder / "classifier" / "__init__.py", folder / "classifier.py"):
            if os.path.exists(taken):  # noqa: PTH110
                return (
                    f"{script} imports `classifier.contract`, and Python would find {taken} and not the "
                    "package of this service; rename that file"
                )
    return None


def _module(argv: Sequence[str], runs: Runs, environment: Mapping[str, str]) -> str | None:
    """Check that the Python of the command line finds its module. Nothing is imported."""
    python = shutil.which(argv[runs.program], path=environment.get("PATH", os.defpath))
    if python is None or runs.module is None:
        return None
    names = [runs.module, *_called(runs, argv)]
    is_ours = runs.module == "classifier"
    probe = [python, *runs.options, "-c", _PROBE, *names]
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the operator names
            probe, env=environment, cwd="/", capture_output=True, text=True, check=False, timeout=_PROBE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):  # the first job shows the cause
        return None
    for line in done.stdout.splitlines():
        fault, _, name = line.partition(" ")
        if fault == "package" and not is_ours:
            return f"{name!r} is a package without __main__, which python -m cannot run; name one of its modules"
        if fault == "missing" and not (is_ours and name == runs.module):
            return f"{python} finds no module {name!r}; {_remedy(name)}"
    return None


def _called(runs: Runs, argv: Sequence[str]) -> list[str]:
    """Return the user's module in `-m classifier --call package.module:function`."""
    match argv[runs.rest :]:
        case ["--call", target, *_] if runs.module == "classifier":
            return [target.partition(":")[0]]
        case _:
            return []


def _remedy(name: str) -> str:
    file = Path(*name.split("."))
    if file.with_suffix(".py").exists() or file.is_dir():
        return f"it is in {Path.cwd()}, where a job's program does not search: set PYTHONPATH={Path.cwd()}"
    return "install it for this Python, or set PYTHONPATH to the folder that holds it"
