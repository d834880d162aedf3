"""`consumer dead-letters` on a real RabbitMQ: looking changes nothing, replaying and purging lose nothing."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import pty
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from many_dead_letters import TOPOLOGY, bury, dead_letters, declare, ids, job, listed, reject
from support.measurements import Tell
from support.processes.commands import BIN, environment
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.producer import Producer
from support.rabbitmq.tcp_proxy import Proxy
from support.soak import often
from support.waiting import PATIENCE_S, wait_until

from consumer.dead_letters import browse, operations
from consumer.dead_letters.model import Letter, chosen
from consumer.dead_letters.operations import LetterQueue
from consumer.errors import ConnectionLostError
from consumer.local_broker.node import Node
from consumer.wire.message import Message

LOOKS = often(10, in_soak=30)
#: Letters, and kills while these are replayed.
MANY = often(500, in_soak=5_000)
KILLS = often(4, in_soak=20)
BURSTS = often(5, in_soak=50)
#: How many of the kills come while letters are replayed; the others, while the command starts or looks.
WITHIN = 0.75


@pytest.fixture
def url(vhost_url: str) -> str:
    declare(vhost_url)
    return vhost_url


def names(count: int, first: int = 0) -> list[str]:
    return [f"job-{number:04}" for number in range(first, first + count)]


def in_place(producer: Producer) -> list[str]:
    """The ids in the order in which the queue has them, taken out of it for good."""
    count = producer.depth(TOPOLOGY.dead)
    found = itertools.islice(producer.channel.consume(TOPOLOGY.dead, auto_ack=True), count)
    taken = [properties.message_id for _, properties, _ in found]
    producer.channel.cancel()
    return taken


def look(url: str) -> list[str]:
    return [letter.id for letter in asyncio.run(operations.look(LetterQueue(url, TOPOLOGY))).letters]


@pytest.mark.soak
def test_many_looks_lose_nothing_and_leave_the_order_as_it_was(url: str, producer: Producer) -> None:
    bury(producer, names(50))
    before = look(url)
    assert sorted(before) == names(50)
    assert all(look(url) == before for _ in range(LOOKS))
    bury(producer, names(5, first=50))
    assert look(url) == [*before, *look(url)[50:]]
    assert in_place(producer)[:50] == before


def test_two_who_look_at_once_see_all_and_leave_the_order_as_it_was(url: str, producer: Producer) -> None:
    bury(producer, names(200))
    before = look(url)

    async def together() -> list[list[str]]:
        said: list[str] = []
        seen = await asyncio.gather(
            *(operations.look(LetterQueue(url, TOPOLOGY, say=said.append)) for _ in range(3))
        )
        assert any("another command is using the dead letters" in line for line in said)
        return [[letter.id for letter in one.letters] for one in seen]

    assert asyncio.run(together()) == [before] * 3
    assert in_place(producer) == before


def test_of_more_letters_than_are_read_at_once_none_is_lost(
    url: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(producer, names(55))
    before = look(url)
    monkeypatch.setattr(browse, "MOST_READ", 20)
    assert look(url) == before[:20]
    assert sorted(in_place(producer)) == names(55)


def test_a_look_that_is_cut_off_says_so_and_leaves_all_in_their_place(
    url: str, producer: Producer, node: Node
) -> None:
    bury(producer, names(100))
    before = look(url)
    with Proxy.open(node.amqp_port) as proxy:
        place = LetterQueue(proxy.url(url), TOPOLOGY)

        def cut_at_the_fiftieth(letter: Letter) -> bool:
            if letter.id == before[50]:
                proxy.cut()
            return True

        with pytest.raises(ConnectionLostError, match="was lost"):
            asyncio.run(operations.replay(place, cut_at_the_fiftieth, as_it_is, lambda _: None))
    wait_until(lambda: len(look(url)) + producer.depth(TOPOLOGY.jobs) >= len(before), "all to be back")
    left = look(url)
    assert left == [name for name in before if name in left]


def as_it_is(message: Message) -> Message:
    return message


def test_list_joins_letters_with_their_records_and_filters_by_each(url: str, producer: Producer) -> None:
    bury(producer, ["a", "b", "c"], why="no class\x1b[2J fits")
    producer.publish(TOPOLOGY.jobs, b'{"model": "late"}', message_id="d", expiration="1")
    wait_until(lambda: producer.depth(TOPOLOGY.dead) == 4, "the expired job")
    known = {letter["job_id"]: letter for letter in listed(url)}
    assert known["b"] | {"age_s": 0, "died_at": ""} == {
        "job_id": "b",
        "has_own_id": True,
        "age_s": 0,
        "died_at": "",
        "reason": "rejected",
        "code": "classifier_error",
        "message": "no class\x1b[2J fits",
        "attempt": 1,
        "model": "m1",
        "replayed": 0,
        "correlation_id": "b",
        "reply_to": None,
        "body_bytes": len(job(1)),
    }
    assert (known["d"]["reason"], known["d"]["code"], known["d"]["model"]) == ("expired", None, "late")
    assert ids(url, "--reason", "expired") == ["d"]
    assert sorted(ids(url, "--code", "classifier_error")) == ["a", "b", "c"]
    assert sorted(ids(url, "--model", "m0", "--model", "m2")) == ["a", "c"]
    assert ids(url, "--id", "b", "--model", "m1", "--newer-than", "1h") == ["b"]
    assert ids(url, "--older-than", "1h") == []
    assert len(ids(url, "--limit", "2")) == 2
    table = dead_letters(url, "list").stdout
    assert r"no class\x1b[2J fits" in table
    assert "4 of 4 dead letters: 3 classifier_error, 1 (expired)" in table
    assert "\x1b" not in table


def test_show_tells_all_and_gives_the_body_byte_for_byte(url: str, producer: Producer) -> None:
    bury(producer, ["a", "b"], why="bad\x1b[31m", reply_to="mine", headers={"mine": "kept\n"})
    shown = dead_letters(url, "show", "b")
    for text in ("mine: ", r"kept\n", "reply_to:         mine", r"bad\x1b[31m", "m1", "rejected"):
        assert text in shown.stdout
    assert dead_letters(url, "show", "b", "--body").stdout.encode() == job(1)
    missing = dead_letters(url, "show", "c")
    assert (missing.returncode, "no dead letter has the id c" in missing.stderr) == (1, True)


@pytest.mark.parametrize("action", ["list", "replay", "purge"])
def test_an_id_that_no_letter_has_is_an_error_and_the_others_are_processed(
    action: str, url: str, producer: Producer
) -> None:
    bury(producer, ["a", "b"])
    confirmed = ("--yes",) if action == "purge" else ()
    done = dead_letters(url, action, "--id", "b", "--id", "c", *confirmed)
    assert (done.returncode, "no dead letter has the id c" in done.stderr) == (1, True)
    assert look(url) == (["a", "b"] if action == "list" else ["a"])
    assert dead_letters(url, action, "--id", "c", *confirmed).returncode == 1


@pytest.mark.parametrize("action", [("list",), ("show", "a"), ("replay", "--all"), ("purge", "--all")], ids=str)
def test_a_prefix_that_does_not_exist_is_named_as_the_fault(action: tuple[str, ...], url: str) -> None:
    done = dead_letters(url, *action, "--prefix", "nobody")
    assert done.returncode == os.EX_CONFIG
    assert "there is no queue 'nobody.dead': no consumer has run with this `prefix`" in done.stderr


def test_a_replayed_job_is_as_its_producer_sent_it_but_for_the_mark(url: str, producer: Producer) -> None:
    kept: dict[str, Any] = {
        "correlation_id": "c",
        "reply_to": "classifier.results",
        "type": "t",
        "priority": 3,
        "app_id": "mine",
    }
    bury(producer, ["a", "b"], headers={"mine": 1, "attempt": 3, "job-id": "b", "traceparent": "t"}, **kept)
    done = dead_letters(url, "replay", "--id", "b", "--limit", "1")
    alone = "no consumer takes jobs from classifier.jobs: the replayed jobs wait until one starts\n"
    assert (done.returncode, done.stderr) == (os.EX_OK, f"replayed 1 dead letter\n{alone}")
    copy = producer.take(TOPOLOGY.jobs)
    assert {name: getattr(copy.properties, name) for name in kept} == kept
    headers = {name: value for name, value in copy.properties.headers.items() if not name.startswith("x-del")}
    assert headers == {"mine": 1, "job-id": "b", "traceparent": "t", "replayed": 1}
    assert (copy.properties.message_id, copy.properties.delivery_mode) == ("a", 2)
    assert producer.depth(TOPOLOGY.dead) == 1


@pytest.mark.parametrize(
    ("flags", "expected"), [(["--reply-to", "elsewhere"], "elsewhere"), (["--no-reply-to"], None)]
)
def test_a_reply_can_be_sent_elsewhere(
    url: str, producer: Producer, flags: list[str], expected: str | None
) -> None:
    bury(producer, ["a"], reply_to="mine")
    assert dead_letters(url, "replay", "--all", *flags).returncode == os.EX_OK
    assert producer.take(TOPOLOGY.jobs).properties.reply_to == expected


def test_an_address_that_the_service_would_refuse_is_refused_before_anything_is_replayed(
    url: str, producer: Producer
) -> None:
    bury(producer, ["a"])
    done = dead_letters(url, "replay", "--all", "--reply-to", TOPOLOGY.jobs)
    assert (done.returncode, "one of this service's own queues" in done.stderr) == (os.EX_CONFIG, True)
    assert producer.depth(TOPOLOGY.dead) == 1


def test_a_letter_that_cannot_be_copied_whole_stays_and_is_named(url: str, producer: Producer) -> None:
    bury(producer, ["whole"])
    producer.publish(TOPOLOGY.jobs, b"{}", message_id="broken", timestamp=2**62)
    reject(producer, 1)
    wait_until(lambda: producer.depth(TOPOLOGY.dead) == 2, "the dead letter")
    done = dead_letters(url, "replay", "--all")
    assert done.returncode == 1
    assert "broken is not replayed: these fields cannot be decoded: timestamp" in done.stderr
    assert look(url) == ["broken"]


def test_a_job_that_dies_again_says_how_often_it_was_replayed(
    url: str, producer: Producer, tmp_path: Path
) -> None:
    flag = tmp_path / "mended"
    command = script(tmp_path, f"if [ -e {flag} ]; then echo OUTPUT: 1; else echo ERROR: broken; fi")
    with consumer(url, command=command) as running:
        producer.publish(TOPOLOGY.jobs, b"{}", message_id="a")
        for count in (0, 1, 2):
            running.wait_for_event("job_settled", settlement="dead-letter")
            wait_until(lambda: producer.depth(TOPOLOGY.dead) == 1, "the dead letter")
            assert [letter["replayed"] for letter in listed(url)] == [count]
            if count == 2:
                flag.touch()
            assert dead_letters(url, "replay", "--all").returncode == os.EX_OK
        running.wait_for_event("job_settled", settlement="ack")
    replies = [producer.take(TOPOLOGY.results) for _ in range(4)]
    assert [reply.json["status"] for reply in replies] == ["failed"] * 3 + ["succeeded"]
    assert {reply.json["job_id"] for reply in replies} == {"a"}
    assert producer.depth(TOPOLOGY.dead) == 0


def test_a_compressed_job_is_unpacked_at_each_attempt_and_after_its_replay(
    url: str, producer: Producer, tmp_path: Path
) -> None:
    flag, runs = tmp_path / "mended", tmp_path / "runs"
    answer = f'if [ -e {flag} ]; then printf "OUTPUT: "; cat "$1"; echo; else exit 1; fi'
    command = script(tmp_path, f"echo >>{runs}", answer)
    packed = gzip.compress(b'{"n": 7}')
    with consumer(url, command=command, max_attempts=2) as running:
        producer.publish(TOPOLOGY.jobs, packed, message_id="a", content_encoding="gzip")
        running.wait_for_event("job_settled", settlement="dead-letter")
        wait_until(lambda: producer.depth(TOPOLOGY.dead) == 1, "the dead letter")
        assert json.loads(dead_letters(url, "show", "a", "--body").stdout) == {"n": 7}
        flag.touch()
        assert dead_letters(url, "replay", "--all").returncode == os.EX_OK
        wait_until(lambda: producer.depth(TOPOLOGY.results) == 2, "the reply to the replayed job")
        assert len(runs.read_text()) == 3
    failed, succeeded = (producer.take(TOPOLOGY.results) for _ in range(2))
    assert (failed.json["status"], failed.json["attempt"]) == ("failed", 2)
    assert succeeded.json["output"] == {"n": 7}
    assert succeeded.properties.content_encoding in (None, "utf-8")


def test_a_dry_run_changes_nothing_and_nothing_is_done_without_saying_to_which(
    url: str, producer: Producer
) -> None:
    bury(producer, ["a", "b"])
    before = look(url)
    for action in ("replay", "purge"):
        done = dead_letters(url, action, "--all", "--dry-run", "--json")
        assert [json.loads(line)["job_id"] for line in done.stdout.splitlines()] == before
        assert dead_letters(url, action).returncode == os.EX_CONFIG
    assert look(url) == before
    assert producer.depth(TOPOLOGY.jobs) == 0


def test_replay_without_a_jobs_queue_keeps_all_and_says_so(url: str, producer: Producer) -> None:
    bury(producer, names(5))
    before = look(url)
    producer.channel.queue_delete(TOPOLOGY.jobs)
    done = dead_letters(url, "replay", "--all")
    assert done.returncode == os.EX_CONFIG
    assert "there is no queue 'classifier.jobs'" in done.stderr
    assert look(url) == before


def test_letters_beyond_the_budget_for_bodies_take_another_look(
    url: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(producer, names(300))
    monkeypatch.setattr(browse, "BUDGET_BYTES", 20 * len(job(0)))
    done: list[str] = []

    async def replay() -> None:
        place = LetterQueue(url, TOPOLOGY)
        wanted = chosen((await operations.look(place)).letters[:250])
        await operations.replay(place, wanted, as_it_is, lambda letter: done.append(letter.id))

    before = look(url)
    asyncio.run(replay())
    assert sorted(done) == sorted(before[:250])
    assert producer.depth(TOPOLOGY.jobs) == 250
    assert look(url) == before[250:]


def test_twins_without_an_id_are_all_replayed(url: str, producer: Producer) -> None:
    for _ in range(10):
        producer.publish(TOPOLOGY.jobs, b'{"same": 1}')
    reject(producer, 10)
    wait_until(lambda: producer.depth(TOPOLOGY.dead) == 10, "the dead letters")
    assert dead_letters(url, "replay", "--all", "--limit", "4").returncode == os.EX_OK
    assert (producer.depth(TOPOLOGY.jobs), producer.depth(TOPOLOGY.dead)) == (4, 6)


def test_purge_deletes_what_was_meant_and_asks_before(url: str, producer: Producer) -> None:
    bury(producer, ["a", "b", "c"])
    unasked = dead_letters(url, "purge", "--id", "b")
    assert (unasked.returncode, "add --yes" in unasked.stderr) == (os.EX_CONFIG, True)
    assert (answered(url, "n"), sorted(ids(url))) == (1, ["a", "b", "c"])
    assert (answered(url, "y"), sorted(ids(url))) == (os.EX_OK, ["a", "c"])
    assert dead_letters(url, "purge", "--all", "--yes").stderr == "deleted 2 dead letters\n"
    assert producer.depth(TOPOLOGY.dead) == 0


@pytest.mark.soak
def test_many_letters_that_are_deleted_at_once_do_not_come_back(url: str, producer: Producer) -> None:
    """RabbitMQ's channel holds back acks beyond 32, and would forget them at its end: in half of such trials."""
    for _ in range(BURSTS):
        bury(producer, names(200))
        letters = asyncio.run(operations.look(LetterQueue(url, TOPOLOGY))).letters
        done: list[Letter] = []
        asyncio.run(operations.purge(LetterQueue(url, TOPOLOGY), chosen(letters), done.append))
        assert (len(done), producer.depth(TOPOLOGY.dead)) == (200, 0)


