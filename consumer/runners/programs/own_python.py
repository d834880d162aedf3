"""Makes the command lines of the service's own Python processes, and lists files of the user that they ignore.

These processes search the user's folders last, after the standard library and all installed packages
(rabbitmq_classifier.py). So a user's file never replaces a module of the same name there. A warning lists the
files that are ignored.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from consumer.runners.programs import interpreter

#: The file that each of these processes runs first.
START = Path(__file__).absolute().parents[3] / "rabbitmq_classifier.py"
PATH_VARIABLE = "PYTHONPATH"
#: File names listed per folder.
NAMES_SHOWN = 5


def command(module: str, *arguments: str, path: str = "", flags: Sequence[str] = ()) -> tuple[str, ...]:
    """Make the command line that runs a module of this service as `python -m` would.

    `path` is the user's PYTHONPATH; its folders are searched last. Start the process without that variable
    (`without_path`), because Python would import from its folders before it runs START.
    """
    return (sys.executable, *flags, "-P", str(START), path, module, *arguments)


def started_as_ours(
    argv: tuple[str, ...], environment: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Change `python -m classifier` and its environment so that Python finds this service's package first."""
    runs = interpreter.read(argv)
    if runs.module != "classifier":
        return argv, dict(environment)
    start = (*argv[: runs.program + 1], *runs.options, "-P", str(START), environment.get(PATH_VARIABLE, ""))
    return (*start, "classifier", *argv[runs.rest :]), without_path(environment)


def unbuffered(argv: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Add `-u` if PYTHONUNBUFFERED is set, but the command line makes Python ignore it (`-I`, `-E`)."""
    runs = interpreter.read(argv)
    ignores = any(re.match(r"-[a-zA-Z]*[IE]", option) for option in runs.options)
    if not ignores or interpreter.kind(argv[runs.program]) != "python" or not environment.get("PYTHONUNBUFFERED"):
        return argv
    return (*argv[: runs.program + 1], "-u", *argv[runs.program + 1 :])


def without_path(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != PATH_VARIABLE}


def user_path(environment: Mapping[str, str]) -> str:
    """Make the PYTHONPATH for the user's module: the working directory, then the folders of the variable.

    The module may be in the folder where the service was started.
    """
    folders = [str(Path.cwd()), *environment.get(PATH_VARIABLE, "").split(os.pathsep)]
    return os.pathsep.join(dict.fromkeys(filter(None, folders)))


def hidden_files(path: str) -> list[str]:
    """Describe the user's modules that are not imported, one sentence for each folder of `path`."""
    folders = list(dict.fromkeys(_absolute(folder) for folder in path.split(os.pathsep) if folder))
    system = [str(START.parent), *(folder for folder in sys.path if _absolute(folder) not in folders)]
    found = ((folder, list(_hidden_in(Path(folder), system))) for folder in folders)
    return [
        f"{_some(names)} in {folder} not imported, because the standard library or an installed package of the "
        "same name comes first; rename the files that the classifier needs"
        for folder, names in found
        if names
    ]


def _absolute(folder: str) -> str:
    return str(Path(folder).absolute())


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _hidden_in(folder: Path, system: Sequence[str]) -> Iterator[str]:
    if folder in (START.parent, Path(os.__file__).parent):  # a clone of this repository, or the standard library
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError:  # Python ignores such a folder as well
        return
    for entry in entries:
        if (entry / "__init__.py").exists() and _is_taken(entry.name, system):
            yield f"{entry.name}/"
        elif entry.suffix == ".py" and _is_taken(entry.stem, system):
            yield entry.name


def _is_taken(name: str, system: Sequence[str]) -> bool:
    if name in sys.stdlib_module_names:
        return True
    spec = PathFinder.find_spec(name, system)
    return spec is not None and spec.loader is not None  # a plain folder has no loader
