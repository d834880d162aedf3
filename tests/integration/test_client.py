"""The Python client with a real service: round trips, outages, faults by code, progress, and a killed submit."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from support.async_tests import runs_async
from support.docs_pages.pages import block
from support.processes import forked
from support.processes.commands import BIN, environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.rabbitmq.tcp_proxy import Proxy
from support.waiting import PATIENCE_S, wait_until

from consumer.client import (
    BlockingClient,
    ClassifierError,
    Client,
    CrashedError,
    InvalidJobError,
    InvalidOutputError,
    JobFailedError,
    OverLimitError,
    Result,
    TimedOutError,
)
from consumer.errors import BrokerUnreachableError
from consumer.job import Progress

MODES = pytest.mark.parametrize("direct", [False, True], ids=["own queue", "direct reply-to"])
#: Answers with the job, or fails as it says.
AS_TOLD = (
    'case "$(cat "$1")" in',
    "*fail*) echo 'ERROR: as told' ;;",
    "*crash*) echo 'last words' >&2; kill -SEGV $$ ;;",
    "*sleep*) sleep 600 ;;",
    "*print*) head -c 5000 /dev/zero | tr '\\0' x ;;",
    "*garble*) echo 'OUTPUT: {' ;;",
    "*) printf 'OUTPUT: '; cat \"$1\"; echo ;;",
    "esac",
)
#: As a function in warm workers: five hundred programs would take their time.
FUNCTION = """
from classifier.contract import progress

def classify(job):
    for step in range(job.get("steps", 0)):
        progress((step + 1) / job["steps"], f"step {step + 1}")
    return {"label": "long" if len(job["signal"]) > 2 else "short", "n": len(job["signal"])}
