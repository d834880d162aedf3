"""What docs/gateway.md shows works as it stands there: both callers get the reply to their job."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.docs_pages.pages import block, text_of
from support.processes.consumer_process import consumer
from support.processes.gateway_process import Gateway, gateway
from support.processes.shell_classifiers import script
from support.waiting import PATIENCE_S

PAGE = "docs/gateway.md"
ADDRESS = "http://localhost:8080"


@pytest.fixture
def site(vhost_url: str, tmp_path: Path) -> Iterator[Gateway]:
    with (
        consumer(vhost_url, command=script(tmp_path, "printf 'OUTPUT: '", 'cat "$1"', "echo"), pool_size=1),
        gateway(vhost_url) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("block_id", "program", "sent"),
    [
        ("send-job", ["sh", "-ec"], [[0.1, 0.5, -0.2], [0.3, 0.1]]),
        ("python-caller", [sys.executable, "-c"], [[0.1, 0.5, -0.2]]),
    ],
)
def test_what_is_shown_gets_its_replies(
    site: Gateway, block_id: str, program: list[str], sent: list[list[float]]
) -> None:
    shown = block(PAGE, block_id).text
    assert ADDRESS in shown
    done = subprocess.run(
        [*program, shown.replace(ADDRESS, site.url)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [reply["output"]["signal"] for reply in replies] == sent, done.stderr


def test_the_problem_that_is_shown_is_one() -> None:
    shown = json.loads(block(PAGE, "problem").text)
    assert f"| {shown['status']} | `{shown['reason']}` | {shown['detail']} |" in text_of(PAGE)
