"""Warm workers beyond the contract: reuse, replacement, what one job can do to the next, the fork, the reload."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from left_behind import Watched, children, descriptors
from support.async_tests import runs_async
from support.soak import often
from support.waiting import PATIENCE_S

from consumer.config.loader import load
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Job, Outcome, Request, Succeeded, TimedOut, Unsuccessful
from consumer.runners import fork_client
from consumer.runners.child import Child
from consumer.runners.files.job_files import JobFiles
from consumer.runners.fork_client import NotForkedError
from consumer.runners.fork_server import ForkServer
from consumer.runners.runner import Runner, open_runner
from consumer.telemetry.log_format import formatter

HERE = Path(__file__).parent
#: In two slots, one in twenty of which kills its worker.
JOBS = often(160, in_soak=1000)
VERSION = """
import os, time
from pathlib import Path
from classifier.contract import log

def classify(job):
    if "file" in job:
        log("runs")
        while not Path(job["file"]).exists():
            time.sleep(0.005)
    return {version}
"""


@dataclass
class Bench:
    """A warm runner of the test's own, and what it logs."""

    folder: Path
    caplog: pytest.LogCaptureFixture
    watched: Watched
    settings: dict[str, Any] = field(default_factory=dict)
    surroundings: dict[str, str] = field(default_factory=dict)
    others: set[int] = field(default_factory=children)  # such as the RabbitMQ node of other tests

    def children(self) -> set[int]:
        """List the children that this test has made."""
        return children() - self.others

    @asynccontextmanager
    async def open(self, target: str = "cases:dispatch", size: int = 1) -> AsyncIterator[Opened]:
        surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{self.folder}:{HERE}", **self.surroundings}
        settings = load({"classifier": target, **self.settings}, {})
        with JobFiles.open(self.folder / "jobs") as files:
            async with open_runner(settings, files, surroundings, size=size) as runner:
                yield Opened(runner, self.caplog)
            assert list(files.folder.glob("slot-*/*")) == []

    def module(self, name: str, text: str) -> str:
        """Write a module that the fork server can import."""
        (self.folder / f"{name}.py").write_text(text)
        return f"{name}:classify"


@dataclass
class Opened:
    """A runner at work."""

    runner: Runner
    caplog: pytest.LogCaptureFixture

    async def run(self, case: str = "echo", *, slot: int = 0, timeout_s: float = 30.0, **body: object) -> Outcome:
        request = Request(id="id-1", correlation_id="c")
        content = json.dumps({"case": case, **body}).encode()
        return await self.runner.pool.slots[slot].run(Job(request=request, body=content, timeout_s=timeout_s))

    async def pid(self) -> int:
        return int(output(await self.run("surroundings"))["pid"])

    async def logged(self, text: str) -> None:
        """Wait until a record says so."""
        await self.until(lambda: text in self.caplog.text)

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():  # noqa: ASYNC110 - processes and log records set no event
                await asyncio.sleep(0.005)


def output(outcome: Outcome) -> Any:  # noqa: ANN401 - JSON
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.output)


def told(outcome: Outcome) -> str:
    assert isinstance(outcome, Unsuccessful), outcome
    return outcome.message


def await_death(pid: int) -> None:
    """Wait, and let no event loop run meanwhile."""
    pidfd = os.pidfd_open(pid)
    try:
        select.select([pidfd], [], [], PATIENCE_S)
    finally:
        os.close(pidfd)


