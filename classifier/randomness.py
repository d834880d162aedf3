"""Give a forked worker random numbers of its own: a fork copies the state of every generator.

Seeds Python's and numpy's global generators, and those that the classifier's module holds. What other modules
hold, and what libraries keep in native code, is theirs to seed, in `on_worker_start()`. Standard library only.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import BuiltinMethodType, MethodType
from typing import Any


def reseed(namespace: Mapping[str, Any]) -> None:
    """Seed anew all generators that a module with this `namespace` uses, those in its containers included."""
    random.seed()
    # Only where it was imported before the fork: a worker that imports it itself gets numbers of its own anyway.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random:
        numpy_random.seed()
    for value in _values(namespace):
        if isinstance(value, random.Random):
            value.seed()
        elif numpy_random and isinstance(value, numpy_random.Generator):
            _exchange_state(value.bit_generator)
        elif numpy_random and isinstance(value, numpy_random.RandomState):
            _exchange_state(value._bit_generator)  # noqa: SLF001 - its seed() takes but one of numpy's algorithms
        elif numpy_random and isinstance(value, numpy_random.BitGenerator):
            _exchange_state(value)


def _exchange_state(bits: Any) -> None:  # noqa: ANN401 - a BitGenerator, which must not be imported here
    """Put the state of a new one in: a Generator cannot be seeded, and others may hold this very object."""
    with suppress(TypeError):  # one of somebody else's making, which wants arguments
        bits.state = type(bits)().state


def _values(namespace: Mapping[str, Any]) -> Iterator[Any]:
    """Give what a module holds, and one level of what its containers and its own objects hold."""
    for value in list(namespace.values()):
        yield value
        if isinstance(value, BuiltinMethodType | MethodType):  # such as `draw = default_rng().random`
            yield value.__self__
        elif isinstance(value, dict):
            yield from list(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            yield from list(value)
        elif type(value).__module__ == namespace.get("__name__"):
            yield from list(getattr(value, "__dict__", {}).values())
