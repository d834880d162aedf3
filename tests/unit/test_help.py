"""Help and usage errors of all commands, as a terminal of 80 columns shows them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import classifier.cli
import consumer.cli.main
from consumer.cli.completion import values
from consumer.config.settings import Settings
from rabbitmq_classifier_cli import all_parsers, completion_script

#: The lines of a terminal that is a little larger than the smallest.
SCREEN = 45


COMMANDS = {
    command.prog: command
    for top in (consumer.cli.main.parser(), classifier.cli.parser())
    for command in all_parsers(top)
}
ALL = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command that ends with its arguments; return its exit code, and what it prints on stderr."""
    top = classifier.cli.main if argv[0] == "classifier" else consumer.cli.main.main
    with pytest.raises(SystemExit) as ended:
        top(argv[1:])
    return int(ended.value.code or 0), capsys.readouterr().err


@ALL
def test_help_fits_on_a_screen(name: str) -> None:
    lines = COMMANDS[name].format_help().splitlines()
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= 80


@ALL
def test_every_option_shows_its_default_or_is_required(name: str) -> None:
    usage, text = COMMANDS[name].format_help().split("\n\n", 1)
    for entry in re.findall(r"^  --(?:.*\n)(?: {4,}.*\n)*", text, re.MULTILINE):
        flag = entry.split()[0]
        assert flag in ("--help", "--version") or flag in usage or "default: " in " ".join((*entry.split(), ""))
    assert not re.search(r"default:\s+None|SUPPRESS", text)


@ALL
def test_a_command_without_subcommands_has_two_examples_and_they_parse(name: str) -> None:
    command = COMMANDS[name]
    if [*command.commands()] or name.endswith(" help"):
        return
    examples = command.examples
    assert len(examples) == 2
    for example in examples:
        top, _, below_it = name.partition(" ")
        words = example.split(f"{top} ", 1)[1].partition(">")[0].rstrip(')" ')
        COMMANDS[top].parse_args(words.split())
        assert words.startswith(below_it)


