"""The model artifact: what goes in comes out, and nothing comes out that is not what was trusted."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from classifier.models import estimators, model, trust
from classifier.models.estimator import Probabilities
from classifier.models.model import ModelError, Training
from classifier.signals.features import Features

ORIGIN = Training(signals=3, lengths=(2, 9), sha256="ab", metrics={"accuracy": 0.5})


class Half:
    """An estimator that is never sure."""

    def predict_proba(self, features: Features, /) -> Probabilities:
        return np.full((len(features), 2), 0.5)


class Command:
    """Unpickling this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model that is trusted."""
    path = tmp_path / "models" / "half.model"
    estimators.save(path, Half(), ("a", "b"), ORIGIN, trust.pins_of(path.parent))
    return path


def parts(path: Path) -> tuple[bytes, dict[str, object], bytes]:
    first, head, body = path.read_bytes().split(b"\n", 2)
    return first, json.loads(head), body


def read(path: Path) -> None:
    model.parse(path, model.content_of(path))


def swap(path: Path, ran: Path) -> None:
    """Put another model in its place, whole and well, whose pickle makes a folder when it is loaded."""
    body = pickle.dumps(Command(ran))
    versions = model.read_manifest(path).versions
    path.write_bytes(model.compose(model.describe("pickle", body, ("a", "b"), ORIGIN, versions), body))


def rewrite(path: Path, manifest: object, body: bytes) -> None:
    first = path.read_bytes().split(b"\n", 1)[0]
    path.write_bytes(b"\n".join([first, json.dumps(manifest).encode(), body]))


def test_the_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    written = estimators.save(path, Half(), ("a", "b"), ORIGIN)
    assert model.read_manifest(path) == written
    assert set(written.versions) == {"python", "numpy", "scikit-learn"}
    assert written.training == ORIGIN


def test_saving_replaces_the_older_model_and_leaves_no_other_file(path: Path) -> None:
    estimators.save(path, Half(), ("c", "d"), ORIGIN)
    assert model.read_manifest(path).classes == ("c", "d")
    assert list(path.parent.iterdir()) == [path]


def test_reading_the_manifest_runs_nothing_of_the_model(path: Path, tmp_path: Path) -> None:
    _, manifest, _ = parts(path)
    rewrite(path, manifest, pickle.dumps(Command(tmp_path / "ran")))
    assert model.read_manifest(path).classes == ("a", "b")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_runs_a_command_does_so_once_it_is_trusted(path: Path, tmp_path: Path) -> None:
    """What the refusals below are worth: the same file, with a pin."""
    swap(path, tmp_path / "ran")
    trust.trust(path, path.read_bytes(), trust.pins_of(path.parent))
    estimators.load(path)
    assert (tmp_path / "ran").exists()


def test_a_swapped_pickle_is_refused_before_it_runs(path: Path, tmp_path: Path) -> None:
    _, manifest, _ = parts(path)
    body = pickle.dumps(Command(tmp_path / "ran"))
    rewrite(path, {**manifest, "size": len(body)}, body)
    with pytest.raises(ModelError, match="was altered or exchanged, so it was not loaded"):
        estimators.load(path)
    with pytest.raises(ModelError, match="was altered: its SHA-256 is not the manifest's"):
        read(path)
    assert not (tmp_path / "ran").exists()


def test_a_swapped_pickle_with_a_manifest_of_its_own_is_refused_before_it_runs(path: Path, tmp_path: Path) -> None:
    swap(path, tmp_path / "ran")
    read(path)  # nothing is wrong with it, by what it says of itself
    with pytest.raises(ModelError, match="was altered or exchanged, so it was not loaded"):
        estimators.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_runs_a_command_is_refused_before_it_runs_under_any_name(path: Path, tmp_path: Path) -> None:
    swap(path, tmp_path / "ran")
    for name in ("new.model", "half.onnx.model", "half.skops.model"):
        path.with_name(name).write_bytes(path.read_bytes())
        with pytest.raises(ModelError, match="is not trusted, so it was not loaded"):
            estimators.load(path.with_name(name))
    assert not (tmp_path / "ran").exists()


def test_every_altered_byte_is_refused_before_anything_is_parsed(path: Path) -> None:
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ModelError, match="was altered or exchanged, so it was not loaded: its SHA-256 is"):
            estimators.load(path)
    path.write_bytes(content)
    estimators.load(path)


def test_what_is_checked_is_what_is_loaded(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is exchanged as soon as it was found to be the trusted one."""
    check = trust.check

    def exchange(path: Path, content: bytes) -> None:
        check(path, content)
        swap(path, tmp_path / "ran")

    monkeypatch.setattr(trust, "check", exchange)
    assert isinstance(estimators.load(path).estimator, Half)
    assert not (tmp_path / "ran").exists()


