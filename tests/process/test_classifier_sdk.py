"""The SDK as a program's author meets it: real programs, their real stdout, stderr and exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

JOB = '{"signal": [1, 2, 3]}'


def run(
    folder: Path, body: str, job: str | bytes = JOB, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `body` as the function of a classifier, on a job with this text."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    head = "import ctypes, os, sys\nfrom classifier import contract\n"
    program, path = folder / "program.py", folder / "job.json"
    program.write_text(f"{head}def function(job):\n{lines}\ncontract.run(function)\n", encoding="utf-8")
    path.write_bytes(job if isinstance(job, bytes) else job.encode())
    return subprocess.run(
        [sys.executable, program, path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def protocol(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of the contract: a prefix at the start of a line."""
    return [line for line in result.stdout.split("\n") if line.startswith(("LOG:", "OUTPUT:", "ERROR:"))]


def test_what_the_function_returns_is_the_output(tmp_path: Path) -> None:
    result = run(tmp_path, "return {'sum': sum(job['signal'])}")
    assert protocol(result) == ['OUTPUT: {"sum": 6}']
    assert (result.returncode, result.stderr) == (0, "")


def test_a_function_that_returns_nothing_gives_null(tmp_path: Path) -> None:
    assert protocol(run(tmp_path, "pass")) == ["OUTPUT: null"]


def test_an_exception_is_one_error_line_with_the_traceback_on_stderr(tmp_path: Path) -> None:
    result = run(tmp_path, "raise ValueError('too\\nlong')")
    assert protocol(result) == ["ERROR: ValueError: too\\nlong"]
    assert result.returncode == 0
    assert result.stderr.startswith("Traceback")
    assert "in function" in result.stderr


def test_an_exception_without_a_message_is_named(tmp_path: Path) -> None:
    assert protocol(run(tmp_path, "raise KeyError")) == ["ERROR: KeyError"]


def test_a_bad_job_is_its_message_without_a_traceback(tmp_path: Path) -> None:
    result = run(tmp_path, "raise contract.JobError('no signal')")
    assert protocol(result) == ["ERROR: no signal"]
    assert result.stderr == ""


def test_log_lines_come_in_order_and_one_for_each_line_of_text(tmp_path: Path) -> None:
    result = run(tmp_path, "contract.log('one\\ntwo')\ncontract.log('')\nreturn 3")
    assert protocol(result) == ["LOG: one", "LOG: two", "LOG: ", "OUTPUT: 3"]


def test_an_unfinished_print_does_not_hide_the_answer(tmp_path: Path) -> None:
    result = run(tmp_path, "print('50 %', end='')\ncontract.log('half')\nprint('99 %', end='')\nreturn 1")
    assert protocol(result) == ["LOG: half", "OUTPUT: 1"]
    assert result.stdout.index("50 %") < result.stdout.index("LOG") < result.stdout.index("99 %")


def test_unfinished_output_of_native_code_does_not_hide_the_answer(tmp_path: Path) -> None:
    result = run(tmp_path, "os.write(1, b'native')\nreturn 1")
    assert protocol(result) == ["OUTPUT: 1"]


def test_numpy_values_become_plain_ones(tmp_path: Path) -> None:
    body = (
        "import numpy as np\nreturn {'a': np.arange(3), 'b': np.float32(0.5), 'c': [np.int64(7)], 'd': np.True_}"
    )
    assert protocol(run(tmp_path, body)) == ['OUTPUT: {"a": [0, 1, 2], "b": 0.5, "c": [7], "d": true}']


@pytest.mark.parametrize(
    "value", ["float('nan')", "{'p': [float('inf')]}", "__import__('numpy').array([float('nan')])"]
)
def test_an_output_that_json_does_not_have_is_an_error(tmp_path: Path, value: str) -> None:
    (line,) = protocol(run(tmp_path, f"return {value}"))
    assert line.startswith("ERROR: ValueError: the output cannot be JSON")
    assert "replace NaN and infinities" in line


