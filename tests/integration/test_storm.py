"""The storm: many jobs of all kinds, several consumers, and faults all the time; nothing may be lost or wrong.

Some seconds of it here, ten minutes with `make soak`. STORM_S is its length, STORM_SEED repeats its choices.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
from pathlib import Path

import pytest
from storm.account import report
from storm.oracle import judge
from storm.probes import LAG_S
from storm.units import marked
from storm.weather import gathered, growth
from support.measurements import Tell
from support.waiting import wait_until

STORM_S = float(os.environ.get("STORM_S", "8"))
SEED = int(os.environ.get("STORM_SEED", "0")) or secrets.randbelow(1_000_000)
#: What a consumer may end with in a storm: as told to, killed, told to before it could hear it, because its start
#: met no RabbitMQ or one half up, or because a fault struck its fork server while that loaded the classifier.
ENDINGS = {os.EX_OK, -signal.SIGKILL, -signal.SIGTERM, os.EX_UNAVAILABLE, os.EX_TEMPFAIL, os.EX_CONFIG}
#: Memory is judged in storms that last so long that a leak would show, and caches no longer do.
LONG_S, MOST_GROWTH = 300, 1.05


@pytest.fixture(autouse=True)
def _pika_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It logs each refused connection with a traceback."""
    caplog.set_level(logging.CRITICAL, "pika")


@pytest.mark.usefixtures("server")
def test_a_storm_loses_nothing_and_answers_nothing_wrong(tmp_path: Path, tell: Tell) -> None:
    tell(f"storm of {STORM_S:g} s, STORM_SEED={SEED}")
    with gathered(tmp_path) as storm:
        left = storm.blow(STORM_S, SEED)
        verdict = judge(left.sent, left.replies, left.dead, left.recorded)
        tell(report(left, verdict))
        assert not verdict.lost
        assert not verdict.wrong
        wait_until(storm.is_empty, "nothing but the stream to hold messages")
        assert {code for codes in left.codes.values() for code in codes} <= ENDINGS
        assert left.codes[storm.witness.name] == {os.EX_OK: 1}
        assert left.probes.dead == []
        assert left.probes.lies == []
        outages = storm.witness.recoveries()
        assert abs(left.probes.away_s - sum(outages)) < LAG_S * (len(outages) + 1)
        assert left.samples[-1].descriptors <= left.samples[0].descriptors
        assert STORM_S < LONG_S or growth(left.samples) < MOST_GROWTH
        assert STORM_S < LONG_S or left.witness["ahead"] > 0
        assert marked(f"{tmp_path}/jobs") + marked(f"{tmp_path}/disk") == []
    assert list((tmp_path / "jobs").iterdir()) == []
