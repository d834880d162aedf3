"""What a warm-up before the first fork gives to all workers, and what becomes of one that starts threads."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from support.async_tests import runs_async

from classifier.models import estimators, trust
from classifier.models.model import Training
from classifier.signals.features import FEATURE_NAMES
from consumer.config.loader import load
from consumer.errors import ConfigurationError
from consumer.job import Job, Request, Succeeded
from consumer.runners.files.job_files import JobFiles
from consumer.runners.fork_server import ForkServer
from consumer.runners.runner import Runner, open_runner

COUNTS = """
import os, threading
calls = []
told = os.environ.get("TOLD")
def warm_up():
    calls.append(os.getpid())
    if told: open(told, "ab", buffering=0).write(b".")
    {more}
def classify(job): return [calls, os.getppid(), threading.active_count()]
"""
STARTS_A_THREAD = "threading.Thread(target=threading.Event().wait, daemon=True).start()"


@asynccontextmanager
async def serving(
    folder: Path, text: str, classifier: str = "mine:classify", **environment: str
) -> AsyncIterator[Runner]:
    (folder / "mine.py").write_text(text)
    settings = load({"classifier": classifier, "jobs_per_worker": 1, "pass_environment": list(environment)}, {})
    surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), **environment}
    with JobFiles.open(folder / "jobs") as files:
        async with open_runner(settings, files, surroundings, size=1) as runner:
            yield runner


async def answers(runner: Runner, count: int = 2) -> list[list[object]]:
    outputs = []
    for _ in range(count):
        outcome = await runner.pool.run(Job(request=Request(id="i", correlation_id="c"), body=b"{}", timeout_s=60))
        assert isinstance(outcome, Succeeded), outcome
        outputs.append(json.loads(outcome.output))
    return outputs


def is_cold(runner: Runner) -> bool:
    assert runner.workers
    assert runner.workers.server
    return runner.workers.server.is_cold


@runs_async
async def test_a_module_is_warmed_up_before_all_its_workers_and_once_in_each_that_waits(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "told")
    told = os.open(fifo, os.O_RDWR)  # so that neither side waits for the other
    async with serving(tmp_path, COUNTS.format(more=""), TOLD=str(fifo)) as runner:
        await read_exactly(told, 2)
        for _ in range(2):
            await read_exactly(told, 1)  # of the worker that the next job gets
            [[calls, server, threads]] = await answers(runner, 1)
            assert isinstance(calls, list)
            assert [call == server for call in calls] == [True, True, False]
            assert threads == 1
        assert not is_cold(runner)
    os.close(told)


async def read_exactly(descriptor: int, count: int) -> None:
    for _ in range(count):
        await asyncio.to_thread(os.read, descriptor, 1)


@runs_async
async def test_a_worker_for_which_a_job_waits_does_not_let_it_wait_for_a_warm_up(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "start")
    (tmp_path / "mine.py").write_text(
        COUNTS.format(more="") + f"def on_worker_start(): open({str(fifo)!r}).read()"
    )
    (tmp_path / "job").write_text("{}")
    server = await ForkServer.start("mine:classify", {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)})
    try:
        bounds = dict.fromkeys(("memory", "file", "cpu"))
        worker = await server.fork_worker(max_growth=2**30, bounds=bounds)
        worker.listener = heard = Heard()
        order = {"id": "i", "path": str(tmp_path / "job"), "environment": {}}
        os.write(worker.stdin, json.dumps(order).encode() + b"\n")
        await asyncio.to_thread(fifo.write_text, "")  # only now the worker reaches its warm-up
        await heard.answered
        calls, parent, _ = json.loads(heard.stdout.partition(b"OUTPUT: ")[2].splitlines()[0])
        assert calls == [parent, parent]
        await server.end(worker)
    finally:
        await server.close()


class Heard:
    """What a worker printed. `answered` is done at its END line."""

    def __init__(self) -> None:
        self.stdout = b""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_stdout(self, chunk: bytes) -> None:
        self.stdout += chunk
        if b"END: i\n" in self.stdout and not self.answered.done():
            self.answered.set_result(None)

    def on_stderr(self, chunk: bytes) -> None: ...

    def on_exit(self) -> None: ...


@runs_async
async def test_a_slow_warm_up_is_not_repeated_in_workers(tmp_path: Path) -> None:
    async with serving(tmp_path, COUNTS.format(more="import time; time.sleep(0.01)")) as runner:
        for calls, server, _ in await answers(runner):
            assert calls == [server, server]


@runs_async
async def test_a_warm_up_that_starts_a_thread_is_undone_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker would wait for ever for a thread that its fork did not copy."""
    caplog.set_level(logging.INFO)
    async with serving(tmp_path, COUNTS.format(more=STARTS_A_THREAD)) as runner:
        for calls, _, threads in await answers(runner):
            assert calls == []
            assert threads == 1
        assert is_cold(runner)
    events = [getattr(record, "event", "") for record in caplog.records]
    assert events.count("warm_up_skipped") == 1
    assert "import_started_threads" not in events


