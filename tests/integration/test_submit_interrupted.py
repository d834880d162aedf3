"""`consumer submit` that is interrupted, waits in vain or has failures: what it prints, and how it is resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.processes import forked
from support.processes.commands import BIN, environment
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until

from consumer.cli.submit import unanswered
from consumer.wire.topology import Topology

JOBS = "classifier.jobs"
#: Jobs below 5 are answered at once, the others when the test says so. Each run leaves a line.
HOLD = 'case "$(cat "$1")" in *[0-4]?) ;; *) while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done ;; esac'


def runs(folder: Path) -> list[str]:
    return sorted((folder / "runs").read_text().splitlines())


def interrupted(variables: Mapping[str, str], out: Path, number: signal.Signals, *arguments: str | Path) -> str:
    """Run a submit until five results are there, interrupt it, and return what it printed."""
    argv = [BIN / "consumer", "submit", *arguments, "--out", out, "--window", "8"]
    running = subprocess.Popen(argv, env=variables, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: out.exists() and out.read_text().count("\n") == 5, "the first results")
    running.send_signal(number)
    _, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 130, said
    return said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=str)
@pytest.mark.parametrize("is_answered_meanwhile", [True, False])
def test_a_submit_that_was_interrupted_is_resumed_and_no_job_runs_twice(
    vhost_url: str, tmp_path: Path, number: signal.Signals, *, is_answered_meanwhile: bool, producer: Producer
) -> None:
    command = script(tmp_path, 'echo "$(cat "$1")" >>"${0%/*}/runs"', HOLD, "echo 'OUTPUT: 1'")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text("".join(f'{{"n": {n}}}\n' for n in range(20)))
    variables = {**environment(vhost_url), "COLUMNS": "300"}
    with consumer(vhost_url, command=command, pool_size=2) as running:
        said = interrupted(variables, out, number, jobs)
        left = unanswered.read(out)
        assert left
        queued = len(left.jobs)
        assert {job.source for job in left.jobs} == {f"{jobs}:{n}" for n in range(6, 6 + queued)}
        counts = f"5 of 20 jobs answered, {queued} queued or running without a reply, {15 - queued} not submitted"
        assert counts in said
        assert f"consumer submit --resume {jobs} --out {out} --window 8" in said
        if is_answered_meanwhile:
            (tmp_path / "go").touch()
            wait_until(lambda: producer.depth(left.replies) == queued, "the replies")
        again = subprocess.Popen(
            [BIN / "consumer", "submit", "--resume", jobs, "--out", out],
            env=variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not is_answered_meanwhile:
            assert again.stderr
            wait_until(lambda: producer.depth(JOBS) == 13, "the jobs that were not submitted")
            (tmp_path / "go").touch()
        _, said = again.communicate(timeout=PATIENCE_S)
        assert again.returncode == os.EX_OK, said
        assert "5 of 20 already answered" in said
        assert f"Published before: {queued} jobs, waiting for the replies" in said
        running.stop()
    sources = [json.loads(line)["source"] for line in out.read_text().splitlines()]
    assert sorted(sources) == sorted(f"{jobs}:{n}" for n in range(1, 21))
    assert len(runs(tmp_path)) == len(set(runs(tmp_path))) == 20
    assert unanswered.read(out) is None


@pytest.mark.parametrize("is_answered_meanwhile", [True, False])
def test_a_submit_that_was_killed_is_resumed_and_no_queued_job_runs_twice(
    vhost_url: str, tmp_path: Path, *, is_answered_meanwhile: bool, producer: Producer
) -> None:
    """The first job is held, so the results of the others are there before it."""
    hold = 'case "$(cat "$1")" in *[1-4]?) ;; *) while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done ;; esac'
    command = script(tmp_path, 'echo "$(cat "$1")" >>"${0%/*}/runs"', hold, "echo 'OUTPUT: 1'")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text("".join(f'{{"n": {n}}}\n' for n in range(20)))
    submit: list[str | Path] = [BIN / "consumer", "submit", jobs, "--out", out, "--window", "8"]
    with consumer(vhost_url, command=command, pool_size=3) as running:
        killed = subprocess.Popen(submit, env=environment(vhost_url), stderr=subprocess.DEVNULL)
        wait_until(lambda: out.exists() and out.read_text().count("\n") == 4, "the first results")
        wait_until(lambda: is_confirmed(out, 12), "the confirms of four answered and eight queued jobs")
        killed.kill()
        killed.wait()
        with unanswered.path_for(out).open("a") as journal:
            journal.write('{"source": "torn')
        if is_answered_meanwhile:
            (tmp_path / "go").touch()
            left = unanswered.read(out)
            assert left
            wait_until(lambda: producer.depth(left.replies) == 8, "the replies")
        again = subprocess.Popen(
            [*submit, "--resume"],
            env={**environment(vhost_url), "COLUMNS": "300"},
            stderr=subprocess.PIPE,
            text=True,
        )
        (tmp_path / "go").touch()
        _, said = again.communicate(timeout=PATIENCE_S)
        assert again.returncode == os.EX_OK, said
        assert "4 of 20 already answered" in said
        assert "Published before: 8 jobs, waiting for the replies" in said
        assert "Perhaps" not in said
        running.stop()
    sources = [json.loads(line)["source"] for line in out.read_text().splitlines()]
    assert sources == [f"{jobs}:{n}" for n in range(1, 21)]  # in order, although the first came late
    assert len(runs(tmp_path)) == len(set(runs(tmp_path))) == 20
    assert unanswered.read(out) is None


def is_confirmed(out: Path, jobs: int) -> bool:
    left = unanswered.read(out)
    return left is not None and sum(job.is_confirmed for job in left.jobs) == jobs


def test_a_job_that_rabbitmq_had_not_confirmed_is_submitted_again_and_that_is_said(
    vhost_url: str, tmp_path: Path
) -> None:
    command = script(tmp_path, 'echo "$(cat "$1")" >>"${0%/*}/runs"', HOLD, "echo 'OUTPUT: 1'")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text('{"n": 5}\n{"n": 6}\n')
    submit: tuple[str | Path, ...] = ("submit", jobs, "--out", out)
    with consumer(vhost_url, command=command, pool_size=2) as running:
        killed = subprocess.Popen(
            [BIN / "consumer", *submit], env=environment(vhost_url), stderr=subprocess.DEVNULL
        )
        wait_until(lambda: is_confirmed(out, 2), "the confirms")
        killed.kill()
        killed.wait()
        journal = unanswered.path_for(out)
        lines = journal.read_text().splitlines(keepends=True)
        last = json.loads(lines[-1])["confirmed"]
        journal.write_text("".join(lines[:-1]))
        (tmp_path / "go").touch()
        again = forked.run("consumer", *submit, "--resume", env=environment(vhost_url))
        assert again.returncode == os.EX_OK, again.stderr
        assert "Perhaps published before: 1 job, submitted again" in again.stderr
        running.stop()
    assert last in {json.loads(line)["job_id"] for line in out.read_text().splitlines()}  # under the same id
    assert set(runs(tmp_path)) == {'{"n": 5}', '{"n": 6}'}


def test_after_the_reply_queue_has_expired_a_resumed_submit_says_that_the_jobs_run_again(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    command = script(tmp_path, HOLD, "echo 'OUTPUT: 1'")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text("".join(f'{{"n": {n}}}\n' for n in range(6)))
    variables = environment(vhost_url)
    with consumer(vhost_url, command=command, pool_size=2) as running:
        interrupted(variables, out, signal.SIGINT, jobs)
        left = unanswered.read(out)
        assert left
        producer.channel.queue_delete(left.replies)
        (tmp_path / "go").touch()
        again = forked.run("consumer", "submit", jobs, "--out", out, "--resume", env=variables)
        assert again.returncode == os.EX_OK
        assert "Published before: 1 job, submitted again" in again.stderr
        running.stop()


def test_a_submit_in_the_background_of_a_script_ends_at_sigterm(vhost_url: str, tmp_path: Path) -> None:
    """The script's shell lets it ignore SIGINT."""
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text("{}\n")
    ignoring = ("sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh")
    argv: list[str | Path] = [*ignoring, BIN / "consumer", "submit", jobs, "--out", tmp_path / "results.jsonl"]
    with consumer(vhost_url, command=script(tmp_path, *HELD)) as running:
        submit = subprocess.Popen(argv, env=environment(vhost_url), stderr=subprocess.PIPE, text=True)
        running.wait_for_event("job_log", "begun")
        submit.terminate()
        _, said = submit.communicate(timeout=PATIENCE_S)
        assert (submit.returncode, "1 queued or running without a reply" in said) == (130, True)
        (tmp_path / "go").touch()
        running.stop()


