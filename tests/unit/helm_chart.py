"""The chart in deploy/kubernetes/chart as Helm renders it, and the setup as kustomize builds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.processes.commands import BIN

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
RELEASE = "rabbitmq-classifier"
#: Switches everything on that the chart has.
EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example.com/rabbitmq-classifier", "pullSecrets": ["registry"]},
    "rabbitmq": {"host": "rabbitmq.rabbitmq.svc", "namespace": "rabbitmq", "tls": {"enabled": True}},
    "gateway": {"enabled": True},
    "autoscaling": {"enabled": True},
    "networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]},
    "monitoring": {"podMonitor": True, "rules": True},
    "podAnnotations": {"example.com/team": "vibration"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "cpu", "operator": "Exists", "effect": "NoSchedule"}],
}
Manifest = dict[str, Any]


def tool(name: str) -> str:
    """Find helm or kubectl: that of `make`, or one on the PATH. A test without it is skipped; in CI it fails."""
    found = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {name}: run `make check` once")
    return found


def helm(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run Helm without the files of its user, and without a cluster."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
    command = [tool("helm"), *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def template(values: Manifest, chart: Path = CHART, release: str = RELEASE) -> subprocess.CompletedProcess[str]:
    """Let Helm render a chart with these values."""
    return helm("template", release, chart, "--values", "-", stdin=json.dumps(values))


@lru_cache
def _rendered(values: str, release: str) -> str:
    done = template(json.loads(values), release=release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(values: Manifest | None = None, release: str = RELEASE) -> list[Manifest]:
    """All manifests of the chart with these values."""
    text = _rendered(json.dumps(values or {}), release)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def of(manifests: list[Manifest], kind: str, name: str = RELEASE) -> Manifest:
    """The manifest of this kind and name."""
    [found] = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod_of(manifests: list[Manifest], name: str = RELEASE) -> Manifest:
    """The pod of a Deployment."""
    pod: Manifest = of(manifests, "Deployment", name)["spec"]["template"]["spec"]
    return pod


def built(folder: Path) -> list[Manifest]:
    """What `kubectl apply --kustomize` applies."""
    done = subprocess.run(
        [tool("kubectl"), "kustomize", folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
