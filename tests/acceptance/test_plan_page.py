"""docs/plan.md: each of its commands is run as it stands there, in its order, in one folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.docs_pages.pages import block
from support.processes import forked
from support.processes.commands import environment

PAGE = "docs/plan.md"
COMMANDS = ("measure", "fewest-slots", "judge-slots", "guess")
SLEEPER = "import time\n\ndef classify(job):\n    time.sleep(job['s'])\n    return job['s']\n"


def run(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = environment("") | {"CONSUMER_CLASSIFIER": "sleeper:classify"}
    del variables["CONSUMER_AMQP_URL"]
    return forked.shell(command, cwd, variables)


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "jobs.jsonl").write_text('{"s": 0.02}\n{"s": 0.03}\n{"s": 0.04}\n')
    measure, fewest, judge, guess = (block(PAGE, command).text for command in COMMANDS)
    assert "15 succeeded" in run(measure, tmp_path).stdout
    times = json.loads((tmp_path / "times.json").read_text())
    assert len(times["run_s"]) == 15
    # What was measured while the machine was busy would need more slots.
    (tmp_path / "times.json").write_text(json.dumps({**times, "run_s": [0.02, 0.03, 0.04] * 5}))
    assert "yes, fewest" in run(fewest, tmp_path).stdout
    assert "slots      2, enough" in run(judge, tmp_path).stdout
    assert json.loads(run(guess, tmp_path).stdout)["rate_per_s"] == 5


def test_the_output_shown_has_the_lines_that_the_command_prints(tmp_path: Path) -> None:
    shown = block(PAGE, "fewest-slots-prints").text
    (tmp_path / "times.json").write_text('{"runs": "x", "run_s": [0.03, 0.04]}')
    printed = run(block(PAGE, "fewest-slots").text, tmp_path).stdout

    def heads(text: str) -> list[str]:
        """The first word of each line, and the columns' names; rows and figures differ."""
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip()[0].isdigit()]
        return [line.split()[0] if line[0].islower() else line.rstrip() for line in lines if line[0] != "─"]

    assert heads(printed) == heads(shown)
