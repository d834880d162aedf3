"""Pins: what is not pinned under its name is not trusted, and no pin lies among the models."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from classifier.errors import RefusedError
from classifier.models import trust
from classifier.models.model import ModelError
from classifier.training.train_command import Wanted, run

ONE, OTHER = (hashlib.sha256(content).hexdigest() for content in (b"one", b"other"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a model would be; pins are beside its folder."""
    (tmp_path / "models").mkdir()
    path = tmp_path / "models" / "pumps.model"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def pins(file: Path) -> Path:
    return trust.pins_of(file.parent)


def test_the_pins_lie_beside_the_folder_unless_the_environment_says_where(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trust.pins_of(file.parent) == file.parent.parent / "models.trusted"
    assert trust.pins_of(file.parent / "..") == Path(f"{file.parent.parent}.trusted")
    monkeypatch.chdir(file.parent.parent)
    assert trust.pins_of(Path("models")) == Path.cwd() / "models.trusted"
    monkeypatch.setenv("CONSUMER_TRUSTED_MODELS", "/etc/pins")
    assert trust.pins_of(file.parent) == Path("/etc/pins")
    assert trust.pins_of(file.parent, Path("/etc/others")) == Path("/etc/others")


@pytest.mark.parametrize("inside", ["pins", "../models/pins", "../link/pins"])
def test_pins_among_the_models_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    (file.parent.parent / "link").symlink_to("models")
    monkeypatch.setenv("CONSUMER_TRUSTED_MODELS", str(file.parent / inside))
    with pytest.raises(
        ModelError, match=r"is in the models folder, .*: move it elsewhere, and set CONSUMER_TRUST"
    ):
        trust.check(file, b"one")


def test_what_is_pinned_is_trusted(file: Path, pins: Path) -> None:
    assert trust.trust(file, b"one", pins) == ONE
    trust.check(file, b"one")


def test_what_is_not_pinned_is_refused_with_its_digest_and_the_remedy(file: Path, pins: Path) -> None:
    for missing in (f"there is no {pins}, so no pin", f"{pins} has no pin"):
        with pytest.raises(ModelError) as refused:
            trust.check(file, b"one")
        assert str(refused.value) == (
            f"{file} is not trusted, so it was not loaded: {missing} for its SHA-256, {ONE}; "
            f"once you know who made it, run `classifier trust {file}`"
        )
        trust.trust(file.with_name("other.model"), b"one", pins)


def test_other_content_is_refused_with_both_digests_and_the_remedy(file: Path, pins: Path) -> None:
    trust.trust(file, b"one", pins)
    with pytest.raises(ModelError) as refused:
        trust.check(file, b"other")
    assert str(refused.value) == (
        f"{file} was altered or exchanged, so it was not loaded: its SHA-256 is {OTHER}, and {pins} says {ONE}; "
        f"restore it, or once you know who made this one, run `classifier trust {file}`"
    )


def test_a_trusted_model_under_another_trusted_name_is_refused(file: Path, pins: Path) -> None:
    trust.trust(file, b"one", pins)
    trust.trust(file.with_name("fans.model"), b"other", pins)
    with pytest.raises(ModelError, match="altered or exchanged"):
        trust.check(file, b"other")


def test_the_remedy_names_pins_that_are_elsewhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_TRUSTED_MODELS", "/etc/my pins")
    with pytest.raises(ModelError, match=r"run `classifier trust .*/pumps\.model --pins '/etc/my pins'`$"):
        trust.check(file, b"one")


def test_trusting_another_content_ends_the_trust_in_the_older(file: Path, pins: Path) -> None:
    trust.trust(file, b"one", pins)
    trust.trust(file, b"other", pins)
    trust.check(file, b"other")
    with pytest.raises(ModelError, match="altered or exchanged"):
        trust.check(file, b"one")


def test_while_a_file_is_replaced_both_contents_are_trusted_and_then_the_new_one(file: Path, pins: Path) -> None:
    trust.trust(file, b"one", pins)
    with trust.replacing(file, b"other", pins):
        trust.check(file, b"one")
        trust.check(file, b"other")
    trust.check(file, b"other")
    with pytest.raises(ModelError, match="altered or exchanged"):
        trust.check(file, b"one")


def test_what_is_forgotten_is_trusted_no_more(file: Path, pins: Path) -> None:
    trust.forget(["pumps.model"], pins)
    assert not pins.exists()
    trust.trust(file, b"one", pins)
    trust.forget(["fans.model", "pumps.model"], pins)
    with pytest.raises(ModelError, match="is not trusted"):
        trust.check(file, b"one")


def test_sha256sum_writes_pins_and_verifies_them(file: Path, pins: Path) -> None:
    made = subprocess.run(["sha256sum", file.name], cwd=file.parent, capture_output=True, check=True)
    pins.write_bytes(made.stdout)
    trust.check(file, b"one")
    trust.trust(file.with_name("fans.model"), b"other", pins)
    file.with_name("fans.model").write_bytes(b"other")
    subprocess.run(["sha256sum", "--check", "--strict", pins], cwd=file.parent, check=True)


def test_comments_and_the_pins_of_others_stay_as_they_are(file: Path, pins: Path) -> None:
    before = f"# by me, 2026-11-24\n{OTHER} *fans.model\n\n"
    pins.write_text(before)
    trust.trust(file, b"one", pins)
    assert pins.read_text() == f"{before}{ONE}  pumps.model\n"


@pytest.mark.parametrize(
    "line", ["pumps.model", f"{ONE}  models/pumps.model", f"{ONE.upper()}  pumps.model", f"{ONE[1:]}  pumps.model"]
)
def test_a_line_that_is_no_pin_is_an_error_with_its_number(file: Path, pins: Path, line: str) -> None:
    pins.write_text(f"{OTHER}  fans.model\n{line}\n")
    with pytest.raises(ModelError, match=r"line 2 of .*models\.trusted is not a pin: remove it, or replace it by"):
        trust.check(file, b"one")


def test_pins_that_cannot_be_read_or_written_are_an_error(file: Path, pins: Path) -> None:
    pins.mkdir()
    with pytest.raises(ModelError, match=r"cannot read the pins of trusted models, .*: Is a directory"):
        trust.check(file, b"one")
    with pytest.raises(ModelError, match=r"cannot write the pins of trusted models, .*: File exists"):
        trust.trust(file, b"one", file / "pins")


def test_pins_that_are_a_link_stay_one(file: Path, pins: Path) -> None:
    pins.symlink_to("elsewhere")
    trust.trust(file, b"one", pins)
    assert pins.is_symlink()
    trust.check(file, b"one")
    assert (pins.parent / "elsewhere").exists()


def test_many_who_trust_at_once_lose_no_pin(file: Path, pins: Path) -> None:
    names = [f"m{number}.model" for number in range(8)]
    writers = [threading.Thread(target=trust.trust, args=(file.with_name(name), b"one", pins)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(line.split()[1] for line in pins.read_text().splitlines()) == names


def test_training_is_refused_before_it_begins_where_its_model_could_not_be_pinned(
    file: Path, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    wanted = Wanted(file, None, file, onnx=False, skops=False, pins=pins, plot=None, reshuffles=None)
    with pytest.raises(
        RefusedError, match=r"cannot be written: give --no-trust, and .* `classifier trust .*/pumps`"
    ):
        next(run(wanted))


def test_others_may_read_the_pins_and_not_write_them(file: Path, pins: Path) -> None:
    trust.trust(file, b"one", pins)
    assert pins.stat().st_mode & 0o777 == 0o644
