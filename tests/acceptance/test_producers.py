"""The producers in docs/producers.md, as they stand there: each is run with its own client and shows the reply."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.docs_pages.pages import block
from support.processes.commands import BIN
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

PAGE = "docs/producers.md"
JOBS = "classifier.jobs"
#: The JavaScript example's client. It needs no other package.
AMQPLIB = "amqplib@2.3.1"
#: Answers with the whole job, so that its way there is seen, too.
ECHO = ("printf 'OUTPUT: '", 'cat "$1"', "echo")
ANSWER = {"signal": [0.1, 0.5, -0.2]}


@pytest.fixture(autouse=True)
def served(vhost_url: str, tmp_path: Path) -> Iterator[None]:
    """A consumer that answers."""
    with consumer(vhost_url, command=script(tmp_path, *ECHO)):
        yield


def shown(*argv: str | Path, cwd: Path) -> dict[str, Any]:
    """Run an example; return the reply that it shows, all of its output."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (os.EX_OK, "")
    reply: dict[str, Any] = json.loads(done.stdout)
    return reply


def assert_returned(*argv: str | Path, cwd: Path) -> None:
    """Look that an example ends with the error that RabbitMQ has returned its job, and does not wait."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert re.search("returned|NO_ROUTE|there is no queue", done.stderr)


def assert_answered(reply: dict[str, Any], vhost_url: str) -> None:
    """Look at the reply, and that the example was given it by its own way, not by the queue for all."""
    assert (reply["status"], reply["output"], reply["attempt"]) == ("succeeded", ANSWER, 1)
    with Producer(vhost_url) as producer:
        assert producer.depth("classifier.results") == 0


@pytest.mark.parametrize("block_id", ["pika", "aio-pika"])
def test_the_example_in_python_shows_the_reply(block_id: str, vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(block(PAGE, block_id).at(vhost_url))
    assert_answered(shown(sys.executable, "ask.py", cwd=tmp_path), vhost_url)


def test_the_example_in_javascript_shows_the_reply(vhost_url: str, tmp_path: Path) -> None:
    install_amqplib(tmp_path)
    for example in (block(PAGE, "javascript"), block("README.md", "node-producer")):
        (tmp_path / "ask.js").write_text(example.at(vhost_url))
        assert_answered(shown(BIN / "node", "ask.js", cwd=tmp_path), vhost_url)


@pytest.mark.parametrize("block_id", ["pika", "aio-pika"])
def test_the_example_in_python_fails_at_once_if_there_is_no_queue(
    block_id: str, vhost_url: str, tmp_path: Path
) -> None:
    (tmp_path / "ask.py").write_text(block(PAGE, block_id).at(vhost_url).replace(JOBS, "nothing.jobs"))
    assert_returned(sys.executable, "ask.py", cwd=tmp_path)


@pytest.mark.parametrize(("page", "block_id"), [(PAGE, "javascript"), ("README.md", "node-producer")])
def test_the_example_in_javascript_fails_at_once_if_there_is_no_queue(
    page: str, block_id: str, vhost_url: str, tmp_path: Path
) -> None:
    install_amqplib(tmp_path)
    (tmp_path / "ask.js").write_text(block(page, block_id).at(vhost_url).replace(JOBS, "nothing.jobs"))
    assert_returned(BIN / "node", "ask.js", cwd=tmp_path)


def install_amqplib(folder: Path) -> None:
    """Install it into the folder, or skip the test where npm's registry is out of reach; in CI that is a fault."""
    quietly = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--fetch-retries=1")
    where = (f"--prefix={folder}", f"--cache={folder / 'cache'}")
    argv: list[str | Path] = [BIN / "npm", "install", *quietly, *where, AMQPLIB]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    if done.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"npm could not install {AMQPLIB}: {done.stderr}")


def test_the_example_in_shell_shows_the_reply(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "ask.sh").write_text(block(PAGE, "shell").at(vhost_url))
    assert_answered(shown("sh", "-eu", "ask.sh", cwd=tmp_path), vhost_url)
