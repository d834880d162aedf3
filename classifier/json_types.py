"""Converts a value one step towards its natural form in JSON, by its type. Standard library only.

A program may need neither numpy nor pandas, so this module does not import them, but recognises their types by
name: a table maps `package.Type` to a conversion. The classes of a value, in their method resolution order, are
searched for in this table. A value without a match is converted by its `tolist()` or `item()`, or by its abstract
type, or refused with a remedy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

Conversion: TypeAlias = Callable[[Any], object]


class NotJsonError(Exception):
    """JSON cannot express a part of a result.

    `cause`: the reason, as a text that follows the place of the part; `steps`: the keys and indexes that lead to
    the part, innermost first; `kind`: the exception to raise for the author of the classifier, ValueError for a
    value or TypeError for a type.
    """

    def __init__(self, cause: str, kind: type[ValueError | TypeError] = TypeError) -> None:
        super().__init__(cause)
        self.cause = cause
        self.kind = kind
        self.steps: list[str | int] = []


class Pairs(NamedTuple):
    """Keys and values of a JSON object, not yet checked for duplicate keys."""

    pairs: Iterable[tuple[object, object]]

    def items(self) -> Iterable[tuple[object, object]]:
        return self.pairs


def converted(value: Any) -> object:  # noqa: ANN401 - anything
    """Convert `value` one step towards a list, a dict, Pairs, text, a number, a boolean or None.

    The elements of a container stay unchanged.

    Raises:
        NotJsonError: JSON cannot express the value.
    """
    convert = _conversion(type(value))  # type: ignore[arg-type] # mypy: a class hashes like its instances
    try:
        return convert(value)
    except (NotJsonError, MemoryError):  # the service reports the limit of memory itself
        raise
    except Exception as raised:  # the value's own code may raise anything; the message must name the value's place
        cause = f"is of type {_name(value)} and cannot be converted: {type(raised).__name__}: {raised}"
        raise NotJsonError(cause, ValueError) from raised


@lru_cache(maxsize=256)
def _conversion(kind: type) -> Conversion:
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if found := _BY_NAME.get(f"{package}.{base.__qualname__}"):
            return found
    return _by_protocol


def _by_protocol(value: Any) -> object:  # noqa: ANN401 - anything
    for method in ("tolist", "item"):  # such as an array of torch or jax
        if callable(convert := getattr(value, method, None)):
            if type(plain := convert()) is type(value):
                raise NotJsonError(f"is of type {_name(value)}, and its {method}() returns the same type again")
            return plain
    if isinstance(value, Mapping):
        return Pairs(value.items())
    if isinstance(value, AbstractSet | ValuesView | Sequence):  # views and deques keep their order
        return list(value)
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return _of_dataclass(value)
    if isinstance(value, Iterator):
        raise NotJsonError(f"is of type {_name(value)}, which can be read once; return a list of its elements")
    raise NotJsonError(f"is of type {_name(value)}, which is not JSON; return numbers, text, lists and dicts")


def _name(value: object) -> str:
    return type(value).__name__


def _refused(remedy: str) -> Conversion:
    def refuse(value: object) -> object:
        raise NotJsonError(f"is of type {_name(value)}, which JSON does not have; {remedy}")

    return refuse


def _in_order(elements: Iterable[Any]) -> list[object]:
    """Return a set's elements in an order that does not depend on hashes, which differ between processes."""
    try:
        return sorted(elements)
    except TypeError:
        return sorted(elements, key=lambda one: (_name(one), repr(one)))


def _of_dataclass(value: Any) -> object:  # noqa: ANN401 - a dataclass of any kind
    from dataclasses import fields  # noqa: PLC0415 - slow to import, but a dataclass has already imported it

    return Pairs([(field.name, getattr(value, field.name)) for field in fields(value)])


def _of_decimal(value: Any) -> object:  # noqa: ANN401 - a Decimal
    if value.is_nan() or value.is_infinite():
        return float("nan") if value.is_nan() else float(value)
    if value.as_tuple().exponent == 0:
        if value.adjusted() >= sys.int_info.default_max_str_digits:
            raise NotJsonError("is a Decimal of too many digits; return it as text, str(value)", ValueError)
        return int(value)
    number = float(value)
    if type(value)(repr(number)) != value:
        cause = "is a Decimal of more digits than a number in JSON keeps; return float(value) or str(value)"
        raise NotJsonError(cause, ValueError)
    return number


# numpy


