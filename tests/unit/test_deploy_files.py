"""What is under deploy/ is what each tool takes, and says the same as the code. test_chart.py judges the chart.

Each judge is seen to refuse something, so that a file cannot pass by not being looked at.
"""

from __future__ import annotations

import configparser
import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from alerts import ALERTS
from deploy_judges import REFUSED, broken_rules, image_environment, judge, settings_in
from helm_chart import KUBERNETES, RELEASE, built, of, pod_of, rendered
from support.processes.commands import BIN
from support.rabbitmq.definitions import USERS

from consumer.config.settings import Settings
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, CLOSE_TIMEOUT_S
from consumer.service.running import INTERRUPT_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
#: Stopping takes at most this beyond drain_grace_s: ending what runs, RabbitMQ's last answer, closing connections.
STOP_S = INTERRUPT_S + CALL_TIMEOUT_S + 2 * CLOSE_TIMEOUT_S
Manifest = dict[str, Any]
#: Made once in a cluster, before the chart.
SETUP = KUBERNETES / "setup"


def documents(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((SETUP / name).read_text()))


def kustomization(folder: Path) -> Manifest:
    made: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return made


def test_each_manifest_of_the_setup_is_valid_and_with_an_unknown_field_it_is_not() -> None:
    made = built(SETUP)
    assert {manifest["kind"] for manifest in made} == {
        "ConfigMap",
        "Job",
        "Namespace",
        "PersistentVolumeClaim",
        "Pod",
    }
    for manifest in made:
        judge(manifest)
        spoilt = copy.deepcopy(manifest)
        spoilt["data" if "data" in spoilt else "spec"] = {"replica": 2}
        with pytest.raises(REFUSED):
            judge(spoilt)
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "classification"


