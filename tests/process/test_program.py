"""The exec runner: what a classifier is given, what is kept from it, and what is left when it ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.async_tests import runs_async
from support.unprivileged import unprivileged_folder
from support.waiting import PATIENCE_S

from consumer.config.loader import load
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Failed, Job, Outcome, OverLimit, Request, Succeeded, TimedOut
from consumer.runners.environment import QUIET, THREAD_VARIABLES, UNBUFFERED, base_environment
from consumer.runners.exec_runner import Program
from consumer.runners.files.job_files import JobFiles
from consumer.runners.programs.own_python import user_path
from consumer.runners.runner import open_runner

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#: What a service may find in its own environment.
SURROUNDINGS = {
    "PATH": os.environ["PATH"],
    "LANG": "C.UTF-8",
    "HOME": "/home/service",
    "TMPDIR": "/var/tmp",  # noqa: S108 - a value, not a place
    "CONSUMER_AMQP_URL": "amqp://user:hunter2@host/",
    "CONSUMER_PREFIX": "ours",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "DATABASE_PASSWORD": "hunter2",
    "MY_REGION": "north",
    "MY_TOKEN": "hunter2",
}
#: Answers with the environment as it was at the start of the program, before the interpreter adds to it.
TELL_ENVIRONMENT = """
import json
pairs = open("/proc/self/environ").read().split("\\0")[:-1]
print("OUTPUT:", json.dumps(dict(pair.split("=", 1) for pair in pairs)))
"""


def job(body: bytes = b"{}", timeout_s: float = 30.0, **request: Any) -> Job:  # noqa: ANN401 - a request's own
    fields = {"id": "id-1", "correlation_id": "c", "attempt": 2, **request}
    return Job(request=Request(**fields), body=body, timeout_s=timeout_s)


@dataclass
class Bench:
    """A slot on a program of the test's own."""

    files: JobFiles
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    surroundings: Mapping[str, str] = field(default_factory=lambda: SURROUNDINGS)

    def program(self, *command: str) -> Program:
        return Program.from_settings(load({**self.settings, "command": list(command)}, {}), self.surroundings)

    async def run(self, *command: str, of: Job | None = None) -> Outcome:
        settings = load({**self.settings, "command": list(command)}, {})
        async with open_runner(settings, self.files, self.surroundings, size=1) as runner:
            return await runner.pool.slots[0].run(of or job())

    async def shell(self, script: str, of: Job | None = None) -> Outcome:
        """Run a shell script as the classifier: the job's path is its `$1`."""
        return await self.run(self.script(script), of=of)

    def script(self, text: str) -> str:
        path = self.folder / "classify.sh"
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return str(path)

    async def environment(self, of: Job | None = None) -> dict[str, str]:
        return dict(json.loads(output(await self.run(sys.executable, "-c", TELL_ENVIRONMENT, of=of))))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "programs").mkdir()
    files = JobFiles.open(tmp_path / "jobs")
    yield Bench(files, tmp_path / "programs")
    assert left(files) == []  # whatever the test ran
    files.close()


def left(files: JobFiles) -> list[Path]:
    """List what is in the slots' folders, which are empty between jobs."""
    return list(files.folder.glob("*/*"))


def output(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Succeeded)
    return outcome.output


@runs_async
async def test_a_shell_script_of_a_few_lines_is_a_classifier(bench: Bench) -> None:
    script = 'echo "LOG: $(wc -c < "$1") bytes"\nprintf \'OUTPUT: {"echo": %s}\\n\' "$(cat "$1")"\n'
    outcome = await bench.shell(script, of=job(b'{"signal": [1, 2.50]}'))
    assert output(outcome) == b'{"echo": {"signal": [1, 2.50]}}'


@runs_async
async def test_the_jobs_path_is_the_last_argument_after_the_commands_own(bench: Bench) -> None:
    program = bench.script('printf \'OUTPUT: ["%s", "%s", "%s", %d]\\n\' "$1" "$2" "${3##*/}" $#')
    assert json.loads(output(await bench.run(program, "a b", "$HOME"))) == ["a b", "$HOME", "job.json", 3]


@runs_async
async def test_log_lines_are_logged_with_the_jobs_id(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="consumer.telemetry.job_log"):
        await bench.shell("echo 'LOG: half way'; echo 'OUTPUT: 1'")
    assert caplog.messages == ["job id-1: half way"]


@runs_async
async def test_the_environment_is_an_allow_list_without_our_secrets(bench: Bench) -> None:
    environment = await bench.environment()
    assert set(environment) == {
        *("PATH", "LANG", "HOME", "TMPDIR", "JOB_ID", "JOB_ATTEMPT", "CONSUMER_MODELS_DIR"),
        "CONSUMER_MAX_MODEL_BYTES",
        *THREAD_VARIABLES,
        *QUIET,
        *UNBUFFERED,
    }
    assert "hunter2" not in str(environment)
    assert (environment["PATH"], environment["LANG"]) == (SURROUNDINGS["PATH"], "C.UTF-8")


@runs_async
async def test_a_job_tells_its_id_attempt_and_trace(bench: Bench) -> None:
    environment = await bench.environment(job(id="日本 =1", attempt=3, traceparent=TRACEPARENT))
    told = [environment[name] for name in ("JOB_ID", "JOB_ATTEMPT", "TRACEPARENT")]
    assert told == ["日本 =1", "3", TRACEPARENT]


@runs_async
async def test_what_the_operator_names_is_passed_on_and_nothing_else(bench: Bench) -> None:
    bench.settings["pass_environment"] = ["MY_REGION", "NOT_THERE"]
    environment = await bench.environment()
    assert environment["MY_REGION"] == "north"
    assert not {"MY_TOKEN", "NOT_THERE"} & set(environment)


