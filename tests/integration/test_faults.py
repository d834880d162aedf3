"""Each fault of RabbitMQ and of the network, made on purpose: every job is answered, and jobs are taken again.

One node of its own, since it is stopped, alarmed and shortened here. Times are printed, not asserted.

Which test is for which fault; where no file is named, it is here. What no RabbitMQ does on request is done by
`support/fakes/amqp_peer.py`, in unit/test_scripted_faults.py (marked *).

    broker restart              test_broker_restart
    TCP cut                     test_tcp_cut
    partition client-broker     test_partition_client_broker
    channel closed by broker    test_channel_closed_by_the_broker_for_a_consumer_timeout
      late frames of it        *test_late_frames_of_an_old_channel_meet_no_new_one
    consumer timeout, to 4.2    the same
      from 4.3                 *test_consumer_timeout_told_by_basic_cancel_while_the_channel_stays_open
    queue deleted               test_queue_deleted
    classic queue's node down   test_cluster.py
    quorum leader lost          test_cluster.py, test_quorum_leader_lost_and_then_the_majority and
                                test_quorum_leader_lost_at_another_node_leaves_the_consumer_where_it_is
    no majority                 test_cluster.py, test_no_majority
    acks lost with a leader     test_starvation.py
    alarm                       test_memory_alarm
      for long                 *test_alarm_longer_than_the_confirm_timeout
      with a full socket       *test_full_socket_during_an_alarm_is_no_self_disconnect,
                               *test_a_full_socket_does_not_keep_the_next_connection_waiting
    no confirm                 *test_confirm_never_sent
    confirm lost
      *test_confirm_lost_after_the_message_was_stored_gives_a_second_reply_with_the_same_job_id
    unroutable reply            test_unroutable_reply
      return before ack        *test_a_return_before_the_ack_is_pinned_on_its_own_message
      caller gone               test_callers.py
      address fails RabbitMQ    test_callers.py,
                               *test_a_direct_address_that_rabbitmq_fails_over_is_known_and_its_neighbour_is_answered
    message too large           test_message_too_large,
                                test_job_of_the_clients_that_is_too_large_fails_alone
    reply exchange missing     *test_reply_exchange_missing_cannot_happen_as_all_goes_to_the_default_exchange,
                               *test_channel_closed_over_a_publish_fails_all_in_flight_and_each_is_published_again
    undecodable properties      test_tolerance.py
    job expired                 test_a_job_that_expires_in_the_queue
    poison job                  test_poison_job
    consumer killed             test_a_redelivery_of_another_consumers_job_runs,
                                test_a_consumer_killed_again_and_again_loses_nothing_and_no_innocent_job
    SIGTERM                     test_lifecycle.py
      during an outage          test_sigterm_during_an_outage_lets_the_job_end_and_it_comes_again
    all of it at once           test_storm.py
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from support.async_tests import runs_async
from support.measurements import Tell
from support.processes.commands import BIN, environment
from support.processes.consumer_process import ConsumerProcess
from support.processes.consumer_process import consumer as started
from support.processes.health import Probe
from support.processes.log_lines import records_of
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.management_api import Management, create_vhost, delete_vhost, rabbitmqctl
from support.rabbitmq.producer import Producer
from support.rabbitmq.tcp_proxy import Proxy
from support.soak import often
from support.waiting import PATIENCE_S, wait_until

from consumer.client import Client
from consumer.errors import ConfigurationError
from consumer.local_broker import node as local_broker
from consumer.rabbitmq.management import api
from consumer.wire.topology import Topology

TOPOLOGY = Topology("classifier", 3)
JOBS, RESULTS, DEAD = TOPOLOGY.jobs, TOPOLOGY.results, TOPOLOGY.dead
#: Each of them is asked how it is.
consumer = partial(started, http_port=0)
READY, AWAY = "ok\n", "no jobs reach this consumer\n"
MAX_MESSAGE_BYTES = 300_000
KILLS = often(3, in_soak=50)
#: Both are looked at every second instead of every minute and every five seconds.
ADVANCED = "[{rabbit, [{channel_tick_interval, 1000}, {quorum_tick_interval, 1000}]}]."


@pytest.fixture(scope="module")
def own_node(server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_broker.Node]:  # noqa: ARG001
    data_dir = tmp_path_factory.mktemp("rabbitmq-faults")
    try:
        config = {"max_message_size": str(MAX_MESSAGE_BYTES)}
        yield local_broker.up(data_dir, config=config, more={"advanced.config": f"{ADVANCED}\n"})
    finally:
        local_broker.down(data_dir, timeout_s=0)


@dataclass(frozen=True)
class Site:
    """A vhost of the test's own, a way to it that can be broken, and a classifier that waits for `go`."""

    node: local_broker.Node
    vhost: Management
    proxy: Proxy
    producer: Producer
    folder: Path
    tell: Tell

    @property
    def url(self) -> str:
        """The way that stays."""
        return self.node.vhost_url(self.vhost.vhost)

    @property
    def held(self) -> str:
        return script(self.folder, *HELD)

    def through_proxy(self, query: str = "") -> str:
        return self.proxy.url(self.url, query)

    def publish(self, job_id: str, body: bytes = b"{}") -> None:
        self.producer.publish(JOBS, body, message_id=job_id)

    def go(self) -> None:
        """Let the held jobs end."""
        (self.folder / "go").touch()

    def runs(self) -> int:
        return len((self.folder / "runs").read_text().splitlines())

    def recovers(self, running: ConsumerProcess, fault: str) -> None:
        """Wait until jobs are taken again, and say how long that took."""
        found = re.search(r" after ([\d.]+) s", running.wait_for_event("reconnected").text)
        assert found
        self.tell(f"{fault}: taking jobs again after {found[1]} s")
        says(running, READY)

    def is_answered_once(self, job_id: str) -> None:
        """The one answer is there, and nothing else of the job."""
        with Producer(self.url) as producer:
            reply = producer.take(RESULTS).json
            assert (reply["job_id"], reply["status"], reply["attempt"]) == (job_id, "succeeded", 1)
            assert [producer.depth(queue) for queue in (RESULTS, DEAD, JOBS)] == [0, 0, 0]