@pytest.fixture
def bench(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    caplog.set_level(logging.INFO, logger="consumer")
    made = Bench(tmp_path, caplog, Watched())
    yield made
    made.watched.close()


# Reuse and replacement


@runs_async
async def test_a_worker_runs_its_number_of_jobs_and_no_more(bench: Bench) -> None:
    bench.settings["jobs_per_worker"] = 3
    async with bench.open() as opened:
        pids = [await opened.pid() for _ in range(9)]
    assert pids == [pid for pid in dict.fromkeys(pids) for _ in range(3)]


@runs_async
async def test_the_successor_is_forked_while_the_last_job_runs(bench: Bench) -> None:
    bench.settings["jobs_per_worker"] = 1
    async with bench.open() as opened:
        go = bench.folder / "go"
        running = asyncio.create_task(opened.run("waits_for", file=str(go)))
        await opened.until(lambda: repr(opened.runner.workers) == "<Workers 1 held, 1 idle, 0 forking>")
        go.touch()
        assert output(await running) != await opened.pid()


@runs_async
async def test_slots_run_side_by_side_in_workers_of_their_own(bench: Bench) -> None:
    async with bench.open(size=3) as opened:
        go = bench.folder / "go"
        running = [asyncio.create_task(opened.run("waits_for", slot=slot, file=str(go))) for slot in range(3)]
        await opened.until(lambda: bench.caplog.text.count("runs") == 3)
        go.touch()
        pids = {output(outcome) for outcome in await asyncio.gather(*running)}
    assert len(pids) == 3


@runs_async
async def test_a_worker_that_has_grown_is_replaced(bench: Bench) -> None:
    bench.settings["max_worker_growth_bytes"] = 50_000_000
    async with bench.open() as opened:
        pids = [output(await opened.run("grows", bytes=20_000_000)) for _ in range(6)]
    assert pids == [pid for pid in dict.fromkeys(pids) for _ in range(3)]
    assert "its worker is replaced: its memory has grown by" in bench.caplog.text


@runs_async
async def test_workers_do_not_share_their_random_numbers(bench: Bench) -> None:
    bench.settings["jobs_per_worker"] = 1
    async with bench.open() as opened:
        drawn = [output(await opened.run("surroundings"))["random"] for _ in range(3)]
    assert len(set(drawn)) == 3


@runs_async
async def test_one_killed_while_idle_is_replaced_before_the_next_job(bench: Bench) -> None:
    async with bench.open() as opened:
        pid = await opened.pid()
        os.kill(pid, signal.SIGKILL)
        await opened.logged(f"worker {pid} died while it was idle")
        await opened.until(lambda: repr(opened.runner.workers) == "<Workers 0 held, 1 idle, 0 forking>")
        assert await opened.pid() != pid


@runs_async
async def test_a_job_that_gets_a_worker_at_the_moment_of_its_death_does_not_wait_for_its_time_out(
    bench: Bench,
) -> None:
    async with bench.open() as opened:
        pid = await opened.pid()
        os.kill(pid, signal.SIGKILL)
        await_death(pid)
        assert isinstance(await asyncio.create_task(opened.run()), Crashed)


@runs_async
async def test_one_killed_in_a_job_is_replaced_and_the_job_gets_its_outcome(bench: Bench) -> None:
    async with bench.open() as opened:
        pid = await opened.pid()
        running = asyncio.create_task(opened.run("waits_for", file="/nowhere"))
        await opened.logged("runs")
        os.kill(pid, signal.SIGKILL)
        words = 'killed by SIGKILL without an OUTPUT: or ERROR: line; the last line on stdout is "LOG: runs"'
        assert told(await running) == words
        assert await opened.pid() != pid


@pytest.mark.soak
@runs_async
async def test_of_many_jobs_with_every_twentieth_worker_killed_none_is_lost(bench: Bench) -> None:
    before = children(), descriptors()
    async with bench.open(size=2) as opened:

        async def jobs(slot: int) -> list[Outcome]:
            kills = ({"case": "kills_itself", "signal": 9}, {"case": "echo"})
            return [await opened.run(slot=slot, **kills[number % 20 > 0]) for number in range(JOBS // 2)]

        outcomes = [outcome for some in await asyncio.gather(jobs(0), jobs(1)) for outcome in some]
        # Two slots can share one worker while a slow machine still forks the other.
        await opened.until(lambda: repr(opened.runner.workers) == "<Workers 0 held, 2 idle, 0 forking>")
    assert [type(outcome) for outcome in outcomes] == ([Crashed] + [Succeeded] * 19) * (JOBS // 20)
    assert (children(), descriptors()) == before


# What one job can do to the next


@runs_async
async def test_a_late_answer_of_one_job_is_not_taken_for_the_next_ones(bench: Bench) -> None:
    async with bench.open() as opened:
        assert output(await opened.run("leaves_a_thread_that_answers")) == 1
        assert output(await opened.run("waits", seconds=0.6, answer="own")) == "own"
    assert "its worker is replaced: the classifier left a thread running: late" in bench.caplog.text


@runs_async
async def test_a_child_that_left_the_group_is_gone_with_its_worker(bench: Bench) -> None:
    async with bench.open() as opened:
        assert output(await opened.run("leaves_a_child_of_another_group")) == 1
        pid = int(bench.caplog.text.partition("pid ")[2].split()[0])
        await opened.until(lambda: not Path(f"/proc/{pid}").exists())
    assert "its worker is replaced: the classifier left a process running" in bench.caplog.text


@runs_async
async def test_a_job_that_closes_its_stdout_costs_its_worker_only(bench: Bench) -> None:
    async with bench.open() as opened:
        assert isinstance(await opened.run("closes_its_stdout"), Crashed)
        assert isinstance(await opened.run(), Succeeded)


# The fork server


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "ModuleNotFoundError: No module named 'mine'"),
        ("", "mine.py has no function 'classify'; define it there, or correct `classifier`"),
        ("def clasify(job): ...", "mine.py has no function 'classify'; did you mean mine:clasify?"),
        ("import math\nmath.no_such", "AttributeError: module 'math' has no attribute 'no_such'"),
        ("1 / 0", "ZeroDivisionError"),
        ("def classify(", "SyntaxError"),
        ("raise SystemExit('not today')", "exited with code 1:\nnot today"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("def classify(job): ...\ndef preload(): raise ValueError('bad model')", "ValueError: bad model"),
        (
            "from classifier import contract as c\ndef classify(job): ...\ndef preload(): raise c.LoadError('no')",
            "exited with code 1:\nno",
        ),
    ],
)
@runs_async
async def test_a_classifier_that_does_not_load_stops_the_start_with_its_traceback(
    bench: Bench, text: str | None, words: str
) -> None:
    if text is not None:
        bench.module("mine", text)
    before = children(), descriptors()
    with pytest.raises(ConfigurationError) as caught:
        async with bench.open("mine:classify"):
            pass
    assert str(caught.value).startswith("the classifier mine:classify cannot be loaded, ")
    assert words in str(caught.value)
    assert (children(), descriptors()) == before


@runs_async
async def test_an_import_without_end_stops_the_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_client, "START_TIMEOUT_S", 0.5)
    monkeypatch.setattr(fork_client, "CLOSE_GRACE_S", 0.0)
    target = bench.module("mine", "import time\ntime.sleep(1000)")
    with pytest.raises(ConfigurationError, match=r"cannot be loaded, not done after 0\.5 s"):
        async with bench.open(target):
            pass


@runs_async
async def test_what_the_import_prints_or_reads_disturbs_nothing(bench: Bench) -> None:
    text = "import os, sys\nprint('OUTPUT: 0')\nos.write(1, b'x' * 200_000)\nread = sys.stdin.read()\n"
    target = bench.module("mine", text + "def classify(job):\n    return read")
    async with bench.open(target) as opened:
        assert output(await opened.run()) == ""


@runs_async
async def test_models_are_loaded_once_before_the_fork(bench: Bench) -> None:
    text = "import os\nby = []\ndef preload(): by.append(os.getpid())\ndef classify(job): return *by, os.getpid()"
    bench.settings["jobs_per_worker"] = 1
    async with bench.open(bench.module("mine", text)) as opened:
        (server, one), (same, other) = [output(await opened.run()) for _ in range(2)]
    assert len({server, one, other}) == 3
    assert server == same


@runs_async
async def test_threads_that_the_import_starts_are_told_of(bench: Bench) -> None:
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    async with bench.open(bench.module("mine", text + "def classify(job): ...")) as opened:
        assert isinstance(await opened.run(), Succeeded)
    assert "has started 1 thread, which workers do not inherit" in bench.caplog.text


@runs_async
async def test_a_killed_fork_server_ends_its_jobs_and_is_started_anew(bench: Bench) -> None:
    async with bench.open() as opened:
        (server,) = bench.children()
        running = asyncio.create_task(opened.run("waits_for", file="/nowhere"))
        await opened.logged("runs")
        os.kill(server, signal.SIGKILL)
        assert told(await running).startswith("ended together with the process that had started it")
        assert isinstance(await opened.run(), Succeeded)
        await opened.until(lambda: server not in bench.children())  # it is reaped beside the jobs
    assert "the fork server has died; starting another" in bench.caplog.text
    assert bench.children() == set()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fillers) + 1, hard))
    for filler in fillers[-1:]:  # enough for the job's file; with a dead worker's five too few for another's seven
        os.close(filler)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers[:-1]:
            os.close(filler)