@runs_async
async def test_one_thread_each_unless_it_is_set(bench: Bench) -> None:
    bench.surroundings = {**SURROUNDINGS, "OMP_NUM_THREADS": "4"}
    environment = await bench.environment()
    threads = {name: environment[name] for name in THREAD_VARIABLES}
    assert threads == {**dict.fromkeys(THREAD_VARIABLES, "1"), "OMP_NUM_THREADS": "4"}


@runs_async
async def test_without_a_path_of_ours_programs_are_still_found(bench: Bench) -> None:
    bench.surroundings = {}
    assert output(await bench.shell('echo "OUTPUT: $(expr 1 + 1)"')) == b"2"


@runs_async
async def test_the_models_folder_is_told_by_its_full_path(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    bench.settings["models_dir"] = "my-models"
    assert (await bench.environment())["CONSUMER_MODELS_DIR"] == str(bench.folder / "my-models")


@runs_async
async def test_the_pins_are_told_by_their_full_path_and_the_size_as_a_number(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bench.folder)
    bench.settings["trusted_models"] = "my-pins"
    bench.settings["max_model_bytes"] = "2048"
    environment = await bench.environment()
    assert environment["CONSUMER_TRUSTED_MODELS"] == str(bench.folder / "my-pins")
    assert environment["CONSUMER_MAX_MODEL_BYTES"] == "2048"


@runs_async
async def test_a_program_works_at_home_in_its_private_folder(bench: Bench) -> None:
    script = 'stat -c %a . "$1" | tr "\\n" " " > modes\n'
    script += 'printf \'OUTPUT: ["%s", "%s", "%s", "%s", "%s"]\\n\' "$(pwd)" "$HOME" "$TMPDIR" "$1" "$(cat modes)"'
    here, home, temporary, path, modes = json.loads(output(await bench.shell(script)))
    assert here == home == temporary == str(Path(path).parent)
    assert Path(here).parent == bench.files.folder
    assert modes == "700 600 "


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("touch left; mkdir -p a/b; mktemp > /dev/null; echo 'OUTPUT: 1'", Succeeded),
        ("touch left; echo 'ERROR: e'", Failed),
        ("touch left; kill -KILL $$", Crashed),
        ("touch left; head -c 20000 /dev/zero; sleep 1000", OverLimit),
        ("touch left; sleep 1000", TimedOut),
        ("mkdir a; touch a/left; chmod 0 a .; echo 'OUTPUT: 1'", Succeeded),
        ("rm -r ../slot-*; echo 'OUTPUT: 1'", Succeeded),
        ("ln -s / root; echo 'OUTPUT: 1'", Succeeded),
    ],
)
@runs_async
async def test_whatever_the_end_the_jobs_folder_is_gone(bench: Bench, script: str, kind: type[Outcome]) -> None:
    bench.settings["max_line_bytes"] = 10_000
    # A busy machine may need seconds to start a script that answers.
    outcome = await bench.shell(script, of=job(timeout_s=0.5 if kind is TimedOut else PATIENCE_S))
    assert isinstance(outcome, kind)
    assert left(bench.files) == []


@runs_async
async def test_a_cancelled_job_leaves_no_file(bench: Bench) -> None:
    fifo = bench.folder / "started"
    os.mkfifo(fifo)
    program = bench.script(f"touch left; echo > '{fifo}'; sleep 1000")
    task = asyncio.create_task(bench.run(program))
    await asyncio.to_thread(fifo.read_text)  # returns once the program has written to it
    assert len(list(bench.files.folder.glob("*/left"))) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(bench.files) == []


@runs_async
async def test_slots_run_side_by_side_each_in_its_own_folder(bench: Bench) -> None:
    """Each program waits until it sees the other's: one after the other they would time out."""
    program = bench.script(
        "touch here; while [ $(ls ../*/here | wc -l) -lt 2 ]; do sleep 0.01; done\n"
        'echo "OUTPUT: $JOB_ID"; touch ../../seen-$JOB_ID; while [ $(ls ../../seen-* | wc -l) -lt 2 ]; do :; done'
    )
    outcomes = await asyncio.gather(*(bench.run(program, of=job(id=name)) for name in ("1", "2")))
    assert [output(outcome) for outcome in outcomes] == [b"1", b"2"]


@runs_async
async def test_a_job_file_that_cannot_be_written_is_worth_another_attempt() -> None:
    with unprivileged_folder() as job_dir:
        files = JobFiles.open(job_dir)
        files.folder.chmod(0o500)
        outcome = await Bench(files, job_dir).run("/bin/true")
        files.close()
    assert isinstance(outcome, Crashed)
    assert outcome.message == "the job's file could not be written (job_dir): Permission denied"


def test_a_program_that_is_not_there_stops_the_start(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="no program 'no-such-program'"):
        bench.program("no-such-program")


def test_a_function_may_live_where_the_service_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load({"classifier": "mine:classify"}, {})
    assert user_path(base_environment(settings, {"PYTHONPATH": "/a"})) == f"{tmp_path}:/a"
    assert user_path(base_environment(settings, {})) == str(tmp_path)


@pytest.mark.parametrize(
    ("set_to", "passed"), [({}, "1"), ({"PYTHONUNBUFFERED": ""}, ""), ({"PYTHONUNBUFFERED": "0"}, "0")]
)
@pytest.mark.parametrize("how", [{"classifier": "mine:classify"}, {"command": ["true"]}])
def test_python_does_not_buffer_unless_the_operator_says_so(
    how: dict[str, object], set_to: dict[str, str], passed: str
) -> None:
    assert base_environment(load(how, {}), set_to)["PYTHONUNBUFFERED"] == passed
