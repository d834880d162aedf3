"""Imports the user's module, or explains why another module of the same name was found. Standard library only.

Python searches the user's folders last (rabbitmq_classifier.py), so that no file there replaces a module that the
service imports. A user's module with the name of such a module therefore cannot be imported; the error explains
this.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from classifier.contract import LoadError

#: The packages of this service, which no file of a user may replace.
_OURS: Final = ("classifier", "consumer")
#: The module of the default classifier; never a user's.
_OWN_CLASSIFIER: Final = "classifier.classify"


def imported(module_name: str, function_name: str) -> ModuleType:
    """Import the module that defines the function.

    Raises:
        LoadError: a user's file has this name, but Python finds another module of the same name first.
    """
    top = module_name.partition(".")[0]
    hidden = None if module_name == _OWN_CLASSIFIER else _hidden(top)
    if hidden and (top in sys.stdlib_module_names or top in _OURS):
        raise LoadError(_clash(hidden, top))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        hidden = hidden or _folder_without_init(module_name)
        if hidden and (error.name or "").partition(".")[0] == top:
            raise LoadError(_clash(hidden, top)) from None
        raise
    if hidden and not hasattr(module, function_name):
        raise LoadError(_clash(hidden, top))
    return module


def _hidden(top: str) -> str | None:
    """Return the user's file that cannot be imported, because another module has its name; else None."""
    folders = list(map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))))
    users = PathFinder.find_spec(top, folders)
    if users is None or users.loader is None or users.origin is None:
        return None
    found = importlib.util.find_spec(top)
    if found is None or (found.origin and os.path.realpath(found.origin) == os.path.realpath(users.origin)):
        return None
    return users.origin


def _folder_without_init(module_name: str) -> str | None:
    """Return the user's folder of the module if it lacks an `__init__.py` and another module is found first."""
    top, _, rest = module_name.partition(".")
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        inside = Path(folder).absolute() / top
        if rest and inside.joinpath(*rest.split(".")).with_suffix(".py").is_file() and top in sys.modules:
            return None if str(inside) in getattr(sys.modules[top], "__path__", ()) else str(inside)
    return None


def _clash(hidden: str, top: str) -> str:
    owner = "this service" if top in _OURS else "the standard library"
    if owner != "this service" and top not in sys.stdlib_module_names:
        owner = "an installed package"
    return (
        f"{hidden} cannot be imported as {top!r}: {owner} has a module of that name, which comes first; rename "
        f"it, for example to my_{top}, and name the function as my_{top}:..."
    )
