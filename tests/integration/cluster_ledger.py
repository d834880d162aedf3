"""The oracle: which job was confirmed, which is answered, and so which is lost. Threads may ask and tell.

A job counts from RabbitMQ's confirm on. Its producer publishes again what was not confirmed, so one job may be
there twice; then its second answer is a duplicate, which is allowed, and counted. A confirmed job without its
answer is lost, and an answer that is not this job's is wrong: neither is allowed, whatever was killed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from support.waiting import PATIENCE_S

#: Jobs on their way at once: enough that each queue holds some when its leader is killed.
WINDOW = 40
#: One job in ten fails for good, one crashes at its first attempt: so that all queues carry something.
ANSWER, ERROR, CRASH = "answer", "error", "crash"
ORDERS = {3: ERROR, 7: CRASH}
#: What obeys, in shell.
CLASSIFY = (
    'case "$JOB_ATTEMPT $(cat "$1")" in',
    f"*{ERROR}*) echo 'ERROR: as ordered' ;;",
    f"1*{CRASH}*) exit 1 ;;",
    "*) printf 'OUTPUT: '; cat \"$1\"; echo ;;",
    "esac",
)


def job(number: int) -> dict[str, Any]:
    """The body of a job."""
    return {"number": number, "order": ORDERS.get(number % 10, ANSWER)}


def must_fail(number: int) -> bool:
    return bool(job(number)["order"] == ERROR)


def is_right(number: int, reply: dict[str, Any]) -> bool:
    """Whether this is the answer to that job."""
    if must_fail(number):
        return reply["status"] == "failed" and bool(reply["error"]["code"] == "classifier_error")
    return reply["status"] == "succeeded" and bool(reply["output"] == job(number))


@dataclass(frozen=True)
class Verdict:
    """What became of the confirmed jobs: the numbers of those that are lost, what was wrong, replies too many."""

    confirmed: int
    lost: Sequence[int]
    wrong: Sequence[str]
    duplicates: int

    def __str__(self) -> str:
        return (
            f"{self.confirmed} jobs confirmed, {len(self.lost)} lost, {len(self.wrong)} wrong, "
            f"{self.duplicates} duplicates"
        )


class Ledger:
    """What became of each job, by its number.

    Mutable state, touched under `_changed` only: `_begun`, how many jobs there are; `_is_closed`, set when no more
    may begin; `_confirmed`; `_replies`, the ids of each job's replies; `_dead`, dead letters; `_wrong`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun = 0
        self._is_closed = False
        self._confirmed: set[int] = set()
        self._replies: dict[int, set[str]] = {}
        self._dead: set[int] = set()
        self._wrong: list[str] = []

    def begin(self) -> int | None:
        """Return the next job's number when not too many are on their way; None when there shall be no other."""
        self.wait_for(lambda: self._is_closed or self._on_their_way() < WINDOW, "room for a job")
        with self._changed:
            if self._is_closed:
                return None
            self._begun += 1
            return self._begun - 1

    def close(self) -> None:
        """Let no more begin."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def confirmed(self, number: int) -> None:
        with self._changed:
            self._confirmed.add(number)
            self._changed.notify_all()

    def replied(self, message_id: str, reply: dict[str, Any]) -> None:
        """Note a reply. It may be delivered twice; its own id tells that from a second one."""
        with self._changed:
            number = self._number(reply["job_id"])
            if number is not None and is_right(number, reply):
                self._replies.setdefault(number, set()).add(message_id)
            else:
                self._wrong.append(json.dumps(reply))
            self._changed.notify_all()

    def died(self, job_id: str) -> None:
        """Note a dead letter."""
        with self._changed:
            number = self._number(job_id)
            if number is not None and must_fail(number):
                self._dead.add(number)
            else:
                self._wrong.append(f"dead letter {job_id}")
            self._changed.notify_all()

    def wait_for_answers(self, more: int) -> None:
        """Wait until so many more jobs are answered."""
        goal = len(self._replies) + more
        self.wait_for(lambda: len(self._replies) >= goal, f"{more} more answers")

    def wait_for_a_new_job(self) -> None:
        """Wait for the answer to a job that begins after this call."""
        last = self._begun
        self.wait_for(lambda: any(number >= last for number in self._replies), "the answer to a new job")

    def wait_for_all(self) -> None:
        """Wait until all that is confirmed is answered."""
        self.wait_for(lambda: not self._unsettled(), "the answers to all jobs")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something that is noted here makes it true."""
        with self._changed:
            if not self._changed.wait_for(condition, PATIENCE_S):
                raise AssertionError(f"waited {PATIENCE_S:g} s in vain for {what}: {self.verdict()}")

    def verdict(self) -> Verdict:
        with self._changed:
            duplicates = sum(len(ids) - 1 for ids in self._replies.values())
            return Verdict(len(self._confirmed), sorted(self._unsettled()), tuple(self._wrong), duplicates)

    def _on_their_way(self) -> int:
        return self._begun - len(self._replies)

    def _unsettled(self) -> set[int]:
        """Confirmed, but not answered; or failed, and in no dead-letter queue."""
        failed = {number for number in self._confirmed if must_fail(number)}
        return (self._confirmed - self._replies.keys()) | (failed - self._dead)

    def _number(self, job_id: str) -> int | None:
        """The number of a job of ours; None for anything else."""
        return int(job_id) if job_id.isdecimal() and int(job_id) < self._begun else None
