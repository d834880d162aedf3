"""A test run that is killed leaves no RabbitMQ behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until

from consumer.local_broker import node as local_broker
from consumer.local_broker import processes

TESTS = Path(__file__).parents[1]
#: Writes the folder of its node, and holds it.
HOLDS = """
import signal
from pathlib import Path

def test_holds(node):
    draft = Path(__file__).with_name("draft")
    draft.write_text(str(node.data_dir))
    draft.rename(draft.with_name("folder"))
    signal.pause()
"""


@pytest.mark.usefixtures("server")
def test_a_killed_pytest_leaves_no_node(tmp_path: Path) -> None:
    (tmp_path / "test_holds.py").write_text(HOLDS)
    folder = tmp_path / "folder"
    argv: list[str | Path] = [sys.executable, "-m", "pytest", "-p", "conftest", "--basetemp", tmp_path / "runs"]
    with subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(TESTS)}, cwd=tmp_path) as pytest_of_its_own:
        try:
            wait_until(lambda: folder.exists() or pytest_of_its_own.poll() is not None, "the node")
        finally:
            pytest_of_its_own.kill()
    data_dir = Path(folder.read_text())
    try:
        wait_until(lambda: not processes.found(data_dir), "the node to end", patience_s=30)
    finally:
        local_broker.down(data_dir, timeout_s=0)
