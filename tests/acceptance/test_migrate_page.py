"""The guides of docs/migrate.md, as they stand there: the old service and the new one give the same answers.

`amqp-consume` and Celery run as the page shows them. rabbitmq-cli-consumer does not run here; what its scripts get
and how they end is what the page's adapter is tried with.
"""

from __future__ import annotations

import os
import pickle
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from page_serving import answer, save, serving
from sklearn.linear_model import LogisticRegression
from support.docs_pages.pages import block
from support.processes.commands import BIN, environment
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

PAGE = "docs/migrate.md"
JOB = b'{"signal": [1, 2, 3]}'
BAD = b'{"noise": 1}'
#: What a caller of the old and of the new service prints.
ANSWERS = """\
{'label': 'off'}
{'label': 'on'}
failed: the signal has 1 points; the model needs 2
"""


def read(block_id: str, url: str) -> str:
    return block(PAGE, block_id).at(url)


def write(block_id: str, path: Path, url: str) -> None:
    path.write_text(read(block_id, url))
    path.chmod(0o755)


def variables(url: str) -> dict[str, str]:
    """A reader's environment, with the commands of this project first on the PATH."""
    return {**environment(url), "PATH": f"{BIN}:{os.environ['PATH']}"}


def sh(commands: str, folder: Path, url: str) -> str:
    argv = ["sh", "-euc", commands]
    done = subprocess.run(
        argv, cwd=folder, env=variables(url), capture_output=True, text=True, check=False, timeout=3 * PATIENCE_S
    )
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return done.stdout