"""


@pytest.fixture
def as_told(vhost_url: str, tmp_path: Path) -> Iterator[ConsumerProcess]:
    command = script(tmp_path, *AS_TOLD)
    limits = {"max_attempts": 1, "max_line_bytes": 4096, "max_body_bytes": 10_000}
    with consumer(vhost_url, command=command, pool_size=2, **limits) as running:
        yield running


@pytest.fixture
def warm(vhost_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsumerProcess]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "lengths.py").write_text(FUNCTION)
    with consumer(vhost_url, classifier="lengths:classify", pool_size=2) as running:
        yield running


@pytest.fixture
def held(vhost_url: str, tmp_path: Path) -> Iterator[ConsumerProcess]:
    """Two slots whose jobs wait for `go`."""
    with consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=2) as running:
        yield running


@pytest.fixture
def proxy(management: Management) -> Iterator[Proxy]:
    with Proxy.open(management.node.amqp_port) as opened:
        yield opened


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


@MODES
@runs_async
async def test_a_job_goes_round_and_a_job_that_fails_raises_by_its_code(
    as_told: ConsumerProcess, vhost_url: str, *, direct: bool
) -> None:
    async with Client.open(vhost_url, direct=direct) as client:
        result = await client.classify([0.5, 1], model="pumps")
        assert (result.output, result.attempt) == ({"signal": [0.5, 1], "model": "pumps"}, 1)
        expected: list[tuple[type[JobFailedError], Any, float | None, str]] = [
            (InvalidJobError, {"x": "x" * 10_000}, None, "max_body_bytes"),
            (ClassifierError, {"fail": 1}, None, "as told"),
            (CrashedError, {"crash": 1}, None, "SIGSEGV"),
            (TimedOutError, {"sleep": 1}, 0.2, "0.2 s"),
            (OverLimitError, {"print": 1}, None, "max_line_bytes"),
            (InvalidOutputError, {"garble": 1}, None, "not JSON"),
        ]
        for kind, job, run_timeout_s, message in expected:
            with pytest.raises(kind, match=message) as failed:
                await client.run(job, run_timeout_s=run_timeout_s, timeout_s=PATIENCE_S)
            assert type(failed.value) is kind
            assert failed.value.job_id
            if kind is CrashedError:
                assert (failed.value.stderr_tail, failed.value.retryable) == ("last words", True)
            if kind is OverLimitError:  # its result would be too large again
                assert (failed.value.attempt, failed.value.retryable) == (1, False)
    as_told.stop()


@MODES
@runs_async
async def test_many_jobs_are_done_in_a_window(warm: ConsumerProcess, vhost_url: str, *, direct: bool) -> None:
    async with Client.open(vhost_url, direct=direct, window=50) as client:
        lengths: dict[int, int] = {}
        async with aclosing(client.as_completed([0.0] * (n % 7) for n in range(500))) as coming:
            async for done in coming:
                lengths[done.index] = done.result().output["n"]
        assert lengths == {n: n % 7 for n in range(500)}
        results = await asyncio.gather(*(client.classify([1.0] * n) for n in range(60)))
    assert [result.output["n"] for result in results] == list(range(60))
    warm.stop()


@runs_async
async def test_replies_that_come_while_the_client_is_away_wait_for_it(
    held: ConsumerProcess, vhost_url: str, tmp_path: Path, proxy: Proxy
) -> None:
    """What RabbitMQ has confirmed is not published again: six jobs, six runs."""
    async with Client.open(proxy.url(vhost_url)) as client:
        asked = [asyncio.create_task(client.run({"n": n})) for n in range(6)]
        await asyncio.to_thread(held.wait_for, "begun")
        await asyncio.to_thread(wait_until, lambda: runs(tmp_path) == 2, "both slots")
        await confirmed(vhost_url, 4)
        proxy.refuse()
        (tmp_path / "go").touch()
        for _ in range(6):
            await asyncio.to_thread(held.wait_for, "ack after")
        late = asyncio.create_task(client.run({"n": 6}))
        await asyncio.sleep(0)
        proxy.accept()
        results = await asyncio.gather(*asked, late)
    assert [result.output["n"] for result in results] == list(range(7))
    assert runs(tmp_path) == 7
    held.stop()


async def confirmed(url: str, ready: int) -> None:
    """Wait until so many jobs wait in RabbitMQ; and the moment longer that a confirm takes."""

    def wait() -> None:
        with Producer(url) as producer:
            wait_until(lambda: producer.depth("classifier.jobs") == ready, f"{ready} jobs in the queue")

    await asyncio.to_thread(wait)


@MODES
@runs_async
async def test_a_cut_in_the_middle_costs_no_reply_and_a_second_one_is_dropped(
    held: ConsumerProcess, vhost_url: str, tmp_path: Path, proxy: Proxy, *, direct: bool
) -> None:
    async with Client.open(proxy.url(vhost_url), direct=direct) as client:
        asked = [asyncio.create_task(client.run({"n": n})) for n in range(6)]
        await asyncio.to_thread(held.wait_for, "begun")
        proxy.cut()
        late = asyncio.create_task(client.run({"n": 6}))
        (tmp_path / "go").touch()
        results: list[Result] = await asyncio.gather(*asked, late)
        assert [result.output["n"] for result in results] == list(range(7))
        assert len({result.job_id for result in results}) == 7
    if direct:
        assert runs(tmp_path) >= 7
    held.stop()


@runs_async
async def test_a_reply_queue_that_somebody_deletes_is_made_anew_and_all_is_asked_again(
    held: ConsumerProcess, vhost_url: str, tmp_path: Path, management: Management
) -> None:
    async with Client.open(vhost_url) as client:
        asked = asyncio.create_task(client.run({"n": 1}))
        await asyncio.to_thread(held.wait_for, "begun")
        [queue] = [one["name"] for one in management.get("queues") if one["name"].startswith("amq.gen-")]
        with Producer(vhost_url) as operator:
            operator.channel.queue_delete(queue)
        await asyncio.to_thread(held.wait_for, "begun")  # the same job, for the new queue
        (tmp_path / "go").touch()
        assert (await asked).output == {"n": 1}
    left = [one["name"] for one in management.get("queues") if one["name"].startswith("amq.gen-")]
    assert not left
    held.stop()


@runs_async
async def test_who_waits_no_longer_hears_nothing_and_disturbs_nobody(
    held: ConsumerProcess, vhost_url: str, tmp_path: Path
) -> None:
    async with Client.open(vhost_url) as client:
        with pytest.raises(TimeoutError):
            await client.run({"n": 1}, timeout_s=0.3)
        cancelled = asyncio.create_task(client.run({"n": 2}))
        await asyncio.to_thread(held.wait_for, "begun")
        await asyncio.to_thread(held.wait_for, "begun")
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert cancelled.cancelled()
        assert repr(client).endswith(" 0 in flight>")
        (tmp_path / "go").touch()
        assert (await client.run({"n": 3})).output == {"n": 3}
    held.stop()


def progress_of(url: str, job: dict[str, Any]) -> tuple[list[Progress], Result]:
    told: list[Progress] = []

    async def ask() -> Result:
        async with Client.open(url) as client:
            return await client.run(job, on_progress=told.append, timeout_s=PATIENCE_S)

    return told, asyncio.run(ask())


def test_progress_of_a_program_reaches_who_asks_for_it(vhost_url: str, tmp_path: Path) -> None:
    """The program goes on when the first report has come, so that it is no race against the answer."""
    steps = (
        "echo 'PROGRESS: 0.25 reading'",
        'while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done',
        "for i in 1 2 3 4 5 6 7 8 9; do echo PROGRESS: 0.$i; done; echo 'PROGRESS: 7 none'; echo PROGRESS:",
        "echo OUTPUT: 1",
    )
    told: list[Progress] = []

    def hear(progress: Progress) -> None:
        told.append(progress)
        (tmp_path / "go").touch()

    async def ask() -> Result:
        async with Client.open(vhost_url) as client:
            return await client.run({}, on_progress=hear, timeout_s=PATIENCE_S)

    with consumer(vhost_url, command=script(tmp_path, *steps)) as running:
        assert asyncio.run(ask()).output == 1
        with Producer(vhost_url) as producer:
            queue = producer.reply_queue()
            producer.publish("classifier.jobs", b"{}", reply_to=queue)
            assert producer.take(queue).properties.type == "job.succeeded"  # who does not ask hears nothing
            producer.publish("classifier.jobs", b"{}", reply_to=queue, headers={"progress": "true"})
            report = producer.take(queue)
            assert report.properties.type == "job.progress"
            assert report.json.keys() == {"job_id", "progress", "text"}
            while report.properties.type == "job.progress":
                report = producer.take(queue)
            assert report.properties.type == "job.succeeded"
            assert producer.depth(queue) == 0
        running.stop()
    assert told[0] == Progress(0.25, "reading")
    assert len(told) <= 3


def test_progress_of_a_function_reaches_who_asks_for_it(warm: ConsumerProcess, vhost_url: str) -> None:
    told, result = progress_of(vhost_url, {"signal": [1.0], "steps": 1000})
    assert result.label == "short"
    assert told
    assert len(told) < 100
    assert all(0 < one.fraction <= 1 and one.text.startswith("step ") for one in told)
    warm.stop()


BLOCKING = """
import sys
from consumer.client import BlockingClient

