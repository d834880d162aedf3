"""Runs the real statsd, Graphite and Prometheus as child processes, with the configurations from deploy/.

Each has its own folder and loopback ports. None is a system service or reads the system's configuration.
Only intervals (seconds instead of tens of seconds) and addresses differ from production.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import yaml

from support.processes.commands import BIN
from support.waiting import PATIENCE_S, wait_until

DEPLOY = Path(__file__).parents[3] / "deploy"
STATSD = "statsd@0.9.0"
#: Debian's own Python, for Debian's Graphite.
SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = {
    "graphite-carbon": "/usr/bin/carbon-cache",
    "graphite-web": "/usr/bin/graphite-manage",
    "prometheus": "/usr/bin/prometheus",
}
CARBON_CONF = """
[cache]
CONF_DIR = {folder}
STORAGE_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
LOG_DIR = {folder}
PID_DIR = {folder}
USER =
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
ENABLE_LOGROTATION = False
# Not about itself: seconds of a test are all there is to see.
CARBON_METRIC_INTERVAL = 0
"""
GRAPHITE_SETTINGS = """
SECRET_KEY = "a test"
ALLOWED_HOSTS = ["127.0.0.1"]
CONF_DIR = LOG_DIR = STORAGE_DIR = {folder!r}
WHISPER_DIR = {folder!r} + "/whisper"
STANDARD_DIRS = [WHISPER_DIR]
INDEX_FILE = {folder!r} + "/index"
CARBONLINK_HOSTS = ["127.0.0.1:{query}"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {folder!r} + "/graphite.db"}}}}
LOG_ROTATION = False
FIND_CACHE_DURATION = DEFAULT_CACHE_DURATION = 0
TIME_ZONE = "UTC"
"""
#: One request at a time is enough.
GRAPHITE_WEB = """
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
from graphite.wsgi import application

class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

