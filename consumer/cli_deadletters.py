"""`consumer dead-letters`: arguments in, tables and JSON lines out. What is done is in deadqueue.py.

Every action is a look first, which decides what is meant, by letters and error records together; then, for replay
and purge, a second look that acts on just those. Nothing is held while a person reads or thinks. All that is
shown was written by strangers, and goes through `escaped`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from consumer import deadqueue, replyaddress
from consumer.deadletters import scan_error_records
from consumer.deadqueue import Place
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError
from consumer.escaped import escaped, escaped_lines
from consumer.job import ErrorCode
from consumer.letters import Chosen, Entry, Letter, Reasons, Selection, read_age, show_age
from consumer.messages import ErrorRecord, Message
from consumer.settings import Settings
from consumer.topology import Topology

#: A script wants to know that there is no such letter, that some were left, or that nobody said yes.
EXIT_NOT_DONE = 1
#: Rows of a table that a person still reads; JSON has all.
ROWS = 100
#: An id or a message that is longer says so; `show` has all of it.
CELL_CHARACTERS = 200
SHOWN_CHARACTERS = 100_000
#: An id is for copying, so it goes on in the next line; a message is for a glance.
ID_WIDTH = 40
LEAST_MESSAGE = 12
#: Between two columns.
GAP = 2
MESSAGE = "message"
_COLUMNS: dict[str, Literal["left", "right"]] = {
    "age": "right",
    "job id": "left",
    "reason": "left",
    "code": "left",
    MESSAGE: "left",
    "attempt": "right",
    "model": "left",
    "replayed": "right",
}
_ONE_LINE = ("age", "reason", "code", MESSAGE)
#: Where no terminal says how wide it is.
PIPE_WIDTH = 160
#: RabbitMQ's words; `maxlen` does not occur with our own queues.
REASONS = ("rejected", "expired", "delivery_limit", "maxlen")
_ALL = ("list", "replay", "purge")
_PROPERTIES = (
    "message_id",
    "correlation_id",
    "reply_to",
    "type",
    "content_type",
    "content_encoding",
    "priority",
    "app_id",
)


def describe(command: argparse.ArgumentParser, add_settings: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the four actions to the command."""
    actions = command.add_subparsers(required=True, metavar="ACTION", dest="action")
    made = {
        "list": actions.add_parser("list", help="what lies there, and why"),
        "show": actions.add_parser("show", help="one dead letter with all that is known of it"),
        "replay": actions.add_parser("replay", help="make them jobs again, with all attempts before them"),
        "purge": actions.add_parser("purge", help="delete them for good; asks first"),
    }
    for name in _ALL:
        _add_selection(made[name], is_named=name != "list")
    made["show"].add_argument("id", metavar="ID", help="the job's id, as `list` shows it")
    made["show"].add_argument(
        "--body", action="store_true", help="only its body, byte for byte, on standard output"
    )
    group = made["replay"].add_mutually_exclusive_group()
    group.add_argument("--reply-to", metavar="QUEUE", help="send the replies to this queue instead")
    group.add_argument("--no-reply-to", action="store_true", help="send the replies to <prefix>.results instead")
    made["purge"].add_argument("--yes", action="store_true", help="do not ask")
    for action in made.values():
        add_settings(action)


def _add_selection(action: argparse.ArgumentParser, *, is_named: bool) -> None:
    which = action.add_argument_group("which", "each may be given several times, for one or the other")
    which.add_argument("--id", action="append", default=[], metavar="ID")
    which.add_argument("--reason", action="append", default=[], choices=REASONS, help="why RabbitMQ moved it")
    which.add_argument("--code", action="append", default=[], choices=[*ErrorCode], help="of its error record")
    which.add_argument("--model", action="append", default=[], metavar="NAME", help="that the job asks for")
    which.add_argument("--older-than", type=_age, metavar="AGE", help="such as 90s, 15m, 2h, 7d")
    which.add_argument("--newer-than", type=_age, metavar="AGE")
    which.add_argument("--limit", type=_count, metavar="N", help="the first N of these, the oldest first")
    if is_named:
        which.add_argument("--all", action="store_true", help="every one that lies there")
        action.add_argument("--dry-run", action="store_true", help="only list them")
    action.add_argument("--json", action="store_true", help="a line of JSON for each")


