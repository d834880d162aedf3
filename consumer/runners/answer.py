"""Turns an answer line into an outcome, and describes exits in words. Pure: no I/O, no clock.

The contract counts a prefix whichever code has printed it. So an `ERROR:` line that was not meant as an answer,
such as a log record, also fails the job. The message then quotes the line and explains this.

A lone surrogate is half a character. Python, Java and JavaScript write it into JSON as an escape, some programs as
bytes. Neither is valid text, so no reply can hold it. This module searches for lone surrogates only in an output
that the JSON parser has refused.
"""

from __future__ import annotations

import json
import re
import signal
from typing import TypeAlias

from consumer.job import Failed, InvalidOutput, Outcome, Succeeded
from consumer.runners.output_parser import ContractLine, LineKind, json_fault

#: The path to a value: None for the whole text, otherwise the container's path and the key or index in it.
Way: TypeAlias = "tuple[Way, str | int] | None"

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE_CHARACTERS = 200


def judged(answer: ContractLine, *, run_s: float, afterwards: str = "") -> Outcome:
    """Return the outcome of an `OUTPUT:` or `ERROR:` line. `afterwards` is a result of `what_followed`."""
    if answer.kind is LineKind.ERROR:
        return Failed(message=_reason(answer, afterwards), run_s=run_s)
    fault = json_fault(answer.content)
    if fault is None:
        return Succeeded(output=answer.content, run_s=run_s)
    if place := lone_surrogate(answer.content):
        remedy = "half a character that no text can hold; remove it, or write the whole pair"
        return Failed(message=f"the OUTPUT: line cannot be sent: {place}, {remedy}", run_s=run_s)
    message = f"the OUTPUT: line is not JSON: {fault}; the line is {answer.quoted}"
    return InvalidOutput(message="; ".join(filter(None, (message, afterwards))), run_s=run_s)


def what_followed(discarded: ContractLine | None, *, was_stopped: bool) -> str:
    """Describe what the classifier did after its answer, if it suggests that the line was not meant as an answer.

    An empty text means that nothing suggests this.
    """
    if discarded:
        return f"the line {discarded.quoted} after it was discarded"
    return "the classifier continued after it and was terminated" if was_stopped else ""


def _reason(error: ContractLine, afterwards: str) -> str:
    """Return the reason in an `ERROR:` line; add a hint if the line may be only a log record."""
    reason = error.text or "the classifier gave no reason"
    if not (afterwards or error.is_of_logging):
        return reason
    what = "; ".join(filter(None, (f"printed on stdout as {error.quoted}", afterwards)))
    return (
        f"{reason} ({what}. Any line on stdout that begins with ERROR: fails the job: "
        "print diagnostics to stderr, or as LOG: lines)"
    )


def describe_exit(returncode: int | None) -> str:
    """Describe a return code of `subprocess`, where a negative number is a signal; None: unknown."""
    if returncode is None:
        return "ended together with the process that had started it"
    if returncode >= 0:
        return f"exited with code {returncode}"
    return f"killed by {signal_name(-returncode)}"


def signal_name(number: int) -> str:
    """Return the C library's name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def lone_surrogate(content: bytes) -> str | None:
    """Describe the first value or key of the JSON text `content` with a lone surrogate; None if there is none."""
    try:
        whole: object = json.loads(content.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    waiting: list[tuple[object, Way]] = [(whole, None)]  # no recursion: nesting may be deep
    while waiting:
        value, way = waiting.pop()
        if isinstance(value, str) and (half := _SURROGATE.search(value)):
            return f"{_place(way)} holds the lone surrogate {_escaped(half)}"
        if isinstance(value, dict):
            for key in value:
                if half := _SURROGATE.search(key):
                    shown = json.dumps(key)[:_PLACE_CHARACTERS]
                    return f"{_place(way)} has the key {shown}, which holds the lone surrogate {_escaped(half)}"
            waiting += [(inner, (way, key)) for key, inner in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(inner, (way, number)) for number, inner in reversed(list(enumerate(value)))]
    return None


def _escaped(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"


def _place(way: Way) -> str:
    steps = []
    while way:
        way, step = way
        steps.append(f"[{json.dumps(step)}]")
    text = "output" + "".join(reversed(steps))
    return text if len(text) <= _PLACE_CHARACTERS else f"{text[:_PLACE_CHARACTERS]}..."
