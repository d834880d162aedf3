"""The journal of published jobs: what is in it after any end, also after a kill in the middle of a line."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.cli.submit import alone, earlier, unanswered
from consumer.cli.submit.results import JSON_LINES, Lines, SourceResult
from consumer.cli.submit.sources import Source
from consumer.cli.submit.unanswered import Journal, Unanswered, UnansweredJob
from consumer.errors import ConfigurationError, TryLaterError
from consumer.wire.write import Reply

JOBS = [UnansweredJob(f"f:{n}", f"digest{n}", f"id-{n}") for n in range(4)]


def journal(out: Path, replies: str = "amq.gen-1", *left: UnansweredJob) -> Journal:
    return Journal(out, "q", lambda: replies, lambda: left)


def test_without_a_job_nothing_is_written(tmp_path: Path) -> None:
    journal(tmp_path / "r")
    assert list(tmp_path.iterdir()) == []
    assert unanswered.read(tmp_path / "r") is None


def test_a_job_is_in_the_journal_before_it_is_published_and_as_confirmed_afterwards(tmp_path: Path) -> None:
    out = tmp_path / "r"
    written = journal(out)  # never closed, as after a kill
    written.publishing(JOBS[0])
    doubtful = replace(JOBS[0], is_confirmed=False)
    assert unanswered.read(out) == Unanswered("q", "amq.gen-1", (doubtful,))
    written.confirmed("id-0")
    written.publishing(JOBS[1])
    assert unanswered.read(out) == Unanswered("q", "amq.gen-1", (JOBS[0], replace(JOBS[1], is_confirmed=False)))
    written.close([])


def test_the_next_run_keeps_what_the_last_has_left(tmp_path: Path) -> None:
    out = tmp_path / "r"
    written = journal(out, "amq.gen-1", JOBS[2])
    written.publishing(JOBS[1])
    left = unanswered.read(out)
    assert left
    assert left.jobs == (JOBS[2], replace(JOBS[1], is_confirmed=False))
    written.close([])


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(tmp_path: Path) -> None:
    out = tmp_path / "r"
    written = journal(out)
    for job in JOBS:
        written.publishing(job)
        written.confirmed(job.job_id)
    whole = unanswered.path_for(out).read_bytes()
    for end in range(len(whole)):
        unanswered.path_for(out).write_bytes(whole[:end] + b"\0" * (end % 3))  # as some file systems do
        left = unanswered.read(out)
        lines = whole[:end].count(b"\n")
        confirmed = [job for job in left.jobs if job.is_confirmed] if left else []
        assert len(left.jobs if left else ()) == lines // 2
        assert len(confirmed) == max(lines - 1, 0) // 2
    written.close([])


def test_replies_to_an_expired_queue_are_lost_until_the_job_is_confirmed_again(tmp_path: Path) -> None:
    queue = ["amq.gen-1"]
    written = Journal(tmp_path / "r", "q", lambda: queue[-1])
    for job in JOBS[:2]:
        written.publishing(job)
    written.confirmed("id-0")
    queue.append("amq.gen-2")
    written.confirmed("id-1")
    left = unanswered.read(tmp_path / "r")
    assert left == Unanswered("q", "amq.gen-2", (replace(JOBS[0], is_confirmed=False), JOBS[1]))
    written.close([])


def test_at_a_normal_end_the_file_has_the_jobs_that_are_left_and_is_gone_if_there_are_none(tmp_path: Path) -> None:
    out = tmp_path / "r"
    written = journal(out)
    for job in JOBS:
        written.publishing(job)
        written.confirmed(job.job_id)
    left = (JOBS[1], replace(JOBS[3], is_confirmed=False))
    written.close(left)
    assert unanswered.read(out) == Unanswered("q", "amq.gen-1", left)
    written.close([])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{}\n", "[]\n", "x\n", '{"confirmed": "id-0"}\n', '{"source": "f"}\n', "\xff\n"])
def test_a_damaged_file_of_jobs_without_a_reply_is_refused(tmp_path: Path, text: str) -> None:
    unanswered.path_for(tmp_path / "r").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"r\.unanswered cannot be read; delete it"):
        unanswered.read(tmp_path / "r")


def test_a_journal_that_cannot_be_written_ends_the_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"r\.unanswered cannot be written: No such file"):
        journal(tmp_path / "none" / "r").publishing(JOBS[0])


def test_a_job_with_a_result_is_not_waited_for_although_a_killed_run_has_it_in_its_journal(tmp_path: Path) -> None:
    out = tmp_path / "r"
    sources = [Source("f:0", b"{}"), Source("f:1", b"[]"), Source("f:2", b"[1]")]
    written = journal(out)
    for n, source in enumerate(sources):
        written.publishing(UnansweredJob(source.name, source.digest, f"id-{n}"))
    written.confirmed("id-0")
    written.confirmed("id-1")
    reply = Reply.model_validate({"job_id": "id-0", "status": "succeeded", "output": 1, "attempt": 1, "run_ms": 1})
    with out.open("w") as file:
        Lines(file, JSON_LINES).add(0, SourceResult(sources[0], reply))
    found = earlier.read(out, JSON_LINES, "q", is_direct=False)
    left = found.not_done(sources)
    assert left == sources[1:]
    assert (found.ids(left, confirmed=True), found.ids(left, confirmed=False)) == ({0: "id-1"}, {1: "id-2"})
    assert earlier.read(out, JSON_LINES, "q", is_direct=True).jobs == {}
    with pytest.raises(ConfigurationError, match=r"has jobs in q, not in pumps\.jobs; pass the same `prefix`"):
        earlier.read(out, JSON_LINES, "pumps.jobs", is_direct=False)
    written.close([])


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.unanswered"])
def test_what_is_there_is_not_overwritten_by_accident(tmp_path: Path, name: str) -> None:
    earlier.see_nothing_there(tmp_path / "r.jsonl")
    (tmp_path / name).touch()  # as `mktemp` does
    earlier.see_nothing_there(tmp_path / "r.jsonl")
    (tmp_path / name).write_text(json.dumps({}))
    with pytest.raises(ConfigurationError, match=f"{name} exists; pass --resume to continue these results, --ov"):
        earlier.see_nothing_there(tmp_path / "r.jsonl")


def test_a_line_of_which_the_disk_takes_a_part_is_an_error(tmp_path: Path) -> None:
    out = tmp_path / "r"
    written = journal(out)
    written.publishing(JOBS[0])
    room = unanswered.path_for(out).stat().st_size + 10
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        with pytest.raises(ConfigurationError, match=r"r\.unanswered cannot be written: No space left"):
            written.publishing(JOBS[1])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    left = unanswered.read(out)
    assert left
    assert [job.job_id for job in left.jobs] == ["id-0"]
    written.close([])


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written: File name too long"):
        earlier.see_nothing_there(tmp_path / ("r" * 250))


def test_a_second_run_is_refused_while_one_writes_the_same_results(tmp_path: Path) -> None:
    results, link, other = tmp_path / "r.jsonl", tmp_path / "link", tmp_path / "other"
    link.symlink_to(results)
    with alone.alone(results), alone.alone(other):
        for same in (results, link):
            with (
                pytest.raises(TryLaterError, match=r"another `consumer submit` writes .* now; wait until"),
                alone.alone(same),
            ):
                pass
    assert sorted(tmp_path.iterdir()) == [link]
    alone.path_for(results).touch()  # as a killed run leaves it
    with alone.alone(results):
        pass
    assert sorted(tmp_path.iterdir()) == [link]
    with pytest.raises(ConfigurationError, match="cannot be written: No such file"), alone.alone(link / "r"):
        pass