def test_without_a_file_of_results_an_interrupted_submit_says_that_replies_are_lost(
    vhost_url: str, tmp_path: Path
) -> None:
    with consumer(vhost_url, command=script(tmp_path, *HELD)) as running:
        submit = subprocess.Popen(
            [BIN / "consumer", "submit", "-"],
            env=environment(vhost_url),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert submit.stdin
        submit.stdin.write("{}")
        submit.stdin.close()
        submit.stdin = None
        running.wait_for_event("job_log", "begun")
        submit.send_signal(signal.SIGINT)
        _, said = submit.communicate(timeout=PATIENCE_S)
        assert "Their replies are lost; with --out FILE" in said
        (tmp_path / "go").touch()
        running.stop()


def declared(producer: Producer) -> None:
    topology = Topology("classifier", 3)
    for queue in topology.queues():
        producer.channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))


def test_without_a_consumer_a_submit_says_so_soon_and_counts_jobs_without_a_reply_apart(
    vhost_url: str, producer: Producer
) -> None:
    declared(producer)
    done = forked.run("consumer", "submit", "-", "--timeout", "6", env=environment(vhost_url), stdin="{}")
    assert done.returncode == 1
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("No consumer takes jobs from classifier.jobs: they wait until one starts")
    assert "1 job: 0 succeeded, 0 failed, 1 without a reply" in done.stderr
    assert "no_reply" in done.stderr
    assert last.startswith("Their replies are lost")
    assert "dead letters" not in done.stderr
    assert "classifier.jobs has no consumer" in json.loads(done.stdout)["error"]["message"]


