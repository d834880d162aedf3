"""The workflows run what the Makefile has, pin what they use, and their judges refuse broken files.

`make workflows` judges them. Here is what no judge knows: the Makefile, the supported versions, and that each
judge looks at the files at all. Here, too, are the other files that hosts and editors read.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import editorconfig
import pytest
import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((GITHUB / "workflows").iterdir())}
#: The steps that are no targets.
NO_TARGET = {
    # Changes the runner's kernel, not the project.
    "sudo sysctl --write kernel.apparmor_restrict_unprivileged_userns=0",
}
STEP = re.compile(r'make (?P<targets>[a-z -]+?)(?: RUN="?(?P<inner>[a-z -]+)"?)?(?: >>"\$GITHUB_STEP_SUMMARY")?')
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
Job = dict[str, Any]


def jobs() -> Iterator[tuple[str, Job]]:
    for name, workflow in WORKFLOWS.items():
        for key, job in workflow["jobs"].items():
            yield f"{name}: {key}", job


def commands() -> set[str]:
    return {step["run"] for _, job in jobs() for step in job["steps"] if "run" in step}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make with this environment's programs; nothing is installed."""
    environment = [f"VENV={sys.prefix}", "--assume-old", f"{sys.prefix}/.installed-test"]
    command = ["make", "--no-print-directory", *environment, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_step_runs_targets_of_the_makefile_and_nothing_else() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    steps = {command: STEP.fullmatch(command) for command in commands() - NO_TARGET}
    assert [command for command, step in steps.items() if step is None] == []
    wanted = {
        name for step in steps.values() if step for name in f"{step['targets']} {step['inner'] or ''}".split()
    }
    assert sorted(wanted - targets) == []
    assert commands() >= NO_TARGET


def test_units_are_tested_on_each_python_of_the_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in project["classifiers"]]
    supported = [found[1] for found in named if found]
    assert WORKFLOWS["ci.yml"]["jobs"]["unit"]["strategy"]["matrix"]["python"] == supported
    assert project["requires-python"] == f">={supported[0]}"


def test_each_job_has_the_rights_that_it_names_and_no_more_and_ends_in_time() -> None:
    assert [name for name, workflow in WORKFLOWS.items() if workflow["permissions"] != {}] == []
    assert [name for name, job in jobs() if "permissions" not in job or "timeout-minutes" not in job] == []


def test_actions_are_pinned_by_digest_and_one_version_has_one_digest() -> None:
    text = "\n".join(path.read_text() for path in (GITHUB / "workflows").iterdir())
    used = re.findall(r"uses: (.+)", text)
    assert [each for each in used if not PINNED.fullmatch(each)] == []
    digests: dict[str, set[str]] = {}
    for each in used:
        action, _, pin = each.partition("@")
        digests.setdefault("/".join(action.split("/")[:2]), set()).add(pin)
    assert {action: pins for action, pins in digests.items() if len(pins) > 1} == {}


#: A file, what is replaced in it by what, and the judge that sees it.
BROKEN = [
    ("workflows/ci.yml", r"matrix\.python", "matrix.snake", "actionlint"),
    ("workflows/ci.yml", r"runs-on: ubuntu-24\.04", "runs-on: debian-12", "actionlint"),
    ("workflows/ci.yml", r"@\w{40} # v7\.0\.1", "@v7", "zizmor"),
    ("workflows/ci.yml", r"permissions: \{\}", "permissions: write-all", "zizmor"),
    ("workflows/ci.yml", r"with:\n +persist-credentials: false", "", "zizmor"),
    ("dependabot.yml", r"default-days: 7", "default-days: 1", "zizmor"),
    ("dependabot.yml", r"default-days: 7", "default-days: a week", "zizmor"),
    ("ISSUE_TEMPLATE/bug.yml", r"type: textarea", "type: text", "vendor.github-issue-forms"),
    ("ISSUE_TEMPLATE/config.yml", r"blank_issues_enabled", "blank_issues", "vendor.github-issue-config"),
    ("dependabot.yml", r"patterns:", "pattern:", "vendor.dependabot"),
]


@pytest.mark.parametrize(("file", "right", "wrong", "judge"), BROKEN)
def test_the_check_fails_on_a_broken_file(file: str, right: str, wrong: str, judge: str, tmp_path: Path) -> None:
    copy = tmp_path / ".github"
    shutil.copytree(GITHUB, copy)
    spoilt, changes = re.subn(right, wrong, (copy / file).read_text())
    assert changes
    (copy / file).write_text(spoilt)
    judged = make("workflows", f"GITHUB={copy}")
    assert judged.returncode != 0
    *_, last = [line for line in judged.stdout.splitlines() if line.startswith(f"{sys.prefix}/bin/")]
    assert judge in last


def test_the_check_passes_on_a_copy_of_what_is_here(tmp_path: Path) -> None:
    shutil.copytree(GITHUB, tmp_path / ".github")
    judged = make("workflows", f"GITHUB={tmp_path}/.github")
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_forms_ask_what_the_check_finds() -> None:
    for name in ("bug", "idea"):
        fields = yaml.safe_load((GITHUB / f"ISSUE_TEMPLATE/{name}.yml").read_text())["body"]
        [check] = [field for field in fields if field.get("id") == "check"]
        assert "`consumer check --json`" in check["attributes"]["label"]
    assert check["attributes"]["render"] == "json"


def test_hooks_run_what_the_check_runs_with_its_programs() -> None:
    hooks = [
        hook
        for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repository["hooks"]
    ]
    assert {hook["language"] for hook in hooks} == {"system"}  # no version but those of constraints.txt
    checked = make("--dry-run", "check").stdout.replace(sys.prefix, ".venv")
    for entry in (hook["entry"] for hook in hooks):
        program = " ".join(entry.split()[:2])
        assert program in checked or make("--dry-run", *program.split()[1:]).returncode == 0, entry
    valid = subprocess.run([Path(sys.prefix) / "bin" / "pre-commit", "validate-config"], cwd=ROOT, check=False)
    assert valid.returncode == 0


def test_text_files_are_as_editors_are_told_to_write_them() -> None:
    listed = subprocess.run(["git", "ls-files", "--eol"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("git knows which files the repository has")
    found = [line.split("\t") for line in listed.stdout.splitlines()]
    texts = [name for kind, name in found if "w/-text" not in kind and (ROOT / name).exists()]
    assert len(texts) > 500
    assert [fault for name in texts for fault in faults(name)] == []


def faults(name: str) -> Iterator[str]:
    """Compare a file with what .editorconfig says of it."""
    said, text = editorconfig.get_properties(str(ROOT / name)), (ROOT / name).read_bytes().decode(errors="replace")
    lines = list(enumerate(text.split("\n"), 1))
    if said.get("insert_final_newline") == "true" and text and not text.endswith("\n"):
        yield f"{name}: no newline at its end"
    if said.get("trim_trailing_whitespace") == "true":
        yield from (f"{name}:{number}: spaces at its end" for number, line in lines if line != line.rstrip(" \t"))
    if said.get("indent_style") == "space":
        yield from (f"{name}:{number}: indented by a tab" for number, line in lines if line.startswith("\t"))
    if said.get("charset") == "utf-8" and "\N{REPLACEMENT CHARACTER}" in text:
        yield f"{name}: is not UTF-8"
    if said.get("end_of_line") == "lf" and "\r\n" in text:
        yield f"{name}: ends lines as DOS does"
