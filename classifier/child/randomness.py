"""Gives a forked worker its own random numbers, because a fork copies the state of every generator.

It seeds the global generators of Python and numpy, and those that the user's modules hold: in variables,
containers, defaults and closures of functions, classes, and their objects. It does not find generators in objects
of libraries or in native code; the user's `on_worker_start()` must seed them. Standard library only.
"""

from __future__ import annotations

import functools
import gc
import os
import random
import sys
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import (
    BuiltinMethodType,
    CellType,
    FunctionType,
    GeneratorType,
    MethodType,
)
from typing import Any, Final

_CONTAINERS: Final[Mapping[type, Callable[[Any], int]]] = {
    kind: kind.__len__ for kind in (dict, list, tuple, set, frozenset, deque)
}
#: Python's own types that may hold a generator for a user's function.
_HOLDERS: Final = (
    BuiltinMethodType,  # such as `draw = default_rng().random`
    MethodType,
    CellType,
    GeneratorType,
    functools.partial,
    staticmethod,
    classmethod,
    property,
)
#: A longer container holds data, not generators. A walk through a million numbers would delay each start.
_LONGEST_CONTAINER: Final = 10_000
#: The most objects to visit: a search through all of a user's objects may take too long.
_MOST_VISITED: Final = 100_000


def generators(target_module: str) -> list[Any]:
    """Find the generators of the user's modules: the target's package, and modules in folders of PYTHONPATH."""
    modules = {name: vars(module) for name, module in list(sys.modules.items()) if _is_users(name, target_module)}
    waiting: deque[object] = deque(modules.values())
    seen: dict[int, object] = {}  # keeps the objects alive, so that no id is used twice
    found = []
    while waiting and len(seen) < _MOST_VISITED:
        value = waiting.popleft()
        if value is None or type(value) in (bool, int, float, str, bytes) or id(value) in seen:
            continue
        seen[id(value)] = value
        if _is_generator(value):
            found.append(value)
        elif _may_hold_generators(value, modules):
            waiting.extend(gc.get_referents(value))  # unlike getattr, this runs no user code
    return found


def reseed(found: Iterable[Any]) -> None:
    """Set new seeds in the global generators, and in those that were found."""
    random.seed()
    # If numpy was not imported before the fork, a worker's own import seeds it.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random:
        numpy_random.seed()
    for value in found:
        if isinstance(value, random.Random):
            value.seed()
        elif numpy_random and isinstance(value, numpy_random.Generator):
            _exchange_state(value.bit_generator)
        elif numpy_random and isinstance(value, numpy_random.RandomState):
            _exchange_state(value._bit_generator)  # noqa: SLF001 - its seed() supports only one algorithm of numpy
        else:
            _exchange_state(value)


def _exchange_state(bits: Any) -> None:  # noqa: ANN401 - a BitGenerator, which must not be imported here
    """Copy the state of a new BitGenerator into `bits`. It has no `seed`, and other objects may hold `bits`."""
    with suppress(TypeError):  # another library's generator, whose class requires arguments
        bits.state = type(bits)().state


def _is_generator(value: object) -> bool:
    return issubclass(type(value), tuple(_kinds()))  # isinstance would run a proxy's code


def _kinds() -> Iterator[type]:
    yield random.Random
    if numpy_random := sys.modules.get("numpy.random"):
        yield from (numpy_random.Generator, numpy_random.RandomState, numpy_random.BitGenerator)


def _may_hold_generators(value: object, modules: Container[str]) -> bool:
    """Return whether to search inside a value, because objects of user code and containers may hold generators."""
    kind = type(value)
    if issubclass(kind, tuple(_CONTAINERS)):
        return _length(value) <= _LONGEST_CONTAINER
    if isinstance(value, FunctionType | type):
        return value.__module__ in modules
    return issubclass(kind, _HOLDERS) or kind.__module__ in modules


def _length(value: object) -> int:
    """Count the elements by the built-in type's own method, because a subclass may override it."""
    return next(length(value) for base, length in _CONTAINERS.items() if issubclass(type(value), base))


def _is_users(name: str, target_module: str) -> bool:
    """Return whether a module belongs to the target's package or to a folder in PYTHONPATH."""
    top = name.partition(".")[0]
    if top == target_module.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    if not isinstance(file, str) or top in ("classifier", "consumer"):  # our own packages
        return False
    folders = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = Path(file)
    home = path.parent.parent if path.stem == "__init__" else path.parent
    return str(home.absolute()) in {str(Path(folder).absolute()) for folder in folders}
