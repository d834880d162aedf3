"""What is known of each job while nodes are killed, for the storm's oracle to judge. Threads may ask and tell.

A job counts from RabbitMQ's confirm on. Its producer publishes again what was not confirmed, so one job may be
there twice; then its second answer is a duplicate, which is allowed, and counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from storm.jobs import KINDS, Sent
from storm.oracle import Dead, Reply, Verdict, judge
from support.waiting import PATIENCE_S

#: Jobs on their way at once: enough that each queue holds some when its leader is killed.
WINDOW = 40
#: One job in ten fails for good, one crashes at its first attempt: so that all queues carry something.
OTHER_KINDS = {3: "fails", 7: "crashes_first"}


def nth_job(number: int) -> Sent:
    kind = OTHER_KINDS.get(number % 10, "adds")
    return Sent(f"job-{number}", KINDS[kind], {"kind": kind, "n": number, "signal": [number, 1]})


class Ledger:
    """What became of each job.

    Mutable state, touched under `_changed` only: `_begun`, all jobs in their order; `_is_closed`, set when no more
    may begin; `_confirmed`; `_replies` by their own ids; `_answered`, the ids of the jobs that have any; `_dead`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun: list[Sent] = []
        self._is_closed = False
        self._confirmed: list[Sent] = []
        self._replies: dict[str, Reply] = {}
        self._answered: set[str] = set()
        self._dead: list[Dead] = []

    def begin(self) -> Sent | None:
        """Return the next job when not too many are on their way; None when there shall be no other."""
        self.wait_for(lambda: self._is_closed or self._on_their_way() < WINDOW, "room for a job")
        with self._changed:
            if self._is_closed:
                return None
            self._begun.append(nth_job(len(self._begun)))
            return self._begun[-1]

    def close(self) -> None:
        """Let no more begin."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def confirmed(self, job: Sent) -> None:
        with self._changed:
            self._confirmed.append(job)
            self._changed.notify_all()

    def replied(self, message_id: str, reply: Reply) -> None:
        """Note a reply. It may be delivered twice; its own id tells that from a second one."""
        with self._changed:
            self._replies[message_id] = reply
            self._answered.add(reply.job_id)
            self._changed.notify_all()

    def died(self, letter: Dead) -> None:
        """Note a dead letter, which may be delivered twice."""
        with self._changed:
            self._dead.append(letter)
            self._changed.notify_all()

    def see_known(self, message_id: str) -> None:
        """Check that a reply or a dead letter that was returned has been noted before."""
        assert message_id in self._replies or message_id in {letter.job_id for letter in self._dead}, message_id

    def wait_for_answers(self, more: int) -> None:
        """Wait until so many more jobs are answered."""
        goal = len(self._answered) + more
        self.wait_for(lambda: len(self._answered) >= goal, f"{more} more answers")

    def wait_for_a_new_job(self) -> None:
        """Wait for the answer to a job that begins after this call."""
        first = len(self._begun)
        self.wait_for(
            lambda: any(job.id in self._answered for job in self._begun[first:]), "the answer to a new job"
        )

    def wait_for_all(self) -> None:
        """Wait until all that is confirmed is answered."""
        self.wait_for(lambda: not self.verdict().lost, "the answers to all jobs")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something that is noted here makes it true."""
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE_S):
                verdict = self.verdict()
                raise AssertionError(f"waited {PATIENCE_S:g} s in vain for {what}: {verdict}; {verdict.lost[:20]}")

    def verdict(self) -> Verdict:
        """Judge what is confirmed by now. Error records are given up while their stream's leader is away."""
        with self._changed:
            return judge(self._confirmed, self._replies.values(), self._dead, recorded=None)

    def _on_their_way(self) -> int:
        return len(self._begun) - len(self._answered)
