"""The model artifact: what goes in comes out, and nothing comes out that was not verified."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from classifier import estimators, model
from classifier.estimators import Probabilities
from classifier.features import Features
from classifier.model import ModelError, Training

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
    path = tmp_path / "models" / "half.model"
    estimators.save(path, Half(), ("a", "b"), ORIGIN)
    return path


def parts(path: Path) -> tuple[bytes, dict[str, object], bytes]:
    first, head, body = path.read_bytes().split(b"\n", 2)
    return first, json.loads(head), body


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


def test_a_swapped_pickle_is_refused_before_it_runs(path: Path, tmp_path: Path) -> None:
    _, manifest, _ = parts(path)
    body = pickle.dumps(Command(tmp_path / "ran"))
    rewrite(path, {**manifest, "size": len(body)}, body)
    with pytest.raises(ModelError, match="was altered"):
        model.read(path)
    assert not (tmp_path / "ran").exists()


def test_one_altered_byte_is_refused(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="was altered: its SHA-256 is not"):
        model.read(path)


def test_a_cut_file_is_refused_wherever_it_is_cut(path: Path) -> None:
    content = path.read_bytes()
    for length in (0, 1, 27, 28, 29, 500, content.rindex(b"\n"), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=r"not a model|damaged|cut or was added to"):
            model.read(path)


def test_a_file_that_was_added_to_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b".")
    with pytest.raises(ModelError, match="cut or was added to"):
        model.read(path)


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
        model.read(path)


def test_other_features_are_an_error_with_the_remedy(path: Path) -> None:
    _, manifest, body = parts(path)
    rewrite(path, {**manifest, "features": ["mean"]}, body)
    with pytest.raises(ModelError, match="other features than are computed here: retrain it"):
        model.read(path)


def test_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the model .*none\.model: No such file"):
        model.read(tmp_path / "none.model")


def test_the_manifest_is_a_line_of_json_that_any_tool_reads(path: Path) -> None:
    first, manifest, body = parts(path)
    assert first == b"signal classifier, format 1"
    assert manifest == json.loads(json.dumps(asdict(model.read_manifest(path))))
    assert manifest["size"] == len(body)


def test_the_two_files_of_a_model_share_its_name() -> None:
    pickled, onnx = Path("models/a.b.model"), Path("models/a.b.onnx.model")
    assert model.name_of(pickled.name) == model.name_of(onnx.name) == "a.b"
    assert [model.pickle_beside(path) for path in (pickled, onnx)] == [pickled] * 2
    assert [model.onnx_beside(path) for path in (pickled, onnx)] == [onnx] * 2
