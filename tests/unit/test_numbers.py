"""Numbers that a person types behind an option: what is taken, and that a refusal says what is expected."""

from __future__ import annotations

import argparse

import pytest

from classifier import cli as classifier_cli
from consumer.cli import main
from consumer.config.loader import load
from consumer.errors import ConfigurationError
from rabbitmq_classifier_cli import all_parsers

WHOLE = "a whole number from 1 to "
AGE = "an age, a number followed by s, m, h or d"
SUBMIT = ["submit", "j.json"]
LETTERS = ["dead-letters", "list"]
PLAN = ["plan", "--rate", "3", "--service", "mean=0.1"]
GENERATE = ["generate", "--out", "x.csv"]
TRAIN = ["train", "x.csv", "--out", "m"]
WRONG = [
    "",
    " ",
    "abc",
    "nan",
    "inf",
    "-inf",
    "1,5",
    "0x10",
    "1_0",
    "\u00b2",
    "\u0663",
    "9" * 5000,
    "1e999",
    "1 2",
]


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = classifier_cli.parser() if argv[0] in ("generate", "train") else main.parser()
    return parser.parse_args(argv)


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parsed(argv)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[0]


#: The command and its option -> what is expected there, what is refused beside WRONG, and what is taken.
OPTIONS = [
    (SUBMIT, "--window", "a whole number from 1 to 100000", ["0", "-1", "0.5", "1e2", "1e30"], ["1", "64"]),
    (SUBMIT, "--timeout", "a time from 1ms to 365d", ["0", "-1", "1e30", "5x"], ["0.5", "5m"]),
    (["status"], "--watch", "a time from 100ms to 1d", ["0", "-1", "0.01", "1e30"], ["0.1", "2", "200ms"]),
    (["try", "j.json"], "--repeat", "a whole number from 1 to 1000000", ["0", "-1", "1.5"], ["3"]),
    (LETTERS, "--limit", "a whole number from 1 to 1000000000", ["0", "-1", "1.5"], ["3"]),
    (LETTERS, "--older-than", AGE, ["0", "-1s", "5", "1y"], ["90s", "1.5h"]),
    (LETTERS, "--newer-than", AGE, ["0", "-1s", "5", "1y"], ["7d"]),
    (PLAN, "--rate", "a number of jobs per second from 1e-09", ["0", "-1", "1e300", "3/h"], ["3", "0.5"]),
    (PLAN, "--target", "a target: write p50", ["0", "p95", "p95-wait=0", "p95-wait=nan"], ["p95-wait=1"]),
    (PLAN, "--slots", "a whole number from 1 to 1000000", ["0", "-1", "0.5"], ["2"]),
    (PLAN, "--overhead", "a time from 0 to 365d", ["-1", "1e30"], ["0", "2.5ms"]),
    (GENERATE, "--per-class", "a whole number from 1 to 1000000", ["0", "-1", "0.5", "1e3"], ["1", "60"]),
    (GENERATE, "--seed", "a whole number from 0 to", ["-1", "0.5"], ["0", "7"]),
    (TRAIN, "--reshuffles", "a whole number from 1 to 1000000", ["0", "-1", "0.5"], ["5"]),
]  # fmt: skip
NAMES = [f"{argv[0]} {option}" for argv, option, *_ in OPTIONS]


@pytest.mark.parametrize(("argv", "option", "expected", "wrong", "_right"), OPTIONS, ids=NAMES)
def test_what_is_no_number_for_an_option_is_refused_and_the_refusal_says_what_is_one(
    argv: list[str],
    option: str,
    expected: str,
    wrong: list[str],
    _right: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for text in [*wrong, *WRONG]:
        said = refusal([*argv, f"{option}={text}"], capsys)
        assert f"argument {option}: {text[:20]!r}".rstrip("'") in said
        assert f"is not {expected}" in said
        assert len(said) < 300


@pytest.mark.parametrize(("argv", "option", "_expected", "_wrong", "right"), OPTIONS, ids=NAMES)
def test_what_is_a_number_for_an_option_is_taken(
    argv: list[str], option: str, _expected: str, _wrong: list[str], right: list[str]
) -> None:
    name = option.removeprefix("--").replace("-", "_")
    for text in right:
        taken = getattr(parsed([*argv, f"{option}={text}"]), name)
        if text.lstrip("-").isdecimal():
            assert taken == int(text)
        else:
            assert taken


@pytest.mark.parametrize("of", [main, classifier_cli])
def test_no_option_has_a_type_that_argparse_would_name_in_a_refusal(of: object) -> None:
    """`invalid float value`, it would say, or the name of one of our functions."""
    assert isinstance(of, type(main))
    actions = [action for parser in all_parsers(of.parser()) for action in parser._actions]  # noqa: SLF001 - it has no public name
    assert len(actions) > 20
    assert not {int, float} & {action.type for action in actions}


@pytest.mark.parametrize(
    "setting",
    [
        "max_memory_bytes", "max_folder_bytes", "max_stdout_bytes", "max_model_bytes", "min_free_bytes",
        "max_worker_growth_bytes", "jobs_per_worker", "max_cpu_s", "consumer_timeout_s",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["1" + "0" * 27, "inf", "nan", "-1"])
def test_a_setting_that_no_machine_can_have_is_refused_at_the_start(setting: str, value: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"{setting} = '{value}' from --.*; `consumer settings {setting}` "
    ):
        load({setting: value}, {})