@runs_async
async def test_a_fork_that_is_refused_costs_its_job_an_attempt_and_no_more(bench: Bench) -> None:
    async with bench.open() as opened:
        await opened.run("kills_itself", signal=9)  # one is on its way now
        await opened.until(lambda: "1 idle" in repr(opened.runner.workers))
        with no_descriptor_left():
            await opened.run("kills_itself", signal=9)
            assert told(await opened.run()) == "no worker could be forked: Too many open files"
        assert isinstance(await opened.run(), Succeeded)


@runs_async
async def test_a_fork_server_that_cannot_be_started_anew_costs_its_job_an_attempt(bench: Bench) -> None:
    async with bench.open() as opened:
        workers = opened.runner.workers
        assert workers
        assert workers.server
        os.kill(workers.server.pid, signal.SIGKILL)
        await opened.until(lambda: "0 idle" in repr(workers))  # although it may have been forked just now
        with no_descriptor_left():
            assert "Too many open files" in told(await opened.run())
            await opened.runner.reload()
            await opened.logged("not reloaded, the old classifier stays in service")
        assert isinstance(await opened.run(), Succeeded)


#: A consumer as a program of its own, whose job tells of a child of another group and hangs.
CONSUMER = """
import asyncio, os, sys
from pathlib import Path
from consumer.job import Job, Request
from consumer.runners.files.job_files import JobFiles
from consumer.config.loader import load
from consumer.runners.runner import open_runner

async def main():
    settings = load({"classifier": "mine:classify"}, {})
    with JobFiles.open(Path(sys.argv[1])) as files:
        async with open_runner(settings, files, os.environ, size=1) as runner:
            job = Job(request=Request(id="id-1", correlation_id="c"), body=b"{}", timeout_s=1000)
            await runner.pool.run(job)

asyncio.run(main())
"""
HANGING = """
import os, signal, subprocess

def classify(job):
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    os.write(int(os.environ["TELL"]), f"{os.getppid()} {os.getpid()} {child.pid}\\n".encode())
    signal.pause()
"""


