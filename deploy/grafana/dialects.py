"""Translates each kind of query into the languages of Graphite and Prometheus. Pure.

Graphite has the names that statsd makes with deploy/statsd/config.js. Prometheus has those of `/metrics`, which
consumer/telemetry/prometheus.py derives.
"""

from __future__ import annotations

from dataclasses import dataclass

from queries import ByCode, Count, Filled, Level, Query, Rate, Share, Time

from consumer.telemetry.metrics import NAMES
from consumer.telemetry.prometheus import prometheus_name

#: Grafana's variables in the dashboards.
SELECTED = 'job=~"$job",instance=~"$instance"'


@dataclass(frozen=True, slots=True)
class Asked:
    """A query in the language of a store; for Prometheus also the name of its line."""

    text: str
    legend: str = ""


def family(name: str) -> str:
    """Return a metric's name in Prometheus."""
    return prometheus_name(name, NAMES[name].partition(": ")[0])


def _wild(name: str) -> str:
    return name.replace("<code>", "*")


@dataclass(frozen=True, slots=True)
class Graphite:
    """Writes queries for Graphite. `where` is the path of hosts, `<prefix>.<host>`, with variables or patterns.

    With a `window`, each point has the count of the window before it, as alerts need it; otherwise its own count.
    """

    where: str = "$prefix.$host"
    window: str = ""

    def ask(self, query: Query) -> Asked:
        """Translate a query."""
        return Asked(self._text(query))

    def _text(self, query: Query) -> str:  # noqa: PLR0911 - one for each kind of query
        match query:
            case Rate(name, legend, per_s):
                return f"alias(scaleToSeconds({self._counted(name)}, {per_s}), '{legend}')"
            case ByCode(name):
                counts = f"scaleToSeconds(transformNull({self._count(name)}, 0), 60)"
                return f"groupByNode({counts}, -2, 'sum')"  # the node before `count`
            case Share(part, whole, legend):
                return f"alias(asPercent({self._counted(*part)}, {self._counted(*whole)}), '{legend}')"
            case Filled(part, whole, legend):
                gauges = [f"sumSeries({self._gauge(name)})" for name in (part, whole)]
                return f"alias(asPercent({', '.join(gauges)}), '{legend}')"
            case Time(name, percentile, legend):
                figure = {50: "median", 95: "upper_95"}[percentile]
                slowest = f"maxSeries(stats.timers.{self.where}.{name}.{figure})"
                return f"alias(scale({slowest}, 0.001), '{legend}')"
            case Level(name, "each"):
                host = -1 - len(name.split("."))  # counted from the end: a prefix may have dots
                return f"aliasByNode({self._gauge(name)}, {host})"
            case Level(name, fold, legend):
                return f"alias({fold}Series({self._gauge(name)}), '{legend or name}')"
            case Count(name):
                return f"alias({self._counted(name)}, '{name}')"

    def _counted(self, *names: str) -> str:
        """Sum counts. statsd does not send idle counters, so no points mean 0."""
        counts = f"transformNull(sumSeries({', '.join(map(self._count, names))}), 0)"
        return f"movingSum({counts}, '{self.window}')" if self.window else counts

    def _count(self, name: str) -> str:
        return f"stats.counters.{self.where}.{_wild(name)}.count"

    def _gauge(self, name: str) -> str:
        return f"stats.gauges.{self.where}.{name}"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Writes queries for Prometheus. `labels` select series; `window` is the range of a rate.

    `by` is a label by whose values series are kept apart: services of several prefixes have a `job` each.
    """

    labels: str = SELECTED
    window: str = "$__rate_interval"
    by: str = ""

    def ask(self, query: Query) -> Asked:  # noqa: PLR0911 - one for each kind of query
        """Translate a query."""
        match query:
            case Rate(name, legend, per_s):
                return Asked(self._sum_of_rates(name) + (f" * {per_s}" if per_s > 1 else ""), legend)
            case ByCode(name):
                return Asked(f"{self._fold('sum', 'code')}({self._rate(name)}) * 60", "{{code}}")
            case Share(part, whole, legend):
                parts, wholes = (" + ".join(map(self._sum_of_rates, names)) for names in (part, whole))
                return Asked(f"100 * ({parts}) / ({wholes})", legend)
            case Filled(part, whole, legend):
                sums = [f"{self._fold('sum')}({self._series(name)})" for name in (part, whole)]
                return Asked(f"100 * {sums[0]} / {sums[1]}", legend)
            case Time(name, percentile, legend):
                buckets = f"{self._fold('sum', 'le')}(rate({self._series(name, '_bucket')}[{self.window}]))"
                return Asked(f"histogram_quantile({percentile / 100}, {buckets})", legend)
            case Level(name, "each"):
                return Asked(self._series(name), "{{instance}}")
            case Level(name, fold, legend):
                return Asked(f"{self._fold(fold)}({self._series(name)})", legend)
            case Count(name):
                return Asked(f"{self._fold('sum')}(increase({self._series(name)}[{self.window}]))")

    def _sum_of_rates(self, name: str) -> str:
        return f"{self._fold('sum')}({self._rate(name)})"

    def _fold(self, how: str, *labels: str) -> str:
        kept = [*labels, *([self.by] if self.by else [])]
        return f"{how} by ({', '.join(kept)}) " if kept else how

    def _rate(self, name: str) -> str:
        return f"rate({self._series(name)}[{self.window}])"

    def _series(self, name: str, suffix: str = "") -> str:
        return f"{family(name)}{suffix}" + (f"{{{self.labels}}}" if self.labels else "")
