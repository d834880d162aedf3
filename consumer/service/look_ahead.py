"""Decides how many jobs to fetch, for the slots and ahead of them. Its only state is its own earlier decisions.

The consumer of normal priority has prefetch = pool size. RabbitMQ serves the second consumer, of lower priority,
only while every normal consumer of the fleet has reached its prefetch. A slot starts a job that was fetched ahead
at once, without waiting for confirm, ack and delivery. This saves time for short jobs. But a job that waits here
behind a long one loses time as soon as a slot elsewhere is free. So the work fetched ahead is limited in seconds.
A job that has waited for too long, because slots hold long jobs, returns to the queue once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consumer.runners.run_times import HORIZON_S, Fit, RunTimes

#: Jobs fetched ahead for each slot. Powers of two, because each change costs a cancel and a new consumer.
STEPS: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128)
#: The step does not grow for this many seconds after a change, because run times vary from one moment to the
#: next. It shrinks at once, because longer jobs must not wait here.
FIXED_S: Final = 0.25
#: The highest step for a function that takes one job at a time. It covers the gap between two jobs of 1 ms.
MOST_SINGLE: Final = 8
#: Nothing is fetched ahead if more than one run in fifty takes longer than this: too many jobs would have to
#: return. A run of 20 to 50 ms may be a short job on a loaded machine.
LONG_S: Final = 0.050
LONG_SHARE: Final = 0.02
#: A job returns to the queue when it has waited for this much longer than expected. Together, the horizon, this
#: time and the return take less than the 50 ms that docs/operate.md names.
EXCESS_S: Final = 0.010
#: Seconds after a return in which nothing is fetched ahead. If jobs return again soon, the pause doubles.
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """How much the jobs in the slots make others wait.

    `waited_s`: how long the first job of the line has waited. `long`: the number of slots that hold a job for
    longer than `long_after_s`; `long_normal`: how many of these jobs the present normal consumer has received.
    """

    waited_s: float
    long: int
    long_normal: int


@dataclass
class LookAhead:
    """Decides for `slots` slots.

    Mutable state: `_pause_s`, the last pause, and `_paused_until`, its end; `_step`, how many jobs are fetched
    ahead for each slot now, and `_fixed_until`, the time before which the step does not grow.
    """

    slots: int
    times: RunTimes
    _pause_s: float = 0.0
    _paused_until: float = 0.0
    _step: int = 0
    _fixed_until: float = 0.0

    def long_after_s(self, most_together: int) -> float:
        """Return the run time, in seconds, above which a run counts as long."""
        fit = self.times.fit() if most_together > 1 else None
        return fit.span_s if fit else HORIZON_S

    def is_too_long(self, pressure: Pressure, most_together: int) -> bool:
        """Whether jobs wait here for longer than expected, because slots hold long jobs."""
        return pressure.long > 0 and pressure.waited_s > self.long_after_s(most_together) + EXCESS_S

    def returned(self, now: float) -> None:
        is_again = now < self._paused_until + 10 * self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if is_again and self._pause_s else FIRST_PAUSE_S
        self._paused_until = now + self._pause_s

    def ahead(self, now: float, most_together: int) -> int:
        """Return how many jobs to fetch ahead, for all slots together."""
        if now < self._paused_until:
            self._step = 0
        elif (step := self._next_step(most_together)) < self._step or (
            step > self._step and now >= self._fixed_until
        ):
            self._step, self._fixed_until = step, now + FIXED_S
        # One batch more than slots. It waits here while the jobs of the previous batch are settled.
        return self._step * (self.slots + (most_together > 1))

    def normal(self, pressure: Pressure, prefetch: int) -> int | None:
        """Return the prefetch for a new normal consumer; None to keep the present one, which has `prefetch`.

        RabbitMQ should send it one job for each slot without a long job. If it sends more, a job has to wait for a
        long one; if it sends less, a slot stays idle. The result may equal `prefetch`, because long jobs count
        against the prefetch of the consumer that received them, and not against that of the new one.
        """
        room, wanted = prefetch - pressure.long_normal, self.slots - pressure.long
        return None if room == wanted else wanted

    def _next_step(self, most_together: int) -> int:
        typical_s, fit = self.times.typical_s(), self.times.fit()
        if typical_s is None or fit is None or self.times.share_above(LONG_S) > LONG_SHARE:
            return 0
        fitting = _fitting(typical_s, fit, most_together)
        step = max(step for step in STEPS if step <= fitting)
        # A step up needs a margin, so that the size does not swing between two steps.
        return step if step <= self._step or fitting >= 1.25 * step else max(self._step, _below(step))


def _fitting(typical_s: float, fit: Fit, most_together: int) -> float:
    """Return how many jobs per slot fit into the run time that may be fetched ahead."""
    batch = fit.batch(most_together)
    if batch == 1:
        return min(HORIZON_S / max(typical_s, 1e-6), MOST_SINGLE * 1.25)
    return batch * 1.25 if typical_s < fit.span_s else 0.0


def _below(step: int) -> int:
    return max((one for one in STEPS if one < step), default=0)