def answered(url: str, answer: str) -> int:
    """Purge `b` at a terminal, and answer what is asked there."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [BIN / "consumer", "dead-letters", "purge", "--id", "b"],
            env=environment(url),
            stdin=theirs,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stderr is not None
            asked = b""
            while not asked.endswith(b"[y/N] "):
                byte = process.stderr.read(1)
                assert byte, asked
                asked += byte
            assert b"Delete 1 of 3 dead letters" in asked
            os.write(ours, answer.encode() + b"\n")
            return process.wait(PATIENCE_S)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.soak
def test_all_are_listed_and_replayed_though_the_replay_is_killed_again_and_again(
    url: str, producer: Producer, tell: Tell
) -> None:
    seed = int(os.environ.get("DEAD_LETTERS_SEED", random.randrange(10**6)))  # noqa: S311
    began = time.monotonic()
    bury(producer, names(MANY))
    buried_s, began = time.monotonic() - began, time.monotonic()
    assert f"{MANY} of {MANY} dead letters: {MANY} classifier_error" in dead_letters(url, "list").stdout
    listed_s, began = time.monotonic() - began, time.monotonic()
    dice = random.Random(seed)  # noqa: S311
    replayed = [replay_and_kill(url, producer, dice) for _ in range(KILLS)]
    assert dead_letters(url, "replay", "--all").returncode == os.EX_OK
    replayed_s = time.monotonic() - began
    count = producer.depth(TOPOLOGY.jobs)
    copies: Counter[str] = Counter()
    for _, properties, body in itertools.islice(producer.channel.consume(TOPOLOGY.jobs, auto_ack=True), count):
        copies[properties.message_id] += 1
        assert properties.headers["replayed"] == 1
        assert json.loads(body)["signal"][0] == int(properties.message_id.removeprefix("job-"))
    tell(
        f"dead letters, seed {seed}: {MANY} made in {buried_s:.1f} s and listed in {listed_s:.1f} s; replayed in "
        f"{replayed_s:.1f} s, killed after {replayed}; {count - MANY} twice, each with its mark"
    )
    assert copies.keys() == set(names(MANY))
    assert producer.depth(TOPOLOGY.dead) == 0


def replay_and_kill(url: str, producer: Producer, dice: random.Random) -> int:
    """Kill a replay at a random moment, mostly after a random number of letters; return how many those were."""
    before = producer.depth(TOPOLOGY.jobs)
    more = dice.randrange(1, MANY // KILLS) if dice.random() < WITHIN else 0
    with subprocess.Popen(
        [BIN / "consumer", "dead-letters", "replay", "--all"], env=environment(url), stderr=subprocess.DEVNULL
    ) as process:
        while more and producer.depth(TOPOLOGY.jobs) < before + more and process.poll() is None:
            time.sleep(0.01)  # asking takes RabbitMQ's time, too
        time.sleep(dice.uniform(0, 0.01 if more else 1.0))
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not consumers(producer), "RabbitMQ to notice the kill")
    return producer.depth(TOPOLOGY.jobs) - before


def consumers(producer: Producer) -> int:
    """Count who takes dead letters; with him goes what he holds, back into the queue."""
    return int(producer.channel.queue_declare(TOPOLOGY.dead, passive=True).method.consumer_count)
