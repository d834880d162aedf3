"""Makes docs/reference.md from the code: settings, commands, codes, metrics, checks. `make reference` runs it.

All facts come from the code, except the meanings of the exit codes, which are written here because several
commands share a code. All functions are pure except `main`, which writes the file. A test fails if the page is
outdated. This module is not installed: only it imports both packages.
"""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import classifier.cli
import consumer.cli.main
from consumer.cli.arguments import meaning_and_default
from consumer.config import units
from consumer.config.settings import Settings
from consumer.config.sources import ENV_PREFIX
from consumer.job import ErrorCode, Unsuccessful
from consumer.preflight.checks import CHECKS
from consumer.preflight.context import Site
from consumer.telemetry.metrics import GATEWAY_NAMES, NAMES
from consumer.telemetry.prometheus import prometheus_name
from rabbitmq_classifier_cli import CommandParser, described

PAGE = Path(__file__).with_name("reference.md")
EXIT_CODES = MappingProxyType(
    {
        0: "success, or stopped by a signal; `submit`, `try`: all jobs succeeded; `check`: no check failed",
        1: "`submit`, `try`, `demo`: a job failed; `check`: a check failed; `health`: unhealthy or unreachable; "
        "`dead-letters`: not found, not all processed, or not confirmed; `plan`: the slots are not enough, or no "
        "number of slots meets the target; `status`: jobs wait and no consumer takes them",
        2: "wrong arguments",
        3: "`local-broker status` and `url`: no node runs",
        66: "an input file is missing, cannot be read, or contains nothing that can be used",
        69: "RabbitMQ is unreachable, or the private node did not start",
        70: "a bug: please report it, with the traceback",
        75: "the connection to RabbitMQ was lost: `run` only at its start, later it reconnects; `submit` after 5 "
        "minutes; `status`; `dead-letters`, also if another command holds the dead letters or the jobs queue is "
        "full",
        77: "RabbitMQ refused the login, the virtual host, a permission or TLS; its certificate is not trusted; "
        "or a queue exists with other arguments",
        78: "a setting or an argument cannot be used; `status`, `dead-letters`: no queue has this prefix",
        130: "interrupted by Ctrl-C",
        141: "the reader of the output has exited, as `head` does",
    }
)
HEAD = """\
# Reference

This page lists all settings, commands, codes and metrics. `make reference` makes it from the code, so do not edit
it. The [README](../README.md#documentation) lists the pages that explain them.

* [Settings](#settings)
* [Commands](#commands)
* [Error codes](#error-codes)
* [Exit codes](#exit-codes)
* [Metrics](#metrics)
* [What `consumer check` looks at](#what-consumer-check-looks-at)
"""
SETTINGS = """\
## Settings

A flag overrides the variable, the variable overrides the TOML file, and the file overrides the default. `--config`
or `CONSUMER_CONFIG` names the file, which holds lines such as `pool_size = 4`. An invalid value stops the start.
An empty variable counts as not set. `consumer settings` prints this list, `consumer settings WORD` a part of it.

"""
UNITS = (
    f"Times are {units.TIME_FORMS}. Sizes are {units.SIZE_FORMS}. In the TOML file, a value with a unit is a "
    'text: `job_timeout_s = "5m"`. A switch, such as `declare`, is `true` or `false` in a variable and in the '
    "file; its flags are `--declare` and `--no-declare`."
)
WIDTH = 120
COMMANDS = """\
## Commands

Every command has `--help`. A command that takes the [settings](#settings) accepts each of them as a flag. With
`--json`, an error that ends a command is a document too: `{"error": {"message": "...", "exit_code": 66}}`.
"""
ERROR_CODES = """\
## Error codes

The codes are in the reply's `error.code`, in the error record, and in the metric `jobs.failed.<code>`. A job whose
code is retried has up to `max_attempts` attempts, with growing delays.
"""
EXITS = """\
## Exit codes

These are the exit codes of `consumer`; 64 to 78 are those of `sysexits.h`. `classifier` exits with 0, with 1
after an error message, and with 2 for wrong arguments.
"""
METRICS = """\
## Metrics

The service exports the same metrics in two ways:

* With `statsd_host` set, it sends them to statsd over UDP as `<prefix>.<host>.<name>`, with times in ms. While
  jobs run, it sends them at most 0.1 s late, several in a datagram.
* With `http_port` set, Prometheus can read them at `/metrics`, with times as histograms in seconds. `<code>` is
  the label `code`.
"""
LOOKED_AT = """\
## What `consumer check` looks at

The checks run in this order, after that of the settings. A check is skipped if one that it needs has failed.
"""


def text() -> str:
    """Return the whole page."""
    sections = (_settings(), _commands(), _error_codes(), _exit_codes(), _metrics(), _checks())
    return "\n".join((HEAD, *("\n".join((*section, "")) for section in sections))).rstrip() + "\n"


def _settings() -> Iterator[str]:
    yield SETTINGS + textwrap.fill(UNITS, WIDTH) + "\n"
    yield from table(
        ("setting", "flag", "variable", "default", "meaning"), list(map(_setting, Settings.model_fields))
    )


