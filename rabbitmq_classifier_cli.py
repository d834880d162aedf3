"""The parser of both command lines: help that fits on a screen, and errors of one line with a hint.

`consumer` and `classifier` use it. Neither imports the other, so it lies beside them. It knows no command and no
setting: the commands pass groups, defaults and examples.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

#: The title of the options that many commands share. Help names them in one sentence and lists none of them.
SHARED = "settings"
#: The names in help of arguments that are files, even if they may be `-` and so are no paths to the parser.
FILES = ("FILE", "JOB.json")
#: The same of arguments that are folders.
FOLDER = "DIR"
NO_VALUES: Mapping[str, Sequence[str]] = MappingProxyType({})
_COLUMN = 26
_USAGE_ERROR = 2
#: The most characters of a word that a message quotes.
_LONGEST = 60


def version() -> str:
    """Return the version of both. `classifier` asks for it here, because it imports nothing of `consumer`."""
    from consumer._version import VERSION  # noqa: PLC0415 - the parser itself needs neither package

    return VERSION


def described(action: argparse.Action) -> str:
    """Return the help of an argument with its default. A text may state a default itself."""
    text = action.help or ""
    is_silent = isinstance(action, argparse._HelpAction | argparse._VersionAction)  # noqa: SLF001 - argparse's own
    if not action.option_strings or action.required or is_silent or "default: " in text:
        return text
    default = "off" if action.nargs == 0 else str(action.default).replace("%", "%%")
    return f"{text}; default: {default}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the shortest that begins with it, or a similar one."""
    words = sorted(known, key=lambda one: (len(one), one))
    guess = [one for one in words if one.startswith(word)] or difflib.get_close_matches(word, words, n=1)
    return f"; did you mean {guess[0]}?" if guess else ""


def _quoted(word: object) -> str:
    """Quote what was typed; whole pages may be pasted into a terminal."""
    text = str(word)
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")


