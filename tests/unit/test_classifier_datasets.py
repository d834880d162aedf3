"""Reading labelled signals: what each format gives, and what each mistake says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classifier.signals import datasets
from classifier.signals.datasets import DataError, DataSet

TS_HEAD = "@problemName p\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file of this name and content."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def content(data: DataSet) -> list[tuple[str, list[float]]]:
    return [(label, signal.tolist()) for label, signal in zip(data.labels, data.signals, strict=True)]


def test_a_ts_file_with_byte_order_mark_comments_and_unequal_lengths_is_read(
    file: Callable[[str, str | bytes], Path],
) -> None:
    text = "\ufeff#\ufeff# a comment\n\n# another: with a colon\n" + TS_HEAD + "1,2.5,-3e2:a\n470.25:b\n"
    assert content(datasets.read(file("x.ts", text))) == [("a", [1.0, 2.5, -300.0]), ("b", [470.25])]


def test_a_tsv_file_has_its_label_first_and_loses_its_padding(
    file: Callable[[str, str | bytes], Path],
) -> None:
    text = "1\t0.5\t0.25\tNaN\tNaN\n-1\t1\t2\t3\t4\n"
    assert content(datasets.read(file("x.tsv", text))) == [("1", [0.5, 0.25]), ("-1", [1.0, 2.0, 3.0, 4.0])]


def test_a_csv_file_without_header_has_its_label_first(file: Callable[[str, str | bytes], Path]) -> None:
    text = 'off,1,2,,\n"on, hot",3,4,5,6\n'
    assert content(datasets.read(file("x.csv", text))) == [
        ("off", [1.0, 2.0]),
        ("on, hot", [3.0, 4.0, 5.0, 6.0]),
    ]


def test_a_csv_header_says_where_the_label_is(file: Callable[[str, str | bytes], Path]) -> None:
    text = "t0,t1,Label\n1,2,off\n3,4,on\n"
    assert content(datasets.read(file("x.csv", text))) == [("off", [1.0, 2.0]), ("on", [3.0, 4.0])]


def test_an_npz_file_with_padded_signals_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, signals=np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]]), labels=np.array([7, 8]))
    assert content(datasets.read(path)) == [("7", [1.0, 2.0]), ("8", [3.0, 4.0, 5.0])]


def test_labels_of_bytes_are_text(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", signals=np.ones((2, 1)), labels=np.array([b"0", "\u00fcp".encode()]))
    assert datasets.read(tmp_path / "x.npz").labels == ("0", "\u00fcp")


def test_signals_without_labels_are_read_where_none_are_required(
    tmp_path: Path, file: Callable[[str, str | bytes], Path]
) -> None:
    np.savez(tmp_path / "x.npz", signals=np.array([[1.0, 2.0], [3.0, np.nan]]))
    text = "@univariate true\n@classLabel false\n@data\n1,2\n# a comment\n3\n"
    for path in (tmp_path / "x.npz", file("x.ts", text)):
        data = datasets.read(path, required=False)
        assert data.labels == ()
        assert [signal.tolist() for signal in data.signals] == [[1.0, 2.0], [3.0]]


def test_an_npz_file_with_values_and_lengths_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, values=np.arange(4), lengths=np.array([3, 1]), labels=np.array(["a", "b"]))
    assert content(datasets.read(path)) == [("a", [0.0, 1.0, 2.0]), ("b", [3.0])]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    data = DataSet((np.array([0.1, -1e300]), np.array([1 / 3])), ("label", "a"))
    path = tmp_path / "new" / "x.csv"
    datasets.write(path, data)
    again = datasets.read(path)
    assert content(again) == content(data)
    assert again.sha256() == data.sha256()


def test_the_digest_tells_labels_samples_and_their_division_apart() -> None:
    one = DataSet((np.array([1.0, 2.0]), np.array([3.0])), ("a", "b"))
    others = [
        DataSet((np.array([1.0]), np.array([2.0, 3.0])), ("a", "b")),
        DataSet((np.array([1.0, 2.0]), np.array([3.0])), ("a", "c")),
        DataSet((np.array([1.0, 2.0]), np.array([4.0])), ("a", "b")),
    ]
    assert len({data.sha256() for data in [one, *others]}) == 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.ts", TS_HEAD + "1,2,3:a\n1,x,3:b\n", "line 7: sample 1 is 'x', which is not a number"),
        ("x.ts", TS_HEAD + "1,?,3:a\n", r"line 6: sample 1 is '\?', which is not a number: fill missing samples"),
        ("x.ts", TS_HEAD + "1,NaN,3:a\n", r"line 6: signal\[1\] is NaN"),
        ("x.ts", TS_HEAD + "1,2:3,4:a\n", "line 6: 2 dimensions; only univariate signals are read"),
        ("x.ts", TS_HEAD + "1,2,3\n", "line 6: one ':' is needed"),
        ("x.ts", TS_HEAD + "1,2,3:\n", "line 6: the label is empty"),
        ("x.ts", TS_HEAD, "holds no signal"),
        ("x.ts", "@problemName p\n1,2:a\n", "line 2: a signal before @data"),
        ("x.ts", "@problemName p\n", "no @data line"),
        ("x.ts", "@univariate false\n@data\n", "line 1: only univariate signals are read"),
        ("x.ts", "@timeStamps TRUE\n@data\n", "line 1: time stamps are not read"),
        ("x.ts", "@classLabel false\n@data\n", "line 1: the signals have no labels"),
        ("x.ts", "@targetlabel true\n@data\n1,2:0.5\n", "line 1: a regression file, which has numbers as labels"),
        ("x.ts", TS_HEAD + "(0,1.5),(1,2.5):a\n", "line 6: time stamps are not read"),
        ("x.tsv", "a\t1\nb\n", "line 2: signal is empty"),
        ("x.tsv", "a\tNaN\tNaN\n", "line 1: signal is empty"),
        ("x.tsv", "a\t1\tNaN\t2\n", r"line 1: signal\[1\] is NaN"),
        ("x.csv", "a,1,inf\n", r"line 1: signal\[1\] is Infinity"),
        ("x.csv", "a,1\n\nb,1,,2\n", "line 3: sample 1 is '', which is not a number"),
        ("x.csv", "t0,t1,label\n1,2,a\n1,2\n", "line 3: 2 columns, and the label belongs into column 3"),
        ("x.csv", "t0,t1,class\n", "x.csv: a header line, and no signal below it: give one signal in each line"),
        ("x.csv", "\n", "holds no signal"),
        ("x.csv", b"a,\xff\n", "not UTF-8 text"),
        ("x.npz", "PK", "not a readable .npz"),
        ("x.npz", "", "this is not an .npz file, which begins like a ZIP archive"),
        ("x.npz", "label,1,2", "this is not an .npz file, which begins like a ZIP archive"),
        ("x.wav", "", "the name must end in one of .ts, .tsv, .csv, .npz"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_the_line_and_the_remedy(
    file: Callable[[str, str | bytes], Path], name: str, text: str | bytes, message: str
) -> None:
    path = file(name, text)
    with pytest.raises(DataError, match=message) as refused:
        datasets.read(path)
    assert str(refused.value).startswith(str(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        datasets.read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"signals": np.ones((2, 3))}, "no array 'labels'"),
        ({"labels": np.array(["a"])}, "no array 'values'"),
        ({"labels": np.array(["a"]), "signals": np.ones((2, 3))}, "1 labels for 2 signals"),
        ({"labels": np.array(["a"]), "signals": np.ones(3)}, "float64 with 1 dimensions; numbers in 2"),
        ({"labels": np.array(["a"]), "signals": np.array([["x"]])}, "numbers in 2 dimensions are needed"),
        ({"labels": np.array(["a"]), "values": np.ones(3), "lengths": np.array([2])}, "add up to the 3"),
        ({"labels": np.array(["a", "b"]), "values": np.ones(3), "lengths": np.array([4, -1])}, "add up"),
        ({"labels": np.array(["a"]), "values": np.ones(3), "lengths": np.array([3.0])}, "must be counts"),
        ({"labels": np.array("a"), "signals": np.ones((1, 3))}, "labels: an array of <U1 with 0 dimensions"),
        ({"labels": np.array([1j]), "signals": np.ones((1, 3))}, "labels: an array of complex128"),
        ({"labels": np.array([np.nan]), "signals": np.ones((1, 3))}, "labels: a label is NaN"),
        ({"labels": np.array([b"\xff"]), "signals": np.ones((1, 3))}, "labels: a label is not Unicode text"),
        ({"labels": np.array(["\ud800"]), "signals": np.ones((1, 3))}, "labels: a label is not Unicode text"),
        ({"labels": np.array(["a"]), "signals": np.array(1.0)}, "float64 with 0 dimensions; numbers in 2"),
        ({"labels": np.array(["a"]), "signals": np.ones((1, 3), complex)}, "signals: an array of complex128"),
        ({"labels": np.array(["a"]), "signals": np.ones((1, 3), "M8[s]")}, "signals: an array of datetime64"),
        ({"labels": np.array(["a"]), "signals": np.ones((1, 2, 3))}, "with 3 dimensions; numbers in 2"),
        (
            {"labels": np.array(["a"] * 3), "values": np.ones(3), "lengths": np.array([2**63, 2**63, 3], "u8")},
            "add up to the 3",
        ),
        ({"labels": np.array(["a"]), "signals": np.array([[1.0, np.inf]])}, r"signal 0: signal\[1\]"),
    ],
)
def test_a_bad_npz_file_is_refused_with_the_array(
    tmp_path: Path, arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]], message: str
) -> None:
    path = tmp_path / "x.npz"
    with path.open("wb") as target:
        np.savez(target, allow_pickle=False, **arrays)
    with pytest.raises(DataError, match=message):
        datasets.read(path)


def test_an_npz_file_of_objects_is_refused_since_they_are_code(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, signals=np.array([[1.0], None], dtype=object), labels=np.array(["a", "b"]))
    with pytest.raises(DataError, match=r"Object arrays cannot be loaded.*no objects"):
        datasets.read(path)


def test_numbered_classes_are_in_order_of_their_numbers() -> None:
    assert datasets.in_order(["10", "9", "off", "0", "idle"]) == ["0", "9", "10", "idle", "off"]