@pytest.mark.parametrize("folder", [SETUP, DEPLOY / "rabbitmq"], ids=lambda folder: folder.name)
def test_a_kustomization_names_all_that_is_there_and_nothing_else(folder: Path) -> None:
    made = kustomization(folder)
    files = {path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"}
    resources = {(folder / name).resolve() for name in made.get("resources", [])}
    assert {path for path in resources if path.is_file()} == files
    assert all((path / "kustomization.yaml").exists() for path in resources - files)
    for generated in made.get("configMapGenerator", []):
        assert all((folder / name).exists() for name in generated["files"])


def test_the_job_imports_the_definitions_that_a_generator_makes_for_it_and_sets_a_password_for_each_user() -> None:
    [job] = documents("definitions.yaml")
    [container] = job["spec"]["template"]["spec"]["containers"]
    [generated] = kustomization(DEPLOY / "rabbitmq")["configMapGenerator"]
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["definitions"]["configMap"]["name"] == generated["name"]
    [script] = container["args"]
    done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    users = re.findall(r"set_password (\w+)", script)
    assert users == ["consumer", "gateway"]  # those of the chart
    assert set(users) <= set(USERS)
    assert set(re.findall(r"\$([A-Z_]+)", script)) == {entry["name"] for entry in container["env"]}
    assert broken_rules(job["spec"]["template"]["spec"]) == set()


def test_the_chart_mounts_the_volume_that_the_setup_makes() -> None:
    claim, loader = documents("models.yaml")
    [models] = [volume for volume in pod_of(rendered())["volumes"] if volume["name"] == "models"]
    assert models["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert broken_rules(loader["spec"]) == set()


COMPOSE: Manifest = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Manifest] = COMPOSE["services"]


def composed(text: str, folder: Path) -> str:
    """Give what the schema of Compose files has against a text; nothing if it is valid."""
    (folder / "compose.yaml").write_text(text)
    command = [
        str(BIN / "check-jsonschema"),
        "--builtin-schema",
        "vendor.compose-spec",
        str(folder / "compose.yaml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout


def test_the_compose_file_is_valid_and_with_an_unknown_field_it_is_not(tmp_path: Path) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert composed(text, tmp_path) == ""
    assert "'read_onlY' was unexpected" in composed(text.replace("read_only", "read_onlY"), tmp_path)


def test_what_compose_mounts_is_there_and_what_it_publishes_is_for_this_machine_alone() -> None:
    mounted = [word.partition(":")[0] for service in SERVICES.values() for word in service.get("volumes", [])]
    ours = [DEPLOY / path for path in mounted if path.startswith("./")]
    assert ours
    assert [path for path in ours if not path.exists()] == []
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", ["consumer", "gateway", "models"])
def test_our_containers_are_shut_in(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_no_disk_of_job_files_that_we_give_is_full_for_the_alert_when_it_is_half_empty() -> None:
    """And the service still keeps jobs running when the alert fires."""
    [mount] = SERVICES["consumer"]["tmpfs"]
    [jobs] = (volume for volume in pod_of(rendered())["volumes"] if volume["name"] == "jobs")
    gib = [re.findall(r"size=(\d+)g,", mount), re.findall(r"(\d+)Gi", jobs["emptyDir"]["sizeLimit"])]
    [bound] = (alert.below for alert in ALERTS if alert.name == "DiskFull")
    assert bound is not None
    assert bound > Settings().min_free_bytes
    for [size] in gib:
        assert bound < int(size) * 2**30 / 2


def test_each_grace_period_is_longer_than_the_drain_that_it_is_for() -> None:
    compose = settings_in(SERVICES["consumer"]["environment"]).drain_grace_s
    assert int(SERVICES["consumer"]["stop_grace_period"].removesuffix("s")) > compose + STOP_S
    made = rendered({"gateway": {"enabled": True}})
    for name in (RELEASE, f"{RELEASE}-gateway"):
        drain = float(of(made, "ConfigMap", name)["data"]["CONSUMER_DRAIN_GRACE_S"])
        assert pod_of(made, name)["terminationGracePeriodSeconds"] >= drain + STOP_S
    assert STOP_S <= 30  # as the documents say


def test_the_images_of_compose_get_settings_that_there_are() -> None:
    settings_in(image_environment())
    settings_in({**SERVICES["gateway"]["environment"], "CONSUMER_GATEWAY_TOKEN_FILE": ""})


def test_prometheus_in_compose_finds_our_containers_at_their_ports() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "compose.yml").read_text())
    found = {
        name: asked["port"]
        for job in config["scrape_configs"]
        for asked in job.get("dns_sd_configs", [])
        for name in asked["names"]
    }
    assert found == {
        "consumer": int(image_environment()["CONSUMER_HTTP_PORT"]),
        "gateway": int(SERVICES["gateway"]["environment"]["CONSUMER_GATEWAY_PORT"]),
    }
    mounted = [word.partition(":")[0] for word in SERVICES["prometheus"]["volumes"]]
    assert f"./prometheus/{config['rule_files'][0]}" in mounted
    assert SERVICES["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


def test_the_demo_model_of_compose_is_trained_into_the_volume_that_the_consumer_reads() -> None:
    models, consumer = SERVICES["models"], SERVICES["consumer"]
    assert [f"{volume}:ro" for volume in models["volumes"]] == consumer["volumes"]
    assert models["profiles"] == ["models"]  # not part of `up --wait`
    [script] = models["command"]
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def conf() -> dict[str, str]:
    parser = configparser.ConfigParser()
    parser.read_string("[conf]\n" + (DEPLOY / "rabbitmq" / "rabbitmq.conf").read_text())
    return dict(parser["conf"])


def test_rabbitmq_waits_as_long_as_the_service_thinks_it_does() -> None:
    assert int(conf()["consumer_timeout"]) == Settings().consumer_timeout_s * 1000


def test_rabbitmqs_plugins_are_those_that_its_settings_are_for() -> None:
    plugins = re.findall(r"\w+", (DEPLOY / "rabbitmq" / "enabled_plugins").read_text())
    assert {f"{key.partition('.')[0]}" for key in conf() if key.endswith("tcp.port")} == {
        plugin.removeprefix("rabbitmq_") for plugin in plugins
    }


def test_the_laptops_passwords_are_for_the_users_of_the_definitions_and_one_that_may_all() -> None:
    laptop = json.loads((DEPLOY / "rabbitmq" / "laptop-users.json").read_text())
    tags = {user["name"]: user["tags"] for user in laptop["users"]}
    assert tags.keys() >= {*USERS, "classifier"}
    definitions = json.loads((DEPLOY / "rabbitmq" / "definitions.json").read_text())
    assert {user["name"]: user["tags"] for user in definitions["users"]}.items() <= tags.items()
