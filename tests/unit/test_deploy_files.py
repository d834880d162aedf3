"""What is under deploy/ is what each tool takes, and says the same as the code.

Each judge is seen to refuse something, so that a file cannot pass by not being looked at.
"""

from __future__ import annotations

import configparser
import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from support.processes.commands import BIN
from support.rabbitmq.definitions import USERS

from consumer.config.loader import ENV_PREFIX, load
from consumer.config.settings import Settings
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, CLOSE_TIMEOUT_S
from consumer.runners.fork_client import START_TIMEOUT_S
from consumer.service.running import INTERRUPT_S
from consumer.telemetry.health import LIVE, READY
from consumer.wire.topology import Topology

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
KEDA: dict[str, Any] = json.loads((ROOT / "tests/vendored/keda/keda.sh-v1alpha1.json").read_text())
#: The oldest and the newest series that the files are for.
VERSIONS = ("1.33", "1.37")
#: Stopping takes at most this beyond drain_grace_s: ending what runs, RabbitMQ's last answer, closing connections.
STOP_S = INTERRUPT_S + CALL_TIMEOUT_S + 2 * CLOSE_TIMEOUT_S
Manifest = dict[str, Any]


def documents(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def manifests() -> Iterator[Manifest]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from documents(path.name)


def named(manifest: Manifest) -> str:
    return str(manifest["kind"])


def judge(manifest: Manifest) -> None:
    """Raise what Kubernetes, or KEDA, has against it."""
    if manifest["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(manifest, KEDA[manifest["kind"]])
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("manifest", [*manifests()], ids=named)
def test_each_manifest_is_valid_and_with_an_unknown_field_it_is_not(manifest: Manifest) -> None:
    judge(manifest)
    spoilt = copy.deepcopy(manifest)
    spoilt["data" if "data" in spoilt else "spec"] = {"replica": 2}
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        judge(spoilt)


def test_the_kustomization_names_what_is_there_but_for_what_needs_keda() -> None:
    [kustomization] = documents("kustomization.yaml")
    there = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "scaledobject.yaml"}
    assert set(kustomization["resources"]) == there
    assert kustomization["images"][0]["name"] == CONTAINER["image"]


[DEPLOYMENT] = documents("deployment.yaml")
POD: Manifest = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER: Manifest = POD["containers"][0]
[CONFIG] = [manifest["data"] for manifest in documents("configmap.yaml")]


def broken_rules(pod: Manifest) -> set[str]:
    """Name the rules of the restricted Pod Security Standard that a pod breaks, of those about what we have."""
    containers = [container.get("securityContext", {}) for container in pod["containers"]]
    wanted = {
        "no root": pod["securityContext"].get("runAsNonRoot") is True
        and pod["securityContext"].get("runAsUser") != 0,
        "seccomp": pod["securityContext"].get("seccompProfile", {}).get("type") in ("RuntimeDefault", "Localhost"),
        "escalation": all(container.get("allowPrivilegeEscalation") is False for container in containers),
        "capabilities": all(container.get("capabilities") == {"drop": ["ALL"]} for container in containers),
        "host": not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"},
        "volumes": all(
            volume.keys() & {"configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
            for volume in pod["volumes"]
        ),
    }
    return {rule for rule, kept in wanted.items() if not kept}


def test_the_pod_keeps_the_restricted_standard_and_can_write_to_its_job_files_alone() -> None:
    assert broken_rules(POD) == set()
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [mount["mountPath"] for mount in CONTAINER["volumeMounts"] if not mount.get("readOnly")]
    assert writable == [image_environment()["CONSUMER_JOB_DIR"]]
    spoilt = copy.deepcopy(POD) | {"hostNetwork": True, "volumes": [{"hostPath": {"path": "/"}}]}
    spoilt["containers"][0]["securityContext"] = {}
    assert broken_rules(spoilt) == {"escalation", "capabilities", "host", "volumes"}


def test_everything_selects_the_pods_that_the_deployment_makes() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    [budget], [policy] = documents("poddisruptionbudget.yaml"), documents("networkpolicy.yaml")
    selectors = [DEPLOYMENT["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    assert [selector["matchLabels"] for selector in selectors] == [labels] * 3
    assert documents("scaledobject.yaml")[0]["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT["metadata"]["name"]
    assert CONTAINER["envFrom"] == [{"configMapRef": {"name": documents("configmap.yaml")[0]["metadata"]["name"]}}]


def test_the_probes_ask_for_pages_that_there_are_at_the_port_of_the_image() -> None:
    pages = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: page["path"] for name, page in pages.items()} == {
        "startup": READY,
        "liveness": LIVE,
        "readiness": READY,
    }
    [port] = CONTAINER["ports"]
    assert {page["port"] for page in pages.values()} == {port["name"]}
    environment = image_environment()
    assert (environment["CONSUMER_HTTP_PORT"], environment["CONSUMER_HTTP_HOST"]) == (
        str(port["containerPort"]),
        "0.0.0.0",  # noqa: S104 - in the container
    )
    startup = CONTAINER["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > START_TIMEOUT_S


def test_no_service_of_the_cluster_can_set_a_setting() -> None:
    assert POD["enableServiceLinks"] is False


def test_a_pod_for_each_pool_full_of_jobs_ready_and_running_is_what_keda_keeps() -> None:
    [trigger] = documents("scaledobject.yaml")[0]["spec"]["triggers"]
    metadata = trigger["metadata"]
    assert metadata["queueName"] == Topology(Settings().prefix, 3).jobs
    assert metadata["value"] == CONFIG["CONSUMER_POOL_SIZE"]
    # Over AMQP the scaler would see the ready messages alone.
    assert (metadata["protocol"], metadata["mode"], metadata["excludeUnacknowledged"]) == (
        "http",
        "QueueLength",
        "false",
    )


def image_environment() -> dict[str, str]:
    *_, step = [
        step["value"]
        for step in DockerfileParser(str(DEPLOY / "Dockerfile")).structure
        if step["instruction"] == "ENV"
    ]
    return dict(word.partition("=")[::2] for word in step.split())


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


@pytest.mark.parametrize("name", ["consumer", "gateway"])
def test_our_containers_are_shut_in(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]


def settings_in(variables: dict[str, str]) -> Settings:
    """Read the settings among variables, as the consumer would; one that is unknown is an error here."""
    for name in variables:
        if name.startswith(ENV_PREFIX) and not name.startswith("CONSUMER_GATEWAY"):
            assert name.removeprefix(ENV_PREFIX).lower() in Settings.model_fields
    return load({}, variables)


def test_each_grace_period_is_longer_than_the_drain_that_it_is_for() -> None:
    compose = settings_in(SERVICES["consumer"]["environment"]).drain_grace_s
    assert int(SERVICES["consumer"]["stop_grace_period"].removesuffix("s")) > compose + STOP_S
    assert POD["terminationGracePeriodSeconds"] >= settings_in(CONFIG).drain_grace_s + STOP_S
    assert STOP_S <= 30  # as the documents say


def test_the_images_of_compose_and_kubernetes_get_settings_that_there_are() -> None:
    settings_in(image_environment())
    variables = {entry["name"]: entry.get("value", "") for entry in CONTAINER["env"]}
    assert settings_in(variables).amqp_url is not None
    settings_in(SERVICES["gateway"]["environment"])


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
