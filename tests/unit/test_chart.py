"""The chart makes what Kubernetes takes and what the service needs, and refuses values that are wrong.

Each judge is seen to refuse something, so that a manifest cannot pass by not being looked at.
"""

from __future__ import annotations

import copy
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import chart_schema
import jsonschema
import pytest
import yaml
from deploy_judges import REFUSED, UNKNOWN, broken_rules, image_environment, judge, settings_in
from helm_chart import (
    CHART,
    EVERYTHING,
    KUBERNETES,
    RELEASE,
    Manifest,
    built,
    helm,
    of,
    pod_of,
    rendered,
    template,
    tool,
)
from support.docs_pages.pages import block

from consumer._version import VERSION
from consumer.config.settings import Settings
from consumer.runners.fork_client import START_TIMEOUT_S
from consumer.telemetry.health import LIVE, READY
from consumer.wire.topology import Topology

GATEWAY = f"{RELEASE}-gateway"
BOTH = (RELEASE, GATEWAY)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
#: Those that a user may choose, by a value that is not the default.
SETTINGS = {"max_model_bytes": 2**29, "command": ["python3", "a b.py"], "declare": True, "job_timeout_s": "5m"}
VALUES: dict[str, Manifest] = {
    "defaults": {},
    "everything": EVERYTHING,
    "docs": yaml.safe_load(block("docs/deploy.md", "helm-values").text),
    "models in the image": {"consumer": {"modelsClaim": ""}, "networkPolicy": {"enabled": False}},
    "settings": {"consumer": {"settings": SETTINGS}},
}


def named(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{manifest['metadata']['name']}"


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_each_manifest_is_valid_and_with_an_unknown_field_it_is_not(values: Manifest) -> None:
    made = rendered(values)
    assert len({named(manifest) for manifest in made}) == len(made)
    for manifest in made:
        judge(manifest)
        spoilt = copy.deepcopy(manifest)
        spoilt["data" if "data" in spoilt else "spec"] = {"replica": 2}
        with pytest.raises(REFUSED):
            judge(spoilt)


def test_everything_is_all_that_the_chart_has() -> None:
    made = {named(manifest) for manifest in rendered(EVERYTHING)}
    assert {named(manifest) for values in VALUES.values() for manifest in rendered(values)} == made
    kinds = {name.partition("-")[0] for name in made}
    written = {
        line.removeprefix("kind: ")
        for path in (CHART / "templates").iterdir()
        for line in path.read_text().splitlines()
        if line.startswith("kind: ")
    }
    assert kinds == written


def test_helm_has_nothing_against_the_chart() -> None:
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


def spoilt_chart(folder: Path, name: str, before: str, after: str) -> Path:
    """Copy the chart, with one text in it replaced."""
    chart = folder / "chart"
    shutil.copytree(CHART, chart)
    text = (chart / name).read_text()
    assert before in text
    (chart / name).write_text(text.replace(before, after))
    return chart


def test_a_broken_template_is_seen_by_helm(tmp_path: Path) -> None:
    chart = spoilt_chart(
        tmp_path, "templates/consumer.yaml", "{{- if .Values.consumer.modelsClaim }}", "{{- if }}"
    )
    assert helm("lint", "--strict", chart).returncode != 0
    assert template({}, chart).returncode != 0


def test_a_value_that_helm_does_not_know_how_to_use_is_seen_by_helm(tmp_path: Path) -> None:
    chart = spoilt_chart(tmp_path, "values.yaml", "slots: 2", "slots: two")
    assert "/consumer/slots" in template({}, chart).stderr


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ("maxUnavailable: 1\n", "maxUnavailable: 1\n  minAvailabel: 1\n", REFUSED),
        ("containerPort: 8081", "containerPort: eight", REFUSED),
        ("kind: PodDisruptionBudget", "kind: PodDisruptionBudge", UNKNOWN),
    ],
    ids=["unknown field", "wrong type", "unknown kind"],
)
def test_a_broken_manifest_is_seen_by_the_schemas_of_kubernetes(
    tmp_path: Path, before: str, after: str, refused: tuple[type[Exception], ...]
) -> None:
    """Helm renders it without a word."""
    done = template({}, spoilt_chart(tmp_path, "templates/consumer.yaml", before, after))
    assert done.returncode == 0, done.stderr
    made = [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest not in rendered()]
    assert made
    for manifest in made:
        with pytest.raises(refused):
            judge(manifest)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"consumer": {"slot": 3}}, "/consumer': additional properties 'slot'"),
        ({"consumer": {"slots": 0}}, "/consumer/slots"),
        ({"consumer": {"slots": "two"}}, "/consumer/slots"),
        ({"consumer": {"replicas": -1}}, "/consumer/replicas"),
        ({"consumer": {"memory": {"limit": "3GB"}}}, "/consumer/memory/limit"),
        ({"consumer": {"user": "me@home"}}, "/consumer/user"),
        ({"consumer": {"secret": "Not_A_Name"}}, "/consumer/secret"),
        ({"consumer": {"settings": {"job_timeout": 5}}}, "'job_timeout' not allowed"),
        ({"consumer": {"settings": {"pool_size": 5}}}, "'pool_size' not allowed"),
        ({"consumer": {"settings": {"max_attempts": 0}}}, "/consumer/settings/max_attempts"),
        ({"consumer": {"settings": {"job_timeout_s": "5x"}}}, "/consumer/settings/job_timeout_s"),
        ({"gateway": {"settings": {"log_format": "yaml"}}}, "/gateway/settings/log_format"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"prefix": "amq.jobs"}, "/prefix"),
        ({"rabbitmq": {"host": "amqp://rabbitmq"}}, "/rabbitmq/host"),
        ({"rabbitmq": {"vhost": "/"}}, "/rabbitmq/vhost"),
        ({"rabbitmq": {"vhost": "50%"}}, "/rabbitmq/vhost"),
        ({"autoscaling": {"maxReplicas": 0}}, "/autoscaling/maxReplicas"),
        # What a file says whose lines below `consumer:` are comments.
        ({"consumer": None}, "missing property 'consumer'"),
        ({"consumer": {"slots": None}}, "/consumer': missing property 'slots'"),
        ({"consumer": {"memory": {"limit": None}}}, "/consumer/memory': missing property 'limit'"),
        ({"rabbitmq": {"host": None}}, "/rabbitmq': missing property 'host'"),
        ({"prefix": None}, "missing property 'prefix'"),
        # It would be in a ConfigMap.
        (
            {"consumer": {"settings": {"management_url": "http://me:secret@rabbitmq:15672"}}},
            "/consumer/settings/management_url",
        ),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_its_place_before_anything_is_rendered(values: Manifest, place: str) -> None:
    done = template(values)
    assert done.returncode != 0
    assert done.stdout == ""
    assert place in done.stderr


