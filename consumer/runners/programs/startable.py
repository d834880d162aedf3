"""Refuses, at the start, a command line that would fail with every job: its program, its script or its module.

What the parts of a command line are is read by interpreter.py, whether the kernel runs a file by executable.py.
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

#: Of a shell script: its first lines tell how it was saved.
_SCRIPT_BYTES: Final = 4096
#: Of a Python program: its imports are at its top.
_PROGRAM_BYTES: Final = 65_536
_IMPORTS_OURS: Final = re.compile(
    rb"^\s*((from|import)\s+classifier\.contract\b|from\s+classifier\s+import\b.*\bcontract\b)", re.MULTILINE
)
#: Python starts in 20 ms; a busy machine takes longer, and one that hangs is found by the first job.
_PROBE_TIMEOUT_S: Final = 20.0
#: Finds modules without importing them. Not in the working directory, as a job's is its own folder.
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
    """See that a job's command line can be started; `environment` is that of the jobs.

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
    """Say why `env`, `nice` or another one cannot run what it is told to."""
    found = shutil.which(argv[at], path=path)
    if found is not None:
        return executable.fault(Path(found), path)
    if "/" in argv[at]:
        return executable.fault(Path(argv[at]), path)
    return f"{argv[0]} is to run {argv[at]!r}, and no folder in PATH has such a program; give its full path"


def _script(program: str, word: str) -> str | None:
    script, runner = Path(word), Path(program).name
    if not os.path.exists(script):  # noqa: PTH110 - Path's raises where it may not look
        return _missing(script, runner)
    if os.path.isdir(script):  # noqa: PTH112
        is_python = interpreter.kind(program) in ("python", "pypy")
        if is_python and (script / "__main__.py").exists():
            return None
        return f"{runner} is to run {word}, a folder{' without __main__.py' * is_python}; name the script in it"
    if not os.access(script, os.R_OK, effective_ids=True):
        return f"{runner} is to run {word}, which this user may not read; permit it (chmod +r {word})"
    return _content(script, runner) if os.path.isfile(script) else None  # noqa: PTH113


def _missing(script: Path, runner: str) -> str | None:
    if (
        runner in interpreter.SHELLS and len(script.parts) == 1 and shutil.which(script)
    ):  # shells search PATH as well
        return None
    where = "" if script.is_absolute() else f" in {Path.cwd()}"
    return f"{runner} is to run {str(script)!r}, and there is no such file{where}; give its full path"


def _content(script: Path, runner: str) -> str | None:
    with script.open("rb") as file:
        head = file.read(_SCRIPT_BYTES)
    if not head:
        return f"{runner} is to run {script}, which is empty; write the script, or correct the name"
    if runner in interpreter.SHELLS and b"\r\n" in head:
        return (
            f"{runner} is to run {script}, which has Windows line ends (CRLF); convert it "
            f"(sed -i 's/\\r$//' {script})"
        )
    return None


def _takes_our_name(argv: Sequence[str], runs: Runs, environment: Mapping[str, str]) -> str | None:
    """Say that a Python script imports our package `classifier`, and would find a file of the user's."""
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
    """Ask the Python of the command line for its module. It imports nothing."""
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
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):  # the first job tells more
        return None
    for line in done.stdout.splitlines():
        fault, _, name = line.partition(" ")
        if fault == "package" and not is_ours:
            return f"{name!r} is a package without __main__, which python -m cannot run; name one of its modules"
        if fault == "missing" and not (is_ours and name == runs.module):
            return f"{python} finds no module {name!r}; {_remedy(name)}"
    return None


def _called(runs: Runs, argv: Sequence[str]) -> list[str]:
    """Give the user's module in `-m classifier --call package.module:function`."""
    match argv[runs.rest :]:
        case ["--call", target, *_] if runs.module == "classifier":
            return [target.partition(":")[0]]
        case _:
            return []


def _remedy(name: str) -> str:
    file = Path(*name.split("."))
    if file.with_suffix(".py").exists() or file.is_dir():
        return f"it is in {Path.cwd()}, where a job's program does not look: set PYTHONPATH={Path.cwd()}"
    return "install it for this Python, or set PYTHONPATH to the folder that holds it"