def _of_array(array: Any) -> object:  # noqa: ANN401 - a numpy.ndarray
    dtype = array.dtype
    if dtype.kind in "biuU" or (dtype.kind == "f" and dtype.itemsize <= 8):  # noqa: PLR2004 - bytes of a double
        return array.tolist()
    if not array.shape:
        return array[()]
    # As rows of a plain array: a row of a numpy.matrix would be a matrix again.
    return list(array.__array__())


def _of_masked_array(array: Any) -> object:  # noqa: ANN401 - a numpy.ma.MaskedArray
    if not array.shape:
        return None if array.mask.all() else array.data[()]
    return list(array)


def _of_record(record: Any) -> object:  # noqa: ANN401 - a numpy.void, or numpy.ma's
    if names := record.dtype.names:
        return Pairs([(name, record[name]) for name in names])
    raise NotJsonError("is a void of bytes without fields, which JSON does not have; give its dtype fields")


def _of_datetime(moment: Any) -> object:  # noqa: ANN401 - a numpy.datetime64
    text = str(moment)
    return None if text == "NaT" else text


def _of_timedelta(duration: Any) -> object:  # noqa: ANN401 - a numpy.timedelta64
    if str(duration) == "NaT":
        return None
    try:
        return duration / type(duration)(1, "s")
    except TypeError:  # years and months have no length
        raise NotJsonError(f"is a timedelta64 without a length in seconds ({duration}); return a number") from None


# pandas


def _of_series(series: Any) -> object:  # noqa: ANN401 - a pandas.Series
    values = series.tolist()
    return values if _only_counts(series.index) else Pairs(list(zip(series.index.tolist(), values, strict=True)))


def _of_frame(frame: Any) -> object:  # noqa: ANN401 - a pandas.DataFrame
    names = frame.columns.tolist()
    columns = [frame.iloc[:, number].tolist() for number in range(len(names))]
    rows = [
        Pairs([(name, column[row]) for name, column in zip(names, columns, strict=True)])
        for row in range(len(frame.index))
    ]
    return rows if _only_counts(frame.index) else Pairs(list(zip(frame.index.tolist(), rows, strict=True)))


def _only_counts(index: Any) -> bool:  # noqa: ANN401 - a pandas.Index
    """Return whether this is pandas' default index, which only repeats the position of each row."""
    return type(index).__name__ == "RangeIndex" and (index.start, index.step) == (0, 1)


_AS_BASE64 = _refused('decode it, value.decode("utf-8"), or return it as Base64')
_AS_PARTS = _refused("return [value.real, value.imag] or abs(value)")


def _nothing(_: object) -> None:
    """Convert a value that means "missing" to None.

    NaN stays a fault: a wrong computation may have produced it.
    """


#: `package.Type`, without the modules in between, because numpy and pandas move their types between modules.
_BY_NAME: Final[Mapping[str, Conversion]] = {
    "builtins.str": str.__str__,
    "builtins.int": int.__int__,
    "builtins.float": float.__float__,
    "builtins.complex": _AS_PARTS,
    "builtins.bytes": _AS_BASE64,
    "builtins.bytearray": _AS_BASE64,
    "builtins.tuple": list,
    "builtins.list": list,
    "builtins.dict": lambda value: Pairs(value.items()),
    "builtins.set": _in_order,
    "builtins.frozenset": _in_order,
    "enum.Enum": lambda value: value.value,
    "decimal.Decimal": _of_decimal,
    "datetime.date": lambda value: value.isoformat(),  # also a datetime, and pandas' Timestamp
    "datetime.time": lambda value: value.isoformat(),
    "datetime.timedelta": lambda value: value.total_seconds(),  # also pandas' Timedelta
    "uuid.UUID": str,
    "pathlib.PurePath": str,
    "numpy.ndarray": _of_array,
    "numpy.MaskedArray": _of_masked_array,
    "numpy.MaskedConstant": _nothing,
    "numpy.mvoid": _of_record,
    "numpy.void": _of_record,
    "numpy.datetime64": _of_datetime,
    "numpy.timedelta64": _of_timedelta,
    "numpy.longdouble": float,
    "numpy.float128": float,  # its name before numpy 2, on most machines
    "numpy.complexfloating": _AS_PARTS,
    "numpy.generic": lambda value: value.item(),
    "pandas.Series": _of_series,
    "pandas.DataFrame": _of_frame,
    "pandas.NaTType": _nothing,
    "pandas.NAType": _nothing,
    "pandas.Period": str,
    "pandas.Interval": str,
}
