"""Makes a distribution of run times from the measurements of `consumer try`, or from given figures.

A simulation needs only the quantile function of a `ServiceTime`. Unusable input raises a ConfigurationError with
the remedy. This module parses text and reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pydantic import BaseModel, Field, ValidationError

from consumer.config import units
from consumer.errors import ConfigurationError, InputError

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_NORMAL = NormalDist()
#: The least distance of a random number from 0 and 1, where a lognormal distribution has no quantile.
_LEAST_CHANCE = 1e-12


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """A distribution of run times, in seconds: a share u of the runs takes at most `quantile(u)`."""

    description: str
    quantile: Callable[[float], float]
    mean_s: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the sorted values do not exceed; it is one of them."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Times(BaseModel):
    """The content of the times file: run times in seconds."""

    runs: str
    run_s: list[float] = Field(min_length=1)


def read_times(name: str, content: bytes) -> Times:
    """Parse a file of `Times`; `name` is for messages.

    Raises:
        InputError: it is not a file of run times.
    """
    try:
        times = Times.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise InputError(
            f"{name} is not a file of run times ({where}: {fault['msg']}); make one with "
            f"`consumer try JOB.json --repeat 100 --times {name}`"
        ) from None
    if not all(math.isfinite(value) and value >= 0 for value in times.run_s) or not any(times.run_s):
        raise InputError(f"{name}: run_s must be seconds, 0 or more, and not all of them 0")
    return times


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
            return ServiceTime("exponential", lambda u: -mean * math.log1p(-min(u, 1 - _LEAST_CHANCE)), mean)
        case ("cv", "mean"):
            sigma = math.sqrt(math.log1p(figures["cv"] ** 2))
            return _lognormal(figures["mean"], sigma)
        case ("p50", "p95" | "p99" as name):
            if figures[name] < figures["p50"]:
                raise ConfigurationError(f"--service: {name} cannot be below p50")
            sigma = math.log(figures[name] / figures["p50"]) / _NORMAL.inv_cdf(SHARES[name])
            return _lognormal(figures["p50"] * math.exp(sigma**2 / 2), sigma)
    raise ConfigurationError(f"--service {text}: {_REMEDY}")


#: 30 years, in seconds. With larger figures, sums in the plan might not be finite.
MAX_FIGURE = 1e9
_REMEDY = "write mean=S, or mean=S,cv=V, or p50=S,p95=S, or p50=S,p99=S, with S above 0, in seconds or as 20ms"


def _figures(text: str) -> Mapping[str, float]:
    figures = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            figures[name] = float(value) if name == "cv" else units.seconds(value)
        except ValueError:
            raise ConfigurationError(f"--service {text}: {_REMEDY}") from None
        if not (0 <= figures[name] <= MAX_FIGURE and (figures[name] or name == "cv")):
            raise ConfigurationError(f"--service {text}: {_REMEDY}")
    return figures


def _lognormal(mean_s: float, sigma: float) -> ServiceTime:
    """Make a lognormal distribution; `sigma` is the standard deviation of the logarithm."""
    if sigma == 0:
        return ServiceTime("always the same", lambda _: mean_s, mean_s)
    mu, inverse = math.log(mean_s) - sigma**2 / 2, _NORMAL.inv_cdf
    return ServiceTime(
        "lognormal",
        lambda u: math.exp(mu + sigma * inverse(min(max(u, _LEAST_CHANCE), 1 - _LEAST_CHANCE))),
        mean_s,
    )
