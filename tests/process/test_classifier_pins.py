"""Trust in models, through the commands and the service: what is not pinned runs nowhere."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from replaced_libraries import REPLACED_FIRST
from support.async_tests import runs_async
from support.processes import forked

from classifier.models import model, trust
from consumer.config.loader import load
from consumer.errors import ConfigurationError
from consumer.job import Failed, Job, Request, Succeeded
from consumer.runners import fork_client
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import Runner, open_runner
from consumer.runners.warm_runner import OWN_CLASSIFIER


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def classifier(*arguments: str | Path, folder: Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    chosen = {name: str(value) for name, value in variables.items()}
    return forked.run("classifier", *arguments, cwd=folder, env={**os.environ, **chosen})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated signals, and a model trained on them."""
    home = tmp_path_factory.mktemp("trained")
    assert classifier("generate", "--out", "train.csv", "--per-class", "8", folder=home).returncode == 0
    done = classifier("train", "train.csv", "--out", "models/machines", "--skops", folder=home)
    assert (done.returncode, done.stderr) == (0, "")
    (home / "report.txt").write_text(done.stdout)
    (home / "job.json").write_text('{"signal": [1, 2, 3], "model": "machines"}')
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(trained, tmp_path / "home")


@pytest.fixture
def served(home: Path) -> Path:
    """The file of the model that is served."""
    return home / "models" / "machines.skops.model"


def swap(path: Path, call: Call) -> None:
    """Put another model in its place, whole and well by its manifest, whose pickle makes this call."""
    manifest, body = model.read_manifest(path), pickle.dumps(call)
    made = model.describe("pickle", body, manifest.classes, manifest.training, manifest.versions)
    path.write_bytes(model.compose(made, body))


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def answers(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stdout.split("\n") if line.startswith(("OUTPUT:", "ERROR:"))]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The commands


def test_training_pins_what_it_wrote_and_says_where(home: Path) -> None:
    assert f"its SHA-256 is pinned in {home.parent}" not in (said := (home / "report.txt").read_text())
    assert "/models.trusted, so it may be loaded" in said
    subprocess.run(["sha256sum", "--check", "--strict", "../models.trusted"], cwd=home / "models", check=True)
    pinned = {line.split()[1] for line in (home / "models.trusted").read_text().splitlines()}
    assert pinned == {"machines.model", "machines.skops.model"}


def test_training_again_trusts_the_new_model_alone(home: Path) -> None:
    assert classifier("train", "train.csv", "--out", "models/machines", folder=home).returncode == 0
    assert (
        home / "models.trusted"
    ).read_text() == f"{digest(home / 'models' / 'machines.model')}  machines.model\n"


def test_training_without_trust_leaves_the_pin_to_another_command(home: Path) -> None:
    done = classifier("train", "train.csv", "--out", "models/new", "--no-trust", folder=home)
    assert done.returncode == 0
    assert "it is not trusted yet: have somebody run `classifier trust models/new`" in done.stdout
    refused = classifier("predict", "train.csv", "--model", "new", folder=home)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "models/new.model is not trusted, so it was not loaded" in refused.stderr
    assert classifier("trust", "models/new", folder=home).returncode == 0
    assert classifier("predict", "train.csv", "--model", "new", folder=home).returncode == 0


