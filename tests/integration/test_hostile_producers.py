"""What a producer may try with a job, and a job with its classifier: none of it reaches further than it should."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, consumer, gone_afterwards
from support.processes.shell_classifiers import script
from support.rabbitmq.producer import Producer

from consumer.dead_letters.error_records import read_error_records
from consumer.wire.topology import Topology

TOPOLOGY = Topology("classifier", 3)
#: The form is RabbitMQ's own, but no node has this number; up to 4.1 it fails over it, and ends our connection.
PROCESS = base64.b64encode(b"\x83Xv\x00\x09reply@123" + bytes(12)).decode()
OF_NO_NODE = f"amq.rabbitmq.reply-to.{PROCESS}.a2V5"


@pytest.mark.parametrize("address", [OF_NO_NODE, "amq.rabbitmq.reply-to.x.y", "amq.rabbitmq.reply-to."])
def test_a_forged_direct_address_cuts_us_off_twice_at_most_and_other_jobs_are_answered(
    vhost_url: str, tmp_path: Path, producer: Producer, address: str
) -> None:
    with consumer(vhost_url, command=script(tmp_path, "echo OUTPUT: 1"), pool_size=1) as running:
        producer.publish(TOPOLOGY.jobs, b"{}", message_id="forged", reply_to=address)
        producer.publish(TOPOLOGY.jobs, b"{}", message_id="good")
        assert producer.take(TOPOLOGY.results).json["job_id"] == "good"
        running.stop()
    assert len(running.events("connection_lost") + running.events("reconnect_failed")) <= 2
    assert (producer.depth(TOPOLOGY.jobs), producer.depth(TOPOLOGY.dead)) == (0, 0)


def test_queues_that_a_producer_names_in_cc_get_nothing_from_us(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    with consumer(vhost_url, command=script(tmp_path, "exit 1"), max_attempts=2) as running:
        producer.channel.queue_declare("foreign")
        producer.publish(TOPOLOGY.jobs, b"{}", message_id="m", headers={"CC": ["foreign"]})
        producer.take("foreign")  # by the producer's own publish
        assert producer.take(TOPOLOGY.results).json["attempt"] == 2
        running.wait_for_event("job_settled", outcome="Crashed", settlement="dead-letter")
    assert producer.depth("foreign") == 0


def test_a_reply_goes_only_where_the_operator_allows_it(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    allowed = r"replies\.[a-z]+"
    with consumer(vhost_url, command=script(tmp_path, "echo OUTPUT: 1"), reply_to_allowed=allowed) as running:
        for name in ("replies.mine", "secrets"):
            producer.channel.queue_declare(name)
            producer.publish(TOPOLOGY.jobs, b"{}", message_id=name, reply_to=name)
        assert producer.take("replies.mine").json["job_id"] == "replies.mine"
        running.wait_for_event("job_settled", job_id="secrets", outcome="Invalid", settlement="dead-letter")
        assert producer.take(TOPOLOGY.dead).properties.message_id == "secrets"
    assert producer.depth("secrets") == 0
    [record] = asyncio.run(read_error_records(vhost_url, TOPOLOGY))
    assert (record.job_id, record.code) == ("secrets", "invalid_job")


def test_the_largest_line_and_the_largest_complaint_are_answered_without_a_reconnection(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    """A reply of 16 MB, and an error line and a stderr of 1 MiB of escape sequences."""
    command = script(
        tmp_path,
        'case "$(cat "$1")" in',
        """*large*) printf 'OUTPUT: "'; head -c 15999980 /dev/zero | tr '\\0' x; echo '"' ;;""",
        """*) head -c 1048576 /dev/zero | tr '\\0' '\\033' >&2; printf 'ERROR: '; """
        """head -c 1000000 /dev/zero | tr '\\0' '\\033'; echo ;;""",
        "esac",
    )
    limits = {"max_line_bytes": 16_000_000, "max_stdout_bytes": 20_000_000}
    with consumer(vhost_url, command=command, **limits) as running:
        producer.publish(TOPOLOGY.jobs, b'{"large": 1}')
        assert len(producer.take(TOPOLOGY.results).json["output"]) == 15_999_980
        producer.publish(TOPOLOGY.jobs, b"{}")
        reply = producer.take(TOPOLOGY.results)
        running.stop()
    assert reply.json["error"]["code"] == "classifier_error"
    assert len(reply.body) < 64 * 1024
    assert not running.events("connection_lost")
    assert max(map(len, running.log)) < 20_000


FORGED = "2026-01-01 00:00:00,000 INFO    job other: Succeeded, ack after 1 ms"


def test_neither_ids_nor_classifiers_forge_a_record_of_the_log(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    command = script(
        tmp_path,
        f"printf 'LOG: a\\r{FORGED}\\n'",
        f"printf 'LOG: b\\342\\200\\250{FORGED}\\n' ",
        f"printf '{FORGED}\\n' >&2",
        f"printf 'ERROR: c\\033[2K\\r{FORGED}\\n'",
    )
    with gone_afterwards(ConsumerProcess(environment(vhost_url, command=command, log_format="text"))) as running:
        running.wait_for("ready:")
        for number, name in enumerate([f"x\n{FORGED}", f"y\r{FORGED}", f"z\u2028{FORGED}", "good"]):
            producer.publish(
                TOPOLOGY.jobs,
                b"{}",
                message_id=name,
                correlation_id=f"{number}\n{FORGED}",
                reply_to=f"no\n{FORGED}",
            )
            running.wait_for("dead-letter")
        running.stop()
    assert sum(FORGED in line for line in running.log) >= 3
    assert not any(line.startswith(FORGED) for line in running.log)
    assert all(line.removesuffix("\n").isprintable() for line in running.log)


def test_a_flood_of_log_lines_is_dropped_and_counted(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    command = script(tmp_path, "yes 'LOG: flood' | head -n 20000", "echo OUTPUT: 1")
    with consumer(vhost_url, command=command) as running:
        producer.publish(TOPOLOGY.jobs, b"{}", message_id="m1")
        assert "job m1: ... and" in running.wait_for_event("job_log_dropped").text
        running.wait_for_event("job_settled", settlement="ack")
        running.stop()
    assert len(running.log) < 1000