make_server("127.0.0.1", int(sys.argv[1]), application, handler_class=Quiet).serve_forever()
"""


def missing() -> list[str]:
    """Return the names of the Debian packages that are not installed."""
    return [package for package, program in PACKAGES.items() if not Path(program).exists()]


def free_ports(kind: socket.SocketKind, number: int) -> list[int]:
    """Return ports that no process uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, kind)) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def process(argv: Sequence[str | Path], log: Path, **variables: str) -> Iterator[None]:
    """Run a program during the block, then kill it and its children: `node` is a script that starts Node.js."""
    environment = {**os.environ, **variables}
    with (
        log.open("w") as words,
        subprocess.Popen(argv, env=environment, stdout=words, stderr=words, start_new_session=True) as running,
    ):
        try:
            yield
        finally:
            os.killpg(running.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    """Return whether a process listens on the TCP port."""
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(url: str) -> bool:
    try:
        return bool(get(url))
    except AssertionError:
        return False


def get(url: str, parameters: Mapping[str, Any] | Sequence[tuple[str, str]] = ()) -> bytes:
    """Send a GET request to a store, and return the body. A refusal raises an error with the store's message."""
    address = f"{url}?{urlencode(parameters)}"
    try:
        with urllib.request.urlopen(address, timeout=PATIENCE_S) as response:  # noqa: S310 - our own's
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(f"{parameters}: {error.read().decode(errors='replace')[-2000:]}") from None


#: Graphite's answer while carbon makes a file: carbon writes it in several steps, and Graphite takes no lock.
HALF_MADE = "unpack requires a buffer"


@dataclass(frozen=True)
class Graphite:
    """Graphite's render API, and the ports of the statsd that sends to it."""

    url: str
    statsd_port: int
    statsd_mgmt_port: int

    def series(self, target: str, since: str = "-10min") -> dict[str, list[float]]:
        """Return the values of each series of a query, by the series' name.

        There are none while carbon makes the file of one of them.
        """
        try:
            answer = json.loads(get(f"{self.url}/render", {"target": target, "from": since, "format": "json"}))
        except AssertionError as error:
            if HALF_MADE in str(error):
                return {}
            raise
        return {one["target"]: [value for value, _ in one["datapoints"] if value is not None] for one in answer}

    def tell(self, line: str) -> None:
        """Send a line to statsd."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            sending.sendto(line.encode(), ("127.0.0.1", self.statsd_port))

    def flushed(self) -> None:
        """Wait until everything that statsd has received is stored: it writes gauges after counters and timers."""
        mark = f"other.mark.{uuid4().hex}"
        self.tell(f"{mark}:1|g")
        wait_until(lambda: bool(self.series(f"stats.gauges.{mark}")), "statsd's next flush")

    def picture(self, title: str, targets: Sequence[str], since: int, **options: object) -> bytes:
        """Return a graph as PNG. `since`: its start, in seconds since the epoch."""
        chosen = {"title": title, "from": since, "format": "png", "width": 560, "height": 260, **options}
        return get(
            f"{self.url}/render", [*((k, str(v)) for k, v in chosen.items()), *(("target", t) for t in targets)]
        )


def install_statsd(folder: Path) -> None:
    """Install statsd in the folder with npm.

    Raises:
        subprocess.CalledProcessError: npm could not install it.
    """
    quietly = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--fetch-retries=1")
    where = (f"--prefix={folder}", f"--cache={folder / 'cache'}")
    argv: list[str | Path] = [BIN / "npm", "install", *quietly, *where, STATSD]
    subprocess.run(argv, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=True)


@contextmanager
def graphite(folder: Path, *, flush_ms: int = 1000) -> Iterator[Graphite]:
    """Run statsd, carbon-cache and graphite-web during the block; statsd must be installed in the folder."""
    line, pickle, query, mgmt, web = free_ports(socket.SOCK_STREAM, 5)
    (udp,) = free_ports(socket.SOCK_DGRAM, 1)
    _configure_carbon(folder, flush_ms, line=line, pickle=pickle, query=query)
    (folder / "settings_of_test.py").write_text(GRAPHITE_SETTINGS.format(folder=str(folder), query=query))
    carbon = ("/usr/bin/carbon-cache", f"--config={folder / 'carbon.conf'}", "--nodaemon", "start")
    daemon = folder / "node_modules/statsd/stats.js"
    of_statsd = {
        "STATSD_ADDRESS": "127.0.0.1",
        "STATSD_PORT": udp,
        "STATSD_MGMT_PORT": mgmt,
        "GRAPHITE_PORT": line,
    }
    of_statsd["STATSD_FLUSH_MS"] = flush_ms
    of_web = {"GRAPHITE_SETTINGS_MODULE": "settings_of_test", "PYTHONPATH": str(folder)}
    with (
        process((SYSTEM_PYTHON, *carbon), folder / "carbon.log"),
        process(
            (BIN / "node", "--require", DEPLOY / "statsd/node23.js", daemon, DEPLOY / "statsd/config.js"),
            folder / "statsd.log",
            **{name: str(value) for name, value in of_statsd.items()},
        ),
        process((SYSTEM_PYTHON, "-c", GRAPHITE_WEB, str(web)), folder / "web.log", **of_web),
    ):
        for name, port in {"carbon": line, "statsd": mgmt, "graphite-web": web}.items():
            wait_until(lambda port=port: answers(port), name)  # type: ignore[misc] # a lambda's default
        yield Graphite(f"http://127.0.0.1:{web}", udp, mgmt)


def _configure_carbon(folder: Path, flush_ms: int, **ports: int) -> None:
    """Write carbon's configuration.

    It keeps an hour of each series, not a year: it makes hundreds of files at once.
    """
    schemas = (DEPLOY / "statsd/storage-schemas.conf").read_text()
    retentions = "10s:1d,1m:7d,10m:1y"
    assert retentions in schemas
    (folder / "storage-schemas.conf").write_text(schemas.replace(retentions, f"{flush_ms // 1000}s:1h,1m:2h"))
    shutil.copy(DEPLOY / "statsd/storage-aggregation.conf", folder)
    (folder / "carbon.conf").write_text(CARBON_CONF.format(folder=folder, **ports))


@dataclass(frozen=True)
class Prometheus:
    """Prometheus's HTTP API."""

    url: str

    def _get(self, path: str, **parameters: object) -> Any:  # noqa: ANN401 - JSON
        return json.loads(get(f"{self.url}/api/v1/{path}", parameters))["data"]

    def series(self, query: str, over_s: int = 600) -> dict[str, list[float]]:
        """Return the values of each series of a query over the last `over_s` seconds, by the series' labels."""
        now = time.time()
        found = self._get("query_range", query=query, start=now - over_s, end=now, step=1)["result"]
        return {str(one["metric"]): [float(value) for _, value in one["values"]] for one in found}

    def fires(self, query: str) -> bool:
        """Return whether an alert's expression has a value now."""
        return bool(self._get("query", query=query)["result"])

    def rules(self) -> dict[str, str]:
        """Return the health of each loaded rule, by its name."""
        return {rule["name"]: rule["health"] for group in self._get("rules")["groups"] for rule in group["rules"]}

    def up(self) -> list[str]:
        """Return the health of each target."""
        return [target["health"] for target in self._get("targets")["activeTargets"]]


@contextmanager
def prometheus(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """Run Prometheus during the block, with deploy/'s configuration, these targets and intervals of a second."""
    configuration = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["scrape_configs"][0]["static_configs"][0]["targets"] = list(targets)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    shutil.copy(DEPLOY / "prometheus/classifier.rules.yml", folder)
    (port,) = free_ports(socket.SOCK_STREAM, 1)
    argv = (
        PACKAGES["prometheus"],
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with process(argv, folder / "prometheus.log"):
        wait_until(lambda: answers(port) and _is_ready(f"http://127.0.0.1:{port}/-/ready"), "Prometheus")
        yield Prometheus(f"http://127.0.0.1:{port}")
