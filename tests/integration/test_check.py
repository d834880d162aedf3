"""`consumer check` and a real RabbitMQ: what is wrong there is named, and nothing there is changed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from support.consumer_check import Row, assert_told, checked
from support.processes import forked
from support.processes.commands import BIN, environment
from support.processes.shell_classifiers import script
from support.rabbitmq.definitions import DEFINITIONS
from support.rabbitmq.management_api import Management, rabbitmqctl
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

from consumer.local_broker.files import free_ports
from consumer.preflight import permissions as rights
from consumer.preflight.finding import Level
from consumer.preflight.queues import LOSES
from consumer.rabbitmq.management import api
from consumer.wire.topology import Topology

OK, WARNING, FAILURE, SKIPPED = Level
TOPOLOGY = Topology("classifier", 3)
BROKER = (
    "RabbitMQ",
    "version",
    "management",
    "consumers",
    "queues",
    "dead letters",
    "permissions",
    "publishing",
    "time limits",
)
PASSWORD = "hunter2"  # noqa: S105 - a private node's
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


class Place:
    """A virtual host of its own, in which a row brings about what is wrong, and users of it."""

    def __init__(self, management: Management) -> None:
        self.node = management.node
        self.vhost = management.vhost
        self.user = f"user-{uuid4().hex[:12]}"
        self.put(f"users/{self.user}", {"password": PASSWORD, "tags": "management"})
        self.may()

    @property
    def url(self) -> str:
        return f"amqp://{self.user}:{PASSWORD}@127.0.0.1:{self.node.amqp_port}/{quote(self.vhost, safe='')}"

    @property
    def told(self) -> dict[str, object]:
        """Settings with which RabbitMQ is asked by both ways, and nothing is declared."""
        return {"amqp_url": self.url, "management_url": self.node.management_url, "declare": "false"}

    def put(self, path: str, body: object) -> None:
        api(self.node, "PUT", path.replace("{vhost}", quote(self.vhost, safe="")), body)

    def may(self, **rights: str) -> None:
        self.put(f"permissions/{{vhost}}/{self.user}", {**EVERYTHING, **rights})

    def import_definitions(self) -> None:
        """As an operator does, into this virtual host."""
        parts = {name: DEFINITIONS[name] for name in ("exchanges", "queues", "bindings")}
        own = {name: [{**one, "vhost": self.vhost} for one in entries] for name, entries in parts.items()}
        api(self.node, "POST", "definitions", own)

    def exported(self) -> Any:  # noqa: ANN401 - JSON
        return api(self.node, "GET", f"definitions/{quote(self.vhost, safe='')}")

    def delete(self, path: str) -> None:
        api(self.node, "DELETE", path.replace("{vhost}", quote(self.vhost, safe="")))

    def remake(self, queue: str, *, durable: bool = True, **changed: object) -> None:
        """Make a queue anew with other arguments; None takes one away."""
        self.delete(f"queues/{{vhost}}/{queue}")
        arguments = next(dict(one.arguments) for one in TOPOLOGY.queues() if one.name == queue)
        changes = {f"x-{name.replace('_', '-')}": value for name, value in changed.items()}
        chosen = {name: value for name, value in {**arguments, **changes}.items() if value is not None}
        self.put(f"queues/{{vhost}}/{queue}", {"durable": durable, "arguments": chosen})


@pytest.fixture
def place(management: Management) -> Iterator[Place]:
    place = Place(management)
    yield place
    place.delete(f"users/{place.user}")


def wrong_password(place: Place) -> Mapping[str, object]:
    return {"amqp_url": place.url.replace(PASSWORD, "hunter3")}


def no_such_vhost(place: Place) -> Mapping[str, object]:
    return {"amqp_url": f"{place.url}-2"}


def nothing_there(place: Place) -> Mapping[str, object]:
    return {"amqp_url": place.url, "declare": "false"}


def other_arguments(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.remake(TOPOLOGY.jobs, dead_letter_exchange="elsewhere", delivery_limit=None, max_length=5)
    return {"amqp_url": place.url}


def classic_jobs(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.delete(f"queues/{{vhost}}/{TOPOLOGY.jobs}")
    place.put(f"queues/{{vhost}}/{TOPOLOGY.jobs}", {"durable": False, "arguments": {}})
    return {"amqp_url": place.url}


def no_dead_letter_exchange_set(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.remake(TOPOLOGY.jobs, dead_letter_exchange=None, dead_letter_strategy=None)
    return place.told


def other_delivery_limit(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.remake(TOPOLOGY.jobs, delivery_limit=20)
    return place.told


def retries_that_never_end(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.remake(TOPOLOGY.retry(1), message_ttl=None)
    return place.told


def exchange_of_another_type(place: Place) -> Mapping[str, object]:
    place.put(f"exchanges/{{vhost}}/{TOPOLOGY.dead_letter_exchange}", {"type": "direct", "durable": True})
    return {"amqp_url": place.url}


def not_bound(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.delete(f"bindings/{{vhost}}/e/{TOPOLOGY.dead_letter_exchange}/q/{TOPOLOGY.dead}/~")
    return place.told


def may_not_declare(place: Place) -> Mapping[str, object]:
    place.may(configure="^$")
    return {"amqp_url": place.url}


def may_not_dead_letter(place: Place) -> Mapping[str, object]:
    place.may(write="^amq[.]default$")
    return {"amqp_url": place.url}


def may_not_read(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.may(configure="^$", read="^classifier[.]results$")
    return {"amqp_url": place.url, "declare": "false"}


def may_not_publish(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.may(write="^classifier[.].*")
    return {"amqp_url": place.url}


def without_witness(place: Place) -> Mapping[str, object]:
    place.import_definitions()
    place.may(configure="^$")
    return {"amqp_url": place.url, "declare": "false"}


def wrong_management_login(place: Place) -> Mapping[str, object]:
    other = place.node.management_url.replace("//", "//somebody:hunter2@")
    return {"amqp_url": place.url, "management_url": other}


def no_management(place: Place) -> Mapping[str, object]:
    return {"amqp_url": place.url, "management_url": f"http://127.0.0.1:{free_ports(1)[0]}"}


#: Nineteen of those that `consumer check` is to name. Others: test_check_here.py, test_check_classifier.py.
MISCONFIGURED = [
    Row(
        "a wrong password",
        wrong_password,
        "RabbitMQ",
        FAILURE,
        "refused the user or the password",
        "check amqp_url",
    ),
    Row(
        "no such virtual host",
        no_such_vhost,
        "RabbitMQ",
        FAILURE,
        "closed the connection while it was opened",
        "check that the virtual host at the end of amqp_url exists",
    ),
    Row(
        "TLS at a port without it",
        lambda place: {"amqp_url": place.url.replace("amqp:", "amqps:")},
        "RabbitMQ",
        FAILURE,
        "does not use TLS on this port",
        "in amqp_url, write its TLS port (by default 5671), or amqp://",
    ),
    Row(
        "nothing declared, and not to be declared",
        nothing_there,
        "queues",
        FAILURE,
        "queue classifier.jobs is missing, and with `declare` = false `run` does not create it",
        "set `declare` to true, or let a user who may configure create it (`consumer run --declare true`, once)",
    ),
    Row(
        "a queue with other arguments, all of which are told",
        other_arguments,
        "queues",
        FAILURE,
        "- x-delivery-limit is not set and should be 100",
        "rabbitmqctl delete_queue -p ",
    ),
    Row(
        "a jobs queue that is classic and not durable",
        classic_jobs,
        "queues",
        FAILURE,
        "- durable is False and should be True (its messages are lost when RabbitMQ restarts)",
        "then `run` creates it anew; or choose another `prefix`",
    ),
    Row(
        "a jobs queue without a dead-letter exchange",
        no_dead_letter_exchange_set,
        "queues",
        FAILURE,
        "- x-dead-letter-exchange is not set and should be 'classifier.dlx' (RabbitMQ deletes messages that",
        "then let a user who may configure create it",
    ),
    Row(
        "a delivery limit that somebody may want",
        other_delivery_limit,
        "queues",
        WARNING,
        "- x-delivery-limit is 20 and should be 100",
        "if this is not intended: ",
    ),
    Row(
        "a retry queue that keeps its jobs",
        retries_that_never_end,
        "queues",
        FAILURE,
        "- x-message-ttl is not set and should be 1000 (its messages return at another time, or never)",
        "rabbitmqctl delete_queue -p ",
    ),
    Row(
        "a dead-letter exchange of another type",
        exchange_of_another_type,
        "queues",
        FAILURE,
        "exchange classifier.dlx is not as expected:\n- type is 'direct' and should be 'fanout'",
        "delete the exchange classifier.dlx in the management console",
    ),
    Row(
        "a dead-letter exchange that leads nowhere",
        not_bound,
        "dead letters",
        FAILURE,
        "classifier.dlx is not bound to classifier.dead or to any other queue",
        "bind classifier.dead to it in the management console",
    ),
    Row(
        "no right to declare",
        may_not_declare,
        "queues",
        FAILURE,
        "queue classifier.jobs is missing, and this user may not create it: access to queue 'classifier.jobs'",
        "or set `declare` to false, and let a user who may configure create it",
    ),
    Row(
        "no right to dead-letter",
        may_not_dead_letter,
        "queues",
        FAILURE,
        "queue classifier.jobs is missing, and this user may not create it: access to exchange 'classifier.dlx'",
        "`rabbitmqctl set_permissions -p test-",
    ),
    Row(
        "no right to read the jobs",
        may_not_read,
        "permissions",
        FAILURE,
        "this user may not read classifier.jobs: access to queue 'classifier.jobs'",
        "'^(amq[.]default|classifier[.]dlx|classifier[.]dead|",
    ),
    Row(
        "no right to publish replies",
        may_not_publish,
        "publishing",
        FAILURE,
        "this user may not publish to queues: access to exchange 'amq.default'",
        "'^(amq[.]default|classifier[.].*)$'",
    ),
    Row(
        "nobody to ask for bindings",
        without_witness,
        "dead letters",
        WARNING,
        "unknown whether classifier.dlx is bound to classifier.dead",
        "`rabbitmqctl list_bindings -p test-",
    ),
    Row(
        "nobody to ask for arguments",
        without_witness,
        "queues",
        WARNING,
        "queue classifier.jobs exists; its arguments are unknown, because this user may not configure it",
        "set management_url, or run `consumer check` once as a user who may configure",
    ),
    Row(
        "a wrong login to the management API",
        wrong_management_login,
        "management",
        WARNING,
        "was refused: 401",
        "its user needs the tag `monitoring`",
    ),
    Row(
        "no management API at the address",
        no_management,
        "management",
        WARNING,
        "does not answer ([Errno 111] Connection refused)",
        "correct it",
    ),
]


@pytest.mark.parametrize("row", MISCONFIGURED, ids=lambda row: row.name)
def test_what_is_wrong_is_told_with_its_remedy(row: Row, place: Place) -> None:
    given = row.arrange(place)
    before = place.exported()
    assert_told(row, checked(given, *BROKER))
    assert place.exported() == before


def test_all_that_differs_in_a_queue_is_told_with_and_without_the_management_api(place: Place) -> None:
    given = other_arguments(place)
    for settings in (given, place.told):
        [one] = [one for one in checked(settings, *BROKER) if one.what == "queues"]
        first, *lines = one.detail.split("\n")
        consequence = LOSES["x-dead-letter-exchange"]
        assert first == "queue classifier.jobs is not as expected:"
        assert sorted(lines)[:2] == [
            f"- x-dead-letter-exchange is 'elsewhere' and should be 'classifier.dlx' ({consequence})",
            "- x-delivery-limit is not set and should be 100",
        ]


def test_an_alarm_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "CONFIRM_S", 1.0)
    try:
        rabbitmqctl(place.node, "set_vm_memory_high_watermark", "0.000001")
        [found] = [one for one in checked({"amqp_url": place.url}, *BROKER) if one.what == "publishing"]
    finally:
        rabbitmqctl(place.node, "set_vm_memory_high_watermark", "0.4")
    assert (found.level, "memory or disk alarm" in found.detail) == (FAILURE, True)
    assert found.remedy.startswith("`rabbitmq-diagnostics alarms`")


def test_one_node_of_several_that_is_away_is_a_warning(place: Place) -> None:
    away = f"amqp://u:p@127.0.0.1:{free_ports(1)[0]}"
    found = [one for one in checked({"amqp_url": f"{away} {place.url}"}, *BROKER) if one.what == "RabbitMQ"]
    assert [one.level for one in found] == [WARNING, OK]


def test_a_virtual_host_that_is_empty_is_ok_where_all_may_be_declared_and_stays_empty(place: Place) -> None:
    before = place.exported()
    findings = checked({"amqp_url": place.url}, *BROKER)
    assert {one.level for one in findings if one.what != "management"} == {OK}, findings
    assert "`run` will create classifier.dlx, classifier.dead, " in next(
        one.detail for one in findings if one.what == "queues"
    )
    assert place.exported() == before


def test_what_is_well_is_ok_and_a_waiting_job_is_not_touched(place: Place, tmp_path: Path) -> None:
    """As deployed from the definitions, with the least rights and nothing declared; by the command."""
    place.import_definitions()
    rights = next(one for one in DEFINITIONS["permissions"] if one["user"] == "consumer")
    place.may(**{right: rights[right] for right in EVERYTHING})
    with Producer(place.node.vhost_url(place.vhost)) as producer:
        producer.publish(TOPOLOGY.jobs, b"{}")
    before = place.exported()
    (tmp_path / "job.json").write_text("{}")
    variables = environment(
        place.url,
        management_url=place.node.management_url,
        declare="false",
        command=script(tmp_path, "echo OUTPUT: 1"),
        job_dir=tmp_path,
        pool_size=1,
    )
    done = forked.run("consumer", "check", "--json", "--job", tmp_path / "job.json", env=variables)
    told = json.loads(done.stdout)
    assert {(one["level"], one["remedy"]) for one in told["checks"]} == {("ok", None)}, done.stdout
    assert (done.returncode, done.stderr, told["would_run"]) == (os.EX_OK, "", True)
    assert len(told["checks"]) == 22
    assert place.exported() == before
    with Producer(place.node.vhost_url(place.vhost)) as producer:
        method, properties, _ = producer.channel.basic_get(TOPOLOGY.jobs)
        assert method.redelivered is False
        assert not (properties.headers or {}).get("x-delivery-count")


def test_the_command_ends_with_1_where_something_failed(place: Place) -> None:
    variables = environment(place.url, declare="false", command='["/bin/true"]', pool_size=1)
    done = subprocess.run(
        [BIN / "consumer", "check"], env=variables, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "\n                         queue classifier.jobs is missing, and with `declare` = false" in done.stdout
    assert done.stdout.splitlines()[-1] == "18 ok, 1 warning, 1 failure, 2 skipped", done.stdout
    assert PASSWORD not in done.stdout
