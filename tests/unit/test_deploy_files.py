"""What is under deploy/ is what each tool takes, and says the same as the code.

Each judge is seen to refuse something, so that a file cannot pass by not being looked at.
"""

from __future__ import annotations

import configparser
import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser
from panels import ALERTS
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
#: Schemas of what others add to Kubernetes, by kind.
ADDED: dict[str, Any] = {
    kind: schema
    for name in ("keda/keda.sh-v1alpha1", "monitoring/monitoring.coreos.com-v1")
    for kind, schema in json.loads((ROOT / f"tests/vendored/{name}.json").read_text()).items()
}
#: The oldest and the newest series that the files are for.
VERSIONS = ("1.33", "1.37")
#: Stopping takes at most this beyond drain_grace_s: ending what runs, RabbitMQ's last answer, closing connections.
STOP_S = INTERRUPT_S + CALL_TIMEOUT_S + 2 * CLOSE_TIMEOUT_S
Manifest = dict[str, Any]


#: Each folder with a kustomization. A kustomization may name others.
FOLDERS = sorted(path.parent for path in DEPLOY.rglob("kustomization.yaml"))


def documents(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def kustomization(folder: Path) -> Manifest:
    made: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return made


def patches(folder: Path) -> set[Path]:
    return {folder / patch["path"] for patch in kustomization(folder).get("patches", []) if "path" in patch}


def manifests() -> Iterator[Manifest]:
    no_manifests = {path for folder in FOLDERS for path in (*patches(folder), folder / "kustomization.yaml")}
    for path in sorted({*KUBERNETES.rglob("*.yaml")} - no_manifests):
        yield from documents(str(path.relative_to(KUBERNETES)))


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


def judge(manifest: Manifest) -> None:
    """Raise what Kubernetes, KEDA or the Prometheus operator has against it."""
    if manifest["apiVersion"].startswith(("keda.sh/", "monitoring.coreos.com/")):
        jsonschema.validate(manifest, ADDED[manifest["kind"]])
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


#: Not part of a kustomization: it needs KEDA.
ALONE = {KUBERNETES / "consumer" / "scaledobject.yaml"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_kustomization_names_all_that_is_there_and_nothing_else(folder: Path) -> None:
    made = kustomization(folder)
    files = {path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"}
    resources = {(folder / name).resolve() for name in made.get("resources", [])}
    assert {path for path in resources if path.is_file()} | patches(folder) == files - ALONE
    assert all((path / "kustomization.yaml").exists() for path in resources - files)
    for generated in made.get("configMapGenerator", []):
        assert all((folder / name).exists() for name in generated["files"])


def test_the_images_are_renamed_where_they_are() -> None:
    for folder in ("consumer", "gateway", "example"):
        assert [image["name"] for image in kustomization(KUBERNETES / folder)["images"]] == [CONTAINER["image"]]


def built(folder: Path) -> list[Manifest]:
    """Build it as `kubectl apply --kustomize` does."""
    if shutil.which("kubectl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no kubectl")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_a_kustomization_makes_is_valid(folder: Path) -> None:
    for manifest in built(folder):
        judge(manifest)


def test_the_overlay_reaches_rabbitmq_in_its_own_namespace_by_tls() -> None:
    made = built(KUBERNETES / "example")
    deployments = [manifest for manifest in made if manifest["kind"] == "Deployment"]
    for deployment in deployments:
        pod = deployment["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert broken_rules(pod) == set()
        assert container["image"] == "registry.example.com/rabbitmq-classifier:0.1.0"
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        settings = settings_in({**variables, "CONSUMER_GATEWAY_TOKEN_FILE": ""})
        [url] = settings.amqp_urls
        host = (urlsplit(url).hostname or "").split(".")
        assert (urlsplit(url).scheme, urlsplit(url).port, host[1:]) == ("amqps", 5671, ["rabbitmq", "svc"])
        [ca] = [mount for mount in container["volumeMounts"] if mount["name"] == "rabbitmq-ca"]
        assert settings.amqp_ca_file == Path(ca["mountPath"]) / "ca.crt"
    assert len(deployments) == 2
    policies = [manifest for manifest in made if manifest["kind"] == "NetworkPolicy"]
    for policy in policies:
        [to] = [
            to
            for rule in policy["spec"]["egress"]
            for to in rule["to"]
            if to.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/name": "rabbitmq"}
        ]
        assert to["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "rabbitmq"}
    assert len(policies) == len(deployments)
    assert {manifest["metadata"]["namespace"] for manifest in made} == {"classification"}


def test_what_a_variable_refers_to_comes_before_it_whatever_an_overlay_adds() -> None:
    """Kubernetes replaces $(NAME) only by what is before it. A patch comes before `env`, but after `envFrom`."""
    texts = [path.read_text() for path in KUBERNETES.rglob("*.yaml")]
    referred = {name for text in texts for name in re.findall(r"^\s+value: .*\$\((\w+)\)", text, re.MULTILINE)}
    assert referred == {"AMQP_PASSWORD"}
    for container in (CONTAINER, GATEWAY):
        assert referred.isdisjoint(entry["name"] for entry in container["env"])
        assert any("secretRef" in source for source in container["envFrom"])


def test_the_job_imports_the_definitions_that_a_generator_makes_for_it_and_sets_a_password_for_each_user() -> None:
    [job] = documents("example/setup/definitions.yaml")
    [container] = job["spec"]["template"]["spec"]["containers"]
    [generated] = kustomization(DEPLOY / "rabbitmq")["configMapGenerator"]
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["definitions"]["configMap"]["name"] == generated["name"]
    [script] = container["args"]
    done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    users = re.findall(r"set_password (\w+)", script)
    assert users == ["consumer", "gateway"]  # those of the Deployments
    assert set(users) <= set(USERS)
    assert set(re.findall(r"\$([A-Z_]+)", script)) == {entry["name"] for entry in container["env"]}
    assert broken_rules(job["spec"]["template"]["spec"]) == set()


[DEPLOYMENT] = documents("consumer/deployment.yaml")
[GATEWAY_DEPLOYMENT] = documents("gateway/deployment.yaml")
POD: Manifest = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINER: Manifest = POD["containers"][0]
GATEWAY_POD: Manifest = GATEWAY_DEPLOYMENT["spec"]["template"]["spec"]
GATEWAY: Manifest = GATEWAY_POD["containers"][0]
[CONFIG] = [manifest["data"] for manifest in documents("consumer/configmap.yaml")]


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
    [budget], [policy] = documents("consumer/poddisruptionbudget.yaml"), documents("consumer/networkpolicy.yaml")
    selectors = [DEPLOYMENT["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    assert [selector["matchLabels"] for selector in selectors] == [labels] * 3
    assert (
        documents("consumer/scaledobject.yaml")[0]["spec"]["scaleTargetRef"]["name"]
        == DEPLOYMENT["metadata"]["name"]
    )
    [config] = documents("consumer/configmap.yaml")
    assert CONTAINER["envFrom"][0] == {"configMapRef": {"name": config["metadata"]["name"]}}


def test_everything_of_the_gateway_selects_its_pods_and_its_service_ends_at_its_port() -> None:
    labels = GATEWAY_DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    [budget], [policy] = documents("gateway/poddisruptionbudget.yaml"), documents("gateway/networkpolicy.yaml")
    [service] = documents("gateway/service.yaml")
    selectors = [GATEWAY_DEPLOYMENT["spec"]["selector"], budget["spec"]["selector"], policy["spec"]["podSelector"]]
    assert [selector["matchLabels"] for selector in selectors] == [labels] * 3
    assert service["spec"]["selector"] == labels
    [port] = GATEWAY["ports"]
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [port["name"]]
    variables = {entry["name"]: entry["value"] for entry in GATEWAY["env"]}
    settings = settings_in({**variables, "CONSUMER_GATEWAY_TOKEN_FILE": ""})
    assert (settings.gateway_port, settings.gateway_host, GATEWAY["args"]) == (
        port["containerPort"],
        "0.0.0.0",  # noqa: S104 - in the container
        ["gateway"],
    )
    [mount] = GATEWAY["volumeMounts"]
    assert variables["CONSUMER_GATEWAY_TOKEN_FILE"] == f"{mount['mountPath']}/tokens"
    assert broken_rules(GATEWAY_POD) == set()
    assert {GATEWAY[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness", "readiness")} == {
        "http"
    }
    assert GATEWAY_POD["terminationGracePeriodSeconds"] >= settings.drain_grace_s + 30


def test_the_monitor_scrapes_the_port_of_both_and_has_the_same_rules_as_prometheus() -> None:
    [monitor] = documents("example/podmonitor.yaml")
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    for deployment, container in ((DEPLOYMENT, CONTAINER), (GATEWAY_DEPLOYMENT, GATEWAY)):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert endpoint["port"] in [port["name"] for port in container["ports"]]
    [rules] = documents("example/prometheusrule.yaml")
    assert rules["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "classifier.rules.yml").read_text())


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
    assert POD["enableServiceLinks"] is GATEWAY_POD["enableServiceLinks"] is False


def test_a_pod_for_each_pool_full_of_jobs_ready_and_running_is_what_keda_keeps() -> None:
    [trigger] = documents("consumer/scaledobject.yaml")[0]["spec"]["triggers"]
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


@pytest.mark.parametrize("name", ["consumer", "gateway", "models"])
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


def test_no_disk_of_job_files_that_we_give_is_full_for_the_alert_when_it_is_half_empty() -> None:
    """And the service still keeps jobs running when the alert fires."""
    [mount] = SERVICES["consumer"]["tmpfs"]
    [jobs] = (volume for volume in POD["volumes"] if volume["name"] == "jobs")
    gib = [re.findall(r"size=(\d+)g,", mount), re.findall(r"(\d+)Gi", jobs["emptyDir"]["sizeLimit"])]
    [bound] = (alert.below for alert in ALERTS if alert.name == "DiskFull")
    assert bound is not None
    assert bound > Settings().min_free_bytes
    for [size] in gib:
        assert bound < int(size) * 2**30 / 2


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
