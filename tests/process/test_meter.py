"""The CPU time of one process, job by job."""

from __future__ import annotations

import os
import time

from consumer.runners.procfs import Meter


def test_cpu_time_before_a_job_does_not_count_for_it() -> None:
    meter = Meter(os.getpid())
    try:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        meter.begin()
        assert meter.before().cpu_s == meter.cpu_s
        assert meter.now().cpu_s - meter.cpu_s < 0.1
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        assert meter.now().cpu_s - meter.cpu_s > 0.1
    finally:
        meter.close()
