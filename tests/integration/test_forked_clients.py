"""Clients of a process that forks, or ends without closing them: nobody hangs, and a parent loses nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes.consumer_process import ConsumerProcess, consumer
from support.waiting import PATIENCE_S

#: What each script begins with. The child tells how its calls end, and how it ends itself.
BLOCKING = """
import asyncio, os, sys
from consumer.client import BlockingClient

def ask(n):
    try:
        return client.run({"n": n}, timeout_s=60).output["n"]
    except Exception as error:
        return type(error).__name__

with BlockingClient.open(sys.argv[1]) as client:
    print(ask(1), flush=True)
"""
#: The child leaves the block as a child that raises does, with all that is unwound behind it.
LEAVES_THE_BLOCK = """
    if not (child := os.fork()):
        print(ask(2), flush=True)
        sys.exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(ask(3))
"""
POOL = """
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(ask, [2, 3]))
    print(ask(4))
"""
#: The child unwinds asyncio.run. Then to_thread shows that the parent still wakes up, 2 that it has its replies.
ASYNC = """
import asyncio, os, sys
from consumer.client import Client

async def ask(client, n):
    try:
        return (await client.run({"n": n}, timeout_s=60)).output["n"]
    except Exception as error:
        return type(error).__name__

async def main():
    async with Client.open(sys.argv[1]) as client:
        print(await ask(client, 1), flush=True)
        waiting = asyncio.create_task(ask(client, 2))
        if not (child := os.fork()):
            print(await ask(client, 3), flush=True)
            return 7
        print(os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]))
        print(await waiting, await ask(client, 4))
        async with Client.open(sys.argv[1]) as other:
            print(await ask(other, 5))

sys.exit(asyncio.run(main()))
"""
FUNCTION = """
def classify(job):
    return job
"""


@pytest.fixture
def echo(vhost_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsumerProcess]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "echoes.py").write_text(FUNCTION)
    with consumer(vhost_url, classifier="echoes:classify", pool_size=1) as running:
        yield running


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        (BLOCKING + LEAVES_THE_BLOCK, ["1", "ForkedClientError", "7", "3"]),
        (BLOCKING + POOL, ["1", "['ForkedClientError', 'ForkedClientError']", "4"]),
        (ASYNC, ["1", "ForkedClientError", "7", "2 4", "5"]),
    ],
    ids=["os.fork", "multiprocessing", "a fork in a coroutine"],
)
def test_a_fork_is_refused_and_its_parent_goes_on(
    echo: ConsumerProcess, vhost_url: str, program: str, printed: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, vhost_url],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (printed, "")
    assert done.returncode == 0
    echo.stop()


NEVER_CLOSED = """
import sys
from consumer.client import BlockingClient
opened = BlockingClient.open(sys.argv[1])
client = opened.__enter__()
print(client.run({"n": 1}, timeout_s=60).output["n"])
coming = client.as_completed([{"n": 2}, {"n": 3}])
print(next(coming).result().output["n"] in (2, 3))
"""


def test_a_program_that_never_closes_its_client_ends(echo: ConsumerProcess, vhost_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NEVER_CLOSED, vhost_url],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (["1", "True"], "", 0)
    echo.stop()