@runs_async
async def test_the_second_start_has_the_folder_and_the_variables_of_the_first(tmp_path: Path) -> None:
    text = """
import os, threading
found = [os.getcwd(), os.environ.pop("PATH", "it is gone")]
def warm_up(): THREAD
os.chdir("/")
def classify(job): return found
""".replace("THREAD", STARTS_A_THREAD)
    async with serving(tmp_path, text) as runner:
        [[folder, path]] = await answers(runner, 1)
        assert is_cold(runner)
    assert folder == str(Path.cwd())
    assert path == os.environ["PATH"]


@runs_async
async def test_the_module_of_an_imported_preload_brings_its_warm_up(tmp_path: Path) -> None:
    """As in a function around a trained model: `preload = trained.preload`."""
    (tmp_path / "inner.py").write_text(
        "calls = []\ndef preload(): calls.append('preload')\ndef warm_up(): calls.append('warm_up')\n"
    )
    text = "import inner\npreload = inner.preload\ndef classify(job): return inner.calls"
    async with serving(tmp_path, text) as runner:
        [calls] = await answers(runner, 1)
        assert calls[:3] == ["preload", "warm_up", "warm_up"]


@runs_async
async def test_a_trained_model_is_warmed_up_and_starts_no_thread(tmp_path: Path) -> None:
    """A forest and a regression: scikit-learn computes them with joblib and with BLAS, both on one thread here."""
    rows = np.random.default_rng(0).normal(size=(20, len(FEATURE_NAMES)))
    origin = Training(signals=20, lengths=(50, 300), sha256="", metrics={})
    for name, estimator in {"forest": RandomForestClassifier(10), "line": LogisticRegression()}.items():
        fitted = estimator.fit(rows, [0, 1] * 10)
        path = tmp_path / "models" / f"{name}.model"
        estimators.save(path, fitted, ("a", "b"), origin, trust.pins_of(path.parent))
    settings = load({"models_dir": str(tmp_path / "models"), "jobs_per_worker": 1}, {})
    body = json.dumps({"signal": [0.0, 1.0, 2.0], "model": "forest"}).encode()
    job = Job(request=Request(id="i", correlation_id="c"), body=body, timeout_s=60)
    with JobFiles.open(tmp_path / "jobs") as files:
        async with open_runner(settings, files, {"PATH": os.environ["PATH"]}, size=1) as runner:
            outcome = await runner.pool.run(job)
            assert isinstance(outcome, Succeeded), outcome
            assert not is_cold(runner)


@pytest.mark.parametrize(
    ("hook", "complaint"),
    [
        ("def warm_up(job): pass", "mine.warm_up(job) cannot be called with no argument"),
        ("async def warm_up(): pass", "mine.warm_up is an `async def`"),
        ("warm_up = 1", "mine.warm_up is of type int, not a function"),
        ("def warm_up(): raise KeyError('model')", "KeyError: 'model'"),
    ],
)
def test_a_warm_up_that_cannot_be_called_stops_the_start(tmp_path: Path, hook: str, complaint: str) -> None:
    async def start() -> None:
        async with serving(tmp_path, f"{hook}\ndef classify(job): return 1"):
            pass

    with pytest.raises(ConfigurationError) as refused:
        asyncio.run(start())
    assert complaint in str(refused.value)
