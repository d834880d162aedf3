"""Programs sandboxed by bubblewrap: what they can reach, and what of the contract stays the same."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from left_behind import Watched, children, descriptors
from runner_bench import Bench, job, output, told, with_body
from support.async_tests import runs_async

from consumer.config.loader import load
from consumer.errors import ConfigurationError
from consumer.job import Crashed, OverLimit, TimedOut
from consumer.runners import sandbox
from consumer.runners.exec_runner import Program

BWRAP = Path("/usr/bin/bwrap")
MIB = 1024**2
needs_bubblewrap = pytest.mark.skipif(not BWRAP.exists(), reason="bubblewrap is not installed")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.model").write_text("a model")
    settings = {"sandbox": True, "models_dir": tmp_path / "models", "max_processes": 12}
    yield (made := Bench("exec", tmp_path, Watched(), cases="surroundings_cases", settings=settings))
    made.watched.close()


@needs_bubblewrap
@runs_async
async def test_a_program_reads_its_job_and_the_models_and_nobody_elses_files(bench: Bench) -> None:
    (bench.folder / "secret").write_text("secret")
    readable = {"job.json": True, str(bench.folder / "models/a.model"): True, str(bench.folder / "secret"): False}
    paths = [*readable, "/etc/passwd", "/etc/shadow", "/var/log", str(Path.cwd() / "README.md")]
    found = output(await bench.run("which_can_be_read", paths=paths))
    assert found == {**dict.fromkeys(paths, False), **readable}


@needs_bubblewrap
@runs_async
async def test_two_slots_do_not_see_each_others_jobs(bench: Bench) -> None:
    async with bench.open(size=2) as slots:
        listed = [slot.run(with_body(job(), case="lists_beside_its_folder")) for slot in slots]
        assert [len(output(outcome)) for outcome in await asyncio.gather(*listed)] == [1, 1]


@needs_bubblewrap
@runs_async
async def test_a_program_writes_to_its_folder_and_nowhere_else(bench: Bench) -> None:
    paths = ["./new", "/new", "/usr/new", "/dev/new", "/proc/new", "/tmp/new", str(bench.folder / "models/new")]  # noqa: S108
    found = output(await bench.run("which_can_be_written", paths=paths))
    assert found == {**dict.fromkeys(paths, False), "./new": True}


@needs_bubblewrap
@runs_async
async def test_a_program_has_no_network(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = output(await bench.run("connects", port=listening.getsockname()[1]))
    assert found is False


@needs_bubblewrap
@runs_async
async def test_a_program_sees_no_process_but_its_own(bench: Bench) -> None:
    assert output(await bench.run("processes")) == 2  # the first one inside is bubblewrap's


@needs_bubblewrap
@pytest.mark.parametrize(
    ("case", "body", "kind", "message"),
    [
        ("segfaults", {}, Crashed, "killed by SIGSEGV"),
        ("exits", {"code": 3}, Crashed, "exited with code 3"),
        ("hangs", {}, TimedOut, "(job_timeout_s)"),
        ("asks_for_64_gib", {}, OverLimit, "(max_memory_bytes)"),
        ("forks_many", {"number": 50}, OverLimit, "(max_processes)"),
        ("writes_a_large_file", {}, OverLimit, "(max_folder_bytes)"),
    ],
)
@runs_async
async def test_the_contract_and_the_limits_hold_inside(
    bench: Bench, case: str, body: dict[str, Any], kind: type, message: str
) -> None:
    before = children(), descriptors()
    bench.cases, bench.settings = "hostile_cases", {**bench.settings, "max_folder_bytes": 10 * MIB}
    outcome = told(await bench.run(case, job(1.0 if case == "hangs" else 20.0), **body))
    assert type(outcome) is kind, outcome
    assert message in outcome.message
    assert (children(), descriptors()) == before


def start(**settings: object) -> Program:
    return Program.from_settings(load({"command": ["/bin/true"], "sandbox": True, **settings}, {}), os.environ)


def test_without_bubblewrap_a_sandbox_that_is_asked_for_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "PLACES", str(tmp_path))
    with pytest.raises(ConfigurationError, match="the program bwrap does not exist; install bubblewrap"):
        start()


def test_a_bubblewrap_that_cannot_work_stops_the_start_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bwrap").write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n"
    )
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setattr(sandbox, "PLACES", str(tmp_path))
    with pytest.raises(
        ConfigurationError, match="cannot work here: bwrap: No permissions to create new namespace"
    ):
        start()


def test_a_sandbox_is_for_programs() -> None:
    with pytest.raises(ConfigurationError, match="`sandbox` needs a program in `command`"):
        load({"classifier": "mine:classify", "sandbox": True}, {})