def test_trust_pins_all_forms_of_a_model_or_the_file_it_is_given(home: Path) -> None:
    (home / "models.trusted").unlink()
    done = classifier("trust", "models/machines", folder=home)
    assert (done.returncode, done.stderr) == (0, "")
    skops, pickled = done.stdout.splitlines()
    assert skops.startswith("models/machines.skops.model (skops, made ")
    assert skops.endswith(f"is trusted by {home}/models.trusted: {digest(home / 'models/machines.skops.model')}")
    assert pickled.endswith("; a pickle runs code when it is loaded")
    (home / "models.trusted").unlink()
    for given in ("models/machines.skops", "models/machines.skops.model"):
        assert classifier("trust", given, "--pins", "pins", folder=home).stdout.count("\n") == 1
    assert (home / "pins").read_text().split()[1::2] == ["machines.skops.model"]
    assert classifier(home / "job.json", folder=home, CONSUMER_TRUSTED_MODELS="pins").stdout.startswith("\nOUTPUT")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("trust", "models/none"), "cannot read the model models/none.model: No such file"),
        (("trust", "models/garbage"), "models/garbage.model is not a model of this format"),
        (("trust", "models/altered"), "models/altered.model was altered: its SHA-256 is not the manifest's"),
        (("trust", "models/machines", "--pins", "models/pins"), "is in the models folder"),
        (("train", "train.csv", "--out", "x", "--plot", "x.png"), "line 1 of "),
    ],
)
def test_what_cannot_be_trusted_is_one_line_and_exit_code_1(
    home: Path, arguments: tuple[str, ...], reason: str
) -> None:
    (home / "models" / "garbage.model").write_bytes(b"garbage")
    shutil.copy(home / "models" / "machines.model", home / "models" / "altered.model")
    alter(home / "models" / "altered.model")
    (home.parent / "home.trusted").write_text("no pin\n")
    before = (home / "models.trusted").read_bytes()
    done = classifier(*arguments, folder=home)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert reason in done.stderr
    assert (home / "models.trusted").read_bytes() == before


def test_info_tells_whether_a_model_may_be_loaded(home: Path, served: Path) -> None:
    assert "trusted        yes\n" in classifier("info", "models/machines", folder=home).stdout
    assert json.loads(classifier("info", "models/machines", "--json", folder=home).stdout)["trusted"] is True
    alter(served)
    said = classifier("info", "models/machines", folder=home).stdout
    assert "trusted        no: models/machines.skops.model was altered or exchanged" in said
    assert json.loads(classifier("info", "models/machines", "--json", folder=home).stdout)["trusted"] is False


def test_skops_is_served_in_place_of_the_pickle_and_says_the_very_same(home: Path) -> None:
    assert "skops gives all 20 test signals the same probabilities" in (home / "report.txt").read_text()
    skops = [json.loads(line) for line in classifier("predict", "train.csv", folder=home).stdout.splitlines()]
    (home / "models" / "machines.skops.model").unlink()
    pickled = [json.loads(line) for line in classifier("predict", "train.csv", folder=home).stdout.splitlines()]
    assert len(skops) == len(pickled) == 80
    assert {answer.pop("model_sha256") for answer in skops}.isdisjoint(
        {answer.pop("model_sha256") for answer in pickled}
    )
    assert skops == pickled


def test_training_without_skops_removes_the_outdated_one_and_says_so(home: Path, served: Path) -> None:
    done = classifier("train", "train.csv", "--out", "models/machines", folder=home)
    assert f"models/{served.name} was made from the model that this one replaces, and is removed" in done.stdout
    assert not served.exists()


