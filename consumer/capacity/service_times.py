"""Makes a distribution of run times from the measurements of `consumer try`, or from given figures.

A simulation needs only the quantile function of a `ServiceTime`. Unusable input raises a ConfigurationError with
the remedy. This module parses text and reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from consumer.config import units
from consumer.errors import ConfigurationError, InputError

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_NORMAL = NormalDist()
#: 30 years, in seconds. With larger figures, sums in the plan might not be finite.
MAX_FIGURE = 1e9


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """A distribution of run times, in seconds: a share u of the runs takes at most `quantile(u)`, 0 <= u < 1."""

    description: str
    quantile: Callable[[float], float]
    mean_s: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the sorted values do not exceed; it is one of them."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the p50, p95 and p99 of values in any order."""
    ordered = sorted(values)
    return {name: quantile(ordered, share) for name, share in SHARES.items()}


class Times(BaseModel):
    """The content of the times file: run times in seconds."""

    runs: str
    run_s: list[Annotated[float, Field(ge=0, le=MAX_FIGURE)]] = Field(min_length=1)


def read_times(name: str, content: bytes) -> Times:
    """Parse a file of `Times`; `name` is for messages.

    Raises:
        InputError: it is not a file of run times.
    """
    try:
        return Times.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise InputError(
            f"{name} is not a file of run times ({where}: {fault['msg']}); make one with "
            f"`consumer try JOB.json --repeat 100 --times {name}`"
        ) from None


def measured(values: Sequence[float], description: str) -> ServiceTime:
    """Make the distribution of measured values, each equally likely."""
    ordered = sorted(values)
    return ServiceTime(description, lambda u: quantile(ordered, u), math.fsum(ordered) / len(ordered))


def given(text: str) -> ServiceTime:
    """Make an exponential distribution from `mean=S`, or a lognormal from two figures, such as `p50=S,p95=S`.

    `cv` is standard deviation / mean; 0 means that every job takes the same time.

    Raises:
        ConfigurationError: the figures do not determine a distribution, or contradict each other.
    """
    figures = _figures(text)
    match tuple(sorted(figures)):
        case ("mean",):
            mean = figures["mean"]
            return ServiceTime("exponential", lambda u: -mean * math.log1p(-u), mean)
        case ("cv", "mean"):
            return _lognormal(figures["mean"], math.sqrt(math.log1p(figures["cv"] ** 2)))
        case ("p50", "p95" | "p99" as name) if figures[name] >= figures["p50"]:
            sigma = math.log(figures[name] / figures["p50"]) / _NORMAL.inv_cdf(SHARES[name])
            return _lognormal(figures["p50"] * math.exp(sigma**2 / 2), sigma)
    raise ConfigurationError(
        f"--service {text}: write mean=S, or mean=S,cv=V, or p50=S,p95=S, or p50=S,p99=S (not below p50), with S "
        "above 0, in seconds or as 20ms"
    )


def _figures(text: str) -> dict[str, float]:
    """Parse `name=value` pairs; empty if one of them is no figure."""
    figures = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            figures[name] = float(value) if name == "cv" else units.seconds(value)
        except ValueError:
            return {}
        if not (0 <= figures[name] <= MAX_FIGURE and (figures[name] or name == "cv")):
            return {}
    return figures


def _lognormal(mean_s: float, sigma: float) -> ServiceTime:
    """Make a lognormal distribution; `sigma` is the standard deviation of the logarithm."""
    if sigma == 0:
        return ServiceTime("always the same", lambda _: mean_s, mean_s)
    mu, inverse = math.log(mean_s) - sigma**2 / 2, _NORMAL.inv_cdf
    # A lognormal distribution has no quantile of 0, which `random` may return.
    return ServiceTime("lognormal", lambda u: math.exp(mu + sigma * inverse(u or math.ulp(0.5))), mean_s)