def test_an_altered_body_is_found_without_pins(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="was altered: its SHA-256 is not"):
        read(path)


def test_a_file_that_is_too_large_is_refused_with_the_remedy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = path.stat().st_size
    monkeypatch.setenv("CONSUMER_MAX_MODEL_BYTES", str(size))
    estimators.load(path)
    monkeypatch.setenv("CONSUMER_MAX_MODEL_BYTES", str(size - 1))
    remedy = r"half\.model has [\d,]+ bytes, and may have [\d,]+: train a smaller one, or raise max_model_bytes"
    for act in (estimators.load, read):
        with pytest.raises(ModelError, match=remedy):
            act(path)
    with pytest.raises(ModelError, match=remedy):
        estimators.save(path, Half(), ("a", "b" * 100), ORIGIN)
    monkeypatch.setenv("CONSUMER_MAX_MODEL_BYTES", "many")
    with pytest.raises(ModelError, match="CONSUMER_MAX_MODEL_BYTES is 'many'; it must be a number of bytes"):
        estimators.load(path)


def test_what_is_no_file_of_the_folder_is_refused(path: Path, tmp_path: Path) -> None:
    path.rename(tmp_path / "moved.model")
    path.symlink_to(tmp_path / "moved.model")
    for act in (estimators.load, model.read_manifest):
        with pytest.raises(ModelError, match=r"half\.model leads out of its folder"):
            act(path)
    path.unlink()
    os.mkfifo(path)
    for act in (estimators.load, model.read_manifest):
        with pytest.raises(ModelError, match=r"half\.model is not a regular file"):
            act(path)


def test_a_cut_file_is_refused_wherever_it_is_cut(path: Path) -> None:
    content = path.read_bytes()
    for length in (0, 1, 27, 28, 29, 500, content.rindex(b"\n"), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"not a model|damaged|cut or was added to"):
            read(path)


def test_a_file_that_was_added_to_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b".")
    with pytest.raises(ModelError, match="cut or was added to"):
        read(path)


@pytest.mark.parametrize("garbage", [b"", b"\x80\x04K\x01.", b"PK\x03\x04", os.urandom(5000)])
def test_garbage_is_refused_with_the_remedy(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    with pytest.raises(ModelError, match="not a model of this format: make it with `classifier train"):
        model.read_manifest(path)


@pytest.mark.parametrize("manifest", [[], None, {}, {"training": {}}, {"training": 3}, "text"])
def test_a_manifest_of_another_shape_is_refused(path: Path, manifest: object) -> None:
    rewrite(path, manifest, b"")
    with pytest.raises(ModelError, match=r"the manifest of .* is damaged"):
        model.read_manifest(path)


@pytest.mark.parametrize("key", ["kind", "classes", "features", "training", "versions", "sha256", "size"])
def test_a_manifest_without_a_part_is_refused(path: Path, key: str) -> None:
    _, manifest, body = parts(path)
    del manifest[key]
    rewrite(path, manifest, body)
    with pytest.raises(ModelError, match="is damaged"):
        read(path)


def test_other_features_are_an_error_with_the_remedy(path: Path) -> None:
    _, manifest, body = parts(path)
    rewrite(path, {**manifest, "features": ["mean"]}, body)
    with pytest.raises(ModelError, match="another list of features than this version computes: retrain it"):
        read(path)


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the model .*none\.model: No such file"):
        read(tmp_path / "none.model")


def test_the_manifest_is_a_line_of_json_that_any_tool_reads(path: Path) -> None:
    first, manifest, body = parts(path)
    assert first == b"signal classifier, format 1"
    assert manifest == json.loads(json.dumps(asdict(model.read_manifest(path))))
    assert manifest["size"] == len(body)


def test_the_files_of_a_model_share_its_name() -> None:
    pickled, onnx, skops = files = [Path(f"models/a.b{kind}.model") for kind in ("", ".onnx", ".skops")]
    assert {model.name_of(path.name) for path in files} == {"a.b"}
    assert [model.beside(path, model.SUFFIX) for path in files] == [pickled] * 3
    assert [model.beside(path, model.ONNX_SUFFIX) for path in files] == [onnx] * 3
    assert [model.beside(path, model.SKOPS_SUFFIX) for path in files] == [skops] * 3
