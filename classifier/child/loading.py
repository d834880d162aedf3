"""Imports a user's module once, for all workers: its function, `preload`, `warm_up` and `on_worker_start`.

It refuses a function that cannot run a job, such as an `async def`, because every job would fail. It never calls
the function. Standard library only around the user's import.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, cast

from classifier import contract
from classifier.child import user_module


class Loaded(NamedTuple):
    """The user's function and hooks. `namespace`: the variables of its module.

    The fork server calls `warm_up` twice, before the first worker. If `warm_up` is quick, each worker calls it
    once more, after `on_worker_start`, unless a job waits.
    """

    function: Callable[..., object]
    warm_up: Callable[[], object] | None
    on_worker_start: Callable[[], object] | None
    namespace: dict[str, Any]


def load(target: str) -> Loaded:
    """Import `package.module:function`, and call the module's `preload()` if it has one.

    `preload` reads models, once for all workers. `on_worker_start` opens resources that workers cannot share, such
    as a connection.

    Raises:
        LoadError: the target is not a function that takes one job.
    """
    loaded = find(target)
    if callable(preload := loaded.namespace.get("preload")):
        refuse_coroutine(f"{target.partition(':')[0]}.preload", preload)
        preload()
    return loaded


def find(target: str) -> Loaded:
    """Import like `load`, but do not call `preload()`: for a process that runs one job."""
    module_name, _, name = target.partition(":")
    module = user_module.imported(module_name, name)
    if not hasattr(module, name):
        raise contract.LoadError(_no_such_function(module, name))
    function = getattr(module, name)
    refuse_unfit(target, function)
    preload = vars(module).get("preload")
    warm_up = _hook("warm_up", module, _home(function), _home(preload))
    return Loaded(function, warm_up, _hook("on_worker_start", module, _home(function)), vars(module))


def _no_such_function(module: ModuleType, name: str) -> str:
    import difflib  # noqa: PLC0415 - only this message needs it

    own = [known for known, value in vars(module).items() if _home(value) is module and callable(value)]
    guess = difflib.get_close_matches(name, own, n=1)
    hint = f"did you mean {module.__name__}:{guess[0]}?" if guess else "define it there, or correct `classifier`"
    return f"{getattr(module, '__file__', module.__name__)} has no function {name!r}; {hint}"


def _home(function: object) -> ModuleType | None:
    """Return the module that defines the function."""
    return sys.modules.get(getattr(function, "__module__", None) or "")


def _hook(name: str, *places: ModuleType | None) -> Callable[[], object] | None:
    """Find the hook `name` in the first of these modules that has it.

    Raises:
        LoadError: the hook is not a function, or requires arguments.
    """
    for place in places:
        if (hook := getattr(place, name, None)) is not None and place is not None:
            refuse_unfit(f"{place.__name__}.{name}", hook, takes=())
            return cast("Callable[[], object]", hook)
    return None


def refuse_unfit(name: str, function: object, *, takes: tuple[object, ...] = ({},)) -> None:
    """Check that `function` can be called with the arguments in `takes`, by default with one, a job.

    Raises:
        LoadError: it is not a function, cannot be called so, or fails `refuse_coroutine`.
    """
    if not callable(function):
        raise contract.LoadError(f"{name} is of type {type(function).__name__}, not a function: name a function")
    if inspect.isclass(function):
        raise contract.LoadError(f"{name} is a class: name a function, or an instance that can be called")
    many = contract.form_for_many(function)
    for form in {id(function): function, id(many): many}.values():
        if form is not None:
            refuse_coroutine(name, form)
    try:
        _bind(function, takes)
    except TypeError as mismatch:
        wanted = "one argument, the job" if takes else "no argument"
        raise contract.LoadError(
            f"{name}{inspect.signature(function)} cannot be called with {wanted}: {mismatch}"
        ) from None
    except ValueError:  # some built-in functions have no signature; they are accepted
        pass


def _bind(function: Callable[..., object], takes: tuple[object, ...]) -> None:
    """Raise TypeError if the arguments fit neither the function nor the function that it decorates."""
    try:
        inspect.signature(function, follow_wrapped=False).bind(*takes)
    except TypeError:
        inspect.signature(function).bind(*takes)


def refuse_coroutine(name: str, function: Callable[..., object]) -> None:
    """Check that `function` is neither an `async def` nor a generator: a call of one computes nothing.

    Raises:
        LoadError: it is one of them.
    """
    for form in (function, getattr(type(function), "__call__", None)):  # noqa: B004 - the method itself is wanted
        if inspect.iscoroutinefunction(form) or inspect.isasyncgenfunction(form):
            raise contract.LoadError(
                f"{name} is an `async def`, and a worker runs no event loop: make it a plain function "
                "(which may call asyncio.run)"
            )
        if inspect.isgeneratorfunction(form):
            raise contract.LoadError(f"{name} is a generator (it has `yield`): return the result instead")
