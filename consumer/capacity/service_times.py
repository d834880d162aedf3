"""How long jobs run, as a distribution: measured by `consumer try`, or given as figures.

A `ServiceTime` is its quantile function, which is all that a simulation needs. What cannot be used is a
ConfigurationError with the remedy. Parses text; reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pydantic import BaseModel, Field, ValidationError

from consumer.capacity.queueing import quantile
from consumer.errors import ConfigurationError

_NORMAL = NormalDist()
#: A random number may be 0 or next to 1, where a lognormal has no quantile.
_LEAST_CHANCE = 1e-12


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """Run times in seconds: the share u of them is at most `quantile(u)`; `scv` is variance / mean squared."""

    description: str
    quantile: Callable[[float], float]
    mean_s: float
    scv: float


class MemoryUse(BaseModel):
    """What a consumer takes: `base_bytes` once, and `slot_bytes` for each slot."""

    base_bytes: int = Field(ge=0)
    slot_bytes: int = Field(ge=0)


class Times(BaseModel):
    """What `consumer try --times` writes: run times of jobs in seconds, and memory where it could be measured."""

    runs: str
    run_s: list[float] = Field(min_length=1)
    memory: MemoryUse | None = None


def read_times(name: str, content: bytes) -> Times:
    """Read such a file.

    Raises:
        ConfigurationError: it is none.
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
    """The values themselves, each as likely as any other."""
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered)
    variance = math.fsum((value - mean) ** 2 for value in ordered) / len(ordered)
    return ServiceTime(description, lambda u: quantile(ordered, u), mean, variance / mean**2)


def given(text: str) -> ServiceTime:
    """Make it of figures: `mean=0.1` (exponential), `mean=0.1,cv=0.5`, `p50=0.1,p95=0.4` or `p99` (lognormal).

    `cv` is standard deviation / mean; 0 is a job that always takes as long.

    Raises:
        ConfigurationError: these figures say nothing, or contradict each other.
    """
    figures = _figures(text)
    match tuple(sorted(figures)):
        case ("mean",):
            return _exponential(figures["mean"])
        case ("cv", "mean"):
            return _of_mean(figures["mean"], figures["cv"])
        case ("p50", "p95") | ("p50", "p99"):
            return _of_percentiles(figures)
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


def _exponential(mean: float) -> ServiceTime:
    return ServiceTime("exponential", lambda u: -mean * math.log1p(-min(u, 1 - _LEAST_CHANCE)), mean, 1.0)


def _of_mean(mean: float, cv: float) -> ServiceTime:
    if cv == 0:
        return ServiceTime("always the same", lambda _: mean, mean, 0.0)
    sigma = math.sqrt(math.log1p(cv * cv))
    return _lognormal(math.log(mean) - sigma**2 / 2, sigma)


def _of_percentiles(figures: Mapping[str, float]) -> ServiceTime:
    name = "p95" if "p95" in figures else "p99"
    if figures[name] < figures["p50"]:
        raise ConfigurationError(f"--service: {name} cannot be below p50")
    sigma = math.log(figures[name] / figures["p50"]) / _NORMAL.inv_cdf(int(name[1:]) / 100)
    if sigma == 0:
        return _of_mean(figures["p50"], 0.0)
    return _lognormal(math.log(figures["p50"]), sigma)


def _lognormal(mu: float, sigma: float) -> ServiceTime:
    inverse = _NORMAL.inv_cdf
    return ServiceTime(
        "lognormal",
        lambda u: math.exp(mu + sigma * inverse(min(max(u, _LEAST_CHANCE), 1 - _LEAST_CHANCE))),
        math.exp(mu + sigma**2 / 2),
        math.expm1(sigma**2),
    )