with BlockingClient.open(sys.argv[1], window=5) as client:
    print(client.classify([1, 2, 3]).label)
    print(sorted(done.result().output["n"] for done in client.as_completed([[0.0] * n for n in range(20)])))
    for done in client.as_completed([[0.0]] * 20):
        break  # who has seen enough
    try:
        client.run({"no": "signal"})
    except Exception as error:
        print(type(error).__name__, error.code)
"""


def test_a_plain_script_has_its_jobs_done(warm: ConsumerProcess, vhost_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKING, vhost_url],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["long", str(list(range(20))), "ClassifierError classifier_error"]
    warm.stop()


def test_a_plain_script_hears_that_nobody_answers(vhost_url: str, proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(BrokerUnreachableError), BlockingClient.open(proxy.url(vhost_url)):
        pass


@pytest.mark.parametrize("block_id", ["client", "blocking-client"])
def test_the_lines_on_the_page_work(warm: ConsumerProcess, vhost_url: str, block_id: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block("docs/producers.md", block_id).at(vhost_url)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "long" in done.stdout
    warm.stop()


def test_a_submit_that_was_killed_is_resumed_where_it_was(vhost_url: str, tmp_path: Path) -> None:
    """Jobs below 5 are answered at once, the others when the test says so."""
    hold = 'case "$(cat "$1")" in *[0-4]?) ;; *) while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done ;; esac'
    command = script(tmp_path, 'echo run >>"${0%/*}/runs"', hold, "echo 'OUTPUT: 1'")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text("".join(f'{{"n": {n}}}\n' for n in range(10)))
    arguments = ("submit", jobs, "--out", out, "--resume")
    variables = environment(vhost_url)
    with consumer(vhost_url, command=command, pool_size=2) as running:
        killed = subprocess.Popen([BIN / "consumer", *arguments], env=variables, stderr=subprocess.DEVNULL)
        wait_until(lambda: out.exists() and out.read_text().count("\n") == 5, "the first results")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with out.open("a") as file:
            file.write('{"source": "torn')
        (tmp_path / "go").touch()
        again = forked.run("consumer", *arguments, env=variables)
        assert (again.returncode, "5 of 10 already answered" in again.stderr) == (os.EX_OK, True)
        running.stop()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["source"] for line in lines] == [f"{jobs}:{n}" for n in range(1, 11)]


def test_a_folder_of_jobs_and_signals_is_submitted(warm: ConsumerProcess, vhost_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "signals" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.csv").write_text("idle,1,2,3\nbusy,1,2\n")
    (folder / "b.json").write_text('{"signal": [1]}')
    (folder / "notes.txt").write_text("not a job")
    out = tmp_path / "out.csv"
    done = forked.run("consumer", "submit", "signals", "--out", out, cwd=tmp_path, env=environment(vhost_url))
    assert done.returncode == os.EX_OK, done.stderr
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["source"], row["status"], row["label"]) for row in rows] == [
        ("signals/deep/a.csv:1", "succeeded", "long"),
        ("signals/deep/a.csv:2", "succeeded", "short"),
        ("signals/deep/b.json", "succeeded", "short"),
    ]
    assert json.loads(rows[0]["output"])["n"] == 3
    warm.stop()