def test_without_its_library_skops_is_refused_before_any_training(home: Path) -> None:
    (home / "skops.py").write_text("raise ImportError\n")
    command = [sys.executable, *REPLACED_FIRST, "train", "train.csv", "--out", "x", "--skops"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "classifier: --skops needs skops: pip install 'rabbitmq-classifier[skops]'\n"


# The contract's program


def test_an_altered_byte_is_an_error_line_with_digest_and_remedy(home: Path, served: Path) -> None:
    alter(served)
    (line,) = answers(classifier(home / "job.json", folder=home))
    assert line.startswith(
        "ERROR: ModelError: models/machines.skops.model was altered or exchanged, so it was not"
    )
    assert f"its SHA-256 is {digest(served)}, and " in line
    assert line.endswith("run `classifier trust models/machines.skops.model`")


def test_a_swapped_pickle_that_runs_a_command_is_an_error_line_and_does_not_run(home: Path, served: Path) -> None:
    swap(served, Call(os.system, f"touch {home}/ran"))
    (line,) = answers(classifier(home / "job.json", folder=home))
    assert line.startswith("ERROR: ModelError: models/machines.skops.model was altered or exchanged")
    assert not (home / "ran").exists()


def test_a_job_reaches_no_model_outside_of_the_folder_even_by_a_link(home: Path, served: Path) -> None:
    served.rename(home / served.name)
    served.symlink_to(f"../{served.name}")
    (line,) = answers(classifier(home / "job.json", folder=home))
    assert f"ERROR: ModelError: models/{served.name} leads out of its folder, to {home}/{served.name}" in line


# The service


@asynccontextmanager
async def opened(home: Path, **settings: Any) -> AsyncIterator[Runner]:  # noqa: ANN401 - settings
    chosen = load({"classifier": OWN_CLASSIFIER, "models_dir": home / "models", **settings}, {})
    with JobFiles.open(home / "jobs") as files:
        async with open_runner(chosen, files, {"PATH": os.environ["PATH"]}, size=1) as runner:
            yield runner


async def run(runner: Runner, content: bytes) -> Any:  # noqa: ANN401 - an outcome
    job = Job(request=Request(id="id", correlation_id="id"), body=content, timeout_s=30.0)
    return await runner.pool.slots[0].run(job)


@pytest.mark.parametrize("harm", [alter, lambda path: swap(path, Call(os.mkdir, str(path.parent.parent / "ran")))])
@runs_async
async def test_an_altered_or_swapped_model_stops_the_start_in_one_sentence(
    home: Path, served: Path, harm: Callable[[Path], None]
) -> None:
    harm(served)
    with pytest.raises(ConfigurationError) as refused:
        async with opened(home):
            pass
    *_, said = str(refused.value).splitlines()
    assert said == (
        f"{served} was altered or exchanged, so it was not loaded: its SHA-256 is {digest(served)}, and "
        f"{home}/models.trusted says {pinned(home, served)}; restore it, or once you know who made this one, "
        f"run `classifier trust {served}`"
    )
    assert "Traceback" not in str(refused.value)
    assert not (home / "ran").exists()


def pinned(home: Path, path: Path) -> str:
    (line,) = [line for line in (home / "models.trusted").read_text().splitlines() if line.endswith(path.name)]
    return line.split()[0]


@runs_async
async def test_the_settings_say_where_the_pins_are(home: Path) -> None:
    (home / "models.trusted").rename(home / "pins")
    async with opened(home, trusted_models=home / "pins") as runner:
        assert isinstance(await run(runner, b'{"signal": [1, 2, 3]}'), Succeeded)
        assert isinstance(await run(runner, b'{"signal": [1], "model": "../models/machines"}'), Failed)
    with pytest.raises(ConfigurationError, match=r"no-pins'`$"):
        async with opened(home, trusted_models=home / "my no-pins"):
            pass


@runs_async
async def test_the_settings_say_how_large_a_model_may_be(home: Path, served: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"{served.name} has [\d,]+ bytes, and may have 2,000: train a"):
        async with opened(home, max_model_bytes=2000):
            pass


@runs_async
async def test_a_reload_of_an_altered_model_leaves_the_trusted_one_serving(
    home: Path, served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="consumer")
    async with opened(home) as runner:
        alter(served)
        await runner.reload()
        assert runner.default_model == "machines"  # the only one
        assert isinstance(await run(runner, b'{"signal": [1, 2, 3]}'), Succeeded)
    assert "not reloaded, the old classifier stays in service" in caplog.text
    assert f"{served} was altered or exchanged" in caplog.text


@runs_async
async def test_a_model_that_loads_without_end_stops_the_start_and_is_named(
    home: Path, served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap(served, Call(time.sleep, 1000))
    trust.trust(served, model.content_of(served), home / "models.trusted")
    monkeypatch.setattr(fork_client, "START_TIMEOUT_S", 5.0)
    monkeypatch.setattr(fork_client, "CLOSE_GRACE_S", 0.0)
    with pytest.raises(ConfigurationError, match=rf"cannot be loaded, not done after 5 s:\nloading {served}$"):
        async with opened(home):
            pass