def test_everything_dies_with_a_killed_consumer(bench: Bench) -> None:
    fifo = bench.folder / "pids"
    os.mkfifo(fifo)
    hanging = HANGING.replace('int(os.environ["TELL"])', f"os.open({str(fifo)!r}, os.O_WRONLY)")
    bench.module("mine", hanging)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(bench.folder)}
    with subprocess.Popen([sys.executable, "-c", CONSUMER, bench.folder / "jobs"], env=environment) as consumer:
        with fifo.open() as told_pids:  # by one who never closes it
            for pid in told_pids.readline().split():
                bench.watched.add(int(pid))
        consumer.kill()
    assert bench.watched.ended() == [True, True, True]


# Reload


@runs_async
async def test_after_a_reload_new_jobs_run_the_new_code_and_running_ones_end_on_the_old(bench: Bench) -> None:
    target = bench.module("mine", VERSION.format(version=1))
    go = bench.folder / "go"
    async with bench.open(target, size=2) as opened:
        (old,) = bench.children()
        running = asyncio.create_task(opened.run(file=str(go)))
        await opened.logged("runs")
        bench.module("mine", VERSION.format(version=22))  # another length: Python compares sizes and seconds
        before = opened.runner.loaded
        await opened.runner.renewed.wait()  # of the start
        opened.runner.renewed.clear()
        await opened.runner.reload()
        assert opened.runner.renewed.is_set()
        assert before.startswith("mine.py ")
        assert opened.runner.loaded.startswith("mine.py ")
        assert opened.runner.loaded != before
        assert [output(await opened.run(slot=1)) for _ in range(3)] == [22, 22, 22]
        assert old in bench.children()
        go.touch()
        assert output(await running) == 1
        assert [output(await opened.run(slot=slot)) for slot in (0, 1)] == [22, 22]
        await opened.until(lambda: old not in bench.children())
    assert "reloaded" in bench.caplog.text