def says(running: ConsumerProcess, ready: str) -> None:
    """It lives, whatever happens, and says whether it is ready; without a connection, with the reason."""
    probe = Probe.of(running)
    page = probe.ask("ready")[1]
    complaints = "".join(f"{line.partition(': ')[0]}\n" for line in page.splitlines())
    assert (probe.ask("live")[1], complaints) == (READY, ready)
    assert (f"{AWAY.strip()}: " in page) == (AWAY in ready)


@pytest.fixture
def site(own_node: local_broker.Node, tmp_path: Path, tell: Tell) -> Iterator[Site]:
    name = f"test-{uuid4().hex[:12]}"
    create_vhost(own_node, name)
    with Proxy.open(own_node.amqp_port) as proxy, Producer(own_node.vhost_url(name)) as producer:
        yield Site(own_node, Management(own_node, name), proxy, producer, tmp_path, tell)
    delete_vhost(own_node, name)


def test_tcp_cut(site: Site) -> None:
    with consumer(site.through_proxy(), command=site.held, pool_size=1) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        site.proxy.cut()
        site.recovers(running, "TCP cut")
        running.wait_for_event("job_redelivered")
        site.go()
        running.wait_for_event("job_settled", settlement="ack")
        site.is_answered_once("m1")
        site.publish("m2")
        site.is_answered_once("m2")
        assert running.stop() == os.EX_OK
    assert site.runs() == 2


def test_an_outcome_that_came_during_an_outage_is_remembered(site: Site) -> None:
    with consumer(site.through_proxy(), command=site.held, pool_size=1) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        site.proxy.refuse()
        running.wait_for_event("connection_lost")
        says(running, AWAY)
        site.go()
        running.wait_for_event("job_not_settled", job_id="m1")
        site.proxy.accept()
        running.wait_for_event("job_settled", settlement="ack")
        site.is_answered_once("m1")
        assert running.stop() == os.EX_OK
    assert site.runs() == 1


def test_partition_client_broker(site: Site) -> None:
    """Nothing is closed, nothing arrives: heartbeats alone tell, after three intervals."""
    with consumer(site.through_proxy("heartbeat=1"), command=site.held, pool_size=1) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        site.proxy.silence()
        site.go()
        running.wait_for_event("connection_lost")
        says(running, AWAY)
        site.proxy.resume()
        site.recovers(running, "partition, from its being noticed")
        running.wait_for_event("job_settled", settlement="ack")
        site.is_answered_once("m1")
        assert running.stop() == os.EX_OK
    assert site.runs() == 1