class _Formatter(argparse.HelpFormatter):
    """Writes each option with its default."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_COLUMN)

    def _get_help_string(self, action: argparse.Action) -> str:
        return described(action)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            return "".join(map(self._format_action, action._choices_actions))  # noqa: SLF001 - as above
        return super()._format_action(action)


class CommandParser(argparse.ArgumentParser):
    """A parser with examples below its help. Its subcommands are parsers of this class, too.

    Mutable state: `_describe`, until it was called; `_words`, the arguments that are being parsed.
    """

    def __init__(
        self,
        *,
        examples: Sequence[str] = (),
        describe: Callable[[CommandParser], None] | None = None,
        **more: Any,  # noqa: ANN401 - argparse's own
    ) -> None:
        """Create a parser. `describe` adds its arguments at its first use, so that others need not import them."""
        # Without abbreviations, because a script that uses one fails when a second option begins in the same way.
        super().__init__(**more, allow_abbrev=False)
        self._positionals.title = "arguments"
        self.examples = examples
        self._describe = describe
        self._words: list[str] = []

    def complete(self) -> None:
        """Add the arguments, if that was not done yet."""
        describe, self._describe = self._describe, None
        if describe:
            describe(self)

    def format_help(self) -> str:
        """Format usage, purpose, options by group, where the settings are, and the examples."""
        self.complete()
        formatter = _Formatter(f"{self.prog} [options]")
        needed = [action for action in self._own() if action.required or not action.option_strings]
        required = [group for group in self._mutually_exclusive_groups if group.required]
        needed += [action for group in required for action in group._group_actions]  # noqa: SLF001 - as above
        formatter.add_usage(None, needed, required)
        formatter.add_text(self.description)
        for group in self.own_groups():
            formatter.start_section(group.title)
            formatter.add_text(group.description)
            formatter.add_arguments(group._group_actions)  # noqa: SLF001 - as above
            formatter.end_section()
        return formatter.format_help() + "".join(f"\n{part}\n" for part in self._below())

    def commands(self) -> Iterator[tuple[CommandParser, str]]:
        """Yield the parser of each command, and its line in the list of commands."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
                lines = {line.dest: line.help or "" for line in action._choices_actions}  # noqa: SLF001 - as above
                yield from ((command, lines[name]) for name, command in action.choices.items())

    def own_groups(self) -> list[argparse._ArgumentGroup]:
        """Return the groups without the shared one; the group of `--help` is the last."""
        own = [group for group in self._action_groups if group.title != SHARED]
        return sorted(own, key=lambda group: group is self._optionals)

    def _own(self) -> Iterator[argparse.Action]:
        for group in self.own_groups():
            yield from group._group_actions  # noqa: SLF001 - as above

    def _below(self) -> Iterator[str]:
        if len(self.own_groups()) < len(self._action_groups):
            yield f"Every setting is an option, too; `{self.prog.partition(' ')[0]} settings` lists them."
        if self.examples:
            yield "\n".join(("examples:", *(f"  {example}" for example in self.examples)))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:  # noqa: ANN401 - argparse's own
        """Parse as argparse does, but refuse what is unknown here, where the options of this command are known."""
        self.complete()
        self._words = words = sys.argv[1:] if args is None else list(args)
        if self._subparsers and not words:
            self.exit(_USAGE_ERROR, self.format_help())  # who types the name alone wants to see what there is
        if flag := self._given_a_value(words):
            self.error(flag)
        if misspelt := self._misspelt(words):  # before argparse, which would complain of a missing argument first
            self.error(self._unknown(misspelt))
        known, unknown = super().parse_known_args(words, namespace)
        if unknown:
            self.error(self._unknown(unknown[0]))
        return known, unknown

    def _misspelt(self, words: Sequence[str]) -> str | None:
        """Return the first word that looks like an option of this command, and is none."""
        for word in words:
            if word == "--" or (self._subparsers and not word.startswith("-")):
                return None  # options of a subcommand follow, or none
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                return word
        return None

    def _given_a_value(self, words: Sequence[str]) -> str | None:
        """Return what is wrong with the first switch that has a value, such as `--declare=false`."""
        for word in words:
            flag, equals, _ = word.partition("=")
            action = self._option_string_actions.get(flag)
            if word == "--" or (self._subparsers and not word.startswith("-")):
                return None
            if equals and action and action.nargs == 0:
                ways = [one for one in action.option_strings if one.startswith("--")]
                off = "" if len(ways) > 1 else ", or leave it out"
                return f"{flag} is a switch and takes no value: write {' or '.join(ways)}{off}"
        return None

    def _unknown(self, word: str) -> str:
        if not word.startswith("-"):
            return f"unexpected argument {_quoted(word)}"
        flag = word.partition("=")[0]
        guess = did_you_mean(flag, self._option_string_actions)
        hint = "; options of a command come after it" if self._subparsers else ""
        return f"no option {_quoted(flag)}{guess or hint}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401 - argparse's own
        if action.choices is None or value in action.choices:
            return
        names = list(map(str, action.choices))
        guess = did_you_mean(str(value), names)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            kind = str(action.metavar).lower()
            raise argparse.ArgumentError(None, f"no {kind} {_quoted(value)}{guess}")
        raise argparse.ArgumentError(action, f"{_quoted(value)} is not one of {', '.join(names)}{guess}")

    def error(self, message: str) -> NoReturn:
        """Exit with a line about the fault and the command that helps; with --json, also with a JSON document."""
        if "--json" in self._words and "--json" in self._option_string_actions:
            sys.stdout.write(json.dumps({"error": {"message": message, "exit_code": _USAGE_ERROR}}) + "\n")
        self.exit(_USAGE_ERROR, f"{self.prog}: {message}\nTry `{self.prog} --help`.\n")


def sentence(phrase: str) -> str:
    """Make the description of a command from its line in the list of commands."""
    return f"{phrase[:1].upper()}{phrase[1:]}."


def add_help_command(commands: Any, top: CommandParser) -> None:  # noqa: ANN401 - argparse's type has no public name
    """Add `help COMMAND`, which is what many people type first."""
    phrase = "show the help of a command"
    parser = commands.add_parser("help", help=phrase, description=sentence(phrase))
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="the command; default: all are listed")
    parser.set_defaults(command=lambda given: top.parse_args([*given.words, "--help"]))


def add_completion(command: argparse.ArgumentParser) -> None:
    """Add the argument of the command `completion`."""
    command.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")


def completion_script(top: CommandParser, shell: str, values: Mapping[str, Sequence[str]] = NO_VALUES) -> str:
    """Return the script that completes the commands and options of a parser in a shell; files for each path.

    Args:
        top: the parser.
        shell: bash, zsh or fish.
        values: the values of options whose choices the parser does not check.
    """
    import shtab  # noqa: PLC0415 - only this needs it

    for parser in all_parsers(top):
        for action in parser._actions:  # noqa: SLF001 - as above
            if action.metavar == FOLDER:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # what shtab reads
            elif action.type is Path or action.metavar in FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined] # as above
            elif action.choices is None and (found := values.get("".join(action.option_strings[:1]))):
                action.choices = found
    return str(shtab.complete(top, shell=shell))


def all_parsers(parser: CommandParser) -> Iterator[CommandParser]:
    """Yield a parser and those of its commands, with all arguments."""
    parser.complete()
    yield parser
    for command, _ in parser.commands():
        yield from all_parsers(command)
