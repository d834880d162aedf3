"""Checks the form `package.module:function` of the setting `classifier`, and proposes a correction. Pure."""

from __future__ import annotations

import keyword
import re

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_SUFFIXES = (".py", ".pyc", ".ipynb")


def complaint(target: str) -> str | None:  # noqa: PLR0911 - a row for each kind of mistake
    """Return the fault of a target and the correct form; None if the target has no fault."""
    module, colon, name = target.partition(":")
    if module.endswith(_SUFFIXES) or "/" in module or "\\" in module:
        return f"names a file; {_instead(module, name)}"
    if not colon:
        if target.endswith(_SUFFIXES) or not _FORM.fullmatch(f"{target}:f"):
            return f"has no colon between module and function; {_instead(target, '')}"
        upper, dot, last = target.rpartition(".")
        guess = f"{upper}:{last}" if dot else f"{target}:classify"
        return f"has no colon between module and function; write for example {guess}"
    if not module or not name:
        missing = "module" if not module else "function"
        return f"names no {missing}; {_instead(module, name)}"
    if name.startswith("lambda"):
        return "is a lambda; define the function in a module (def classify(job): ...), and write mine:classify"
    if name.endswith(")"):
        return f"is a call; {_instead(module, name.partition('(')[0])}"
    if "." in name:
        return (
            "names an attribute of an attribute; name it in the module (classify = "
            f"{name}), and write {module}:classify"
        )
    if not _FORM.fullmatch(target):
        return f"is not package.module:function with valid Python names; {_instead(module, name)}"
    if words := [word for word in re.split("[.:]", target) if keyword.iskeyword(word)]:
        return f"contains {words[0]}, a reserved word of Python; rename the module or the function"
    return None


def _instead(module: str, name: str) -> str:
    """Propose a correct target. The module needs a Python name, and must be in the folder or on PYTHONPATH."""
    for suffix in _SUFFIXES:
        module = module.removesuffix(suffix)
    parts = [part for part in re.split(r"[/\\.]", module.strip()) if part]
    guess = f"{'.'.join(parts) or 'mine'}:{name.strip(' :') or 'classify'}"
    if not _FORM.fullmatch(guess):
        return "write package.module:function, such as mine:classify for the function classify of mine.py"
    if module.startswith(("/", "~", "..")):
        short = f"{parts[-1]}:{guess.partition(':')[2]}"
        return f"start the service in the folder of the file, or put that on PYTHONPATH, and write {short}"
    return f"write {guess}"
