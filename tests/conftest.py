"""One private RabbitMQ node for the whole run, a vhost of its own for each test that asks for one.

Without a RabbitMQ server on the machine such tests are skipped, except in CI, where they fail.
For annotations: `from support.rabbitmq.producer import Producer`.
"""

from __future__ import annotations

import compileall
import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest
from support.measurements import Tell
from support.rabbitmq import server_home
from support.rabbitmq.cluster import Cluster
from support.rabbitmq.management_api import Management, create_vhost, delete_vhost
from support.rabbitmq.orphans import nodes_end_with_us
from support.rabbitmq.producer import Producer

from consumer.local_broker import node as local_broker

# The same examples in every run: what fails here fails for the change, not by chance. New ones are found by
# `make fuzz`. Without a deadline, as the machine may be busy.
hypothesis.settings.register_profile(
    "same-each-time",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("same-each-time")


#: Whether this is one of several processes that run tests (pytest-xdist): what it prints nobody sees.
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
TOLD = "told"
ROOT = Path(__file__).parents[1]
#: Files of tests that take longest, 20 to 70 s each. A process is given its next file two tests before the end of
#: the last: so those with one test are not beside one another.
LONGEST = (
    "test_walk",
    "test_runners",
    "test_storm",
    "test_hostile",
    "test_cluster",
    "test_user_files",
    "test_deadletters",
    "test_warm",
    "test_console",
    "test_faults",
    "test_localbroker",
    "test_image",
    "test_observed",
    "test_commands",
    "test_site",
    "test_migrate_page",
)

# Where the environment forbids Python to write bytecode, each of the hundreds of processes that tests start would
# compile all of ours anew, and pytest all tests. What tests write, and run in processes, is not touched by this.
sys.dont_write_bytecode = False


def pytest_configure() -> None:
    """Compile ours, once, before the processes that run tests are started.

    A shell lets the background commands of a script ignore SIGINT, and then the processes that tests interrupt
    would ignore it, too.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if IS_WORKER:
        return
    for package in ("consumer", "classifier"):
        compileall.compile_dir(ROOT / package, quiet=1)
    for module in ROOT.glob("*.py"):
        compileall.compile_file(module, quiet=1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector neither look at what is being collected nor, in every test, at what has been."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files where several processes share them: none works on alone at the end."""
    if IS_WORKER:
        rank = {name: place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make text of what was captured: half a surrogate pair, which some tests log, cannot leave a process."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print what a test in another process has told."""
    if report.when == "call" and not IS_WORKER:
        for name, line in report.user_properties:
            if name == TOLD:
                print(f"\n{line}")  # noqa: T201 - a measurement is for reading


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Skip, or fail in CI, where no RabbitMQ server can be started. A killed run leaves no node."""
    try:
        found = local_broker.find_server(os.environ)
    except local_broker.RabbitMQMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    with nodes_end_with_us(tmp_path_factory.getbasetemp()), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RABBITMQ_HOME", str(server_home.make(found, tmp_path_factory.mktemp("server") / "home")))
        yield


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Show a measurement to whoever runs the tests, not only when one fails."""
    capture = request.config.pluginmanager.get_plugin("capturemanager")

    def show(line: str) -> None:
        if IS_WORKER:
            request.node.user_properties.append((TOLD, line))
            return
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            print(f"\n{line}")  # noqa: T201 - a measurement is for reading

    return show


@pytest.fixture(scope="session")
def node(
    server: None,  # noqa: ARG001 - wanted for its skip
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[local_broker.Node]:
    """A node that lives as long as the test run."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    # Not print, which would show the line only when a test fails: a start takes seconds.
    report = reporter.write_line if reporter else print
    data_dir = tmp_path_factory.mktemp("rabbitmq")
    try:
        yield local_broker.up(data_dir, report=report)
    finally:
        local_broker.down(data_dir, timeout_s=0)


@pytest.fixture(scope="module")
def cluster(server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:  # noqa: ARG001
    """Three nodes that live as long as the module's tests, which kill them."""
    with Cluster.open(tmp_path_factory.mktemp("cluster")) as opened:
        yield opened


@pytest.fixture
def management(node: local_broker.Node) -> Iterator[Management]:
    """The management API of this test's vhost, which is made for the test and deleted after it."""
    vhost = f"test-{uuid4().hex[:12]}"
    create_vhost(node, vhost)
    yield Management(node, vhost)
    delete_vhost(node, vhost)


@pytest.fixture
def vhost_url(management: Management) -> str:
    """AMQP URL of this test's vhost."""
    return management.node.vhost_url(management.vhost)


@pytest.fixture
def producer(vhost_url: str) -> Iterator[Producer]:
    """A producer in this test's vhost."""
    with Producer(vhost_url) as opened:
        yield opened