@runs_async
async def test_a_reload_that_fails_leaves_the_old_classifier_serving_and_says_why(bench: Bench) -> None:
    target = bench.module("mine", VERSION.format(version=1))
    async with bench.open(target) as opened:
        before = children()
        bench.module("mine", "1 / 0  # a change that nobody has tried")
        await opened.runner.reload()
        assert output(await opened.run()) == 1
        assert children() == before
    (failed,) = [record for record in bench.caplog.records if record.levelname == "ERROR"]
    assert failed.__dict__["event"] == "reload_failed"
    assert failed.getMessage().startswith("not reloaded, the old classifier stays in service: ")
    assert failed.getMessage().endswith("ZeroDivisionError: division by zero")
    found = json.loads(formatter("json").format(failed))
    assert found["exception"].splitlines()[0] == "Traceback (most recent call last):"
    assert "a change that nobody has tried" in found["exception"]


@runs_async
async def test_a_reload_that_gets_some_workers_and_not_all_leaves_nothing_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, forked = ForkServer.fork_worker, 0

    async def fork_two(server: ForkServer, **how: Any) -> Child:  # noqa: ANN401 - its own
        nonlocal forked
        forked += 1
        if forked > 2:
            raise NotForkedError("no more")
        return await fork(server, **how)

    async with bench.open(size=3) as opened:
        before, ours = descriptors(), bench.children()
        monkeypatch.setattr(ForkServer, "fork_worker", fork_two)
        await opened.runner.reload()
        await opened.until(lambda: (descriptors(), bench.children()) == (before, ours))
        assert isinstance(await opened.run(), Succeeded)
    assert "not reloaded, the old classifier stays in service: no more" in bench.caplog.text


@runs_async
async def test_a_worker_that_dies_during_a_reload_is_replaced_by_the_reload_alone(bench: Bench) -> None:
    async with bench.open() as opened:
        pid = await opened.pid()
        reload = asyncio.create_task(opened.runner.reload())
        await opened.logged("reloading the classifier")
        os.kill(pid, signal.SIGKILL)
        await opened.logged("died while it was idle")
        await reload
        await opened.until(lambda: repr(opened.runner.workers) == "<Workers 0 held, 1 idle, 0 forking>")


@runs_async
async def test_a_reload_under_load_loses_no_job(bench: Bench) -> None:
    target = bench.module("mine", VERSION.format(version=1))
    async with bench.open(target, size=2) as opened:
        reloads = 3

        async def jobs(slot: int) -> list[Outcome]:
            outcomes = []
            while bench.caplog.text.count("reloaded: ") < reloads:
                outcomes.append(await opened.run(slot=slot))
            return outcomes

        running = [asyncio.create_task(jobs(slot)) for slot in (0, 1)]
        for _ in range(reloads):
            await opened.runner.reload()
        outcomes = [outcome for some in await asyncio.gather(*running) for outcome in some]
    assert {output(outcome) for outcome in outcomes} == {1}
    assert bench.children() == set()


# Libraries that start threads and processes


@pytest.mark.parametrize("function", ["sklearn_cases:by_openmp", "joblib_cases:by_joblib"])
@runs_async
async def test_threads_of_openmp_and_processes_of_joblib_work_in_workers(bench: Bench, function: str) -> None:
    bench.surroundings["OMP_NUM_THREADS"] = "2"
    async with bench.open(function) as opened:
        assert [output(await opened.run()) > 0.9 for _ in range(2)] == [True] * 2


@runs_async
async def test_what_computes_before_the_fork_would_hang(bench: Bench) -> None:
    """The test above can fail: this is what it would look like."""
    bench.surroundings["OMP_NUM_THREADS"] = "2"
    async with bench.open("sklearn_computes_first:by_openmp") as opened:
        assert isinstance(await opened.run(timeout_s=3.0), TimedOut)
    assert "which workers do not inherit: compute in the function" in bench.caplog.text