def _age(text: str) -> float:
    try:
        return read_age(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    if not text.isdecimal() or not (count := int(text)):
        raise argparse.ArgumentTypeError("must be a whole number above 0")
    return count


async def run(arguments: argparse.Namespace, settings: Settings, url: str) -> int:
    """Do what was asked; return the exit code."""
    topology = settings.topology
    place = Place(url, topology, settings.credentials, _say)
    actions = {"list": _list, "show": _show, "replay": _replay, "purge": _purge}
    return await actions[arguments.action](arguments, place)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


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
        raise ConfigurationError(f"{arguments.action} which of them? Name some (see --help), or all with --all")
    return chosen


async def _found(arguments: argparse.Namespace, place: Place, now: float, *, why: bool) -> tuple[list[Entry], int]:
    """Look, and join with the error records; return what was asked for, and how many letters there are.

    Without need of a `why` the records are not read: the end of a stream takes a second to be sure of.
    """
    selection = _selection(arguments)
    seen = await deadqueue.look(place)
    letters = sorted(seen.letters, key=lambda letter: letter.died_at or now)
    reasons = Reasons(letters)
    if letters and (why or selection.codes):
        await _read_reasons(place, reasons.see)
    if len(letters) < seen.there:
        _say(f"of {_dead_letters(seen.there)} only the first {len(letters)} were read")
    return list(selection.of((Entry(letter, reasons.of(letter)) for letter in letters), now)), seen.there


async def _read_reasons(place: Place, see: Callable[[ErrorRecord], None]) -> None:
    """Letters are worth a look without their records, too: those may have lost their node, or be forbidden."""
    try:
        await scan_error_records(place.url, place.topology, see, place.credentials)
    except (BrokerRefusedError, BrokerUnreachableError) as error:
        _say("no error records: " + "\n".join(escaped_lines(str(error), SHOWN_CHARACTERS)))


async def _list(arguments: argparse.Namespace, place: Place) -> int:
    now = time.time()
    entries, there = await _found(arguments, place, now, why=True)
    if arguments.json:
        _write_json(entries, now)
        return os.EX_OK
    shown = entries if arguments.limit else entries[:ROWS]
    if shown:
        _print(shown, now)
    sys.stdout.write(_summary(entries, len(shown), there) + "\n")
    return os.EX_OK


def _summary(entries: Sequence[Entry], shown: int, there: int) -> str:
    if not there:
        return "no dead letters"
    codes = Counter(
        entry.why.code if entry.why else f"({entry.letter.reason or 'no reason'})" for entry in entries
    )
    kinds = ", ".join(f"{count} {escaped(code, CELL_CHARACTERS)}" for code, count in codes.most_common())
    found = f"{len(entries)} of {_dead_letters(there)}" + (f": {kinds}" if kinds else "")
    return found + (f"; the first {shown} are shown (--limit)" if shown < len(entries) else "")


def _dead_letters(count: int) -> str:
    return f"{count} dead letter" + ("s" if count != 1 else "")


def _print(entries: Sequence[Entry], now: float) -> None:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=PIPE_WIDTH)
    console.print(_table(entries, now, console.width))


