"""What a release refuses: no notes, builds that differ, lists that break the schema, programs that fail."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import artefacts
import changelog
import distributions
import programs
import pytest
import rehearsal
import release
import sboms
from programs import ReleaseError
from support.docs_pages.pages import block

from consumer._version import VERSION

ROOT = Path(__file__).parents[2]
#: Where a version may be.
TEXTS = {".json", ".md", ".py", ".toml", ".yaml", ".yml"}
NOTES = """# Changelog

## [Unreleased]

Not yet.

## [1.1.0] - 2026-11-27

### Producers

- Faster.

## [1.0.0]

- First.

[1.0.0]: https://example.com
"""


def wheel(folder: Path, **members: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "a-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            opened.writestr(zipfile.ZipInfo(name), content)
    return path


def sdist(folder: Path, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "a-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as opened:
        member = tarfile.TarInfo("a-1.0/code")
        member.size = len(content)
        opened.addfile(member, io.BytesIO(content))
    return path


def test_the_notes_are_the_section_of_the_version() -> None:
    assert changelog.notes_of("1.1.0", NOTES) == "### Producers\n\n- Faster."


@pytest.mark.parametrize(
    ("version", "text", "says"),
    [
        ("2.0.0", NOTES, r"no section for version 2\.0\.0 \(sections: Unreleased, 1\.1\.0, 1\.0\.0\)"),
        ("1.1", NOTES, "no section"),
        ("1.0.0", "", "sections: none"),
        ("1.0.0", "## [1.0.0]\n\n\n## [0.9.0]\n\nOld.\n", "nothing on version"),
        ("1.0.0", "## [1.0.0]\n\nA.\n\n## 1.0.0\n\nB.\n", "2 sections"),
    ],
)
def test_a_release_without_notes_is_refused(version: str, text: str, says: str) -> None:
    with pytest.raises(ReleaseError, match=says):
        changelog.notes_of(version, text)


def test_this_version_has_notes() -> None:
    assert changelog.notes_of(VERSION, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def test_equal_builds_are_equal(tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "other"):
        wheel(folder, code=b"x = 1\n")
    distributions.compare(tmp_path / "one", tmp_path / "other")


def test_a_changed_byte_is_found_and_its_file_is_named(tmp_path: Path) -> None:
    wheel(tmp_path / "one", code=b"x = 1\n", same=b"")
    wheel(tmp_path / "other", code=b"x = 2\n", same=b"")
    with pytest.raises(ReleaseError, match=r"any\.whl differs in code\."):
        distributions.compare(tmp_path / "one", tmp_path / "other")


def test_a_changed_byte_of_an_sdist_is_found(tmp_path: Path) -> None:
    sdist(tmp_path / "one", b"1")
    sdist(tmp_path / "other", b"2")
    assert distributions.differences(tmp_path / "one", tmp_path / "other") == [
        "a-1.0.tar.gz differs in a-1.0/code"
    ]


def test_the_same_files_in_another_archive_are_another_build(tmp_path: Path) -> None:
    wheel(tmp_path / "one", code=b"", more=b"")
    wheel(tmp_path / "other", more=b"", code=b"")
    [found] = distributions.differences(tmp_path / "one", tmp_path / "other")
    assert found.endswith("differs in its order or its times")


def test_a_file_of_one_build_only_is_found(tmp_path: Path) -> None:
    wheel(tmp_path / "one", code=b"")
    (tmp_path / "other").mkdir()
    [found] = distributions.differences(tmp_path / "one", tmp_path / "other")
    assert found.endswith("is in one build only")


def bom(path: Path, **more: object) -> Path:
    component = {"type": "library", "name": "numpy", "version": "2.4.6"}
    path.write_text(
        json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component], **more})
    )
    return path


def test_a_valid_list_is_taken(tmp_path: Path) -> None:
    assert sboms.checked(bom(tmp_path / "a.cdx.json")).components == 1


@pytest.mark.parametrize(
    "fault", [{"specVersion": 1.6}, {"components": [{"name": "numpy"}]}, {"serialNumber": "1"}, {"parts": []}]
)
def test_a_list_that_breaks_the_schema_is_refused(fault: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"a\.cdx\.json is no valid SBOM"):
        sboms.checked(bom(tmp_path / "a.cdx.json", **fault))


def test_an_empty_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="lists no components"):
        sboms.checked(bom(tmp_path / "a.cdx.json", components=[]))


def test_what_is_installed_for_a_release_hears_nothing_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH", "CONSUMER_AMQP_URL"):
        monkeypatch.setenv(name, "x")
    assert "x" not in programs.clean_environment().values()
    assert programs.clean_environment(TZ="x")["TZ"] == "x"


def test_an_index_shows_a_first_success_in_three_commands() -> None:
    *_, install, last = shown = rehearsal.commands_shown()
    assert len(shown) == 3
    assert re.fullmatch(r"\S+/pip install rabbitmq-classifier", install)  # which a rehearsal replaces by the wheel
    assert last.endswith("consumer demo")
    assert shown == block("README.md", "install").text.splitlines()


def built(version: str) -> distributions.Built:
    wheels = (Path(f"{name}-{version}-py3-none-any.whl") for name in "ab")
    return distributions.Built(Path(f"a-{version}.tar.gz"), *wheels)


def test_distributions_of_a_commit_with_another_version_are_refused() -> None:
    assert artefacts.of_this_version(built(VERSION)).files
    with pytest.raises(ReleaseError, match=r"the last commit makes a-9\.9\.9\.tar\.gz.*; commit the version"):
        artefacts.of_this_version(built("9.9.9"))


def test_the_steps_of_a_release_name_each_file_that_has_the_version() -> None:
    _, _, after = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n## Releases\n")
    steps, _, _ = after.partition("\n## ")
    whole = re.compile(rf"(?<![\w.]){re.escape(VERSION)}(?![\w.])")
    folders = ("consumer", "classifier", "deploy", "docs")
    names = [name for name in distributions.tree_files() if name.startswith(folders)]
    texts = [name for name in names if Path(name).suffix in TEXTS]
    having = [name for name in texts if whole.search((ROOT / name).read_text(encoding="utf-8"))]
    assert len(having) > 2
    assert [name for name in having if name not in steps] == []


def test_the_command_for_notes_prints_those_of_this_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert release.main(["notes"]) == 0
    assert capsys.readouterr().out.strip() in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
