"""Reads jobs from files: a file is one job or a job per line; `classifier jobs` converts data sets of signals.

A job is submitted byte for byte, even if it is not JSON: only the service decides which jobs are valid. A file
without any JSON object is refused, because it was named by mistake. CSV, NPZ and UCR files need numpy, which is
not imported here: a process of the classifier's command reads them.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, TypeAlias

from pydantic_core import from_json

from consumer.cli.arguments import read_file
from consumer.cli.say import say
from consumer.errors import InputError
from consumer.escaping import escaped
from consumer.runners.programs import own_python
from consumer.wording import counted

#: What `classifier jobs` reads.
DATA_SUFFIXES = (".csv", ".npz", ".ts", ".tsv")
#: A job per line, whatever the lines hold.
LINE_SUFFIXES = (".jsonl", ".ndjson")
#: Other files that are read from a folder; a file that is given by name may have any suffix.
JOB_SUFFIXES = (".json", *LINE_SUFFIXES)
_LONGEST_NOTE = 1000
#: The longest path of Linux, with each byte escaped.
_LONGEST_NAME = 6 * 4096
# The longer mark first: UTF-32's starts with UTF-16's.
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: A job's place and digest.
Key: TypeAlias = tuple[str, str]
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Source:
    """A job's bytes and their place: `file`, or `file:number` of the line or signal."""

    name: str
    body: bytes
    #: Distinguishes a job from a later one at the same place.
    digest: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Compute the digest."""
        object.__setattr__(self, "digest", hashlib.sha256(self.body).hexdigest()[:16])

    @property
    def key(self) -> Key:
        """The place and the digest: they find the job again in a file of results."""
        return self.name, self.digest


def read_sources(
    names: Iterable[str], stdin: TextIO, *, model: str | None = None, results: Path | None = None
) -> Iterator[Source]:
    """Read the jobs of all files, folders and patterns; `-` is standard input.

    Args:
        names: what to read, in this order; the files of a folder or pattern are sorted.
        stdin: read for `-`.
        model: the model for signals of a data set.
        results: the file for the results, which is never a file of jobs.

    Raises:
        InputError: a file cannot be read, or contains no JSON object; a folder or pattern has no files; a file is
            that of the results.
    """
    for name in _once(expand(names, results)):
        sources = list(_of_file(name, stdin, model))
        if not sources:
            raise InputError(f"{name} contains no job")
        if not any(_json_type(source.body) is dict for source in sources):
            raise InputError(
                f"{name} contains no job: nothing in it is a JSON object; name files of jobs (JSON) or of signals "
                f"({', '.join(DATA_SUFFIXES)}). Nothing was submitted"
            )
        yield from sources


def _once(names: Iterable[str]) -> Iterator[str]:
    """Drop repeated names: results find their jobs by the name of the file and the number of the line."""
    seen: set[str] = set()
    for name in names:
        if name not in seen:
            seen.add(name)
            yield name
        else:
            say(f"{escaped(name, _LONGEST_NOTE)} is named twice: its jobs are submitted once")


def expand(names: Iterable[str], results: Path | None = None) -> Iterator[str]:
    """Replace folders and patterns by their files, without the file of results that an earlier run has left there.

    Raises:
        InputError: a folder or pattern has no files, or the file of results is named as one of jobs.
    """
    for name in names:
        found = [name]
        if Path(name).is_dir():
            files = sorted(str(path) for path in Path(name).rglob("*") if path.is_file())
            found = [file for file in files if Path(file).suffix.lower() in (*DATA_SUFFIXES, *JOB_SUFFIXES)]
            _say_ignored(name, [file for file in files if file not in {*found}], is_all=not found)
        elif glob.has_magic(name) and not Path(name).exists():  # a file may have such a name
            found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())  # noqa: PTH207 - absolute ones, too
        if not found:
            raise InputError(f"{name}: no file there ends in {', '.join((*DATA_SUFFIXES, *JOB_SUFFIXES))}")
        jobs = [file for file in found if not _is_same(file, results)]
        if not jobs:
            raise InputError(f"{name} is the file for the results, not one of jobs; pass another --out")
        yield from jobs


def _is_same(name: str, results: Path | None) -> bool:
    return results is not None and name != "-" and Path(name).resolve() == results.resolve()


def _say_ignored(folder: str, ignored: Sequence[str], *, is_all: bool) -> None:
    if ignored and not is_all:  # otherwise the folder is refused
        first = escaped(ignored[0], _LONGEST_NOTE)
        say(f"{folder}: {counted(len(ignored), 'other file')} ignored, such as {first}")


def _of_file(name: str, stdin: TextIO, model: str | None) -> Iterator[Source]:
    if name != "-" and Path(name).suffix.lower() in DATA_SUFFIXES:
        yield from _numbered(name, _converted(name, model).splitlines())
    else:
        yield from split_jobs(name, _read(name, stdin))


def _read(name: str, stdin: TextIO) -> bytes:
    if name == "-":
        return stdin.buffer.read()
    content = read_file(Path(name))
    if content.startswith(_GZIP):
        raise InputError(f"{name} is gzip data: unpack it, for example zcat {shlex.quote(name)} | ... submit -")
    return content


def _converted(name: str, model: str | None) -> bytes:
    # In this form neither a file's name nor a model's can be read as a flag.
    chosen = [f"--model={model}"] if model else []
    arguments = ("jobs", "--describe", *chosen, "--", name)
    command = own_python.command("classifier", *arguments, path=os.environ.get("PYTHONPATH", ""))
    environment = own_python.without_path(os.environ)
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603 - ours
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode:
        raise InputError(said[-1].removeprefix("classifier: ") if said else f"{name} cannot be read")
    if said:
        say(escaped(said[-1], _LONGEST_NOTE))  # how it has read the table
    return done.stdout


def split_jobs(name: str, content: bytes) -> Iterator[Source]:
    """Split content into jobs: one job, perhaps over many lines, or a job per line.

    Line files (`.jsonl`, `.ndjson`) have a job per line. So has other content if its first line alone is JSON, or
    if the whole is not JSON and at least half of its lines are JSON objects: then a broken line fails alone.
    """
    by_line = Path(name).suffix.lower() in LINE_SUFFIXES
    content = _utf8(content, by_line=by_line)
    lines = content.split(b"\n" if b"\n" in content else b"\r")
    filled = [line for line in lines if line.strip()]
    if by_line or (len(filled) > 1 and _are_jobs(content, filled)):
        yield from _numbered(name, lines)
    elif filled:
        yield Source(_in_one_line(name), content)


def _utf8(content: bytes, *, by_line: bool) -> bytes:
    """Drop a byte-order mark; recode UTF-16 and UTF-32, whose line feeds are wide, if the text looks like jobs."""
    encoding = next((encoding for mark, encoding in _WIDE if content.startswith(mark)), None)
    if encoding is None:
        return content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return content
    return text.encode() if by_line or text.lstrip().startswith(("{", "[")) else content


def _are_jobs(content: bytes, lines: Sequence[bytes]) -> bool:
    if _json_type(lines[0]):
        return True
    if _json_type(content):
        return False
    objects = sum(_json_type(line) is dict for line in lines)
    return 2 * objects >= len(lines)


def _numbered(name: str, lines: Iterable[bytes]) -> Iterator[Source]:
    # A line starts with a mark where files were concatenated.
    unmarked = (line.removeprefix(codecs.BOM_UTF8) for line in lines)
    place = _in_one_line(name)
    return (Source(f"{place}:{number}", line) for number, line in enumerate(unmarked, start=1) if line.strip())


def _in_one_line(name: str) -> str:
    """Escape the name of a file as results and tables write it: it may hold a line feed, or be no UTF-8."""
    return escaped(name, _LONGEST_NAME)


def _json_type(content: bytes) -> type | None:
    """Return the type of a JSON value; None if the content is not JSON."""
    try:
        return type(from_json(content))
    except ValueError:
        return None
