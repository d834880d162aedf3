"""`consumer try --times`: run times of real jobs, for `consumer plan`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from support.processes import forked
from support.processes.shell_classifiers import script

SLEEPER = "import time\n\ndef classify(job):\n    time.sleep(job['s'])\n    return job['s']\n"


def run(*arguments: str | Path, cwd: Path, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    chosen = {f"CONSUMER_{name.upper()}": value for name, value in settings.items()}
    return forked.run("consumer", *arguments, env={**inherited, **chosen}, cwd=cwd, stdin=stdin)


def test_jobs_are_timed_in_a_warm_worker_and_the_plan_is_made_of_it(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    jobs = '{"s": 0.01}\n{"s": 0.03}\n'
    done = run(
        "try", "-", "--repeat", "5", "--times", "t.json", cwd=tmp_path, stdin=jobs, classifier="sleeper:classify"
    )
    assert done.returncode == os.EX_OK, done.stderr
    assert "10 succeeded" in done.stdout
    times = json.loads((tmp_path / "t.json").read_text())
    assert len(times["run_s"]) == 10
    assert sum(seconds >= 0.03 for seconds in times["run_s"]) >= 5
    assert min(times["run_s"]) >= 0.01
    planned = run("plan", "--rate", "10", "--times", "t.json", "--pool-size", "1", "--json", cwd=tmp_path)
    assert json.loads(planned.stdout)["met"]


def test_jobs_that_fail_are_counted_and_not_timed(tmp_path: Path) -> None:
    command = script(tmp_path, 'case "$(cat "$1")" in *bad*) echo ERROR: no ;; *) echo OUTPUT: 1 ;; esac')
    done = run("try", "-", "--times", "t.json", cwd=tmp_path, stdin='{"n": 1}\n{"bad": 1}\n', command=command)
    assert done.returncode == 1
    assert "1 succeeded, 1 failed and are left out" in done.stdout
    assert len(json.loads((tmp_path / "t.json").read_text())["run_s"]) == 1


def test_where_no_job_succeeds_there_is_nothing_to_plan_with(tmp_path: Path) -> None:
    command = script(tmp_path, "echo ERROR: no")
    done = run("try", "-", "--times", "t.json", cwd=tmp_path, stdin="{}", command=command)
    assert done.returncode == os.EX_CONFIG
    assert "none of 1 runs succeeded" in done.stderr
    assert not (tmp_path / "t.json").exists()


def test_a_file_that_cannot_be_written_is_told_before_an_hour_of_jobs(tmp_path: Path) -> None:
    command = script(tmp_path, 'echo run >>"${0%/*}/runs"', "echo OUTPUT: 1")
    done = run("try", "-", "--times", "no-such/t.json", cwd=tmp_path, stdin="{}", command=command)
    assert done.returncode == os.EX_CONFIG
    assert "no-such/t.json cannot be written" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_repeat_without_a_file_for_the_times_names_the_flag(tmp_path: Path) -> None:
    done = run("try", "-", "--repeat", "3", cwd=tmp_path, stdin="{}")
    assert (done.returncode, "--times FILE" in done.stderr) == (os.EX_CONFIG, True)
