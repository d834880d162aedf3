"""Run times as a distribution: given as figures, measured, or out of a histogram, with their mean and spread."""

from __future__ import annotations

import math
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer.capacity import run_times, service_times
from consumer.capacity.service_times import ServiceTime
from consumer.errors import ConfigurationError
from consumer.telemetry.metrics import BOUNDS, NAMES
from consumer.telemetry.prometheus import Registry

#: The middle of each of so many equal shares.
SHARES = [(place + 0.5) / 10_000 for place in range(10_000)]


def mean_and_scv(service: ServiceTime) -> tuple[float, float]:
    """What the quantile function itself comes to."""
    values = [service.quantile(share) for share in SHARES]
    mean = fmean(values)
    return mean, fmean((value - mean) ** 2 for value in values) / mean**2


@pytest.mark.parametrize("figures", ["mean=0.2", "mean=0.2,cv=0.5", "mean=0.2, cv=0", "p50=0.1,p95=0.2"])
def test_mean_and_spread_are_those_of_the_quantiles(figures: str) -> None:
    service = service_times.given(figures)
    mean, scv = mean_and_scv(service)
    assert service.mean_s == pytest.approx(mean, rel=0.01)
    assert service.scv == pytest.approx(scv, rel=0.02, abs=1e-9)


def test_percentiles_that_were_given_come_out() -> None:
    service = service_times.given("p50=0.1,p99=0.8")
    assert service.quantile(0.5) == pytest.approx(0.1)
    assert service.quantile(0.99) == pytest.approx(0.8)


def test_equal_percentiles_are_jobs_that_always_take_as_long() -> None:
    service = service_times.given("p50=0.1,p95=0.1")
    assert (service.quantile(0.01), service.quantile(0.999), service.scv) == (0.1, 0.1, 0.0)


def test_the_ends_of_a_distribution_are_finite() -> None:
    for figures in ("mean=1", "mean=1,cv=5", "p50=1,p95=9"):
        service = service_times.given(figures)
        assert all(math.isfinite(service.quantile(share)) for share in (0.0, 1.0))


@pytest.mark.parametrize(
    "figures",
    [
        "",
        "0.1",
        "mean=",
        "mean=x",
        "mean=0",
        "mean=-1",
        "mean=inf",
        "mean=nan",
        "cv=1",
        "p50=1",
        "p50=1,p95=nan",
        "mean=1,p95=2",
        "mean=1,cv=-1",
        "median=1",
    ],
)
def test_figures_that_say_nothing_are_refused_with_the_remedy(figures: str) -> None:
    with pytest.raises(ConfigurationError, match="write mean=S"):
        service_times.given(figures)


def test_a_95th_percentile_below_the_median_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="p95 cannot be below p50"):
        service_times.given("p50=2,p95=1")


def test_measured_values_come_back_each_as_likely_as_any_other() -> None:
    service = service_times.measured([0.3, 0.1, 0.1, 0.1], "four")
    assert [service.quantile(share) for share in (0.0, 0.7, 0.76, 1.0)] == [0.1, 0.1, 0.3, 0.3]
    assert service.mean_s == pytest.approx(0.15)
    assert service.scv == pytest.approx(0.0075 / 0.0225)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"no json",
        b'{"runs": "x", "run_s": []}',
        b'{"runs": "x", "run_s": [-1]}',
        b'{"runs": "x", "run_s": [0]}',
        b'{"runs": "x", "run_s": ["a"]}',
        b'{"runs": "x", "run_s": [1e999]}',
    ],
)
def test_a_file_without_run_times_is_refused_by_its_name(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"times\.json"):
        service_times.read_times("times.json", content)


def page_of(runs: list[float], totals: list[float] | None = None) -> str:
    """What a consumer serves that has run these."""
    registry = Registry(NAMES, BOUNDS)
    for seconds in runs:
        registry.time("jobs.run", seconds)
    for seconds in totals or []:
        registry.time("jobs.total", seconds)
    return registry.text()


def from_page(text: str) -> ServiceTime:
    return run_times.from_buckets(run_times.read_page(text), "a page")


def test_a_histogram_keeps_the_mean_and_every_value_its_bucket() -> None:
    runs = [0.004] * 10 + [0.012] * 70 + [0.03] * 15 + [0.09] * 5
    service = from_page(page_of(runs))
    assert service.mean_s == pytest.approx(fmean(runs))
    mean, scv = mean_and_scv(service)
    assert mean == pytest.approx(fmean(runs), rel=0.01)
    assert scv == pytest.approx(service.scv, rel=0.02)
    assert 0.0025 <= service.quantile(0.05) <= 0.005
    assert 0.01 <= service.quantile(0.5) <= 0.025
    assert 0.05 <= service.quantile(0.97) <= 0.1


def test_jobs_that_are_all_at_the_bottom_of_a_wide_bucket_stay_there() -> None:
    service = from_page(page_of([0.1005] * 100))
    assert service.mean_s == pytest.approx(0.1005)
    assert service.quantile(0.5) == pytest.approx(0.1, rel=0.01)


def test_values_beyond_the_last_bound_reach_as_far_as_their_mean_asks() -> None:
    service = from_page(page_of([700.0] * 9 + [90_000.0]))
    assert service.mean_s == pytest.approx(9630.0)
    assert mean_and_scv(service)[0] == pytest.approx(9630.0, rel=0.01)
    assert service.quantile(0.0) >= 600


@settings(max_examples=30)
@given(st.lists(st.floats(0.0005, 2000), min_size=1, max_size=50))
def test_whatever_was_counted_the_mean_is_the_measured_one(runs: list[float]) -> None:
    service = from_page(page_of(runs))
    assert service.mean_s == pytest.approx(fmean(runs))
    assert mean_and_scv(service)[0] == pytest.approx(fmean(runs), rel=0.06)
    values = [service.quantile(share) for share in SHARES[::500]]
    assert values == sorted(values)


def test_pages_of_several_consumers_are_added_up() -> None:
    both = run_times.read_page(page_of([0.004, 0.004]) + page_of([0.3]))
    assert both.count == 3
    assert both.total_s == pytest.approx(0.308)


def test_a_page_with_labels_is_read_too() -> None:
    text = page_of([0.004]).replace('{le="', '{instance="a",le="').replace("_sum ", '_sum{instance="a"} ')
    assert run_times.read_page(text).total_s == pytest.approx(0.004)


@pytest.mark.parametrize("text", ["", "hello", "<html>404</html>", page_of([])])
def test_a_page_without_runs_says_what_it_should_have_been(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a consumer that has run jobs"):
        run_times.read_page(text)


def test_a_page_with_nonsense_in_a_metrics_place_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no metric"):
        run_times.read_page('classifier_jobs_run_seconds_bucket{le="x"} 3')