def test_channel_closed_by_the_broker_for_a_consumer_timeout(site: Site) -> None:
    """It comes again after each timeout, for as long as it runs; the run goes on."""
    try:
        set_consumer_timeout(site.node, 2000)
        with consumer(site.url, command=site.held, pool_size=1) as running:
            site.publish("m1")
            running.wait_for_event("job_log", "begun")
            running.wait_for_event("connection_lost")
            site.recovers(running, "consumer timeout")
            running.wait_for_event("job_redelivered")
            site.go()
            running.wait_for_event("job_settled", settlement="ack")
            site.is_answered_once("m1")
            assert running.stop() == os.EX_OK
    finally:
        set_consumer_timeout(site.node, 1_800_000)
    assert site.runs() == 1


def set_consumer_timeout(node: local_broker.Node, ms: int) -> None:
    """For channels that are opened from now on."""
    rabbitmqctl(node, "eval", f"application:set_env(rabbit, consumer_timeout, {ms}).")


def test_queue_deleted(site: Site) -> None:
    """Somebody meant it: the queue is not made again by us, and taken up when somebody has made it."""
    with consumer(site.url, command=script(site.folder, *HELD), pool_size=1) as running:
        site.go()
        site.producer.channel.queue_delete(JOBS)
        running.wait_for_event("connection_lost", "classifier.jobs")
        running.wait_for_event("reconnect_failed", "NOT_FOUND - no queue 'classifier.jobs'")
        says(running, AWAY)
        [jobs] = [queue for queue in TOPOLOGY.queues() if queue.name == JOBS]
        site.producer.channel.queue_declare(JOBS, durable=True, arguments=dict(jobs.arguments))
        site.recovers(running, "queue deleted and made again")
        site.publish("m1")
        site.is_answered_once("m1")
        assert running.stop() == os.EX_OK


def test_memory_alarm(site: Site) -> None:
    """The result waits, unacked and without a second run, until the alarm is over. So does a job of `submit`."""
    jobs, said = site.folder / "jobs.jsonl", site.folder / "submit.log"
    jobs.write_text("{}\n")
    submit: list[str | Path] = [BIN / "consumer", "submit", jobs, "--out", site.folder / "results.jsonl"]
    with consumer(site.url, command=site.held, pool_size=1) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        try:
            rabbitmqctl(site.node, "set_vm_memory_high_watermark", "0.000001")
            site.go()
            running.wait_for_event("publishing_blocked")
            says(running, READY)
            assert "unacknowledged=1" in unacknowledged(site.node, site.url)
            with said.open("w") as log:
                submitting = subprocess.Popen(submit, env=environment(site.url, log_format="json"), stderr=log)
            wait_until(lambda: records_of("publishing_blocked", said.read_text()), "submit to know of the alarm")
        finally:
            rabbitmqctl(site.node, "set_vm_memory_high_watermark", "0.4")
        assert submitting.wait(PATIENCE_S) == os.EX_OK
        running.wait_for_event("job_settled", settlement="ack")
        if not running.events("publishing_unblocked"):  # it is logged before or after the confirm
            running.wait_for_event("publishing_unblocked")
        site.is_answered_once("m1")
        assert running.stop() == os.EX_OK
        assert not running.events("connection_lost")
    for event, times in {"publishing_blocked": 1, "publishing_unblocked": 1, "connection_lost": 0}.items():
        assert len(records_of(event, said.read_text())) == times
    site.tell("memory alarm: the connections stayed, the reply was confirmed when it was over")
    assert site.runs() == 2


def unacknowledged(node: local_broker.Node, url: str) -> str:
    vhost = url.rpartition("/")[2]
    listed = rabbitmqctl(node, "-q", "list_queues", "-p", vhost, "name", "messages_unacknowledged")
    return " ".join(f"{name}:unacknowledged={count}" for name, count in map(str.split, listed.splitlines()[1:]))


def test_a_job_that_expires_in_the_queue(site: Site) -> None:
    """It never runs, and lies with the dead letters by RabbitMQ's own reason."""
    with consumer(site.url, command=site.held, pool_size=1) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        site.producer.publish(JOBS, b"{}", message_id="m2", expiration="1")
        expired = site.producer.take(DEAD).properties
        assert expired.message_id == "m2"
        assert [(death["reason"], death["queue"]) for death in expired.headers["x-death"]] == [("expired", JOBS)]
        site.go()
        running.wait_for_event("job_settled", settlement="ack")
        site.is_answered_once("m1")
        assert running.stop() == os.EX_OK
    assert site.runs() == 1


