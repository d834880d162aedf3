"""Run times as a distribution: given as figures, or measured."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest

from consumer.capacity import service_times
from consumer.capacity.service_times import quantile
from consumer.errors import ConfigurationError

#: The middle of each of so many equal shares.
SHARES = [(place + 0.5) / 10_000 for place in range(10_000)]

#: The largest number that `random()` returns.
LARGEST = 1 - 2**-53


@pytest.mark.parametrize(
    ("figures", "cv"),
    [("mean=0.2", 1.0), ("mean=0.2,cv=0.5", 0.5), ("mean=0.2, cv=0", 0.0), ("p50=0.1,p95=0.2", 0.44)],
)
def test_mean_and_spread_are_those_of_the_quantiles(figures: str, cv: float) -> None:
    service = service_times.given(figures)
    values = [service.quantile(share) for share in SHARES]
    assert service.mean_s == pytest.approx(fmean(values), rel=0.01)
    assert pstdev(values) / fmean(values) == pytest.approx(cv, rel=0.02, abs=1e-9)


def test_percentiles_that_were_given_come_out() -> None:
    service = service_times.given("p50=0.1,p99=0.8")
    assert service.quantile(0.5) == pytest.approx(0.1)
    assert service.quantile(0.99) == pytest.approx(0.8)


def test_equal_percentiles_are_jobs_that_always_take_as_long() -> None:
    service = service_times.given("p50=0.1,p95=0.1")
    assert (service.quantile(0.01), service.quantile(0.999), service.mean_s) == (0.1, 0.1, 0.1)


def test_the_ends_of_a_distribution_are_finite() -> None:
    for figures in ("mean=1", "mean=1,cv=5", "p50=1,p95=9"):
        service = service_times.given(figures)
        assert all(math.isfinite(service.quantile(share)) for share in (0.0, LARGEST))


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
    with pytest.raises(ConfigurationError, match="not below p50"):
        service_times.given("p50=2,p95=1")


def test_measured_values_come_back_each_as_likely_as_any_other() -> None:
    service = service_times.measured([0.3, 0.1, 0.1, 0.1], "four")
    assert [service.quantile(share) for share in (0.0, 0.7, 0.76, 1.0)] == [0.1, 0.1, 0.3, 0.3]
    assert service.mean_s == pytest.approx(0.15)


def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"no json",
        b'{"runs": "x", "run_s": []}',
        b'{"runs": "x", "run_s": [-1]}',
        b'{"runs": "x", "run_s": [NaN]}',
        b'{"runs": "x", "run_s": ["a"]}',
        b'{"runs": "x", "run_s": [1e999]}',
    ],
)
def test_a_file_without_run_times_is_refused_by_its_name(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"times\.json"):
        service_times.read_times("times.json", content)
