"""Run times of jobs as a distribution: measured by `consumer try`, or given as figures.

A `ServiceTime` is its quantile function, which is all that a simulation needs. Unusable input is a
ConfigurationError with the remedy. Parses text; reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pydantic import BaseModel, Field, ValidationError

from consumer.errors import ConfigurationError

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_NORMAL = NormalDist()
#: A random number may be 0 or next to 1, where a lognormal has no quantile.
_LEAST_CHANCE = 1e-12


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """Run times in seconds: a share u of them is at most `quantile(u)`."""

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
    """Read such a file.

    Raises:
        ConfigurationError: it is not such a file.
    """
    try:
        times = Times.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "it"
        raise ConfigurationError(
            f"{name} is no file of run times ({where}: {fault['msg']}); make one with "
            f"`consumer try JOB.json --repeat 100 --times {name}`"
        ) from None
    if not all(math.isfinite(value) and value >= 0 for value in times.run_s) or not any(times.run_s):
        raise ConfigurationError(f"{name}: run_s must be seconds, 0 or more, and not all of them 0")
    return times


def measured(values: Sequence[float], description: str) -> ServiceTime:
    """Use the values themselves, each equally likely."""
    ordered = sorted(values)
    return ServiceTime(description, lambda u: quantile(ordered, u), math.fsum(ordered) / len(ordered))


def given(text: str) -> ServiceTime:
    """Make it from figures: `mean=0.1` (exponential), `mean=0.1,cv=0.5`, `p50=0.1,p95=0.4` or `p99` (lognormal).

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


#: In seconds, 30 years; of a spread what nobody has measured, and the sums of the plan stay finite.
MAX_FIGURE = 1e9
_REMEDY = "write mean=S, or mean=S,cv=V, or p50=S,p95=S, or p50=S,p99=S, with S in seconds above 0"


def _figures(text: str) -> Mapping[str, float]:
    figures = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        try:
            figures[name] = float(value)
        except ValueError:
            raise ConfigurationError(f"--service {text}: {_REMEDY}") from None
        if not (0 <= figures[name] <= MAX_FIGURE and (figures[name] or name == "cv")):
            raise ConfigurationError(f"--service {text}: {_REMEDY}")
    return figures


def _lognormal(mean_s: float, sigma: float) -> ServiceTime:
    """`sigma` is the standard deviation of the logarithm of the run time."""
    if sigma == 0:
        return ServiceTime("always the same", lambda _: mean_s, mean_s)
    mu, inverse = math.log(mean_s) - sigma**2 / 2, _NORMAL.inv_cdf
    return ServiceTime(
        "lognormal",
        lambda u: math.exp(mu + sigma * inverse(min(max(u, _LEAST_CHANCE), 1 - _LEAST_CHANCE))),
        mean_s,
    )