def test_unroutable_reply(site: Site) -> None:
    site.go()
    with consumer(site.url, command=site.held, pool_size=1) as running:
        site.producer.publish(JOBS, b"{}", message_id="m1", reply_to="nobody.s")
        running.wait_for_event("job_settled", settlement="dead-letter")
        assert site.producer.take(DEAD).properties.message_id == "m1"
        assert running.stop() == os.EX_OK


@runs_async
async def test_job_of_the_clients_that_is_too_large_fails_alone(site: Site) -> None:
    """RabbitMQ closes the channel over it, and with it the publishes of all others."""
    with consumer(
        site.url, command=script(site.folder, "printf 'OUTPUT: '; cat \"$1\"; echo"), pool_size=2
    ) as running:
        async with Client.open(site.url) as client:
            small = [asyncio.create_task(client.run({"n": n})) for n in range(10)]
            large = asyncio.create_task(client.run({"x": "x" * MAX_MESSAGE_BYTES}))
            more = [asyncio.create_task(client.run({"n": n})) for n in range(10, 20)]
            with pytest.raises(ConfigurationError, match="RabbitMQ refuses a job of this size"):
                await large
            results = await asyncio.gather(*small, *more)
            with pytest.raises(ConfigurationError, match="at most 300000"):  # known by now: costs no connection
                await client.run({"x": "x" * MAX_MESSAGE_BYTES})
        assert [result.output["n"] for result in results] == list(range(20))
        running.stop()


def test_message_too_large(site: Site) -> None:
    """RabbitMQ closes the channel over it, once; what was in flight is answered, and so is the one to blame."""
    large = f"head -c {MAX_MESSAGE_BYTES} /dev/zero | tr '\\0' x"
    command = script(
        site.folder,
        'case "$(cat "$1")" in',
        f"*large*) printf 'OUTPUT: \"'; {large}; echo '\"' ;;",
        "*) echo 'OUTPUT: 1' ;;",
        "esac",
    )
    with consumer(site.url, command=command, pool_size=2) as running:
        site.publish("large", b'{"large": 1}')
        site.recovers(running, "message too large")
        error = site.producer.take(RESULTS).json["error"]
        assert error["code"] == "over_limit"
        assert f"RabbitMQ takes at most {MAX_MESSAGE_BYTES}" in error["message"]
        assert site.producer.take(DEAD).properties.message_id == "large"
        site.publish("again", b'{"large": 2}')
        assert site.producer.take(RESULTS).json["error"]["code"] == "over_limit"
        site.publish("small")
        assert site.producer.take(RESULTS).json["output"] == 1
        assert running.stop() == os.EX_OK
    assert len(running.events("connection_lost")) == 1
    assert not running.events("reconnect_failed")


def test_poison_job(site: Site) -> None:
    """A job that kills the consumer itself is ended by RabbitMQ's delivery limit."""
    command = script(site.folder, "kill -KILL $(awk '/^PPid/ {print $2}' /proc/$PPID/status)")  # past the launcher
    policy = {"pattern": JOBS, "apply-to": "queues", "definition": {"delivery-limit": 2}}
    api(site.vhost.node, "PUT", f"policies/{site.vhost.vhost}/limit", policy)
    for deaths in range(3):
        with consumer(site.url, command=command, pool_size=1) as running:
            if not deaths:
                site.publish("m1")
            assert running.end() == -signal.SIGKILL
    headers = site.producer.take(DEAD).properties.headers
    assert headers["x-death"][0]["reason"] == "delivery_limit"


@pytest.mark.soak
def test_a_consumer_killed_again_and_again_loses_nothing_and_no_innocent_job(site: Site) -> None:
    """The worst case: always the same jobs are held. Each death counts against them, far below the limit."""
    jobs = [f"m{n}" for n in range(10)]
    for killed in range(KILLS):
        with consumer(site.url, command=site.held, pool_size=2) as running:
            for job in jobs if not killed else ():
                site.publish(job)
            running.wait_for_event("job_log", "begun")
            running.process.kill()
            assert running.end() == -signal.SIGKILL
    site.go()
    with consumer(site.url, command=site.held, pool_size=2) as running:
        replies = [site.producer.take(RESULTS) for _ in jobs]
        assert running.stop() == os.EX_OK
    assert {reply.json["job_id"] for reply in replies} == set(jobs)
    assert {(reply.json["status"], reply.json["attempt"]) for reply in replies} == {("succeeded", 1)}
    assert [site.producer.depth(queue) for queue in (RESULTS, DEAD, JOBS)] == [0, 0, 0]
    site.tell(f"consumer killed {KILLS} times, always while it held the same jobs: none lost, none dead-lettered")


