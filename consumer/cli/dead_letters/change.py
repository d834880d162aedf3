"""`consumer dead-letters replay` and `purge`: read the queue once to select letters, a second time to act on them.

No letter is held while a person decides.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from consumer.cli.dead_letters.show import EXIT_NOT_DONE, Asked, asked_for
from consumer.cli.say import say
from consumer.dead_letters import operations
from consumer.dead_letters.format import write_json
from consumer.dead_letters.model import Entry, Letter, chosen, show_age
from consumer.dead_letters.operations import LetterQueue
from consumer.dead_letters.table import ROWS, print_table
from consumer.errors import ConfigurationError
from consumer.wire import reply_address
from consumer.wire.message import Message
from consumer.wire.topology import Topology
from consumer.wording import counted


async def replay(arguments: argparse.Namespace, place: LetterQueue) -> int:
    """Requeue the selected letters as new jobs; return the exit code."""
    change = _change(arguments, place.topology)
    now = time.time()
    asked = await asked_for(arguments, place, now, why=arguments.dry_run or arguments.json)
    whole = [entry for entry in asked.entries if not entry.letter.damage]
    _report_damaged(asked.entries)
    if arguments.dry_run:
        return _would("be replayed", whole, asked, now, is_json=arguments.json)
    act = partial(operations.replay, place, change=change)
    code = await _act("replayed", act, whole, arguments)
    if change is _unchanged:
        _warn_of_callers(whole)
    if whole and await operations.count_job_consumers(place) == 0:
        say(f"no consumer takes jobs from {place.topology.jobs}: the replayed jobs wait until one starts")
    return max(code, asked.code) if len(whole) == len(asked.entries) else EXIT_NOT_DONE


def _report_damaged(entries: Iterable[Entry]) -> None:
    """Report the letters that are not replayed: a copy would lack the fields that cannot be decoded."""
    for entry in entries:
        if damage := entry.letter.damage:
            say(
                f"{entry.letter.shown_id} is not replayed: these fields cannot be decoded: "
                f"{', '.join(damage)}; submit the body that `show --body` writes"
            )


def _warn_of_callers(entries: Iterable[Entry]) -> None:
    if gone := sum(entry.letter.answers_a_caller for entry in entries):
        say(
            f"{counted(gone, 'dead letter')} of these had a reply_to that is their caller's own (amq.…): if that "
            "caller has disconnected, its reply is lost; use --no-reply-to to send replies to the results queue"
        )


def _unchanged(message: Message) -> Message:
    return message


def _change(arguments: argparse.Namespace, topology: Topology) -> Callable[[Message], Message]:
    """Make the change that redirects replies. Refuses an address that the service would refuse."""
    if not (arguments.reply_to or arguments.no_reply_to):
        return _unchanged
    if arguments.reply_to and (complaint := reply_address.refusal(arguments.reply_to, topology, None)):
        raise ConfigurationError(complaint)
    return lambda message: replace(message, reply_to=arguments.reply_to)


async def purge(arguments: argparse.Namespace, place: LetterQueue) -> int:
    """Delete the selected letters after confirmation; return the exit code."""
    now = time.time()
    asked = await asked_for(arguments, place, now, why=arguments.dry_run or arguments.json)
    entries = asked.entries
    if arguments.dry_run:
        return _would("be deleted", entries, asked, now, is_json=arguments.json)
    if entries and not arguments.yes and not _is_confirmed(entries, asked.there, now):
        say("nothing was deleted")
        return EXIT_NOT_DONE
    return max(asked.code, await _act("deleted", partial(operations.purge, place), entries, arguments))


def _is_confirmed(entries: Sequence[Entry], there: int, now: float) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("purge asks for confirmation, but standard input is no terminal; add --yes")
    ages = [now - entry.letter.died_at for entry in entries if entry.letter.died_at is not None]
    oldest = f", up to {show_age(max(ages))} old" if ages else ""
    sys.stderr.write(f"Delete {len(entries)} of {counted(there, 'dead letter')}{oldest}, for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _would(what: str, entries: Sequence[Entry], asked: Asked, now: float, *, is_json: bool) -> int:
    if is_json:
        write_json(entries, now)
    elif entries:
        print_table(entries[:ROWS], now)
    say(f"{len(entries)} of {counted(asked.there, 'dead letter')} would {what}")
    return asked.code


async def _act(verb: str, act: Callable[..., Any], entries: Sequence[Entry], arguments: argparse.Namespace) -> int:
    """Act on all entries; report how many were done, even after an error."""
    by_key = {entry.letter.key: entry for entry in entries}
    done = 0

    def count(letter: Letter) -> None:
        nonlocal done
        done += 1
        if arguments.json:
            write_json([by_key[letter.key]], time.time())

    try:
        if entries:
            await act(wanted=chosen(entry.letter for entry in entries), done=count)
    finally:
        say(f"{verb} {counted(done, 'dead letter')}")
    if done < len(entries):
        say(f"{len(entries) - done} were no longer there")
    return os.EX_OK if done == len(entries) else EXIT_NOT_DONE
