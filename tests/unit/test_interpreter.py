"""What a command line runs, read from its words alone."""

from __future__ import annotations

import pytest

from consumer.runners.programs.interpreter import Runs, kind, read


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        ("/bin/classify --fast", Runs(0)),
        ("/usr/bin/python3 classify.py", Runs(0, script=1, rest=2)),
        ("python3.11 -u -W error classify.py --fast", Runs(0, script=4, rest=5, options=("-u", "-W", "error"))),
        ("python3 -Xdev classify.py", Runs(0, script=2, rest=3, options=("-Xdev",))),
        ("python3 -c print()", Runs(0)),
        ("python3 -uc print()", Runs(0)),
        ("python3 -", Runs(0)),
        ("python3", Runs(0)),
        ("python3 -m tool.run --fast", Runs(0, module="tool.run", rest=3)),
        ("python3 -I -mtool", Runs(0, module="tool", rest=3, options=("-I",))),
        ("python3 -m", Runs(0)),
        ("sh ./classify.sh", Runs(0, script=1, rest=2)),
        ("bash -e -o pipefail classify.sh", Runs(0, script=4, rest=5, options=("-e", "-o", "pipefail"))),
        ("sh -ec exit", Runs(0)),
        ("bash -- classify.sh", Runs(0, script=2)),
        ("perl -w classify.pl", Runs(0, script=2, rest=3, options=("-w",))),
        ("perl -ne print", Runs(0)),
        ("node --require ./hook.js classify.js", Runs(0, script=3, rest=4, options=("--require", "./hook.js"))),
        ("node --stack-size 4096 classify.js", Runs(0)),  # 4096 may be a value: nothing is said
        ("java -Xmx1g -jar classify.jar", Runs(0, script=3)),
        ("java -cp lib Main", Runs(0)),
        ("env LANG=C python3 classify.py", Runs(2, script=3, rest=4)),
        ("env -u HOME -i python3 classify.py", Runs(4, script=5, rest=6)),
        ("env -S python3", Runs(0)),
        ("nice -n 5 timeout -k 1 10 sh classify.sh", Runs(7, script=8, rest=9)),
        ("stdbuf -oL ./classify", Runs(2)),
        ("setsid --what ./classify", Runs(0)),
        ("env", Runs(0)),
        ("timeout 10", Runs(0)),
    ],
)
def test_the_program_the_script_and_the_module_are_found(command: str, runs: Runs) -> None:
    assert read(command.split()) == runs


@pytest.mark.parametrize(
    ("program", "name"),
    [("/usr/bin/python3.11", "python"), ("python", "python"), ("lua5.4", "lua"), ("/opt/7", "7"), ("sh", "sh")],
)
def test_a_version_is_no_part_of_an_interpreters_name(program: str, name: str) -> None:
    assert kind(program) == name
