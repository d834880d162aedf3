"""Runs a consumer under a load that produces everything that the dashboards can show.

It publishes jobs with every outcome, and causes the faults: a stop during a job, a caller that has gone, an
address without a queue, reloads, a killed fork server, a worker killed while idle, no free descriptor, lost
connections.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, repeat
from pathlib import Path
from uuid import uuid4

from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.health import Probe
from support.rabbitmq.producer import Producer
from support.rabbitmq.tcp_proxy import Proxy
from support.waiting import wait_until

CASES = Path(__file__).parents[2] / "process"
JOBS = "classifier.jobs"
#: Few attempts, so that no retry outlasts the test; the delay before the second attempt is a second.
ATTEMPTS = 2
#: Case -> number of jobs. Enough jobs fail to make the alerts fire.
BAD_DAY = {"waits": 4, "refuses": 2, "kills_itself": 7, "prints_no_json": 1}
GOOD_DAY = {"waits": 24, "refuses": 1, "kills_itself": 1}
#: The age of a job that has waited for long in the queue.
OLD = timedelta(seconds=90)
#: The counters of all ways in which an attempt can end.
ENDED = tuple(f"jobs_{how}_total" for how in ("acked", "retried", "requeued", "dead_lettered", "connection_lost"))


@dataclass(frozen=True)
class Load:
    """The consumer, and everything that acts on it."""

    running: ConsumerProcess
    producer: Producer
    proxy: Proxy
    folder: Path

    @property
    def probe(self) -> Probe:
        return Probe.of(self.running)

    def publish(self, case: str, *, age: timedelta = timedelta(), **body: object) -> str:
        """Publish a job of this case, sent `age` ago; return its id."""
        return self._publish({"case": case, **body}, datetime.now(UTC) - age)

    def _publish(self, body: Mapping[str, object], sent_at: datetime, reply_to: str | None = None) -> str:
        content = json.dumps(body).encode()
        job_id = uuid4().hex
        known = {"message_id": job_id, "timestamp": int(sent_at.timestamp()), "reply_to": reply_to}
        self.producer.publish(JOBS, content, **known)
        return job_id

    def batch(self, mix: Mapping[str, int], *, ms: int = 20) -> None:
        """Publish jobs of these cases, and two that have waited for long."""
        for case in chain.from_iterable(repeat(case, count) for case, count in mix.items()):
            self.publish(case, seconds=ms / 1000, answer=1, signal=signal.SIGSEGV)
        self.old(2)

    def old(self, number: int) -> None:
        for _ in range(number):
            self.publish("echo", age=OLD)

    def limits(self) -> None:
        """Publish two jobs that exceed a limit, and a message that is not a job."""
        self.publish("hangs")
        self.publish("prints_without_end")
        self.producer.publish(JOBS, b"no JSON")

    def unroutable(self, times: int) -> None:
        """Publish jobs whose reply queue does not exist, and one whose caller has gone."""
        now = datetime.now(UTC)
        for _ in range(times):
            self._publish({"case": "echo"}, now, reply_to="nobody.made.this")
        self._publish({"case": "echo"}, now, reply_to="amq.gen-of-one-that-has-gone")

    def reload(self) -> None:
        """Cause a successful and a failed reload, and restore the module."""
        self.running.signal(signal.SIGHUP)
        self.running.wait_for_event("reloaded")
        module = self.folder / "mine.py"
        good = module.read_text()
        module.write_text("1 / 0\n")
        self.running.signal(signal.SIGHUP)
        self.running.wait_for_event("reload_failed")
        module.write_text(good)

    def _fork_server(self) -> int:
        """Find the youngest fork server: after a reload, the previous one ends with its last job."""
        children = _children(self.running.process.pid)
        return [
            pid for pid in children if "classifier.child.fork_server" in Path(f"/proc/{pid}/cmdline").read_text()
        ][-1]

    def kill_fork_server(self) -> None:
        os.kill(self._fork_server(), signal.SIGKILL)

    def kill_idle_workers(self) -> None:
        """Kill idle workers while no descriptor is free, so that those that have run a job cannot be replaced."""
        self.settled("echo")  # one worker must have run a job, but the last jobs may have ended theirs
        with no_descriptor_left(self.running.process.pid):
            for worker in _children(self._fork_server()):
                os.kill(worker, signal.SIGKILL)
            self.running.wait_for_event("worker_unavailable")

    def cut(self, times: int) -> None:
        """Cut the connection while a job runs, several times; its redelivery is answered with its outcome."""
        go = self.folder / "go"
        for _ in range(times):
            go.unlink(missing_ok=True)
            self.publish("waits_for", file=str(go))
            self.running.wait_for_event("job_log", ": runs")
            self.proxy.cut()
            self.running.wait_for_event("reconnected")
            go.touch()

    def drained(self) -> None:
        """Wait until every attempt has ended."""
        wait_until(self._is_drained, "all jobs")

    def _is_drained(self) -> bool:
        """Whether all jobs have ended. It publishes one more job, because a job may be on its way, in no queue."""
        before = self.numbers()
        if any(map(self.producer.depth, (JOBS, "classifier.retry.1s"))):
            return False
        if before["jobs_received_total"] != sum(before[name] for name in ENDED):
            return False
        self.settled("echo")
        return self.number("jobs_received_total") == before["jobs_received_total"] + 1

    def settled(self, case: str, *, age: timedelta = timedelta()) -> None:
        """Publish a job, and wait until the consumer has settled and counted it."""
        self.running.wait_for_event("job_settled", job_id=self.publish(case, age=age))

    def numbers(self) -> dict[str, float]:
        """Read `/metrics`: return the value of each series. Its name has no `classifier_` here."""
        lines = self.probe.ask("metrics")[1].splitlines()
        split = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name.removeprefix("classifier_"): float(value) for name, _, value in split}

    def number(self, name: str) -> float:
        return self.numbers()[name]


@contextmanager
def load(url: str, folder: Path, statsd_port: int, **settings: object) -> Iterator[Load]:
    """Run a consumer during the block.

    Two other consumers end before it: one is stopped during a job, and one runs a batch that fails.
    """
    module = folder / "mine.py"
    module.write_text("from cases import dispatch\n")
    chosen = {
        "classifier": "mine:dispatch",
        "pool_size": 3,
        "jobs_per_worker": 50,
        "job_timeout_s": 1,
        "max_attempts": ATTEMPTS,
        "max_stdout_bytes": 1_000_000,
        "max_line_bytes": 1_000_000,
        "drain_grace_s": 0,
        "drop_if_caller_gone": True,
        "statsd_host": "127.0.0.1",
        "statsd_port": statsd_port,
        "http_port": 0,
        **settings,
    }
    port = int(url.rpartition("@")[2].partition("/")[0].rpartition(":")[2])
    with ExitStack() as stack:
        stack.enter_context(_python_path(f"{folder}:{CASES}"))
        producer = stack.enter_context(Producer(url))
        with consumer(url, **chosen) as stopped:
            producer.publish(JOBS, json.dumps({"case": "waits_for", "file": str(folder / "never")}).encode())
            stopped.wait_for_event("job_log", ": runs")
            assert stopped.stop() == 0
        with consumer(url, **{**chosen, **in_batches(folder)}) as stopped:
            for _ in range(300):  # batches form once run times are known
                producer.publish("brief.jobs", b"{}")
            stopped.wait_for_event("batch_broken")
            assert stopped.stop() == 0
        producer.channel.queue_purge(JOBS)
        producer.channel.queue_purge("brief.jobs")
        proxy = stack.enter_context(Proxy.open(port))
        running = stack.enter_context(consumer(proxy.url(url), **chosen))
        yield Load(running, producer, proxy, folder)


def short_jobs(url: str, folder: Path, statsd_port: int, flushed: Callable[[], None]) -> None:
    """Make a consumer fetch jobs ahead, and make it requeue the jobs that wait behind a long one.

    The consumer has its own prefix, because so many successful jobs would stop the alerts. `flushed` waits until
    all metrics are stored.
    """
    jobs, go = "brief.jobs", folder / "go"
    chosen = {"prefix": "brief", "classifier": "cases:dispatch", "pool_size": 1, "http_port": 0}
    to_statsd = {"statsd_host": "127.0.0.1", "statsd_port": statsd_port}
    with (
        _python_path(str(CASES)),
        Producer(url) as producer,
        consumer(url, **chosen, **to_statsd) as running,
    ):

        def number(name: str) -> float:
            lines = dict(line.rpartition(" ")[::2] for line in Probe.of(running).ask("metrics")[1].splitlines())
            return float(lines[f"classifier_{name}"])

        def is_ahead() -> bool:
            for _ in range(60):
                producer.publish(jobs, json.dumps({"case": "echo"}).encode(), message_id=(last := uuid4().hex))
            running.wait_for_event("job_settled", job_id=last)
            return number("slots_ahead") > 0

        wait_until(is_ahead, "jobs to be fetched ahead")
        flushed()
        for body in ({"case": "waits_for", "file": str(go)}, *[{"case": "echo"}] * 6):
            producer.publish(jobs, json.dumps(body).encode())
        running.wait_for_event("jobs_returned")
        for _ in range(200):  # far more than may be fetched ahead again
            producer.publish(jobs, b'{"case": "echo"}')
        wait_until(lambda: number("queue_waiting") > 0, "the queue to be measured")
        flushed()
        go.touch()
        wait_until(lambda: not producer.depth(jobs) and not number("slots_busy"), "all jobs")
        assert running.stop() == 0
    go.unlink()


def in_batches(folder: Path) -> dict[str, object]:
    """Return settings for a function that fails with every batch of several jobs.

    The prefix is that of `short_jobs`.
    """
    text = (
        "from classifier.contract import batch\n\n@batch\ndef alone(jobs):\n    [job] = jobs\n    return [job]\n"
    )
    (folder / "single.py").write_text(text)
    return {"classifier": "single:alone", "batch_size": 4, "prefix": "brief", "pool_size": 1}


@contextmanager
def _python_path(path: str) -> Iterator[None]:
    """Set PYTHONPATH during the block; a consumer inherits this environment."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = path
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextmanager
def no_descriptor_left(pid: int) -> Iterator[None]:
    """Leave the process no free descriptor during the block."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def bad_day(load: Load) -> None:
    """Cause all faults, in about ten seconds."""
    for what in (
        load.limits,
        lambda: load.unroutable(11),
        load.reload,
        load.kill_fork_server,
        lambda: load.cut(4),
    ):
        load.batch(BAD_DAY)
        what()
    load.drained()
    load.kill_idle_workers()
    load.batch(BAD_DAY)
    load.drained()


def good_day(load: Load, seconds: float, *, pause_s: float = 0.05) -> None:
    """Publish jobs at a steady rate; a few of them fail."""
    until = time.monotonic() + seconds
    cases = chain.from_iterable(repeat([case for case, count in GOOD_DAY.items() for _ in range(count)]))
    while time.monotonic() < until:
        for case in islice(cases, 4):
            load.publish(case, seconds=0.03, answer=1, signal=signal.SIGSEGV)
        time.sleep(pause_s)