def test_failures_are_counted_by_code_with_the_first_reason_and_where_to_look(
    vhost_url: str, tmp_path: Path
) -> None:
    command = script(
        tmp_path, 'case "$(cat "$1")" in *bad*) echo ERROR: no such thing ;; *) echo OUTPUT: 1 ;; esac'
    )
    out = tmp_path / "results.jsonl"
    with consumer(vhost_url, command=command):
        done = forked.run(
            "consumer",
            "submit",
            "-",
            "--out",
            out,
            env={**environment(vhost_url), "COLUMNS": "200"},
            stdin='{"n": 1}\n{"bad": 2}\n{"bad": 3}\nnot json',
        )
    assert done.returncode == 1
    lines = [line.split() for line in done.stderr.splitlines()]
    assert ["classifier_error", "2", "-:2", "no", "such", "thing"] in lines
    assert "4 jobs: 1 succeeded, 3 failed" in done.stderr
    assert f"results: {out}" in done.stderr
    assert "dead letters: `consumer dead-letters list` shows those of classifier.dead" in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README", b"# Read me\n\nThis is no job.\n"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("list.json", b'[{"signal": [1]}]'),
        ("notes.jsonl", b"first\nsecond\n"),
    ],
)
def test_a_file_that_holds_no_job_is_refused_before_any_job_is_published(
    name: str, content: bytes, vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    declared(producer)
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / name).write_bytes(content)
    done = forked.run("consumer", "submit", "job.json", name, cwd=tmp_path, env=environment(vhost_url))
    assert (done.returncode, f"{name} contains no job" in done.stderr) == (os.EX_NOINPUT, True)
    assert producer.depth(JOBS) == 0


