"""Say what Kubernetes and the service itself have against manifests and variables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
from dockerfile_parse import DockerfileParser

from consumer.config.loader import load
from consumer.config.settings import Settings
from consumer.config.sources import ENV_PREFIX

ROOT = Path(__file__).parents[2]
#: Schemas of what others add to Kubernetes, by kind.
ADDED: dict[str, Any] = {
    kind: schema
    for name in ("keda/keda.sh-v1alpha1", "monitoring/monitoring.coreos.com-v1")
    for kind, schema in json.loads((ROOT / f"tests/vendored/{name}.json").read_text()).items()
}
#: The oldest and the newest series that the files are for.
VERSIONS = ("1.33", "1.37")
#: What a judge raises for a manifest, and for one of a kind that there is not.
REFUSED = (jsonschema.ValidationError, kubernetes_validate.ValidationError)
UNKNOWN = (kubernetes_validate.SchemaNotFoundError,)


def judge(manifest: dict[str, Any]) -> None:
    """Raise what Kubernetes, KEDA or the Prometheus operator has against it."""
    if manifest["apiVersion"].startswith(("keda.sh/", "monitoring.coreos.com/")):
        jsonschema.validate(manifest, ADDED[manifest["kind"]])
    else:
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)


def broken_rules(pod: dict[str, Any]) -> set[str]:
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


def settings_in(variables: dict[str, str]) -> Settings:
    """Read the settings among variables, as the consumer would; one that is unknown is an error here."""
    for name in variables:
        if name.startswith(ENV_PREFIX):
            assert name.removeprefix(ENV_PREFIX).lower() in Settings.model_fields
    return load({}, variables)


def image_environment() -> dict[str, str]:
    """What the image sets."""
    *_, step = [
        step["value"]
        for step in DockerfileParser(str(ROOT / "deploy" / "Dockerfile")).structure
        if step["instruction"] == "ENV"
    ]
    return dict(word.partition("=")[::2] for word in step.split())
