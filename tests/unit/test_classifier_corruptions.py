"""Damaged files of every format: seeded corruptions, each of which is read or refused in one line."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

import numpy as np
import pytest
from fuzz.fuzz_tables import read

LABELS = ["up", "down"]
SIGNALS = [[1.5, 2.25, 3.0], [-0.5, 0.5, 9.0]] * 3


def npz(*, compressed: bool, **arrays: object) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.ones((2, 3)))
    return file.getvalue()


ROWS = "".join(
    f"{','.join(map(str, signal))}:{label}\n" for signal, label in zip(SIGNALS, LABELS * 3, strict=True)
)
TABLE = "".join(
    f"{label},{','.join(map(str, signal))}\n" for signal, label in zip(SIGNALS, LABELS * 3, strict=True)
)
JOBS = "".join(f'{{"signal": {signal}, "model": "pumps"}}\n' for signal in SIGNALS)
FILES = {
    "comma.csv": TABLE.encode(),
    "header.csv": ("# by us\nlabel,a,b,c\n" + TABLE).encode(),
    "semicolon.csv": TABLE.replace(",", ";").replace(".", ",").encode("utf-16"),
    "tab.tsv": TABLE.replace(",", "\t").encode(),
    "x.ts": ("@problemName p\n@univariate true\n@classLabel true up down\n@data\n" + ROWS).encode(),
    "stored.npz": npz(compressed=False, signals=np.array(SIGNALS), labels=np.array(LABELS * 3)),
    "deflated.npz": npz(compressed=True, signals=np.array(SIGNALS), labels=np.array(LABELS * 3, dtype="S")),
    "flat.npz": npz(compressed=True, values=np.ones(6), lengths=np.array([2, 4]), labels=np.array([1, 2])),
    "one.json": JOBS.splitlines()[0].encode(),
    "lines.jsonl": JOBS.encode(),
    "lines.ndjson": JOBS.encode("utf-16"),
}
SEEDS = range(300)


def corrupted(content: bytes, random: Random) -> bytes:
    """Cut, overwrite, repeat, or insert bytes, a few times."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        at, size = random.randrange(len(damaged) + 1), random.choice((1, 1, 2, 8, 40))
        match random.randrange(5):
            case 0:
                damaged[at : at + 1] = bytes([random.randrange(256)])
            case 1:
                damaged[at : at + size] = b""
            case 2:
                damaged[at:at] = damaged[at : at + size]
            case 3:
                damaged[at:at] = random.choice(
                    (b"\0", b"\n", b"\r", b'"', b",", b"\xff", b"[", b"1e999", b"PK", b"?")
                )
            case _:
                damaged[at : at + 1] = (
                    bytes([damaged[at] ^ (1 << random.randrange(8))]) if at < len(damaged) else b""
                )
    return bytes(damaged[: random.randrange(len(damaged) + 1)] if random.randrange(8) == 0 else damaged)


@pytest.mark.parametrize(("name", "content"), FILES.items(), ids=FILES)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read(path) == "read"
    endings = set()
    for seed in SEEDS:
        path.write_bytes(corrupted(content, Random(f"{name} {seed}")))  # noqa: S311 - not a secret
        endings.add(read(path))
    assert "refused" in endings or path.suffix.endswith("json") or "lines" in name


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".ts", ".npz", ".json", ".jsonl"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\xef\xbb\xbf", b"\0" * 1000, npy(), b"PK\x05\x06" + b"\0" * 18, Random(1).randbytes(5000)],  # noqa: S311
    ids=["empty", "a_line_end", "a_mark", "zeros", "npy", "empty_archive", "random"],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    assert read(path) == "refused" or (suffix.startswith(".json") and content.strip())


def test_an_archive_renamed_to_text_is_refused_as_binary(tmp_path: Path) -> None:
    for suffix in (".csv", ".tsv", ".ts"):
        (tmp_path / f"x{suffix}").write_bytes(FILES["stored.npz"])
        assert read(tmp_path / f"x{suffix}") == "refused"
