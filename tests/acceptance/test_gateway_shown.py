"""What docs/gateway.md shows works as it stands there: both callers get the reply to their job."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import Gateway, gateway
from harness import PATIENCE_S, consumer, script

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
ADDRESS = "http://localhost:8080"


@pytest.fixture
def site(vhost_url: str, tmp_path: Path) -> Iterator[Gateway]:
    with (
        consumer(vhost_url, command=script(tmp_path, "printf 'OUTPUT: '", 'cat "$1"', "echo"), pool_size=1),
        gateway(vhost_url) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("language", "program", "sent"),
    [
        ("sh", ["sh", "-ec"], [[0.1, 0.5, -0.2], [0.3, 0.1]]),
        ("python", [sys.executable, "-c"], [[0.1, 0.5, -0.2]]),
    ],
)
def test_what_is_shown_gets_its_replies(
    site: Gateway, language: str, program: list[str], sent: list[list[float]]
) -> None:
    [block] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert ADDRESS in block
    done = subprocess.run(
        [*program, block.replace(ADDRESS, site.url)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert [reply["output"]["signal"] for reply in replies] == sent, done.stderr


def test_the_problem_that_is_shown_is_one() -> None:
    [block] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown = json.loads(block)
    assert f"| {shown['status']} | `{shown['reason']}` | {shown['detail']} |" in PAGE
