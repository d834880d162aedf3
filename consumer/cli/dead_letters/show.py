"""`consumer dead-letters list` and `show`: print letters with their error records.

No letter is held while a person reads. `asked_for` selects letters for every action.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consumer.cli.say import say
from consumer.dead_letters import operations
from consumer.dead_letters.error_records import scan_error_records
from consumer.dead_letters.format import SHOWN_CHARACTERS, portrait, unpacked, write_json
from consumer.dead_letters.model import Entry, Letter, Reasons, Selection
from consumer.dead_letters.operations import LetterQueue
from consumer.dead_letters.table import CELL_CHARACTERS, ROWS, print_table
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError
from consumer.escaping import escaped, escaped_lines
from consumer.wire.message import Message
from consumer.wire.write import ErrorRecord
from consumer.wording import counted

#: No such letter, some letters were left, or no confirmation.
EXIT_NOT_DONE = 1


def _selection(arguments: argparse.Namespace) -> Selection:
    chosen = Selection(
        ids=frozenset(arguments.id),
        reasons=frozenset(arguments.reason),
        codes=frozenset(map(str, arguments.code)),
        models=frozenset(arguments.model),
        older_than_s=arguments.older_than,
        newer_than_s=arguments.newer_than,
        limit=arguments.limit,
    )
    if chosen.is_everything and not getattr(arguments, "all", True):
        raise ConfigurationError(
            "no dead letters selected: pass --id, --code or another option of the selection (see --help), or --all"
        )
    return chosen


@dataclass(frozen=True, slots=True)
class Asked:
    """The selected entries, how many letters there are, and the ids that none of them has."""

    entries: list[Entry]
    there: int
    unknown: list[str]

    @property
    def code(self) -> int:
        """The exit code of an action that has processed all entries."""
        return EXIT_NOT_DONE if self.unknown else os.EX_OK


async def asked_for(arguments: argparse.Namespace, place: LetterQueue, now: float, *, why: bool) -> Asked:
    """Read letters and error records, select the entries, and report ids that no letter has.

    Records are read for `why`, and to select by code: finding the end of their stream takes a second.
    """
    selection = _selection(arguments)
    seen = await operations.look(place)
    letters = sorted(seen.letters, key=lambda letter: letter.died_at or now)
    reasons = Reasons(letters)
    if letters and (why or selection.codes):
        await read_reasons(place, reasons.see)
    if len(letters) < seen.there:
        say(f"of {counted(seen.there, 'dead letter')} only the first {len(letters)} were read")
    unknown = [name for name in arguments.id if not any(letter.has_id(name) for letter in letters)]
    for name in unknown:
        _say_unknown(name)
    entries = list(selection.of((Entry(letter, reasons.of(letter)) for letter in letters), now))
    return Asked(entries, seen.there, unknown)


def _say_unknown(name: str) -> None:
    say(
        f"no dead letter has the id {escaped(name, CELL_CHARACTERS)}; "
        "`consumer dead-letters list` shows those there are"
    )


async def read_reasons(place: LetterQueue, see: Callable[[ErrorRecord], None]) -> None:
    """Read the error records. If their node is down, or reading is forbidden, letters are shown without them."""
    try:
        await scan_error_records(place.url, place.topology, see, place.credentials)
    except (BrokerRefusedError, BrokerUnreachableError) as error:
        say("no error records: " + "\n".join(escaped_lines(str(error), SHOWN_CHARACTERS)))


async def list_letters(arguments: argparse.Namespace, place: LetterQueue) -> int:
    """Show the selected letters; return the exit code."""
    now = time.time()
    asked = await asked_for(arguments, place, now, why=True)
    if arguments.json:
        write_json(asked.entries, now)
        return asked.code
    shown = asked.entries if arguments.limit else asked.entries[:ROWS]
    if shown:
        print_table(shown, now)
    sys.stdout.write(_summary(asked.entries, len(shown), asked.there) + "\n")
    return asked.code


def _summary(entries: Sequence[Entry], shown: int, there: int) -> str:
    if not there:
        return "no dead letters"
    codes = Counter(
        entry.why.code if entry.why else f"({entry.letter.reason or 'no reason'})" for entry in entries
    )
    kinds = ", ".join(f"{count} {escaped(code, CELL_CHARACTERS)}" for code, count in codes.most_common())
    found = f"{len(entries)} of {counted(there, 'dead letter')}" + (f": {kinds}" if kinds else "")
    return found + (f"; the first {shown} are shown (--limit)" if shown < len(entries) else "")


async def show_letter(arguments: argparse.Namespace, place: LetterQueue) -> int:
    """Show why a job failed and all facts of its letter, or its body alone; return the exit code."""
    found = await operations.find(place, lambda letter: letter.has_id(arguments.id))
    if not found:
        _say_unknown(arguments.id)
        return EXIT_NOT_DONE
    if arguments.body:
        return _write_body(found)
    records: list[ErrorRecord] = []
    await read_reasons(place, records.append)
    for letter, message in found:
        sys.stdout.write("\n".join(portrait(letter, message, records)) + "\n\n")
    return os.EX_OK


def _write_body(found: Sequence[tuple[Letter, Message]]) -> int:
    if len(found) > 1:
        say(f"{len(found)} dead letters have this id; this is the body of the oldest")
    sys.stdout.buffer.write(unpacked(found[0][1]))
    sys.stdout.buffer.flush()
    return os.EX_OK
