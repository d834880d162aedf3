"""The witness is probed all the time, as by a kubelet: whether it lives, whether it is ready, and what is true.

The truth comes from its proxy, which sees who consumes: a consumer without a connection for some time that says
that it is ready lies. Nothing here decides whether what was said was right.
"""

from __future__ import annotations

import threading
import time
from typing import Self

from support.processes.health import Probe

from storm.amqp_proxy import AmqpProxy
from storm.units import Unit

#: A kubelet's are seconds; a machine that is busy with a storm answers late.
PATIENCE_S = 10.0
PAUSE_S = 0.1
AWAY = "no jobs reach this consumer"
#: So long may it take until a connection that has gone is told of.
LAG_S = 1.0


class Probes:
    """Asks for as long as the block lasts.

    Mutable state, of its thread: `asked`, how often; `dead`, answers that would have it restarted; `lies`, since
    when it had no connection when it said that it was ready; `unready`, how often it was not; `away_s`, for how
    long it said that no jobs reach it; `_away_since`, when its last connection went; `_last`, what it said last.
    """

    def __init__(self, witness: Unit, proxy: AmqpProxy) -> None:
        self._probe = Probe.told_in(witness.events("http_listening")[0])
        self._proxy = proxy
        self.asked = 0
        self.unready = 0
        self.dead: list[str] = []
        self.lies: list[float] = []
        self.slowest_s = 0.0
        self.away_s = 0.0
        self._away_since: float | None = None
        self._last = 0, ""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probes")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def is_ready(self) -> bool:
        """Whether it said so just now."""
        return self._last[0] == 200

    def numbers(self, *names: str) -> dict[str, int]:
        """Return what it has counted of jobs."""
        lines = dict(line.rpartition(" ")[::2] for line in self._probe.ask("metrics")[1].splitlines())
        return {name: int(float(lines[f"classifier_jobs_{name}_total"])) for name in names}

    def _run(self) -> None:
        began = time.monotonic()
        while not self._is_over.wait(PAUSE_S):
            self.asked += 1
            before, began = began, time.monotonic()
            if AWAY in self._last[1]:
                self.away_s += began - before
            if (live := self._ask("live"))[0] != 200:
                self.dead.append(f"{live[0]} {live[1]}")
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            away = self._away_for()  # before it is asked: what it says then may only be newer
            self._last = self._ask("ready")
            if not self.is_ready():
                self.unready += 1
            elif away > LAG_S and not self._proxy.has_consumers:
                self.lies.append(away)

    def _ask(self, page: str) -> tuple[int, str]:
        try:
            return self._probe.ask(page, PATIENCE_S)
        except OSError as error:
            return 0, repr(error)

    def _away_for(self) -> float:
        """For how long its proxy has not seen it consume."""
        if self._proxy.has_consumers:
            self._away_since = None
            return 0.0
        now = time.monotonic()
        self._away_since = self._away_since or now
        return now - self._away_since