def test_settings_are_in_no_help_and_accepted_all_the_same() -> None:
    run = COMMANDS["consumer run"]
    assert "--max-attempts" not in run.format_help()
    assert "consumer settings" in run.format_help()
    given = vars(run.parse_args(["--max-attempts", "4", "--no-declare", "--log-level", "debug"]))
    assert (given["setting_max_attempts"], given["setting_declare"]) == ("4", False)


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("consumer statu", "consumer: no command 'statu'; did you mean status?"),
        ("consumer --pool-size 4 run", "consumer: no option '--pool-size'; options of a command come after it"),
        ("consumer 4 run", "consumer: no command '4'"),
        ("consumer submit --timout 5m", "consumer submit: no option '--timout'; did you mean --timeout?"),
        ("consumer run --pool-siz 4", "consumer run: no option '--pool-siz'; did you mean --pool-size?"),
        ("consumer run --pool 4", "consumer run: no option '--pool'; did you mean --pool-size?"),
        ("consumer run --job-timeout 5", "consumer run: no option '--job-timeout'; did you mean --job-timeout-s?"),
        ("consumer run extra", "consumer run: unexpected argument 'extra'"),
        ("consumer dead-letters lst", "consumer dead-letters: no action 'lst'; did you mean list?"),
        (
            "consumer run --declare=false",
            "consumer run: --declare is a switch and takes no value: write --declare or --no-declare",
        ),
        (
            "consumer check --json=yes",
            "consumer check: --json is a switch and takes no value: write --json, or leave it out",
        ),
        ("consumer submit", "consumer submit: the following arguments are required: FILE"),
        (f"consumer run {'x' * 5000}", f"consumer run: unexpected argument '{'x' * 60}...'"),
        ("classifier trian", "classifier: no command 'trian'; did you mean train?"),
        ("classifier jobs x --lables", "classifier jobs: no option '--lables'; did you mean --labels?"),
    ],
)
def test_a_usage_error_is_one_line_and_a_hint(argv: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = line.partition(":")[0]
    assert said(argv.split(), capsys) == (2, f"{line}\nTry `{command} --help`.\n")


@pytest.mark.parametrize("argv", ["consumer", "consumer dead-letters", "classifier"])
def test_the_name_alone_shows_what_there_is(argv: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(argv.split(), capsys) == (2, COMMANDS[argv].format_help())


@pytest.mark.parametrize(
    "argv", ["try none.json --json", "check --job none --json", "plan --rate 1 --times none --json"]
)
def test_with_json_a_command_prints_a_document_even_if_it_cannot_begin(
    argv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        consumer.cli.main.main([*argv.split(), "--pool-size", "x"])
    found = json.loads(capsys.readouterr().out)
    assert ended.value.code == (1 if argv.startswith("check") else found["error"]["exit_code"])
    assert "pool_size = 'x' from --pool-size" in json.dumps(found)


@pytest.mark.parametrize("argv", ["consumer help", "consumer help dead-letters replay", "classifier help train"])
def test_help_followed_by_a_command_is_its_help(argv: str, capsys: pytest.CaptureFixture[str]) -> None:
    top, _, *words = argv.split()
    with pytest.raises(SystemExit) as ended:
        (classifier.cli.main if top == "classifier" else consumer.cli.main.main)(argv.split()[1:])
    assert ended.value.code == 0
    assert capsys.readouterr().out == COMMANDS[" ".join((top, *words))].format_help()


@pytest.mark.parametrize("word", ["", "timeout", "job-timeout-s", "CONSUMER_JOB_TIMEOUT_S"])
def test_settings_are_listed_with_their_defaults(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        consumer.cli.main.main(["settings", *([word] if word else [])])
    listed = capsys.readouterr().out
    assert "  job_timeout_s = 1m\n" in listed
    shown = {name for name in Settings.model_fields if f"  {name} = " in listed}
    assert shown == ({*Settings.model_fields} if not word else {n for n in shown if "timeout" in n})
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("top", "words", "expected"),
    [
        ("consumer", ["sta"], "status"),
        ("consumer", ["run", "--pool"], "--pool-size"),
        ("consumer", ["dead-letters", "re"], "replay"),
        ("classifier", ["train", "--no"], "--no-trust"),
        ("consumer", ["run", "--log-format", "j"], "json"),
        ("consumer", ["run", "--log-jobs", ""], "failed"),
        ("consumer", ["status", "--log-level", "W"], "WARNING"),
        ("consumer", ["dead-letters", "list", "--code", "timed"], "timed_out"),
        ("consumer", ["dead-letters", "list", "--reason", ""], "expired"),
        ("consumer", ["local-broker", "u"], "url"),
    ],
)
def test_bash_completes_commands_and_options_and_their_values(top: str, words: list[str], expected: str) -> None:
    assert expected in completed(top, *words)


@pytest.mark.parametrize(
    "words",
    [
        ("consumer", "try"),
        ("consumer", "submit"),
        ("consumer", "submit", "--out"),
        ("consumer", "run", "--config"),
        ("consumer", "run", "--amqp-ca-file"),
        ("classifier", "train"),
        ("classifier", "predict"),
    ],
)
def test_bash_completes_the_names_of_files(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "pumps.json").touch()
    assert "pumps.json" in completed(*words, "pu", folder=tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("consumer", "run", "--models-dir"),
        ("consumer", "run", "--job-dir"),
        ("consumer", "local-broker", "up", "--data"),
    ],
)
def test_bash_completes_the_names_of_folders(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "pumps").mkdir()
    assert "pumps" in completed(*words, "pu", folder=tmp_path)


def completed(top: str, *words: str, folder: Path | None = None) -> list[str]:
    """Return what bash offers for the last word."""
    line = " ".join((top, *words))
    script = (
        f"{completion_script(COMMANDS[top], 'bash', values())}\n"
        f"COMP_WORDS=({line}) COMP_CWORD={len(words)} COMP_LINE='{line}'\n"
        f"_shtab_{top} {top}\necho ${{COMPREPLY[@]}}"
    )
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("check --jsn --json", "no option '--jsn'; did you mean --json?"),
        ("plan --json", "the following arguments are required: --rate"),
        ("dead-letters list --json --limit x", "argument --limit: "),
        ("run --json", None),
    ],
)
def test_a_usage_error_is_json_too_where_a_program_asked_for_json(
    line: str, message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        consumer.cli.main.main(line.split())
    assert ended.value.code == 2
    out = capsys.readouterr().out
    if message is None:  # the command has no such option
        assert out == ""
    else:
        error = json.loads(out)["error"]
        assert error["exit_code"] == 2
        assert error["message"].startswith(message)
