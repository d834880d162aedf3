"""A classifier's stdout: the same lines however it is cut, never more than the cap held, and replies that parse.

The first three bytes choose the caps and the cuts; the rest is what the classifier printed.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from pydantic_core import from_json

from consumer.job import Request, Succeeded
from consumer.runners.answer import lone_surrogate
from consumer.runners.output_parser import ContractLine, LineKind, LineParser, json_fault, parse
from consumer.wire.write import reply

MODULES = ("consumer.runners.output_parser", "consumer.escaping", "consumer.runners.answer")
REQUEST = Request(id="id", correlation_id="id")
#: pydantic's limit for nesting, less the reply's own level, is not what is looked for here.
DEEPEST = 100


def one(data: bytes) -> None:
    if len(data) < 3:
        return
    max_line, max_total, seed, stream = 1 + data[0], 1 + data[1] * 16, data[2], data[3:]
    lines, excess = _read([stream], max_line, max_total)
    assert (lines, excess) == _read(_cut(stream, Random(seed)), max_line, max_total)  # noqa: S311 - not a secret
    if not excess:
        assert lines == [parse(line) for line in stream.split(b"\n") if line]
    for line in lines:
        _see_usable(line, max_line)


def _read(chunks: list[bytes], max_line: int, max_total: int) -> tuple[list[ContractLine], str | None]:
    parser = LineParser(max_line_bytes=max_line, max_total_bytes=max_total)
    lines = list(_fed(parser, chunks, max_line))
    last = parser.finish()
    assert not parser._unfinished  # noqa: SLF001 - the promise is about what is held
    return [*lines, *([last] if last else [])], parser.excess


def _fed(parser: LineParser, chunks: list[bytes], max_line: int) -> Iterator[ContractLine]:
    for chunk in chunks:
        yield from parser.feed(chunk)
        assert len(parser._unfinished) <= max_line  # noqa: SLF001 - as above


def _cut(stream: bytes, random: Random) -> list[bytes]:
    chunks = []
    while stream:
        size = random.choice((1, 2, 3, 7, 50))
        chunks.append(stream[:size])
        stream = stream[size:]
    return chunks


def _see_usable(line: ContractLine, max_line: int) -> None:
    assert len(line.content) <= max_line
    assert line.text.replace("\t", "").isprintable()
    line.text.encode()
    assert line.quoted.replace("\t", "").isprintable()
    if line.kind is not LineKind.OUTPUT:
        return
    half = lone_surrogate(line.content)
    if json_fault(line.content):
        return
    assert half is None
    if line.content.count(b"[") + line.content.count(b"{") < DEEPEST:
        made = reply(REQUEST, Succeeded(output=line.content), consumer="host:1")
        answer = from_json(made.body, allow_inf_nan=False)
        assert answer.keys() == {"job_id", "status", "output", "attempt", "run_ms", "consumer"}
