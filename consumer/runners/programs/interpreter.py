"""Finds what a command line runs: the program after `env` or `nice`, the script or module after `python3`.

Pure: takes words and returns their positions. An unknown option ends the search without a result, because no
answer is better than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final


@dataclass(frozen=True, slots=True)
class Grammar:
    """How a program reads its options.

    Letters of short options: `values` take a value; after `inline` no script follows; `module` takes a module's
    name. `long_values`: long options that take a value. `operands`: the number of arguments before the program
    that a wrapper runs. `is_strict`: all options are known.
    """

    values: str = ""
    inline: str = ""
    module: str = ""
    long_values: tuple[str, ...] = ()
    operands: int = 0
    is_strict: bool = True


SHELLS: Final = ("sh", "bash", "dash", "ash", "ksh", "zsh")
_SHELL: Final = Grammar(values="oO", inline="cs", long_values=("--rcfile", "--init-file"))
_PYTHON: Final = Grammar(values="WX", inline="c", module="m", long_values=("--check-hash-based-pycs",))
#: Programs that run a script. Of those that are not strict, only the common options are known.
INTERPRETERS: Final[Mapping[str, Grammar]] = {
    "python": _PYTHON,
    "pypy": _PYTHON,
    **dict.fromkeys(SHELLS, _SHELL),
    "perl": Grammar(values="I", inline="eE", is_strict=False),
    "ruby": Grammar(values="rIC", inline="e", is_strict=False),
    **dict.fromkeys(
        ("node", "nodejs"),
        Grammar(
            values="rC",
            inline="epi",
            long_values=("--require", "--import", "--loader", "--experimental-loader", "--conditions"),
            is_strict=False,
        ),
    ),
    "java": Grammar(is_strict=False),
    "Rscript": Grammar(inline="e", is_strict=False),
    "php": Grammar(values="cdz", inline="rRBEF", is_strict=False),
    "lua": Grammar(values="l", inline="e", is_strict=False),
    "julia": Grammar(values="LtpJCHP", inline="eE", is_strict=False),
}
#: Programs that run another one.
WRAPPERS: Final[Mapping[str, Grammar]] = {
    "env": Grammar(values="uC", inline="S"),
    "nice": Grammar(values="n"),
    "ionice": Grammar(values="cn", inline="pPu"),
    "nohup": Grammar(),
    "setsid": Grammar(),
    "stdbuf": Grammar(values="ioe"),
    "timeout": Grammar(values="ks", operands=1),
}


@dataclass(frozen=True, slots=True)
class Runs:
    """What a command line runs: the position of the last program, and of its script, or the name of its module.

    `rest` is the position of the first argument after the script or module. `options` are the program's options.
    """

    program: int
    script: int | None = None
    module: str | None = None
    rest: int | None = None
    options: tuple[str, ...] = ()


def read(argv: Sequence[str]) -> Runs:
    """Find what a command line runs."""
    program = 0
    while wrapper := WRAPPERS.get(PurePath(argv[program]).name):
        found = _first_operand(wrapper, argv, program + 1, has_assignments=PurePath(argv[program]).name == "env")
        if found is None or found + wrapper.operands >= len(argv):
            return Runs(program)
        program = found + wrapper.operands
    grammar = INTERPRETERS.get(kind(argv[program]))
    return _script(grammar, argv, program) if grammar else Runs(program)


def kind(program: str) -> str:
    """Reduce an interpreter's name: `/usr/bin/python3.11` is `python`."""
    name = PurePath(program).name
    return re.sub(r"[\d.]+\Z", "", name) or name


def _first_operand(grammar: Grammar, argv: Sequence[str], at: int, *, has_assignments: bool = False) -> int | None:
    while at < len(argv):
        word = argv[at]
        if word == "--":
            return at + 1 if at + 1 < len(argv) else None
        if has_assignments and "=" in word and not word.startswith("-"):
            at += 1
        elif not word.startswith("-") or word == "-":
            return at
        elif word.startswith("--"):
            if "=" not in word and word not in ("--preserve-status", "--foreground", "--ignore-environment"):
                return None
            at += 1
        else:
            taken = _short(grammar, word)
            if taken is None:
                return None
            at += taken
    return None


def _short(grammar: Grammar, word: str) -> int | None:
    """Count the words of a cluster of short options and its value; None if the rest cannot be interpreted."""
    for index, letter in enumerate(word[1:], start=1):
        if letter in grammar.inline or letter in grammar.module:
            return None
        if letter in grammar.values:
            return 1 if word[index + 1 :] else 2
    return 1


def _script(grammar: Grammar, argv: Sequence[str], program: int) -> Runs:
    at = program + 1
    while at < len(argv):
        word, options = argv[at], tuple(argv[program + 1 : at])
        if word == "-":
            return Runs(program)
        if word == "--" or (word == "-jar" and kind(argv[program]) == "java"):
            at += 1
            return Runs(program, script=at) if at < len(argv) else Runs(program)
        if not word.startswith(("-", "+")):
            return (
                Runs(program, script=at, rest=at + 1, options=options)
                if _is_likely(grammar, word)
                else Runs(program)
            )
        if module := _module(grammar, argv, at):
            name, rest = module
            return Runs(program, module=name, rest=rest, options=options)
        if word.startswith("--"):
            at += 2 if word in grammar.long_values else 1
            continue
        taken = _short(grammar, word)
        if taken is None:
            return Runs(program)
        at += taken
    return Runs(program)


def _is_likely(grammar: Grammar, word: str) -> bool:
    """Whether a word is probably the script, and not the value of an unknown option."""
    return grammar.is_strict or "/" in word or "." in word[1:]


def _module(grammar: Grammar, argv: Sequence[str], at: int) -> tuple[str, int] | None:
    """Return the name of a module, and the position of its first argument."""
    for index, letter in enumerate(argv[at][1:], start=1):
        if letter in grammar.module:
            glued = argv[at][index + 1 :]
            if glued:
                return glued, at + 1
            return (argv[at + 1], at + 2) if at + 1 < len(argv) else None
        if letter in grammar.values or letter in grammar.inline or letter == "-":
            return None
    return None