def test_overwriting_says_that_queued_jobs_run_twice(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    declared(producer)
    out = tmp_path / "results.jsonl"
    job = unanswered.UnansweredJob(source="-", digest="d", job_id="j")
    unanswered.write(out, unanswered.Unanswered(queue=JOBS, replies="amq.gen-gone", jobs=(job,)))
    submit = ("consumer", "submit", "-", "--out", out, "--overwrite", "--timeout", "1ms")
    done = forked.run(*submit, env=environment(vhost_url), stdin="{}")
    assert "Without a reply since the last run: 1 job, submitted again now" in done.stderr
    assert out.read_text().count("\n") == 1


def test_a_file_that_cannot_be_replaced_is_left_alone(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").mkdir()
    submit = ("consumer", "submit", "-", "--out", tmp_path / "results.jsonl", "--overwrite")
    done = forked.run(*submit, env=environment(vhost_url), stdin="{}")
    assert (done.returncode, "results.jsonl cannot be written: Is a directory" in done.stderr) == (78, True)


@pytest.mark.parametrize("flag", ["--resume", ""])
def test_a_submit_that_could_not_begin_leaves_the_jobs_of_the_last_run_alone(
    vhost_url: str, tmp_path: Path, flag: str
) -> None:
    out = tmp_path / "results.jsonl"
    job = unanswered.UnansweredJob(source="-", digest="d", job_id="j")
    left = unanswered.Unanswered(queue=JOBS, replies="amq.gen-gone", jobs=(job,))
    unanswered.write(out, left)
    arguments: tuple[str | Path, ...] = ("-", "--out", out, *filter(None, [flag]))
    done = forked.run("consumer", "submit", *arguments, env=environment(vhost_url), stdin="{}")
    why = "there is no queue" if flag else f"{out}.unanswered exists; pass --resume to continue"
    assert (done.returncode, why in done.stderr) == (os.EX_CONFIG, True)
    found = unanswered.read(out)
    assert found
    assert [one.job_id for one in found.jobs] == ["j"]


def test_a_submit_that_could_not_begin_can_be_repeated(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    submit = ("consumer", "submit", "-", "--out", tmp_path / "out.csv")
    for _ in range(2):
        done = forked.run(*submit, env=environment(vhost_url), stdin="{}")
        assert (done.returncode, "there is no queue" in done.stderr) == (os.EX_CONFIG, True)
    declared(producer)
    done = forked.run(*submit, "--timeout", "1ms", env=environment(vhost_url), stdin="{}")
    assert (done.returncode, f"results: {tmp_path / 'out.csv'}" in done.stderr) == (1, True)
    done = forked.run(*submit, env=environment(vhost_url), stdin="{}")
    assert (done.returncode, "out.csv exists; pass --resume" in done.stderr) == (os.EX_CONFIG, True)


def run(argv: list[str | Path], vhost_url: str) -> subprocess.CompletedProcess[str]:
    variables = environment(vhost_url)
    return subprocess.run(argv, env=variables, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_a_result_for_which_the_disk_has_no_space_is_received_by_the_next_run(
    vhost_url: str, tmp_path: Path
) -> None:
    """A limit for the size of a file stands for the disk: it takes four results and a part of the fifth."""
    command = script(tmp_path, 'cat "$1" >>"${0%/*}/runs"', "printf 'OUTPUT: \"%02000d\"\\n' 7")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text("".join(f'{{"n": {n}}}\n\n' for n in range(8)))
    submit: list[str | Path] = [BIN / "consumer", "submit", jobs, "--out", out, "--window", "1"]
    with consumer(vhost_url, command=command, pool_size=1) as running:
        full = run(["prlimit", "--fsize=10000", *submit], vhost_url)
        assert full.returncode == os.EX_CONFIG, full.stderr
        assert "the results cannot be written" in full.stderr
        assert "4 of 8 jobs answered, 1 queued or running without a reply" in full.stderr
        again = run([*submit, "--resume", "--timeout", "20s"], vhost_url)
        assert again.returncode == os.EX_OK, again.stderr
        running.stop()
    assert len(out.read_text().splitlines()) == 8
    assert (tmp_path / "runs").read_text().count("n") == 8


def test_a_second_submit_with_the_same_results_is_refused_while_the_first_runs(
    vhost_url: str, tmp_path: Path
) -> None:
    command = script(tmp_path, HOLD, "echo 'OUTPUT: 1'")
    jobs, out = tmp_path / "jobs.jsonl", tmp_path / "results.jsonl"
    jobs.write_text("".join(f'{{"n": {n}}}\n' for n in range(20)))
    submit: list[str | Path] = [BIN / "consumer", "submit", jobs, "--out", out]
    with consumer(vhost_url, command=command, pool_size=2) as running:
        first = subprocess.Popen(submit, env=environment(vhost_url), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: out.exists() and out.read_text().count("\n") == 5, "the first results")
        for flag in ("--resume", "--overwrite"):
            second = run([*submit, flag], vhost_url)
            assert second.returncode == os.EX_TEMPFAIL, second.stderr
            assert "another `consumer submit` writes" in second.stderr
        (tmp_path / "go").touch()
        _, said = first.communicate(timeout=PATIENCE_S)
        assert first.returncode == os.EX_OK, said
        running.stop()
    assert len(out.read_text().splitlines()) == 20
