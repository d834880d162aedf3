"""What a function may return, and the JSON that it becomes; what it may not, and the place that the error has."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import pathlib
import sys
import types
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from classifier.result_json import MAX_DEPTH, encoded


class Color(enum.Enum):
    RED = "red"
    TWO = 2


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    UP = "up"


class Mode(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Answer:
    label: str
    scores: Any
    kind: dataclasses.InitVar[int] = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    n: np.int64


class HasToList:
    """As a tensor of torch or jax."""

    def __init__(self, given: object) -> None:
        self.given = given

    def tolist(self) -> object:
        return self.given


class OddText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "odd"


RECORDS = np.array([(1, 0.5, "a"), (2, 1.5, "b")], [("n", "i8"), ("x", "f4"), ("s", "U3")])
MASKED_RECORDS: Any = np.ma.array([(1, 2)], dtype=[("a", int), ("b", int)])
MASKED_RECORDS["b"] = np.ma.masked
MOMENT = "2026-03-01T12:30:00"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({np.int64(1): np.float32(0.5), np.str_("up"): np.True_}, {"1": 0.5, "up": True}),
        (dict(zip(np.array(["a", "b"]), np.array([0.25, 0.75]), strict=True)), {"a": 0.25, "b": 0.75}),
        (dict(zip(np.array([1.0, 2.5]), [1, 2], strict=True)), {"1.0": 1, "2.5": 2}),
        ({np.False_: 1, np.uint8(7): 2, np.float16(0.5): 3}, {"false": 1, "7": 2, "0.5": 3}),
        ({None: 1, True: 2, 0: 3, 1.5: 4}, {"null": 1, "true": 2, "0": 3, "1.5": 4}),
        ({Color.RED: 1, Color.TWO: 2, Level.HIGH: 3, Word.UP: 4}, {"red": 1, "2": 2, "3": 3, "up": 4}),
        ({np.datetime64("2026-03-01"): 1, pd.Timestamp(MOMENT): 2}, {"2026-03-01": 1, MOMENT: 2}),
        ({pd.Interval(0, 1): 1, pd.Period("2026-03"): 2}, {"(0, 1]": 1, "2026-03": 2}),
        ({uuid.UUID(int=0): {np.int8(1): 2}}, {str(uuid.UUID(int=0)): {"1": 2}}),
        ({OddText("key"): OddText("value")}, {"key": "value"}),
    ],
)
def test_keys_are_those_of_the_natural_json(value: object, plain: object) -> None:
    assert json.loads(encoded(value)) == plain


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (
            [np.int8(1), np.uint64(2**64 - 1), np.float16(0.5), np.float64(0.1), np.bool_(0)],
            [1, 2**64 - 1, 0.5, 0.1, 0],
        ),
        (np.longdouble("0.5"), 0.5),
        (np.array([0.5, 1], np.longdouble), [0.5, 1.0]),
        (np.array(7), 7),
        (np.array("text"), "text"),
        (np.array({"a": np.int64(1)}, dtype=object), {"a": 1}),
        (np.array([np.int64(1), None, "a", [np.float32(2)]], dtype=object), [1, None, "a", [2.0]]),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([]), []),
        (np.zeros((0, 3)), []),
        (np.array([[1, 2]], dtype=object), [[1, 2]]),
        (np.array(["a", "bc"]), ["a", "bc"]),
        (np.array(["a", "bc"], np.dtypes.StringDType()), ["a", "bc"]),
        (RECORDS, [{"n": 1, "x": 0.5, "s": "a"}, {"n": 2, "x": 1.5, "s": "b"}]),
        (RECORDS[0], {"n": 1, "x": 0.5, "s": "a"}),
        (RECORDS.view(np.recarray), [{"n": 1, "x": 0.5, "s": "a"}, {"n": 2, "x": 1.5, "s": "b"}]),
        (np.ma.array([1.5, 2.5], mask=[False, True]), [1.5, None]),
        (np.ma.array([[1, 2], [3, 4]], mask=[[False, True], [True, False]]), [[1, None], [None, 4]]),
        (np.ma.array(np.nan, mask=True), None),
        (np.ma.array(5), 5),
        (np.ma.masked, None),
        (MASKED_RECORDS, [{"a": 1, "b": None}]),
        (np.ma.array(["2026-03-01", "NaT"], "M8[D]", mask=[False, True]), ["2026-03-01", None]),
    ],
)
def test_values_of_numpy_become_plain_ones(value: object, plain: object) -> None:
    assert json.loads(encoded({"a": [value]})) == {"a": [plain]}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_is_its_rows() -> None:
    assert encoded(np.matrix("1 2; 3 4")) == "[[1, 2], [3, 4]]"
    assert encoded(np.matrix([[np.datetime64("2026-03-01")]])) == '[["2026-03-01"]]'


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("Y", "2026"),
        ("M", "2026-03"),
        ("D", "2026-03-01"),
        ("m", "2026-03-01T12:30"),
        ("s", MOMENT),
        ("ms", MOMENT + ".000"),
        ("us", MOMENT + ".000000"),
        ("ns", MOMENT + ".000000000"),
    ],
)
def test_a_datetime64_of_any_unit_is_its_iso_text(unit: str, text: str) -> None:
    moment: Any = np.array(MOMENT, f"M8[{unit}]")[()]
    assert encoded([moment, np.array([moment, np.datetime64("NaT")]), np.array(moment)]) == json.dumps(
        [text, [text, None], text]
    )


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "ns"])
def test_a_timedelta64_is_its_seconds(unit: str) -> None:
    day = np.timedelta64(1, "D").astype(f"m8[{unit}]")
    assert json.loads(encoded([day, np.array([day, np.timedelta64("NaT")])])) == [86400.0, [86400.0, None]]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (pd.Series([0.25, 0.75], index=["up", "down"]), {"up": 0.25, "down": 0.75}),
        (pd.Series([0.25, 0.75], index=np.array([1, 2])), {"1": 0.25, "2": 0.75}),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1, 2, 3])[1:], {"1": 2, "2": 3}),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.Series([True], index=pd.to_datetime([MOMENT])), {MOMENT: True}),
        (pd.Series(pd.to_datetime([MOMENT, None])), [MOMENT, None]),
        (pd.Series([pd.Timedelta("1min")]), [60.0]),
        (pd.Series([], dtype=float), []),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (pd.DataFrame({"a": [1], "b": [0.5]}, index=["r"]), {"r": {"a": 1, "b": 0.5}}),
        (pd.DataFrame(np.eye(2)), [{"0": 1.0, "1": 0.0}, {"0": 0.0, "1": 1.0}]),
        (pd.DataFrame(index=["r", "s"]), {"r": {}, "s": {}}),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.RangeIndex(2), [0, 1]),
        (pd.MultiIndex.from_tuples([("a", 1)]), [["a", 1]]),
        (pd.DatetimeIndex([MOMENT]), [MOMENT]),
        (pd.Timestamp(MOMENT), MOMENT),
        (pd.Timestamp(MOMENT, tz="UTC"), MOMENT + "+00:00"),
        (pd.Timedelta("90s"), 90.0),
        (pd.Period("2026-03"), "2026-03"),
        (pd.cut([0.5], [0, 1]), ["(0, 1]"]),
        (pd.Categorical(["a", "b", "a"]), ["a", "b", "a"]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (pd.array(["a", None], dtype="string[python]"), ["a", None]),
        ([pd.NaT, pd.NA], [None, None]),
    ],
)
def test_values_of_pandas_keep_their_labels(value: object, plain: object) -> None:
    assert json.loads(encoded({"a": value})) == {"a": plain}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([Color.RED, Level.HIGH, Word.UP, Mode.A | Mode.B], ["red", 3, "up", 3]),
        (Answer("up", np.array([1, 2])), {"label": "up", "scores": [1, 2]}),
        ([Slotted(np.int64(3))], [{"n": 3}]),
        (Point(1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a"}, [1, "a"]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ({"a": np.int64(1)}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (range(3), [0, 1, 2]),
        (collections.deque([np.int64(1)]), [1]),
        (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.ChainMap({"a": 1}), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.UserList([1]), [1]),
        (collections.UserDict(a=1), {"a": 1}),
        (array.array("d", [0.5]), [0.5]),
        (memoryview(array.array("i", [1, 2])), [1, 2]),
        (decimal.Decimal("1.5"), 1.5),
        (decimal.Decimal("0.1"), 0.1),
        (decimal.Decimal(10**30), 10**30),
        (decimal.Decimal("1E+3"), 1000.0),
        (dt.datetime(2026, 3, 1, 12, 30), MOMENT),  # noqa: DTZ001 - a user's own
        (dt.date(2026, 3, 1), "2026-03-01"),
        (dt.time(12, 30), "12:30:00"),
        (dt.timedelta(minutes=1), 60.0),
        (pathlib.PurePath("a/b"), "a/b"),
        (HasToList([HasToList(1), np.int64(2)]), [1, 2]),
        ("\ud83d\ude00", "\U0001f600"),
        (["\U0001f600", r"\ud800"], ["\U0001f600", r"\ud800"]),
        (10**4299, 10**4299),
    ],
)
def test_what_the_standard_library_makes_has_its_natural_json(value: object, plain: object) -> None:
    text = encoded({"a": [value]})
    assert json.loads(text) == {"a": [plain]}
    assert "\n" not in text


def cycle() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["b"] = [0, (made,)]
    return made


def object_array_that_holds_itself() -> Any:  # noqa: ANN401 - an array
    made = np.empty(1, dtype=object)
    made[0] = made
    return made


def nested(levels: int) -> object:
    made: object = 1
    for _ in range(levels):
        made = [made]
    return made


NAN_SERIES = pd.Series([0.5, np.nan], index=["up", "down"])


@pytest.mark.parametrize(
    ("value", "kind", "place", "cause"),
    [
        ({"a": [0, 1, 2, float("nan")]}, ValueError, 'output["a"][3] is NaN', "replace NaN and infinities"),
        (float("inf"), ValueError, "output is infinity", "replace NaN"),
        ((1, {"p": np.array([0, -np.inf])}), ValueError, 'output[1]["p"][1] is -infinity', "replace NaN"),
        ([np.float16(np.nan)], ValueError, "output[0] is NaN", "replace NaN"),
        ([decimal.Decimal("NaN")], ValueError, "output[0] is NaN", "replace NaN"),
        ([np.longdouble("1e4000")], ValueError, "output[0] is infinity", "replace NaN"),
        (NAN_SERIES, ValueError, 'output["down"] is NaN', "replace NaN"),
        (pd.DataFrame({"a": NAN_SERIES}), ValueError, 'output["down"]["a"] is NaN', "replace NaN"),
        ({"a": {float("nan"): 1}}, ValueError, 'output["a"] has a key that is NaN', "replace NaN"),
        ({"a": {np.float32("inf"): 1}}, ValueError, 'output["a"] has a key that is infinity', "replace NaN"),
        ({"a": {1: 0, "1": 0}}, ValueError, "output[\"a\"] has two keys that become '1': 1 and '1'", "rename"),
        ({True: 0, "true": 0}, ValueError, "output has two keys that become 'true'", "rename"),
        ([{np.int64(1): 0, Color.TWO: 1, "2": 2}], ValueError, "output[0] has two keys that become '2'", "rename"),
        (pd.Series([1, 2], index=["a", "a"]), ValueError, "output has two keys that become 'a'", "rename"),
        ([pd.DataFrame([[1, 2]], columns=["a", "a"])], ValueError, "output[0][0] has two keys", "rename"),
        (cycle(), ValueError, 'output["b"][1][0] contains itself', "circular"),
        (object_array_that_holds_itself(), ValueError, "output[0] contains itself", "circular"),
        ({"a": nested(MAX_DEPTH)}, ValueError, 'output["a"][0][0]', "more than 199 levels"),
        ({"a": [1, 10**5000]}, ValueError, 'output["a"][1] is an integer of more than 4300 digits', "as text"),
        ([-(10**4300)], ValueError, "output[0] is an integer", "as text"),
        ([decimal.Decimal(10**5000)], ValueError, "output[0] is a Decimal", "as text"),
        ([{10**5000: 1}], ValueError, "output[0] has a key that is an integer", "4300"),
        ([decimal.Decimal("0.1234567890123456789")], ValueError, "output[0] is a Decimal", "str(value)"),
        ({"a": ["ok", "x\ud800y"]}, ValueError, r'output["a"][1] holds the lone surrogate \ud800', "replace"),
        (["\udc00\ud800"], ValueError, r"output[0] holds the lone surrogate \udc00", "replace"),
        ([np.str_("\udcff")], ValueError, r"output[0] holds the lone surrogate \udcff", "replace"),
        ([np.array(["\udcff"])], ValueError, r"output[0][0] holds the lone surrogate \udcff", "replace"),
        ([pathlib.PurePath("\udcff")], ValueError, r"output[0] holds the lone surrogate \udcff", "replace"),
        ({"a": {"k\ud800": 1}}, ValueError, r"""output["a"] has the key 'k\ud800', which holds""", "replace"),
        ({np.str_("\ud800"): [np.int8(1)]}, ValueError, r"output has the key '\ud800'", "replace"),
        ({"a": [1j]}, TypeError, 'output["a"][0] is of type complex', "value.real"),
        ([np.complex64(1j)], TypeError, "output[0] is of type complex64", "value.real"),
        ([np.clongdouble(1j)], TypeError, "output[0] is of type clongdouble", "value.real"),
        (np.array([[1j]]), TypeError, "output[0][0] is of type complex128", "value.real"),
        ({"a": b"up"}, TypeError, 'output["a"] is of type bytes', 'value.decode("utf-8")'),
        ([bytearray()], TypeError, "output[0] is of type bytearray", "decode"),
        (np.array([b"up"]), TypeError, "output[0] is of type bytes_", "decode"),
        ([np.void(b"12")], TypeError, "output[0] is a void of bytes", "fields"),
        ({"a": [np.timedelta64(1, "M")]}, TypeError, 'output["a"][0] is a timedelta64', "seconds"),
        ({"a": {(1, 2): 3}}, TypeError, 'output["a"] has the key (1, 2) of type tuple', "str(key)"),
        ({b"up": 1}, TypeError, "output has the key b'up', which is of type bytes", "decode"),
        ({frozenset({1}): 1}, TypeError, "output has the key frozenset({1})", "keys are text or numbers"),
        ([{1j: 1}], TypeError, "output[0] has the key 1j, which is of type complex", ""),
        (
            pd.Series([1], index=pd.MultiIndex.from_tuples([("a", 1)])),
            TypeError,
            "output has the key ('a', 1)",
            "",
        ),
        ({"a": (one for one in [1])}, TypeError, 'output["a"] is of type generator', "list of its elements"),
        ([map(str, [1])], TypeError, "output[0] is of type map", "list of its elements"),
        ({"a": object()}, TypeError, 'output["a"] is of type object', "return numbers, text"),
        ([fractions.Fraction(1, 3)], TypeError, "output[0] is of type Fraction", "return numbers"),
        ([Answer], TypeError, "output[0] is of type type", "return numbers"),
        ([len], TypeError, "output[0] is of type builtin_function_or_method", "return numbers"),
        ([HasToList(HasToList(1))], TypeError, "output[0] is of type HasToList", "tolist()"),
        ({'q"\n': [None, object()]}, TypeError, r'output["q\"\n"][1] is of type object', ""),
    ],
)
def test_what_has_no_json_is_an_error_that_names_the_place_and_the_cause(
    value: object, kind: type[Exception], place: str, cause: str
) -> None:
    with pytest.raises(kind) as raised:
        encoded(value)
    text = str(raised.value)
    assert text.startswith(f"the output cannot be JSON: {place}")
    assert cause in text
    assert len(text) < 500


def test_an_error_of_a_values_own_code_has_its_place_and_cause() -> None:
    class Broken:
        def tolist(self) -> object:
            raise RuntimeError("no data")

    with pytest.raises(ValueError, match=r'output\["a"\]\[1\] .*Broken.*RuntimeError: no data') as raised:
        encoded({"a": [0, Broken()]})
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_what_says_that_memory_was_refused_passes_through() -> None:
    class Large:
        def tolist(self) -> object:
            raise MemoryError

    with pytest.raises(MemoryError):
        encoded([Large()])


def test_the_same_value_twice_is_no_cycle() -> None:
    twice = [np.int64(1)]
    assert encoded({"a": twice, "b": [twice, twice]}) == '{"a": [1], "b": [[1], [1]]}'


def test_what_is_nested_as_deep_as_may_be_is_read_in_a_reply() -> None:
    assert from_json(f'{{"output": {encoded(nested(MAX_DEPTH))}}}')


def test_digits_are_counted_where_the_program_has_lifted_pythons_limit() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        with pytest.raises(ValueError, match=r"output\[0\] is an integer of more than 4300 digits"):
            encoded([10**5000])
    finally:
        sys.set_int_max_str_digits(before)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(JSON)
def test_what_is_json_already_comes_back_the_same(value: object) -> None:
    assert from_json(encoded(value), allow_inf_nan=False) == value


def wrapped(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.text() | st.integers() | st.floats() | st.binary() | st.none() | st.from_type(Color)
    return st.lists(inner) | st.tuples(inner) | st.dictionaries(keys, inner) | st.builds(HasToList, inner)


ANYTHING = st.recursive(
    st.floats() | st.characters(categories=["Cs", "Ll"]) | st.binary() | st.complex_numbers() | st.decimals(),
    wrapped,
    max_leaves=10,
)


@given(ANYTHING)
def test_of_anything_comes_json_that_the_consumer_reads_or_an_error_with_a_place(value: object) -> None:
    try:
        text = encoded(value)
    except (ValueError, TypeError) as refused:
        assert str(refused).startswith("the output cannot be JSON: output")  # noqa: PT017 - either is right
    else:
        from_json(text, allow_inf_nan=False)


def rows() -> Iterator[np.ndarray[Any, Any]]:
    yield from np.arange(6).reshape(3, 2)


def test_rows_of_an_array_are_lists() -> None:
    assert encoded(list(rows())) == "[[0, 1], [2, 3], [4, 5]]"