def test_an_empty_value_is_as_none_where_the_chart_needs_none() -> None:
    empty = {
        "image": {"tag": None, "pullSecrets": None},
        "rabbitmq": {"namespace": None},
        "consumer": {"settings": None},
        "gateway": {"settings": None},
        "networkPolicy": {"extraEgress": None},
        **dict.fromkeys(("podAnnotations", "nodeSelector", "tolerations")),
    }
    assert rendered(empty) == rendered()


def test_the_settings_in_the_schema_are_those_of_the_service() -> None:
    """If not: make reference."""
    assert chart_schema.FILE.read_text() == chart_schema.text()
    assert SCHEMA["$defs"]["settings"]["properties"].keys() | chart_schema.OURS == Settings.model_fields.keys()


def test_the_schema_is_one_and_has_every_value() -> None:
    """Every value has its default in values.yaml, which a reader looks into, but for the one that is Helm's."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(DEFAULTS)
    assert SCHEMA["properties"].keys() - {"global"} == DEFAULTS.keys()
    for name, value in DEFAULTS.items():
        described = SCHEMA["properties"][name]
        if "properties" in described:
            assert described["properties"].keys() == value.keys()
            assert described["additionalProperties"] is False


def test_the_chart_and_its_image_have_the_version_of_the_service() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == VERSION
    for name in BOTH:
        [container] = pod_of(rendered({"gateway": {"enabled": True}}), name)["containers"]
        assert container["image"] == f"rabbitmq-classifier:{VERSION}"


def variables(made: list[Manifest], name: str = RELEASE) -> dict[str, str]:
    """The variables that a container gets, those of Secrets left out."""
    [container] = pod_of(made, name)["containers"]
    config: dict[str, str] = of(made, "ConfigMap", container["envFrom"][0]["configMapRef"]["name"])["data"]
    return {**config, **{entry["name"]: entry["value"] for entry in container["env"]}}


def test_every_setting_that_is_chosen_reaches_the_consumer_as_it_is() -> None:
    made = rendered(VALUES["settings"])
    assert variables(made)["CONSUMER_MAX_MODEL_BYTES"] == "536870912"  # Helm itself writes 5.36870912e+08
    settings = settings_in(variables(made))
    assert (settings.max_model_bytes, settings.command, settings.declare, settings.job_timeout_s) == (
        2**29,
        ("python3", "a b.py"),
        True,
        300,
    )
    assert (settings.pool_size, settings.log_format) == (2, "json")


def test_an_annotation_of_the_user_takes_the_place_of_the_one_of_the_chart() -> None:
    done = template({"podAnnotations": {"prometheus.io/scrape": "false", "example.com/team": "pumps"}})
    lines = [line.strip() for line in done.stdout.splitlines()]
    shown = [line for line in lines if line.startswith(("prometheus.io/", "example.com/"))]
    assert sorted(shown) == [
        "example.com/team: pumps",
        'prometheus.io/port: "8081"',
        'prometheus.io/scrape: "false"',
    ]


def test_a_changed_setting_restarts_the_pods() -> None:
    def marks(values: Manifest) -> str:
        pod = of(rendered(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]
        mark: str = pod["checksum/settings"]
        return mark

    assert marks({}) != marks(VALUES["settings"])


def test_the_password_comes_before_the_url_that_it_is_part_of() -> None:
    """Kubernetes replaces $(NAME) only by what is before it: `envFrom` is before `env`."""
    made = rendered(EVERYTHING)
    for name in BOTH:
        [container] = pod_of(made, name)["containers"]
        assert "$(AMQP_PASSWORD)" in variables(made, name)["CONSUMER_AMQP_URL"]
        assert "AMQP_PASSWORD" not in variables(made, name)
        assert [source for source in container["envFrom"] if "secretRef" in source]


def test_with_tls_rabbitmq_is_reached_in_its_own_namespace() -> None:
    made = rendered(EVERYTHING)
    for name in BOTH:
        [container] = pod_of(made, name)["containers"]
        settings = settings_in({**variables(made, name), "CONSUMER_GATEWAY_TOKEN_FILE": ""})
        [url] = settings.amqp_urls
        assert (urlsplit(url).scheme, urlsplit(url).port, urlsplit(url).hostname) == (
            "amqps",
            5671,
            "rabbitmq.rabbitmq.svc",
        )
        [ca] = [mount for mount in container["volumeMounts"] if mount["name"] == "rabbitmq-ca"]
        assert settings.amqp_ca_file == Path(ca["mountPath"]) / "ca.crt"
        rules = of(made, "NetworkPolicy", name)["spec"]["egress"]
        [to] = [
            to
            for rule in rules
            for to in rule["to"]
            if to.get("podSelector", {}).get("matchLabels") == {"app.kubernetes.io/name": "rabbitmq"}
        ]
        assert to["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "rabbitmq"}
        assert {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]} in rules


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_the_pods_keep_the_restricted_standard(values: Manifest) -> None:
    made = rendered(values)
    pods = [manifest["spec"]["template"]["spec"] for manifest in made if manifest["kind"] == "Deployment"]
    assert pods
    for pod in pods:
        assert broken_rules(pod) == set()
        assert pod["enableServiceLinks"] is False  # no Service of the cluster can set a setting
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    spoilt = copy.deepcopy(pods[0]) | {"hostNetwork": True, "volumes": [{"hostPath": {"path": "/"}}]}
    spoilt["containers"][0]["securityContext"] = {}
    assert broken_rules(spoilt) == {"escalation", "capabilities", "host", "volumes"}


def test_a_consumer_can_write_to_its_job_files_alone() -> None:
    [container] = pod_of(rendered())["containers"]
    writable = [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == [image_environment()["CONSUMER_JOB_DIR"]]


def test_everything_selects_the_pods_of_its_own_component_and_release() -> None:
    made, other = rendered(EVERYTHING), rendered(EVERYTHING, release="pumps")
    assert {named(each) for each in made}.isdisjoint(named(each) for each in other)
    selectors: dict[str, list[dict[str, str]]] = {}
    for name in (RELEASE, GATEWAY, "pumps", "pumps-gateway"):
        both = [*made, *other]
        labels = of(both, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        selectors[name] = [
            of(both, "Deployment", name)["spec"]["selector"]["matchLabels"],
            of(both, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"],
            of(both, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"],
        ]
        for selector in selectors[name]:
            assert selector.items() <= labels.items()
    assert len({tuple(sorted(selector.items())) for each in selectors.values() for selector in each}) == 4


def test_the_service_of_the_gateway_ends_at_its_port() -> None:
    made = rendered(EVERYTHING)
    [container] = pod_of(made, GATEWAY)["containers"]
    service = of(made, "Service", GATEWAY)
    labels = of(made, "Deployment", GATEWAY)["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    [port] = container["ports"]
    assert [each["targetPort"] for each in service["spec"]["ports"]] == [port["name"]]
    settings = settings_in({**variables(made, GATEWAY), "CONSUMER_GATEWAY_TOKEN_FILE": ""})
    assert (settings.gateway_port, settings.gateway_host, container["args"]) == (
        port["containerPort"],
        "0.0.0.0",  # noqa: S104 - in the container
        ["gateway"],
    )
    [tokens] = [mount for mount in container["volumeMounts"] if mount["name"] == "tokens"]
    assert variables(made, GATEWAY)["CONSUMER_GATEWAY_TOKEN_FILE"] == f"{tokens['mountPath']}/tokens"


def test_the_probes_ask_for_pages_that_there_are_at_the_port_of_the_image() -> None:
    for name in BOTH:
        [container] = pod_of(rendered(EVERYTHING), name)["containers"]
        pages = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {kind: page["path"] for kind, page in pages.items()} == {
            "startup": READY,
            "liveness": LIVE,
            "readiness": READY,
        }
        [port] = container["ports"]
        assert {page["port"] for page in pages.values()} == {port["name"]}
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] > START_TIMEOUT_S
    [port] = pod_of(rendered())["containers"][0]["ports"]
    environment = image_environment()
    assert (environment["CONSUMER_HTTP_PORT"], environment["CONSUMER_HTTP_HOST"]) == (
        str(port["containerPort"]),
        "0.0.0.0",  # noqa: S104 - in the container
    )


def test_a_pod_for_each_pool_full_of_jobs_ready_and_running_is_what_keda_keeps() -> None:
    made = rendered({"prefix": "pumps", "consumer": {"slots": 3}, "autoscaling": {"enabled": True}})
    scaled = of(made, "ScaledObject")["spec"]
    assert scaled["scaleTargetRef"]["name"] == of(made, "Deployment")["metadata"]["name"]
    assert "replicas" not in of(made, "Deployment")["spec"]
    [trigger] = scaled["triggers"]
    metadata = trigger["metadata"]
    assert metadata["queueName"] == Topology("pumps", 3).jobs
    assert metadata["value"] == variables(made)["CONSUMER_POOL_SIZE"] == "3"
    assert pod_of(made)["containers"][0]["resources"]["limits"]["cpu"] == "3"
    # Over AMQP the scaler would see the ready messages alone.
    assert (metadata["protocol"], metadata["mode"], metadata["excludeUnacknowledged"]) == (
        "http",
        "QueueLength",
        "false",
    )
    authentication = of(made, "TriggerAuthentication", f"{RELEASE}-scaler")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]


@pytest.mark.parametrize(("vhost", "name"), [("classifier", "classifier"), ("%2F", "/"), ("a%2Fb~1", "a/b~1")])
def test_keda_gets_the_name_of_a_virtual_host_not_its_form_in_a_url(vhost: str, name: str) -> None:
    made = rendered({"rabbitmq": {"vhost": vhost}, "autoscaling": {"enabled": True}})
    [trigger] = of(made, "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["vhostName"] == name
    assert urlsplit(variables(made)["CONSUMER_AMQP_URL"]).path == f"/{vhost}"


def test_the_monitor_scrapes_both_and_has_the_same_rules_as_prometheus() -> None:
    made = rendered(EVERYTHING)
    monitor = of(made, "PodMonitor")["spec"]
    [endpoint] = monitor["podMetricsEndpoints"]
    for name in BOTH:
        labels = of(made, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert endpoint["port"] in [port["name"] for port in pod_of(made, name)["containers"][0]["ports"]]
    rules = yaml.safe_load((KUBERNETES.parent / "prometheus" / "classifier.rules.yml").read_text())
    assert of(made, "PrometheusRule")["spec"] == rules


def test_kustomize_patches_what_helm_has_rendered(tmp_path: Path) -> None:
    """As the page shows it for those who use kustomize."""
    (tmp_path / "deploy").symlink_to(KUBERNETES.parent)
    (tmp_path / "classifier.yaml").write_text(block("docs/deploy.md", "helm-values").text)
    (tmp_path / "kustomization.yaml").write_text(block("docs/deploy.md", "kustomize").text)
    command = block("docs/deploy.md", "helm-template").text
    path = f"{Path(tool('helm')).parent}:{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", command], cwd=tmp_path, env={"PATH": path, "HOME": "/nonexistent"}, check=True)
    made = built(tmp_path)
    for manifest in made:
        judge(manifest)
    assert len(made) == len(rendered(VALUES["docs"]))
    assert pod_of(made)["priorityClassName"] == "batch"


def test_the_command_of_the_page_installs_the_release_that_its_other_steps_name() -> None:
    [command] = block("docs/deploy.md", "helm-install").text.splitlines()
    words = shlex.split(command)
    assert words[:4] == ["helm", "upgrade", "--install", RELEASE]
    assert (KUBERNETES.parents[1] / words[4]) == CHART
    assert words[5:] == ["--values", "classifier.yaml", "--wait"]
