"""Tables of other people: what is understood in which way, and what is refused rather than misread."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

import pytest

from classifier.signals import datasets
from classifier.signals.datasets import DataError, DataSet
from classifier.training import report

ROWS = [("up", [1.5, 2.25, 3.0]), ("down", [-0.5, 0.5, 9.0]), ("up", [0.25, 7.5, 8.0])]
UP_AND_DOWN = "up,1.5,2.25,3\ndown,-0.5,0.5,9\nup,0.25,7.5,8\n"
UNLABELLED = "1.5,2.25,3\n-0.5,0.5,9\n0.25,7.5,8\n"


def content(data: DataSet) -> list[tuple[str, list[float]]]:
    return [(label, signal.tolist()) for label, signal in zip(data.labels, data.signals, strict=True)]


def read(folder: Path, text: str | bytes, name: str = "x.csv", *, required: bool = True) -> DataSet:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return datasets.read(path, required=required)


DIALECTS: dict[str, str | bytes] = {
    "commas": UP_AND_DOWN,
    "commas_and_blanks": UP_AND_DOWN.replace(",", ", "),
    "semicolons": UP_AND_DOWN.replace(",", ";"),
    "tabs": UP_AND_DOWN.replace(",", "\t"),
    "bars": UP_AND_DOWN.replace(",", "|"),
    "blanks": UP_AND_DOWN.replace(",", " "),
    "many_blanks": "  " + UP_AND_DOWN.replace(",", "   ").replace("\n", "  \n  "),
    "decimal_commas_and_semicolons": UP_AND_DOWN.replace(",", ";").replace(".", ","),
    "decimal_commas_and_tabs": UP_AND_DOWN.replace(",", "\t").replace(".", ","),
    "decimal_commas_in_quotes": 'up,"1,5","2,25",3\ndown,"-0,5","0,5",9\nup,"0,25","7,5",8\n',
    "excels_sep_line": "sep=;\n" + UP_AND_DOWN.replace(",", ";"),
    "comments_of_matlab": "% made by us\n" + UP_AND_DOWN,
    "comments_of_c": "// made by us\n" + UP_AND_DOWN,
    "comments_of_excel": '"# made by us, and them"\n' + UP_AND_DOWN,
    "comments": "# made by us\n\n" + UP_AND_DOWN + "# the end\n",
    "quotes": '"up","1.5","2.25","3"\n"down","-0.5","0.5","9"\n"up",0.25,7.5,8\n',
    "trailing_separators": UP_AND_DOWN.replace("\n", ",,\n"),
    "crlf": UP_AND_DOWN.replace("\n", "\r\n"),
    "cr": UP_AND_DOWN.replace("\n", "\r"),
    "blank_lines": UP_AND_DOWN.replace("\n", "\n \n\n"),
    "no_last_line_end": UP_AND_DOWN.rstrip(),
    "byte_order_mark": codecs.BOM_UTF8 + UP_AND_DOWN.encode(),
    "utf_16": UP_AND_DOWN.encode("utf-16"),
    "utf_16_big_endian": codecs.BOM_UTF16_BE + UP_AND_DOWN.encode("utf-16-be"),
    "utf_16_without_mark": UP_AND_DOWN.encode("utf-16-le"),
    "utf_32": UP_AND_DOWN.encode("utf-32"),
    "header_with_label_first": "Label,a,b,c\n" + UP_AND_DOWN,
    "header_of_ours": "label,samples\n" + UP_AND_DOWN,
    "header_in_semicolons": ("class,a,b,c\n" + UP_AND_DOWN).replace(",", ";"),
    "header_in_a_comment": "# label,a,b,c\n" + UP_AND_DOWN,
    "label_last": "1.5,2.25,3,up\n-0.5,0.5,9,down\n0.25,7.5,8,up\n",
    "header_with_target_last": "a,b,c,target\n1.5,2.25,3,up\n-0.5,0.5,9,down\n0.25,7.5,8,up\n",
    "header_with_y_last": "a,b,c,y\n1.5,2.25,3,up\n-0.5,0.5,9,down\n0.25,7.5,8,up\n",
    "header_with_label_in_the_middle": "a,label,b,c\n1.5,up,2.25,3\n-0.5,down,0.5,9\n0.25,up,7.5,8\n",
    "header_with_numbered_columns": "0,1,2,label\n1.5,2.25,3,up\n-0.5,0.5,9,down\n0.25,7.5,8,up\n",
}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".CSV"])
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("text", DIALECTS.values(), ids=DIALECTS)
def test_a_labelled_table_is_the_same_in_every_dialect(
    tmp_path: Path, text: str | bytes, suffix: str, *, required: bool
) -> None:
    assert content(read(tmp_path, text, f"x{suffix}", required=required)) == ROWS


@pytest.mark.parametrize(
    "text",
    [
        UNLABELLED,
        UNLABELLED.replace(",", ";"),
        UNLABELLED.replace(",", ";").replace(".", ","),
        UNLABELLED.replace(",", " "),
        "a,b,c\n" + UNLABELLED,
        "samples\n" + UNLABELLED,
        "x,y,z\n" + UNLABELLED,
        UNLABELLED.encode("utf-16"),
    ],
)
def test_signals_without_labels_keep_their_first_sample(tmp_path: Path, text: str | bytes) -> None:
    data = read(tmp_path, text, required=False)
    assert data.labels == ()
    assert [signal.tolist() for signal in data.signals] == [signal for _, signal in ROWS]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (UNLABELLED, "first column holds numbers such as 1.5, which are no labels"),
        ("a,b,c\n" + UNLABELLED, "no column of the header is called 'label'"),
        (
            "up,down,up\n" + UNLABELLED,
            "the header repeats names: if signals are columns of this file, make them lines",
        ),
        (
            "".join(f"{at * 7 % 9},0.5\n" for at in range(9)),
            "first column holds numbers such as 0, which are no labels",
        ),
    ],
)
def test_signals_without_labels_cannot_be_trained_on(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("x.csv", "1,0.5,3\n2,0.25,4\n1,0.5,7\n2,1.5,8\n", ("1", "2", "1", "2")),
        ("x.tsv", "1\t5\t3\n-1\t2\t4\n", ("1", "-1")),
        ("x.csv", "label,samples\n1,5,3\n2,6,4\n3,1,4\n", ("1", "2", "3")),
        ("x.csv", "class_id,a,b\n1,0.5,3\n2,0.25,4\n", ("1", "2")),
        ("x.tsv", "1\t5\t3\n2\t2\t4\n1\t2\t8\n2\t2\t6\n1\t3\t4\n", ("1", "2", "1", "2", "1")),
    ],
)
def test_numbers_are_labels_where_that_is_certain(
    tmp_path: Path, name: str, text: str, labels: tuple[str, ...]
) -> None:
    assert read(tmp_path, text, name, required=False).labels == labels


@pytest.mark.parametrize(
    "text",
    [
        "4\t5\n9\t6\n7\t7\n1\t9\n2\t6\n",
        "1,5,3\n2,6,4\n1,7,4\n",
        "0,0.5,3\n0,0.25,4\n",
        "0.0,0.5\n1.0,0.5\n1.0,0.1\n0.0,0.7",
    ],
)
def test_numbers_that_may_be_labels_or_samples_need_a_header(tmp_path: Path, text: str) -> None:
    if text.startswith("0.0"):
        text = text.replace("0.1", "0.2")
    with pytest.raises(DataError, match="may be labels or samples: give the file a header line"):
        read(tmp_path, text, "x.tsv" if "\t" in text else "x.csv", required=False)


@pytest.mark.parametrize(
    "text",
    [
        "samples\n" + "".join(f"{at * 7 % 9}.0,0.5,0.25\n" for at in range(9)),  # spelled as a sample
        "a,b,c\n" + "".join(f"{at * 7 % 9},{at % 4},{at * 3 % 7}\n" for at in range(9)),  # all are whole
        "a,b,c\n" + "".join(f"{at % 2},{at // 2 % 2}.5,{at % 7}.5\n" for at in range(9)),  # digital
        "label,record\n" + "".join(f"up,{at % 5}.5,{at % 3}\n" for at in range(9)),
    ],
)
def test_a_first_sample_is_not_taken_for_an_index(tmp_path: Path, text: str) -> None:
    rows = read(tmp_path, text, required=False)
    assert len(rows.signals) == 9
    assert len({signal.size for signal in rows.signals}) == 1


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a,b,label\n0,1,2,up\n1,3,4,down\n", "column 1 has no name: an index is not part of a signal, remove"),
        (",0,1\n0,1.5,2\n1,3,4\n", "column 1 has no name"),
        ("id,a,b,label\n7,1,2,up\n3,3,4,down\n", "column 1 is called 'id'"),
        ("a;Index;label\n7;1;up\n3;3;down\n", "column 2 is called 'Index'"),
        ("Unnamed: 0,a,label\n0,1,up\n", "column 1 is called 'Unnamed: 0'"),
        ("sample_id,a,label\n0,1,up\n", "column 1 is called 'sample_id'"),
        ("# id,a,label\n0,1,up\n", "column 1 is called 'id'"),
        ("0,1.5,2,up\n1,3,4,down\n2,5,6,up\n", "column 1 rises from line to line"),
        ("0,1.5,2\n1,3,4\n2,5,6\n", "column 1 rises from line to line"),
        ("0.5;1.5;2\n0.75;3;4\n9;5;6\n", "column 1 rises from line to line"),
        ("n,a,label\n10,1,up\n20,3,down\n35,2,up\n", "column 1 rises from line to line"),
        ("".join(f"up,{at},0.5,{at % 3}\n" for at in range(6)), "column 2 rises from line to line"),
        ("2024-01-02,1.5,2\n2024-01-01,2.5,3\n", "the first column holds times such as 2024-01-02, no labels"),
        ("12:30:01;1,5;2\n12:30:02;2,5;3\n", "the first column holds times such as 12:30:01, no labels"),
        ("file,a,label\nx.wav,1,up\ny.wav,3,down\n", "column 1, 'file', holds text such as 'x.wav'.*: remove it"),
        ("a,state\n1,up\n3,down\n", "column 2, 'state', holds text such as 'up'.*: call it 'label'"),
        ("label,class,a\nup,up,1\n", "2 columns of labels, 'label', 'class': keep one"),
        ("class,target,a\n1,2,1\n", "2 columns of labels"),
        ("0,1,2\n0.5,0.25,7\n0.1,0.2,0.3\n", "line 1: 0, 1, 2, ... look like the numbers of columns"),
        ("a,b,label\n1,5,2,5,up\n3,5,4,5,down\n", "line 2: 5 cells under a header of 3: if numbers have decimal"),
        ("up,1,50,2,25\ndown,0,05,3,75\n", "line 1: these integers look like numbers with decimal commas"),
        ("up,-0,5,2,25\ndown,1,5,3,75\n", "look like numbers with decimal commas"),
        ("label,samples\nup,-0,5,2,25\ndown,1,5,3,75\n", "line 2: these integers look like numbers with decimal"),
        ('up,"1,500","2,250"\n', "line 1: '1,500' may be a thousand or a fraction"),
        ('up,"1,500.5"\ndown,7.5\n', "sample 0 is '1,500.5', which is not a number: write it without separators"),
        ("up;1.500,5\ndown;7,5\n", "sample 0 is '1.500,5', which is not a number: write it without separators"),
        ("up;1'500\ndown;7\n", 'sample 0 is "1\'500", which is not a number: write it without separators'),
        ("up;1,5\ndown;7.5\n", "decimal points and with commas .*: write all with points"),
        ("up,1,,2\n", "line 1: sample 1 is '', which is not a number: fill missing samples"),
        ("up,1,NA,2\ndown,1,2,3\n", "sample 1 is 'NA', which is not a number: fill missing samples"),
        ("1.5\n2.5\n0.5\n", "one column"),
        ("a\n1.5\n2.5\n", "one column"),
        ("label,a\nnan,1\n", "the label is 'nan', which says that it is missing"),
        ("label,a\n?,1\n", "the label is '\\?'"),
        ('up,"1,2\nup,3\n', "line 1: this is not a line of a table"),
        ("".join(f"up,0.5,{at % 3},{at}\n" for at in range(6)), "column 4 counts the lines"),
        ("".join(f"{9 - at},0.5,{at % 3},up\n" for at in range(6)), "column 1 counts the lines"),
        ("".join(f"up,{at % 5},0.5,0.25\n" for at in range(10)), "column 2 counts lines, and begins again"),
        ("".join(f"{at // 5},{at % 5},0.5,up\n" for at in range(10)), "column 2 counts lines, and begins again"),
        ("".join(f"{at * 7 % 9},0.5,0.25,up\n" for at in range(9)), "column 1 holds another whole number in each"),
        ("nr2,a,b,label\n" + "".join(f"{at * 7 % 9},0.5,0.25,up\n" for at in range(9)), "column 1 holds another"),
        ("label,label_code,a\nup,1,2.5\ndown,0,3.5\n", "2 columns of labels, 'label', 'label_code': keep one"),
        ("label,target,a\nup,1,2.5\ndown,0,3.5\n", "2 columns of labels, 'label', 'target'"),
        ("subject,label,a\n1,up,2.5\n1,down,3.5\n", "column 1, 'subject', describes the signals and is no sample"),
        ("Rig: 7\nDate: 1.1.2024\nlabel,a,b\nup,1,2\n", "line 3: this looks like the header: remove the 2 lines"),
        ("Rate,1000\nvolts,amps,state\n1,2,up\n", "line 2: this looks like the header: remove the line above it"),
        ("label,a,b,c\n,mV,mV,mV\nup,1,2,3\n", "line 2: a second header line, such as one of units"),
        ("label,samples\nup,1,2\nlabel,samples\ndown,1,2\n", "line 3: the header line again"),
        ('label,signal\nup,"[1.5, 2.5]"\n', "column 2, 'signal', holds lists: write each sample into a cell"),
        ('up,"[1.5, 2.5]"\n', r"sample 0 is '\[1.5, 2.5\]', which is not a number: write each sample into a cell"),
        (b"f\xfcr,1\n", r"line 1: not UTF-8 text \(.* at byte 1\): save the file as UTF-8"),
        (b"a,1\n\0\1\2\n", "binary data"),
        (gzip.compress(b"a,1\n", mtime=0), "this is gzip data: unpack it with gunzip"),
        (b"PK\x03\x04\xff", r"a ZIP archive, as a spreadsheet's .xlsx is"),
    ],
)
def test_a_table_that_would_be_misread_is_refused_with_the_remedy(
    tmp_path: Path, text: str | bytes, message: str, *, required: bool
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text, required=required)


def test_a_label_may_hold_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    assert read(tmp_path, "a\u2028b\x0b\x85c,1,2\n").labels == ("a\u2028b\x0b\x85c",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (UP_AND_DOWN * 8, "24 signals of 3 points; labels: down, up"),
        (UP_AND_DOWN + "idle,1\n", "4 signals of 1 to 3 points; labels: down, idle, up"),
        (UNLABELLED, "3 signals of 3 points; no labels"),
        ("up,1\n", "1 signal of 1 point; labels: up"),
        (
            "# by us\nclass;a\nup;1,5\ndown;2,5\n",
            (
                "2 signals of 1 point; labels: down, up; separated by semicolons; decimal commas; "
                "labels from the column 'class'; 1 comment line skipped"
            ),
        ),
        ("1,2,up\n3,4,down\n", "2 signals of 2 points; labels: down, up; labels from the end of each line"),
        ("a,1\n".encode("utf-16"), "1 signal of 1 point; labels: a; UTF-16-LE"),
        (
            "".join(f"l{at:02},1\n" for at in range(20)),
            "20 signals of 1 point; labels: " + ", ".join(f"l{at:02}" for at in range(12)) + " and 8 more",
        ),
    ],
)
def test_what_was_understood_is_told_in_one_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert report.read_line(Path("x.csv"), read(tmp_path, text, required=False)) == f"x.csv: {line}"
