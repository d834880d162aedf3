"""What an answer comes to, and how an exit is told: the words of outcomes. Pure.

An `ERROR:` line that somebody printed without meaning an answer (a log record, say) fails the job as well, as the
contract counts prefixes whoever has written them; so the message says that it was printed, and quotes it.
"""

from __future__ import annotations

import signal
from typing import Any

from consumer.job import Failed, InvalidOutput, Outcome, Succeeded
from consumer.runners.output_parser import ContractLine, LineKind, json_fault
from consumer.runners.surrogates import lone_surrogate


def judged(answer: ContractLine, *, run_s: float, afterwards: str = "", **how: Any) -> Outcome:  # noqa: ANN401 - the fields of Unsuccessful
    """Say what an `OUTPUT:` or an `ERROR:` line comes to; `afterwards`, what the classifier did after it."""
    if answer.kind is LineKind.ERROR:
        return Failed(message=_reason(answer, afterwards), run_s=run_s, **how)
    fault = json_fault(answer.content)
    if fault is None:
        return Succeeded(output=answer.content, run_s=run_s)
    if place := lone_surrogate(answer.content):
        remedy = "half a character that no text can hold; remove it, or write the whole pair"
        return Failed(message=f"the OUTPUT: line cannot be sent: {place}, {remedy}", run_s=run_s, **how)
    message = f"the OUTPUT: line is not JSON: {fault}; the line is {answer.quoted}"
    return InvalidOutput(message="; ".join(filter(None, (message, afterwards))), run_s=run_s, **how)


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