@contextmanager
def running(command: Sequence[str], folder: Path, url: str) -> Iterator[None]:
    """Run a service that is not ours. Messages wait in its queue until it is ready, so nothing else does."""
    with (folder / "old.log").open("a") as log:
        process = subprocess.Popen(command, cwd=folder, env=variables(url), stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            finally:
                process.kill()


@pytest.fixture
def celery_app(vhost_url: str, tmp_path: Path) -> Path:
    """A folder with all files of the guide, and the model."""
    model = LogisticRegression().fit([[0, 0], [1, 1]], ["off", "on"])
    (tmp_path / "pumps.pkl").write_bytes(pickle.dumps(model))
    for block_id, name in (("celery-tasks", "tasks"), ("celery-caller", "ask_celery"), ("caller", "ask")):
        text = block(PAGE, block_id).text
        (tmp_path / f"{name}.py").write_text(text.replace("amqp://localhost", vhost_url))
    (tmp_path / "pumps.py").write_text(block(PAGE, "classifier").text)
    return tmp_path


def worker() -> list[str]:
    return shlex.split(block(PAGE, "celery-worker").text)


def test_the_function_is_tried_as_the_page_says(celery_app: Path) -> None:
    assert '"label": "off"' in sh(block(PAGE, "try").text, celery_app, "")


def test_the_celery_app_and_the_service_beside_it_answer_alike(vhost_url: str, celery_app: Path) -> None:
    with running(worker(), celery_app, vhost_url), serving(read("serve", vhost_url), vhost_url, celery_app):
        assert sh(block(PAGE, "compare-answers").text, celery_app, vhost_url) == ""
    assert (celery_app / "old.txt").read_text() == (celery_app / "new.txt").read_text() == ANSWERS


def test_callers_that_still_use_celery_get_the_answers_of_the_service(vhost_url: str, celery_app: Path) -> None:
    """The task that passes signals on has no model, so the answers are not its own."""
    write("celery-bridge", celery_app / "tasks.py", vhost_url)
    with serving(read("serve", vhost_url), vhost_url, celery_app) as service:
        with running(worker(), celery_app, vhost_url):
            assert sh("python ask_celery.py", celery_app, vhost_url) == ANSWERS
        service.wait_for_event("job_settled", outcome="Failed")


@pytest.fixture
def queues(producer: Producer) -> None:
    """The queues of the old service."""
    for name in ("signals", "answers"):
        producer.channel.queue_declare(name, durable=True)


@pytest.mark.usefixtures("queues")
def test_the_old_script_and_the_new_one_answer_alike(vhost_url: str, producer: Producer, tmp_path: Path) -> None:
    write("old-script", tmp_path / "count.sh", vhost_url)
    save(block(PAGE, "new-script"), tmp_path / "classify.sh")
    publish, get, submit = read("compare-script", vhost_url).splitlines()
    old = shlex.split(read("old-consumer", vhost_url))
    with running(old, tmp_path, vhost_url), serving(read("serve-script", vhost_url), vhost_url, tmp_path):
        sh(publish, tmp_path, vhost_url)
        answered = producer.take("answers")
        assert f'"output": {answered.body.decode()}' in sh(submit, tmp_path, vhost_url)
        refused = reply_to(producer, BAD)
    assert answered.json == {"points": 3}
    assert (refused["error"]["code"], refused["error"]["message"]) == (
        "classifier_error",
        "the job has no signal",
    )
    producer.publish("answers", answered.body)
    assert sh(get, tmp_path, vhost_url).strip() == answered.body.decode()


def reply_to(producer: Producer, job: bytes) -> dict[str, Any]:
    reply = answer(producer, job)
    assert isinstance(reply, dict)
    return reply


@pytest.mark.usefixtures("queues")
def test_a_failing_script_holds_its_message_under_amqp_consume(
    vhost_url: str, producer: Producer, tmp_path: Path
) -> None:
    write("old-script", tmp_path / "count.sh", vhost_url)
    (tmp_path / "failing.sh").write_text(
        '#!/bin/sh\n./count.sh\namqp-publish --url="$1" -r answers -b failed\nexit 1\n'
    )
    (tmp_path / "failing.sh").chmod(0o755)
    command = shlex.split(read("old-consumer", vhost_url).replace("./count.sh", f"./failing.sh {vhost_url}"))
    with running(command, tmp_path, vhost_url):
        producer.publish("signals", BAD)
        producer.publish("signals", JOB)
        assert producer.take("answers").body == b"failed"
        assert producer.depth("signals") == 1  # the other one is held, neither acked nor rejected
    assert {producer.take("signals").body for _ in range(2)} == {BAD, JOB}
    assert producer.depth("answers") == 0


#: An old script that ends as its job says, and reads the body as each consumer gives it.
OLD = {
    "standard input": "#!/bin/sh\nbody=$(cat)\n",
    "argument": '#!/bin/sh\nbody=$(printf %s "$1" | base64 -d)\n',
}


@pytest.mark.parametrize("way", OLD)
def test_the_adapter_runs_an_old_script_and_ends_as_its_exit_code_says(
    vhost_url: str, producer: Producer, tmp_path: Path, way: str
) -> None:
    adapter = block(PAGE, "adapter").text
    piped, argument = (line for line in adapter.splitlines() if "result=" in line)
    if way == "argument":
        adapter = adapter.replace(piped, f"# {piped}").replace(argument, argument.removeprefix("# "))
    (tmp_path / "adapter.sh").write_text(adapter)
    (tmp_path / "old.sh").write_text(
        OLD[way] + 'code=$(printf %s "$body" | tr -cd 0-9)\n[ "$code" != 0 ] || echo "$body"\nexit "$code"\n'
    )
    for name in ("adapter.sh", "old.sh"):
        (tmp_path / name).chmod(0o755)
    command = read("serve-script", vhost_url).replace("classify.sh", "adapter.sh")
    with serving(f"CONSUMER_MAX_ATTEMPTS=1 {command}", vhost_url, tmp_path):
        ended = {code: reply_to(producer, b'{"exit": %d}' % code) for code in (0, 3, 5, 1, 4)}
    assert ended[0]["output"] == {"exit": 0}
    assert {code: reply["error"]["code"] for code, reply in ended.items() if code} == {
        3: "classifier_error",
        5: "classifier_error",
        1: "crashed",
        4: "crashed",
    }
    assert "exit code 3" in ended[3]["error"]["message"]
