"""The numbers for Prometheus, read by Prometheus's own client library."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.disposition import Settlement
from consumer.job import Crashed, ErrorCode, Request, Succeeded
from consumer.telemetry.metrics import BOUNDS, NAMES, Metrics
from consumer.telemetry.prometheus import TYPES, Histogram, prometheus_name

REQUEST = Request(id="1", correlation_id="1")


def samples(metrics: Metrics) -> Mapping[tuple[str, str], float]:
    """Each sample by its name and its one label's value."""
    families = text_string_to_metric_families(metrics.registry.text())
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_name_is_a_family_of_its_kind_with_its_meaning_from_the_start() -> None:
    families = {family.name: family for family in text_string_to_metric_families(Metrics().registry.text())}
    assert len(families) == len(NAMES)
    for name, text in NAMES.items():
        kind, meaning = text.split(": ", 1)
        family = families[prometheus_name(name, kind).removesuffix("_total")]
        assert (family.type, family.documentation) == (TYPES[kind], meaning)
        assert family.samples


def test_names_end_as_prometheus_wants_them() -> None:
    assert prometheus_name("jobs.failed.<code>", "counter") == "classifier_jobs_failed_total"
    assert prometheus_name("jobs.run", "timer") == "classifier_jobs_run_seconds"
    assert prometheus_name("slots.busy", "gauge") == "classifier_slots_busy"


def test_a_job_is_counted_once_in_each_place() -> None:
    metrics = Metrics()
    metrics.received(REQUEST)
    metrics.slots(busy=1, size=2)
    metrics.ended(Succeeded(output=b"1", run_s=0.25), Settlement.ACK, total_s=0.5)
    found = samples(metrics)
    assert found["classifier_jobs_received_total", ""] == 1
    assert found["classifier_jobs_succeeded_total", ""] == 1
    assert found["classifier_jobs_acked_total", ""] == 1
    assert found["classifier_slots_busy", ""] == 1
    assert found["classifier_slots_size", ""] == 2
    assert found["classifier_jobs_run_seconds_count", ""] == 1
    assert found["classifier_jobs_run_seconds_sum", ""] == 0.25
    assert found["classifier_jobs_total_seconds_sum", ""] == 0.5
    assert found["classifier_jobs_queue_wait_seconds_count", ""] == 0  # it had no timestamp


def test_failures_are_told_apart_by_their_code_and_each_code_is_there_before_it_happens() -> None:
    metrics = Metrics()
    metrics.ended(Crashed(message="m", run_s=0.1), Settlement.RETRY, total_s=0.2)
    found = samples(metrics)
    codes = {code: found["classifier_jobs_failed_total", code] for code in ErrorCode}
    assert codes == {code: float(code is ErrorCode.CRASHED) for code in ErrorCode}


def test_buckets_hold_all_below_them_and_a_bound_is_its_own() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.add(value)
    assert list(histogram.lines("f")) == [
        'f_bucket{le="0.1"} 2',
        'f_bucket{le="1.0"} 3',
        'f_bucket{le="+Inf"} 4',
        "f_sum 7.65",
        "f_count 4",
    ]


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_rise(name: str) -> None:
    assert list(BOUNDS[name]) == sorted(set(BOUNDS[name]))