def test_sigterm_during_an_outage_lets_the_job_end_and_it_comes_again(site: Site) -> None:
    with consumer(site.through_proxy(), command=site.held, pool_size=1) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        site.proxy.refuse()
        running.wait_for_event("connection_lost")
        running.signal(signal.SIGTERM)
        running.wait_for_event("draining_unconnected")
        says(running, f"{AWAY}stopping\n")
        assert ": m1 (" in running.wait_for_event("draining").text
        site.go()
        running.wait_for_event("job_not_settled", job_id="m1")
        assert running.end() == os.EX_OK
    with consumer(site.url, command=site.held, pool_size=1) as running:
        running.wait_for_event("job_settled", settlement="ack")
        site.is_answered_once("m1")
        assert running.stop() == os.EX_OK
    assert site.runs() == 2


def test_sigterm_during_an_outage_ends_a_job_that_outlasts_the_grace(site: Site) -> None:
    with consumer(site.through_proxy(), command=site.held, pool_size=1, drain_grace_s=0.2) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        site.proxy.refuse()
        running.wait_for_event("connection_lost")
        assert running.stop() == os.EX_OK
    assert site.producer.depth(JOBS) == 1


def test_a_refusal_after_hours_of_service_is_retried_and_reported(site: Site) -> None:
    name = f"user-{site.vhost.vhost}"
    api(site.vhost.node, "PUT", f"users/{name}", {"password": "first", "tags": ""})
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    api(site.vhost.node, "PUT", f"permissions/{site.vhost.vhost}/{name}", everything)
    own_url = f"amqp://{name}:first@127.0.0.1:{site.proxy.port}/{site.vhost.vhost}"
    with consumer(own_url, command=script(site.folder, *HELD)) as running:
        api(site.vhost.node, "PUT", f"users/{name}", {"password": "second", "tags": ""})
        site.proxy.cut()
        running.wait_for_event("reconnect_failed", error="BrokerRefusedError")
        api(site.vhost.node, "PUT", f"users/{name}", {"password": "first", "tags": ""})
        site.recovers(running, "password wrong for a while")
        assert running.stop() == os.EX_OK
    api(site.vhost.node, "DELETE", f"users/{name}")


def test_several_hosts_are_tried_in_turn(site: Site) -> None:
    """One is down at the start, the other goes down later: the third serves."""
    site.go()
    with Proxy.open(site.proxy.port) as never:
        never.refuse()
        urls = " ".join((never.url(site.url), site.through_proxy(), site.url))
        with consumer(urls, command=site.held) as running:
            site.proxy.refuse()
            site.publish("m1")
            running.wait_for_event("job_settled", settlement="ack")
            site.is_answered_once("m1")
            assert running.stop() == os.EX_OK


def test_a_redelivery_of_another_consumers_job_runs(site: Site) -> None:
    with consumer(site.url, command=site.held, pool_size=1) as first:
        site.publish("m1")
        first.wait_for_event("job_log", "begun")
        with consumer(site.url, command=site.held, pool_size=1) as second:
            first.process.kill()
            first.end()
            second.wait_for_event("job_log", "begun")
            site.go()
            second.wait_for_event("job_settled", settlement="ack")
            site.is_answered_once("m1")
            assert second.stop() == os.EX_OK
    assert site.runs() == 2


def test_broker_restart(site: Site) -> None:
    """The last in this file: RabbitMQ 3.10 does not bear that a vhost is deleted just after a start of the app."""
    with consumer(site.url, command=site.held, pool_size=2) as running:
        site.publish("m1")
        running.wait_for_event("job_log", "begun")
        rabbitmqctl(site.node, "stop_app")
        running.wait_for_event("connection_lost")
        rabbitmqctl(site.node, "start_app")
        is_back = time.monotonic()
        site.recovers(running, "broker restart")
        site.tell(f"broker restart: {time.monotonic() - is_back:.2f} s of that after RabbitMQ was back")
        running.wait_for_event("job_redelivered")
        site.go()
        running.wait_for_event("job_settled", settlement="ack")
        assert running.stop() == os.EX_OK
    site.is_answered_once("m1")
    assert site.runs() == 1