def _setting(name: str) -> Sequence[str]:
    is_switch = Settings.model_fields[name].annotation is bool
    flag, variable = f"--{'[no-]' * is_switch}{name.replace('_', '-')}", f"{ENV_PREFIX}{name.upper()}"
    meaning, default = meaning_and_default(name)
    return code(name), code(flag), code(variable), plain(default), plain(meaning)


def _commands() -> Iterator[str]:
    yield COMMANDS
    yield from _of(consumer.cli.main.parser())
    yield from _of(classifier.cli.parser())


def _of(parser: CommandParser) -> Iterator[str]:
    if rows := [(_invocation(action), _meaning(action)) for action in parser._actions if _is_own(action)]:  # noqa: SLF001
        yield f"### `{parser.prog}`\n"
        yield f"{parser.description} Before any of its commands:\n"
        yield from table(("argument", "meaning"), rows)
        yield ""
    for command, about in _below(parser):
        yield from _command(command, about)


def commands(parser: CommandParser) -> list[CommandParser]:
    """Return all commands of a parser, including subcommands."""
    return [command for command, _ in _below(parser)]


def _below(parser: CommandParser) -> Iterator[tuple[CommandParser, str]]:
    """Yield each command without subcommands, with its purpose."""
    for command, about in parser.commands():
        command.complete()
        yield from [*_below(command)] or [(command, about)]


def _command(parser: CommandParser, about: str) -> Iterator[str]:
    takes = [action for group in parser.own_groups() for action in group._group_actions if _is_own(action)]  # noqa: SLF001
    words = [_word(action) for action in takes if not action.option_strings]
    yield f"### `{' '.join((parser.prog, *words))}`\n"
    has_settings = len(parser.own_groups()) < len(parser._action_groups)  # noqa: SLF001
    yield f"{about[:1].upper()}{about[1:]}." + (" Takes the settings." if has_settings else "") + "\n"
    if rows := [(_invocation(action), _meaning(action)) for action in takes]:
        yield from table(("argument", "meaning"), rows)
        yield ""


def _is_own(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)  # noqa: SLF001


def _word(action: argparse.Action) -> str:
    """Write a positional argument as in a usage line."""
    name = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest)
    name = f"{name}{'...' if action.nargs == '+' else ''}"
    return f"[{name}]" if action.nargs == "?" else name


def _invocation(action: argparse.Action) -> str:
    if not action.option_strings:
        return code(_word(action))
    if action.nargs == 0:
        return code(action.option_strings[-1])
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return code(f"{action.option_strings[-1]} {f'[{value}]' if action.nargs == '?' else value}")


def _meaning(action: argparse.Action) -> str:
    said = plain(described(action).replace("%%", "%"))
    return f"needed; {said}" if action.option_strings and action.required else said


def _error_codes() -> Iterator[str]:
    yield ERROR_CODES
    yield from table(
        ("code", "meaning", "retried"), [(code(name), name.meaning, _retried(name)) for name in ErrorCode]
    )


def _retried(name: ErrorCode) -> str:
    """Say whether jobs with this code are retried; those that are not are an exception to be named."""
    endings = [ending for ending in _endings(Unsuccessful) if ending.code is name]
    if not any(ending.retryable for ending in endings):
        return "no"
    others = [(inspect.getdoc(ending) or "").partition("\n")[0] for ending in endings if not ending.retryable]
    return ", but not if ".join(("yes", *(f"{other[:1].lower()}{other[1:].rstrip('.')}" for other in others)))


def _endings(outcome: type[Unsuccessful]) -> Iterator[type[Unsuccessful]]:
    for ending in outcome.__subclasses__():
        yield ending
        yield from _endings(ending)


def _exit_codes() -> Iterator[str]:
    yield EXITS
    yield from table(("code", "meaning"), [(str(number), meaning) for number, meaning in EXIT_CODES.items()])


def _metrics() -> Iterator[str]:
    yield METRICS
    yield from _names(NAMES)
    yield "\nThose of `consumer gateway`:\n"
    yield from _names(GATEWAY_NAMES)


def _names(names: Mapping[str, str]) -> Iterator[str]:
    rows = []
    for name, said in names.items():
        kind, _, meaning = said.partition(": ")
        rows.append((code(name), code(prometheus_name(name, kind)), kind, meaning))
    yield from table(("statsd", "Prometheus", "kind", "meaning"), rows)


def _checks() -> Iterator[str]:
    yield LOOKED_AT
    rows = [(code(check.name), _first_line(check.ask), ", ".join(check.needs)) for check in CHECKS]
    yield from table(("check", "what it does", "needs"), rows)


def _first_line(function: Callable[[Site], object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Write a table in Markdown. A `|` in a cell is escaped, also in code."""
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def plain(said: str) -> str:
    """Escape `<` outside of code, so that no text becomes HTML."""
    return "`".join(part.replace("<", "&lt;") if n % 2 == 0 else part for n, part in enumerate(said.split("`")))


def code(said: str) -> str:
    """Write text as code."""
    return f"`{said}`"


def main() -> None:
    """Write the page."""
    PAGE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