def test_an_output_of_another_type_is_an_error_that_names_it(tmp_path: Path) -> None:
    (line,) = protocol(run(tmp_path, "return object()"))
    assert line.startswith(
        "ERROR: TypeError: the output cannot be JSON: output is of type object, which is not JSON"
    )


def test_the_first_answer_stands_and_a_second_one_raises(tmp_path: Path) -> None:
    result = run(tmp_path, "contract.output(1)\ncontract.error('late')")
    assert protocol(result) == ["OUTPUT: 1"]
    assert "AlreadyAnsweredError" in result.stderr
    assert result.returncode == 0


def test_a_function_may_answer_itself(tmp_path: Path) -> None:
    result = run(tmp_path, "contract.error('bad\\r\\nline')")
    assert protocol(result) == ["ERROR: bad\\r\\nline"]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("[1]", "not a JSON object but of type list"),
        ("{", "the job is not JSON"),
        ("", "the job is not JSON"),
        (b'{"a": "\xff"}', "the job is not JSON"),
        ("[" * 100_000, "the job is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "the job is not JSON"),
    ],
)
def test_a_file_that_is_no_job_is_an_error_line(tmp_path: Path, job: str | bytes, reason: str) -> None:
    result = run(tmp_path, "return 1", job)
    (line,) = protocol(result)
    assert line.startswith("ERROR: ")
    assert reason in line
    assert result.stderr == ""


def test_a_missing_file_is_an_error_line(tmp_path: Path) -> None:
    code = "from classifier import contract; contract.run(print)"
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "none.json"], capture_output=True, text=True, check=False
    )
    assert protocol(result)[0].startswith("ERROR: cannot read the job: [Errno 2]")
    assert result.returncode == 0


def test_a_program_started_without_a_job_says_so() -> None:
    code = "import sys; sys.argv = ['program']; from classifier import contract; contract.run(print)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert protocol(result) == ["ERROR: no job given: pass the path of the job's file as the last argument"]


def test_an_exit_without_an_answer_is_passed_through(tmp_path: Path) -> None:
    result = run(tmp_path, "sys.exit(7)")
    assert (result.returncode, protocol(result)) == (7, [])


def test_half_a_surrogate_pair_is_shown_and_not_a_crash(tmp_path: Path) -> None:
    assert protocol(run(tmp_path, "contract.log('\\ud800')\nreturn 1")) == ["LOG: \\ud800", "OUTPUT: 1"]
    assert protocol(run(tmp_path, "raise contract.JobError('\\udcff')")) == ["ERROR: \\udcff"]
    assert protocol(run(tmp_path, "raise KeyError('\\ud800')")) == ["ERROR: KeyError: '\\ud800'"]
    assert protocol(run(tmp_path, "contract.error('\\ud800')")) == ["ERROR: \\ud800"]


def test_half_a_surrogate_pair_in_an_output_is_an_error_with_its_place(tmp_path: Path) -> None:
    (line,) = protocol(run(tmp_path, "return {'a': ['\\ud800']}"))
    assert line.startswith(
        r'ERROR: ValueError: the output cannot be JSON: output["a"][0] holds the lone surrogate \ud800'
    )


def test_the_context_comes_from_the_environment(tmp_path: Path) -> None:
    environment = {"JOB_ID": "a-1", "JOB_ATTEMPT": "2", "TRACEPARENT": "00-ab-cd-01"}
    (line,) = protocol(run(tmp_path, "return contract.context()._asdict()", environment=environment))
    answer = json.loads(line.removeprefix("OUTPUT: "))
    assert answer == {"job_id": "a-1", "attempt": 2, "traceparent": "00-ab-cd-01"}


def test_the_sdk_imports_nothing_heavy() -> None:
    code = "import sys, classifier.contract; print(sorted({'numpy', 'sklearn', 'asyncio'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