def _table(entries: Sequence[Entry], now: float, width: int) -> Table:
    """Lay it out so that a row is a line where that can be: messages get what the others leave.

    Where that is too little, a code stands for the reason, which it implies.
    """
    columns = _columns([_cells(entry, now) for entry in entries])
    if _left(columns, width) < LEAST_MESSAGE:
        columns = _columns([_narrow(_cells(entry, now)) for entry in entries])
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, justify=_COLUMNS[name], overflow="fold", no_wrap=name in _ONE_LINE)
    columns[MESSAGE] = [_cut(text, max(_left(columns, width), LEAST_MESSAGE)) for text in columns[MESSAGE]]
    for row in zip(*columns.values(), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _columns(rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Turn rows into columns, without those that are empty."""
    columns = {name: list(cells) for name, *cells in zip(_COLUMNS, *rows, strict=True)}
    return {name: cells for name, cells in columns.items() if any(cells)}


def _left(columns: Mapping[str, Sequence[str]], width: int) -> int:
    """Tell how many characters there are for a message."""
    others = (max(map(cell_len, (name, *cells))) for name, cells in columns.items() if name != MESSAGE)
    return width - GAP - sum(min(taken, ID_WIDTH) + GAP for taken in others)


def _cut(text: str, width: int) -> str:
    cell = Text(text)
    cell.truncate(width, overflow="ellipsis")
    return cell.plain


def _narrow(cells: Sequence[str]) -> list[str]:
    age, name, reason, code, *others = cells
    return [age, name, "", f"({reason})" if code == "-" else code, *others]


def _cells(entry: Entry, now: float) -> list[str]:
    """In the order of the columns. What no letter has leaves no column: an empty cell in all rows."""
    letter, why = entry.letter, entry.why
    return [
        show_age(None if letter.died_at is None else now - letter.died_at),
        letter.shown_id,
        _cell(letter.reason),
        _cell(why.code if why else None),
        _cell(why.message if why else None),
        str(letter.attempt),
        escaped(letter.model or "", CELL_CHARACTERS),
        str(letter.replayed or ""),
    ]


def _cell(text: str | None) -> str:
    return escaped(text, CELL_CHARACTERS) if text else "-"


def _write_json(entries: Iterable[Entry], now: float) -> None:
    for entry in entries:
        sys.stdout.write(json.dumps(_facts(entry, now)) + "\n")


def _facts(entry: Entry, now: float) -> dict[str, Any]:
    """Make what is for programs: nothing cut, nothing escaped but by JSON."""
    letter, why = entry.letter, entry.why
    return {
        "job_id": letter.id,
        "has_own_id": letter.has_own_id,
        "age_s": None if letter.died_at is None else round(now - letter.died_at, 1),
        "died_at": letter.died_at and _moment(letter.died_at),
        "reason": letter.reason,
        "code": why and why.code,
        "message": why and why.message,
        "attempt": letter.attempt,
        "model": letter.model,
        "replayed": letter.replayed,
        "correlation_id": letter.correlation_id,
        "reply_to": letter.reply_to,
        "body_bytes": letter.size,
    }


async def _show(arguments: argparse.Namespace, place: Place) -> int:
    found = await deadqueue.find(place, lambda letter: letter.has_id(arguments.id))
    if not found:
        _say(
            f"no dead letter has the id {escaped(arguments.id, CELL_CHARACTERS)}; "
            "`consumer dead-letters list` shows those there are"
        )
        return EXIT_NOT_DONE
    if arguments.body:
        return _write_body(found)
    records: list[ErrorRecord] = []
    await _read_reasons(place, records.append)
    for letter, message in found:
        sys.stdout.write("\n".join(_portrait(letter, message, records)) + "\n\n")
    return os.EX_OK


def _write_body(found: Sequence[tuple[Letter, Message]]) -> int:
    if len(found) > 1:
        _say(f"{len(found)} dead letters have this id; this is the body of the oldest")
    sys.stdout.buffer.write(found[0][1].body)
    sys.stdout.buffer.flush()
    return os.EX_OK


def _portrait(letter: Letter, message: Message, records: Iterable[ErrorRecord]) -> list[str]:
    """Write down all that there is, each foreign text on lines of our own making."""
    facts = {
        "job id": letter.id,
        "died": letter.died_at and _moment(letter.died_at),
        "reason": letter.reason,
        "attempt": letter.attempt,
        "model": letter.model,
        "replayed": letter.replayed or None,
        **{name: getattr(message, name) for name in _PROPERTIES},
        "timestamp": message.timestamp and _moment(message.timestamp),
        **{f"undecodable {name}": why for name, why in message.undecodable.items()},
        **{f"header {name}": value for name, value in message.headers.items()},
    }
    lines = [f"{_value(name) + ':':<17} {_value(value)}" for name, value in facts.items() if value is not None]
    for record in records:
        if record.job_id == letter.id or (
            not letter.has_own_id and record.correlation_id == letter.correlation_id
        ):
            lines += _record_lines(record)
    body = message.body.decode(errors="backslashreplace")
    return [*lines, f"body ({letter.size} bytes):", *_indented(body)]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _value(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
    return escaped(text, SHOWN_CHARACTERS)


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in escaped_lines(text, SHOWN_CHARACTERS) if text]


def _record_lines(record: ErrorRecord) -> list[str]:
    what = f"{record.code} at attempt {record.attempt} after {record.run_ms:g} ms"
    first = f"{'error record:':<17} {_value(record.time)} {what}, {_value(record.consumer)}"
    return [first, *_indented(record.message), *_indented(record.stderr_tail)]


async def _replay(arguments: argparse.Namespace, place: Place) -> int:
    change = _change(arguments, place.topology)
    now = time.time()
    entries, there = await _found(arguments, place, now, why=arguments.dry_run or arguments.json)
    whole = [entry for entry in entries if not entry.letter.damage]
    _tell_left(entries)
    if arguments.dry_run:
        return _would("be replayed", whole, there, now, is_json=arguments.json)
    act = partial(deadqueue.replay, place, change=change)
    code = await _act("replayed", act, whole, arguments)
    if change is _unchanged:
        _tell_callers(whole)
    return code if len(whole) == len(entries) else EXIT_NOT_DONE


def _tell_left(entries: Iterable[Entry]) -> None:
    """A copy would be without what we cannot read; so the letter stays."""
    for entry in entries:
        if damage := entry.letter.damage:
            _say(
                f"{entry.letter.shown_id} is not replayed: nobody can decode its "
                f"{', '.join(damage)}; take its body with `show --body` and submit that"
            )


def _tell_callers(entries: Iterable[Entry]) -> None:
    if gone := sum(entry.letter.answers_a_caller for entry in entries):
        _say(
            f"{_dead_letters(gone)} of these had a reply_to that is their caller's own (amq.…): where the caller "
            "has gone, so does the reply. --no-reply-to sends replies to the results queue"
        )


def _unchanged(message: Message) -> Message:
    return message


def _change(arguments: argparse.Namespace, topology: Topology) -> Callable[[Message], Message]:
    """Make the change that sends replies elsewhere. An address that the service would refuse is refused here."""
    if not (arguments.reply_to or arguments.no_reply_to):
        return _unchanged
    if arguments.reply_to and (complaint := replyaddress.refusal(arguments.reply_to, topology, None)):
        raise ConfigurationError(complaint)
    return lambda message: replace(message, reply_to=arguments.reply_to)


async def _purge(arguments: argparse.Namespace, place: Place) -> int:
    now = time.time()
    entries, there = await _found(arguments, place, now, why=arguments.dry_run or arguments.json)
    if arguments.dry_run:
        return _would("be deleted", entries, there, now, is_json=arguments.json)
    if entries and not arguments.yes and not _is_agreed(entries, there, now):
        _say("nothing was deleted")
        return EXIT_NOT_DONE
    return await _act("deleted", partial(deadqueue.purge, place), entries, arguments)


def _is_agreed(entries: Sequence[Entry], there: int, now: float) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("purge asks before it deletes, and nobody can answer here; say --yes")
    ages = [now - entry.letter.died_at for entry in entries if entry.letter.died_at is not None]
    oldest = f", up to {show_age(max(ages))} old" if ages else ""
    sys.stderr.write(f"Delete {len(entries)} of {_dead_letters(there)}{oldest}, for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _would(what: str, entries: Sequence[Entry], there: int, now: float, *, is_json: bool) -> int:
    if is_json:
        _write_json(entries, now)
    elif entries:
        _print(entries[:ROWS], now)
    _say(f"{len(entries)} of {_dead_letters(there)} would {what}")
    return os.EX_OK


async def _act(verb: str, act: Callable[..., Any], entries: Sequence[Entry], arguments: argparse.Namespace) -> int:
    """Do it to all of them, telling how far it is; say what was done even if something ends it."""
    console = Console(stderr=True)
    by_key = {entry.letter.key: entry for entry in entries}
    done = 0
    with Progress(
        TextColumn(verb + " {task.completed} of {task.total}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(verb, total=len(entries))

        def dealt_with(letter: Letter) -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done)
            if arguments.json:
                _write_json([by_key[letter.key]], time.time())

        try:
            if entries:
                await act(chosen=Chosen.of(entry.letter for entry in entries), done=dealt_with)
        finally:
            bar.stop()
            _say(f"{verb} {_dead_letters(done)}")
    if done < len(entries):
        _say(f"{len(entries) - done} were no longer there")
    return os.EX_OK if done == len(entries) else EXIT_NOT_DONE
