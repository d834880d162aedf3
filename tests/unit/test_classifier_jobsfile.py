"""Files of jobs for `classifier predict`: how they become jobs, each with its place."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from classifier.errors import RefusedError
from classifier.jobs_file import LINE_SUFFIXES, read
from classifier.signals.datasets import DataError
from classifier.signals.datasets import read as read_signals
from consumer.cli.submit import sources

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "content",
    [
        b'x\n{"a": 1}\n{"a": 2}\n',
        b'x\r\n{"a": 1}\r\n{"a": 2}\r\n',
        b'x\r{"a": 1}\r{"a": 2}\r',
        MARK + b'x\n{"a": 1}\n' + MARK + b'{"a": 2}\n',  # files that were put together
        'x\n{"a": 1}\n{"a": 2}\n'.encode("utf-16"),
        'x\n{"a": 1}\n{"a": 2}\n'.encode("utf-32"),
        b"\0\0\xfe\xff" + 'x\n{"a": 1}\n{"a": 2}\n'.encode("utf-32-be"),
    ],
)
def test_lines_are_the_same_in_every_encoding(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    broken, *good = read(path)
    assert broken.fault.startswith("is neither JSON")
    assert [(entry.place, entry.job, entry.fault) for entry in good] == [
        (f"{path}, line 2", {"a": 1}, ""),
        (f"{path}, line 3", {"a": 2}, ""),
    ]


def test_a_file_that_is_packed_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b"{}\n"))
    with pytest.raises(RefusedError, match=r"x.jsonl.gz: it is gzip data: unpack it with gunzip"):
        read(path)


@pytest.mark.parametrize("suffix", [*LINE_SUFFIXES, ".json", ".txt"])
@pytest.mark.parametrize(
    "content", [b'{"signal": [1]}', b'{"signal":\n [1]}', b'{"a": 1}\n{"a": 2}\n', b'{"a": 1}\n{"a":\n{"a": 3}']
)
def test_submit_finds_the_same_jobs_in_a_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    """The rules are written twice: neither package may import the other."""
    file = tmp_path / f"jobs{suffix}"
    file.write_bytes(content)
    assert len(list(sources.split_jobs(str(file), content))) == len(read(file))
    assert sources.LINE_SUFFIXES == LINE_SUFFIXES


def test_submit_takes_the_formats_of_signals_that_the_classifier_reads(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        read_signals(tmp_path / "signals.png")
    known = str(refused.value).partition("must end in one of ")[2].split(", ")
    assert sorted(known) == sorted(sources.DATA_SUFFIXES)
