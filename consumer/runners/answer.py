"""What an answer comes to, and how an exit is told: the words of outcomes. Pure.

An `ERROR:` line that somebody printed without meaning an answer (a log record, say) fails the job as well, as the
contract counts prefixes whoever has written them; so the message says that it was printed, and quotes it.

JSON may escape one half of a surrogate pair, as Python, Java and JavaScript do for text that they hold it in; some
programs write its bytes. Neither is text, so neither can go into a reply. Searched only after a parser refused.
"""

from __future__ import annotations

import json
import re
import signal
from typing import TypeAlias

from consumer.job import Failed, InvalidOutput, Outcome, Succeeded
from consumer.runners.output_parser import ContractLine, LineKind, json_fault

#: The way to a value: None for the whole, else the way to its container, and its key or number there.
Way: TypeAlias = "tuple[Way, str | int] | None"

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE_CHARACTERS = 200


def judged(answer: ContractLine, *, run_s: float, afterwards: str = "") -> Outcome:
    """Say what an `OUTPUT:` or an `ERROR:` line comes to; `afterwards`, what the classifier did after it."""
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
    """Say what became of the classifier after its answer, if that speaks against its being meant as one."""
    if discarded:
        return f"the line {discarded.quoted} after it was discarded"
    return "the classifier went on after it and was terminated" if was_stopped else ""


def _reason(error: ContractLine, afterwards: str) -> str:
    """Give the reason of an `ERROR:` line, and where it may be just a log record, say so."""
    reason = error.text or "the classifier gave no reason"
    if not (afterwards or error.is_of_logging):
        return reason
    what = "; ".join(filter(None, (f"printed on stdout as {error.quoted}", afterwards)))
    return (
        f"{reason} ({what}. Any line on stdout that begins with ERROR: fails the job: "
        "print diagnostics to stderr, or as LOG: lines)"
    )


def describe_exit(returncode: int | None) -> str:
    """Put a return code as `subprocess` gives it into words: negative for a signal."""
    if returncode is None:
        return "ended together with the process that had started it"
    if returncode >= 0:
        return f"exited with code {returncode}"
    return f"killed by {signal_name(-returncode)}"


def signal_name(number: int) -> str:
    """Name a signal as the C library does."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"


def lone_surrogate(content: bytes) -> str | None:
    """Say which value or key of the JSON text `content` holds half a character; None if none does."""
    try:
        whole: object = json.loads(content.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    waiting: list[tuple[object, Way]] = [(whole, None)]  # no recursion: it may be nested as deep as Python reads
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
