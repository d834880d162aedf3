"""The one oracle for "nothing is lost": what was sent against what came of it. Pure, to be tried itself.

At least once is the guarantee that is judged: a job is lost when it has neither its answer nor, where it cannot
have one, its dead letter and the reason. A second answer is counted, a false one never forgiven. What a storm
itself kills three times over may end as crashed instead: a victim, counted. So is an answer with a dead letter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storm.jobs import NOBODY, Sent

#: What a job can come to that the storm's own kills end at each attempt.
VICTIMS_CODES = {"crashed", "timed_out"}
#: How RabbitMQ names what its `nack` and its TTL do.
REJECTED, EXPIRED = "rejected", "expired"


@dataclass(frozen=True)
class Reply:
    """A reply as it lay in a queue."""

    queue: str
    correlation_id: str | None
    body: Mapping[str, Any]

    @property
    def job_id(self) -> str:
        return str(self.body["job_id"])

    @property
    def code(self) -> str | None:
        """Why the job failed; None for one that succeeded."""
        return str(self.body["error"]["code"]) if self.body["status"] == "failed" else None


@dataclass(frozen=True)
class Dead:
    """A dead letter: whose, and what RabbitMQ says of it."""

    job_id: str
    reason: str


@dataclass
class Verdict:
    """What came of all jobs. `lost` and `wrong` are sentences, one for each job that is."""

    sent: int = 0
    answered: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    victims: list[str] = field(default_factory=list)
    #: Second answers, by jobs that were published once, and those whose producer had to publish again.
    duplicates: int = 0
    repeated: int = 0
    dead: Counter[str] = field(default_factory=Counter)

    @property
    def duplicates_percent(self) -> float:
        return 100 * self.duplicates / max(self.sent, 1)

    def __str__(self) -> str:
        return (
            f"{self.sent} jobs confirmed, {len(self.lost)} lost, {len(self.wrong)} wrong, "
            f"{len(self.victims)} victims, {self.duplicates + self.repeated} duplicates"
        )


def judge(
    sent: Iterable[Sent], replies: Iterable[Reply], dead: Sequence[Dead], recorded: Mapping[str, str] | None
) -> Verdict:
    """Judge all jobs that RabbitMQ has confirmed.

    `recorded`: the code of each error record, by job; None where records may have been given up,
    as they are while the leader of their stream is away.
    """
    verdict = Verdict(dead=Counter(letter.reason for letter in dead))
    jobs = {job.id: job for job in sent}
    replies_of, letters_of = defaultdict(list), defaultdict(list)
    for reply in replies:
        replies_of[reply.job_id].append(reply)
    for letter in dead:
        letters_of[letter.job_id].append(letter)
    for name in {*replies_of, *letters_of} - jobs.keys():
        verdict.wrong.append(f"{name} was never sent")
    for job in jobs.values():
        _judge(job, replies_of[job.id], letters_of[job.id], recorded, verdict)
    return verdict


def _judge(
    job: Sent, replies: list[Reply], dead: list[Dead], recorded: Mapping[str, str] | None, verdict: Verdict
) -> None:
    verdict.sent += 1
    verdict.answered += bool(replies)
    _count_duplicates(job, len(replies), verdict)
    verdict.wrong += [f"{job.id} ({job.kind.name}): {fault}" for reply in replies if (fault := _fault(job, reply))]
    if loss := _loss(job, replies, dead, recorded):
        verdict.lost.append(f"{job.id} ({job.kind.name}, published {job.publishes} times): {loss}")
    died_for_nothing = bool(replies and dead) and not job.kind.may_expire
    if job.kind.code is None and (died_for_nothing or any(reply.code for reply in replies)):
        verdict.victims.append(f"{job.id} ({job.kind.name}): {replies[0].body}"[:300])


def _count_duplicates(job: Sent, replies: int, verdict: Verdict) -> None:
    if job.publishes > 1:
        verdict.repeated += max(replies - 1, 0)
    else:
        verdict.duplicates += max(replies - 1, 0)


def _fault(job: Sent, reply: Reply) -> str | None:
    """Say what is false about a reply."""
    if reply.queue != job.answered_in:
        return f"answered in {reply.queue} instead of {job.answered_in}"
    if reply.correlation_id != f"for {job.id}":
        return f"the correlation id is {reply.correlation_id!r}"
    if reply.code in VICTIMS_CODES - {job.kind.code}:
        return None
    if reply.code != job.kind.code:
        return f"ended with {reply.code} instead of {job.kind.code}: {str(reply.body)[:300]}"
    if not reply.code and reply.body["output"] != job.kind.answer(job.job):
        return f"the answer is {str(reply.body['output'])[:100]}"
    return None


def _loss(job: Sent, replies: list[Reply], dead: list[Dead], recorded: Mapping[str, str] | None) -> str | None:
    """Say what is missing of a job's end."""
    if any(reply.code is None for reply in replies):
        return None  # has its answer
    if not dead:
        return "failed without a dead letter" if replies else "no trace is left of it"
    if job.kind.may_expire and any(letter.reason == EXPIRED for letter in dead):
        return None
    reasons = {letter.reason for letter in dead}
    if reasons != {REJECTED}:
        return f"dead-lettered as {reasons}"
    record = None if recorded is None else recorded.get(job.id)
    if recorded is not None and record not in VICTIMS_CODES | {job.kind.code}:
        return f"dead-lettered with the error record {record}"
    return None if replies or job.kind.reply_to == NOBODY else f"failed ({record}) without a reply"
