"""Jobs that do their worst, one by one: each has its outcome, leaves nothing behind, and the next job is well.

Both runners, one slot. "Nothing" is no process (by pidfd where a job told of one, by a variable in the environment
for the rest), no descriptor of ours, and no file.
"""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import pytest
from left_behind import Watched, children, descriptors
from runner_bench import Bench, job, with_body
from support.async_tests import runs_async

from consumer.job import Crashed, Failed, Outcome, OverLimit, OverOutput, Succeeded, TimedOut, Unsuccessful
from consumer.runners import child, launcher, worker

MIB = 1024**2
MARK = "HOSTILE_MARK"
SERVER_AND_WORKER = 2
LIMITS = {
    "max_memory_bytes": 200 * MIB,
    "max_cpu_s": 0.6,
    "max_processes": 12,
    "max_folder_bytes": 10 * MIB,
    "max_stdout_bytes": 2 * MIB,
    "max_line_bytes": MIB,
    "pass_environment": [MARK],
}
#: Longer than anything but what hangs.
TIMEOUT_S = 10.0
#: For what hangs.
SHORT_S = 0.4

#: case, what it gets, how it ends, what its message says.
CASES: list[tuple[str, dict[str, Any], type[Outcome] | UnionType, str]] = [
    ("asks_for_64_gib", {}, OverLimit, "(max_memory_bytes)"),
    ("asks_for_64_gib_natively", {}, OverLimit, "(max_memory_bytes)"),
    ("grows_bit_by_bit", {}, OverLimit, "(max_memory_bytes)"),
    ("grows_in_shared_memory", {}, OverLimit, "more than 200MiB of memory (max_memory_bytes)"),
    ("grows_in_children", {}, OverLimit, "more than 200MiB of memory (max_memory_bytes)"),
    ("survives_a_refusal", {}, Succeeded, ""),
    ("computes_without_end", {}, OverLimit, "more than 0.6 s of CPU time (max_cpu_s)"),
    ("computes_in_children_of_other_sessions", {}, OverLimit, "more than 0.6 s of CPU time (max_cpu_s)"),
    ("forks_many", {"number": 50}, OverLimit, "more than 12 processes at once (max_processes)"),
    ("forks_like_a_bomb", {"generations": 6}, OverLimit, "(max_processes)"),
    ("forks_like_a_bomb_in_sessions_of_their_own", {"generations": 6}, OverLimit, "(max_processes)"),
    ("starts_a_runaway", {}, Succeeded, ""),
    ("starts_a_runaway", {"stays": True}, OverLimit, "(max_processes)"),
    ("leaves_zombies", {"number": 8}, Succeeded, ""),
    ("leaves_zombies", {"number": 30, "stays": True}, OverLimit, "more than 12 processes at once (max_processes)"),
    ("leaves_a_child_in_another_group", {}, Succeeded, ""),
    ("leaves_a_daemon", {}, Succeeded, ""),
    ("leaves_a_daemon_that_holds_stdout", {}, Succeeded, ""),
    ("leaves_a_stopped_child", {}, Succeeded, ""),
    ("leaves_nohup", {}, Succeeded, ""),
    ("leaves_a_tree", {}, Succeeded, ""),
    ("ignores_all_it_can", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("blocks_all_it_can_natively", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("stops_itself", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("stops_its_group", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("kills_its_group", {}, Crashed, "killed by SIGKILL"),
    ("kills_its_parent", {}, Crashed, "ended together with the process that had started it"),
    ("answers_and_goes_on_deaf", {}, Succeeded, ""),
    ("segfaults", {}, Crashed, "killed by SIGSEGV"),
    ("aborts", {}, Crashed, "killed by SIGABRT"),
    ("overflows_its_stack", {}, Crashed, "killed by SIGSEGV"),
    ("recurses_for_ever", {}, Failed, "RecursionError"),
    ("has_an_exit_that_hangs", {"hangs": True}, Crashed | TimedOut, ""),  # a worker does not wait for threads
    ("calls_itself_something_awkward", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("closes_everything", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("closes_stdout_and_runs_on", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("opens_all_it_can", {}, Succeeded, ""),
    ("writes_to_what_it_finds", {}, Crashed, "exited with code 3"),
    ("prints_without_end", {}, OverOutput, "more than 2MiB on stdout (max_stdout_bytes)"),
    ("prints_one_endless_line", {}, OverOutput, "a line of more than 1MiB on stdout (max_line_bytes)"),
    ("prints_errors_without_end", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("prints_bytes", {}, Crashed, "exited with code 0"),
    ("prints_the_end_of_its_own_run", {"hangs": True}, TimedOut, "(job_timeout_s)"),
    ("prints_an_answer_for_another", {}, Succeeded, ""),
    ("prints_half_an_answer", {}, Crashed, "killed by SIGKILL"),
    ("writes_a_large_file", {}, OverLimit, "a file of more than 10MiB (max_folder_bytes)"),
    ("makes_a_sparse_file", {}, OverLimit, "a file of more than 10MiB (max_folder_bytes)"),
    ("writes_many_files", {}, OverLimit, "more than 10MiB in its folder (max_folder_bytes)"),
    ("makes_thousands_of_files", {}, Succeeded, ""),
    ("makes_a_deep_tree", {}, Succeeded, ""),
    ("closes_its_folder", {}, Succeeded, ""),
    ("makes_odd_files", {}, Succeeded, ""),
    ("puts_a_file_in_place_of_its_folder", {}, Succeeded, ""),
    ("puts_a_link_in_place_of_its_folder", {"to": "/etc"}, Succeeded, ""),
    ("replaces_its_job_file", {"to": "/etc/passwd"}, Succeeded, ""),
]


@pytest.fixture(params=["exec", "warm"])
def bench(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    for module, grace in ((child, "KILL_GRACE_S"), (launcher, "LINGER_S"), (worker, "LINGER_S")):
        monkeypatch.setattr(module, grace, 0.2)  # the suite is long
    made = Bench(request.param, tmp_path, Watched(), cases="hostile_cases", settings=LIMITS.copy())
    made.surroundings[MARK] = uuid.uuid4().hex
    caplog.set_level(logging.INFO, logger="consumer")
    caplog.handler.addFilter(made.hear)
    yield made
    caplog.handler.removeFilter(made.hear)
    made.watched.close()


def marked(mark: str) -> set[int]:
    """Find the living processes, wherever they are, that were started with our mark in the environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


async def settled(bench: Bench) -> None:
    """See that no process is left. A warm worker may still be on its way out, or its successor on its way in."""
    if bench.runner == "exec":
        assert marked(bench.surroundings[MARK]) == set()
    else:
        while len(marked(bench.surroundings[MARK])) != SERVER_AND_WORKER:  # noqa: ASYNC110 - they set no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("case", "body", "kind", "message"), CASES, ids=[case for case, *_ in CASES])
@runs_async
async def test_a_hostile_job_has_its_outcome_and_leaves_nothing(
    bench: Bench, case: str, body: dict[str, Any], kind: type[Outcome] | UnionType, message: str
) -> None:
    before = children(), descriptors()
    of = job(SHORT_S if body.get("hangs") else TIMEOUT_S)
    if kind is Succeeded:  # what Python takes to start on a slow machine is nobody's excess
        bench.settings["max_cpu_s"] = TIMEOUT_S
    async with bench.open() as (slot,):
        outcome = await slot.run(with_body(of, case=case, **body))
        await settled(bench)
        after = await slot.run(with_body(job(id="after"), case="echo"))
    assert isinstance(outcome, kind), outcome
    assert message in (outcome.message if isinstance(outcome, Unsuccessful) else "")
    assert isinstance(after, Succeeded), after
    assert all(bench.watched.ended(timeout_s=0))
    assert marked(bench.surroundings[MARK]) == set()
    assert (children(), descriptors() - len(bench.watched)) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MiB, which only root may make."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system of its own could be mounted")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@runs_async
async def test_who_fills_the_disk_with_files_that_have_no_name_is_killed(bench: Bench, small_disk: Path) -> None:
    bench.folder = small_disk
    bench.settings.update(max_folder_bytes=100 * MIB, min_free_bytes=16 * MIB)
    outcome = await bench.run("writes_a_file_without_a_name", mebibytes=40)
    assert isinstance(outcome, OverLimit)
    assert "killed: less than 16MiB left free in job_dir (min_free_bytes): " in outcome.message
    written = re.search(r"this one has written the most there, (\d+)([KM])iB$", outcome.message)
    assert written  # it may still be writing when the free space is measured
    assert 32 * MIB < int(written[1]) * {"K": 1024, "M": MIB}[written[2]] <= 40 * MIB


@runs_async
async def test_a_jobs_own_input_is_never_held_against_it(bench: Bench, small_disk: Path) -> None:
    """Neither as what it has in its folder, nor as what makes the disk short: it has written nothing."""
    bench.folder = small_disk
    bench.settings.update(max_folder_bytes=MIB, min_free_bytes=64 * MIB)
    outcome = await bench.run("waits_to_be_looked_at", padding="x" * 2 * MIB)
    assert isinstance(outcome, Succeeded)


@runs_async
async def test_what_a_job_writes_beside_its_input_is_counted(bench: Bench, small_disk: Path) -> None:
    bench.folder = small_disk
    bench.settings.update(max_folder_bytes=MIB, min_free_bytes=0)
    outcome = await bench.run("writes_beside_its_input", padding="x" * 2 * MIB, kibibytes=1300)
    assert isinstance(outcome, OverLimit)
    assert outcome.message == "killed: more than 1MiB in its folder (max_folder_bytes)"


@runs_async
async def test_a_disk_that_others_have_filled_ends_no_job_and_is_logged_once(
    bench: Bench, small_disk: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (small_disk / "others").write_bytes(b"x" * 30 * MIB)
    bench.folder = small_disk
    bench.settings.update(min_free_bytes=32 * MIB)
    go = tmp_path / "go"
    run = asyncio.create_task(bench.run("waits_for", path=str(go)))
    while not any(told := ["no running job has filled it" in line for line in caplog.messages]):
        assert not run.done()
        await asyncio.sleep(0.05)
    go.touch()
    assert isinstance(await run, Succeeded)
    assert told.count(True) == 1
