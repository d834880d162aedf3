"""What docs/deploy.md and deploy/rabbitmq/README.md tell a reader to write or to run is true of the files.

Not run: what needs Docker, a cluster, or root on a server. test_systemd_unit.py and test_image.py do the
same by other means.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from helm_chart import EVERYTHING, rendered
from support.docs_pages.pages import block, rows

from consumer._version import VERSION
from consumer.config.loader import load
from consumer.local_broker.files import PORTS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploy.md").read_text()
SETUP = [path.read_text() for path in (ROOT / "deploy" / "kubernetes" / "setup").glob("*.yaml")]
RABBITMQ = ROOT / "deploy" / "rabbitmq"


def test_the_settings_file_shown_is_one_and_its_password_comes_from_the_unit() -> None:
    settings = load(
        tomllib.loads(block("docs/deploy.md", "settings").text) | {"amqp_password_file": "/run/credentials/x"}, {}
    )
    assert (settings.declare, settings.drain_grace_s) == (False, 60)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\bdeploy/[\w./-]*\w", PAGE))))
def test_every_file_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_secrets_to_be_made_are_those_that_the_manifests_ask_for() -> None:
    made = {
        name: set(re.findall(r"--from-(?:literal|file)=([\w.-]+)=", rest))
        for name, rest in re.findall(r"create secret generic (\S+) (.*)", PAGE)
    }
    without_a_login = {each: value for each, value in EVERYTHING.items() if each != "image"}
    kubernetes = "".join([*SETUP, yaml.safe_dump_all(rendered(without_a_login), sort_keys=False)])
    wanted: dict[str, set[str]] = {}
    for pattern in (r"name: (\S+)\n\s+key: (\S+)\n", r"key: (\S+)\n\s+name: (\S+)\n"):
        for name, key in re.findall(pattern, kubernetes):
            if (key, name) != ("cpu", "Exists"):
                wanted.setdefault(name, set()).add(key)
    for name in re.findall(r"secretRef:\n\s+name: (\S+)", kubernetes):
        wanted.setdefault(name, set()).add("AMQP_PASSWORD")
    wanted["rabbitmq-users"] = {"producer"}  # whoever it names
    paths = {"rabbitmq-ca": "ca.crt", "rabbitmq-classifier-tokens": "tokens"}  # mounted as files
    for name in set(re.findall(r"secretName: (\S+)", kubernetes)) - {"rabbitmq-users"}:
        wanted.setdefault(name, set()).add(paths[name])
        assert re.search(rf"/{re.escape(paths[name])}$", kubernetes, re.MULTILINE)
    assert made == wanted


def test_the_values_are_of_the_image_that_is_built_and_pushed() -> None:
    image = yaml.safe_load(block("docs/deploy.md", "helm-values").text)["image"]
    built = f"{image['repository']}:{VERSION}"
    commands = block("docs/deploy.md", "push-image").text
    assert f"--tag {built} ." in commands
    assert f"docker push {built}\n" in commands
    assert "--build-arg EXTRAS='[http]'" in commands  # for the gateway


def test_what_the_steps_wait_for_and_copy_into_is_in_the_manifests() -> None:
    steps = block("docs/deploy.md", "setup").text
    there = {
        f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"
        for text in SETUP
        for manifest in yaml.safe_load_all(text)
        if "metadata" in manifest
    }
    named = set(re.findall(r"\b((?:job|pod|deployment)/\S+)", steps))
    assert named == {"job/rabbitmq-definitions", "pod/models"}
    assert named <= there
    (namespace,) = re.findall(r"--namespace=(\S+)", block("docs/deploy.md", "secrets").text)
    assert f"namespace/{namespace}" in there


def test_the_steps_of_compose_are_its_own() -> None:
    """Nothing of them depends on what another way to deploy has left."""
    commands = block("docs/deploy.md", "compose").text
    assert re.findall(r"^\s*(\S+ \S+)", commands, re.MULTILINE) == ["docker compose"] * 3


def test_no_two_ports_are_the_same_and_all_that_are_used_are_listed() -> None:
    cells = [row[0] for row in rows("docs/deploy.md", "ports")]
    ports = [int(port) for cell in cells for port in re.findall(r"[0-9]+", cell)]
    assert len(ports) == len({*ports})
    settings = load({}, {})
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    published = {int(port) for port in re.findall(r'"127\.0\.0\.1:(\d+):\d+"', compose)}
    in_image = re.findall(r"EXPOSE (\d+)", (ROOT / "deploy" / "Dockerfile").read_text())
    assert published | {*map(int, in_image), settings.gateway_port, settings.statsd_port} <= {*ports}
    assert not {*ports} & {*PORTS}  # those of private nodes


def test_the_services_and_profiles_named_are_in_the_compose_file() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    assert set(re.findall(r"--scale (\w+)=", PAGE)) <= compose["services"].keys()
    profiles = {profile for service in compose["services"].values() for profile in service.get("profiles", [])}
    assert set(re.findall(r"--profile (\w+)", PAGE)) | set(re.findall(r"run --rm (\w+)", PAGE)) == profiles


def test_the_unit_has_the_paths_that_the_steps_make() -> None:
    unit = (ROOT / "deploy" / "systemd" / "rabbitmq-classifier.service").read_text()
    for path in (
        "/opt/rabbitmq-classifier",
        "/etc/rabbitmq-classifier/amqp_password",
        "/var/lib/rabbitmq-classifier",
    ):
        assert path in block("docs/deploy.md", "install").text
        assert path in unit


def test_the_command_that_makes_a_hash_makes_one_like_those_of_the_laptop() -> None:
    [program] = re.findall(r"python3 -c '(.*)'", (RABBITMQ / "README.md").read_text())
    said = program.replace("getpass.getpass()", "input()")
    done = subprocess.run([sys.executable, "-c", said], input="scaler", capture_output=True, text=True, check=True)
    laptop = {
        user["name"]: user["password_hash"]
        for user in json.loads((RABBITMQ / "laptop-users.json").read_text())["users"]
    }
    for hashed in (done.stdout, laptop["scaler"]):
        raw = base64.b64decode(hashed)
        assert raw[4:] == hashlib.sha256(raw[:4] + b"scaler").digest()


def test_every_file_for_rabbitmq_has_its_line() -> None:
    text = (RABBITMQ / "README.md").read_text()
    assert [path.name for path in RABBITMQ.iterdir() if f"`{path.name}`" not in text] == ["README.md"]
