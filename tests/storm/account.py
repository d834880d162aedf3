"""What a storm was and what it left, as text for a person."""

from __future__ import annotations

from collections import Counter
from statistics import median

from storm.oracle import Verdict
from storm.weather import Aftermath, growth

MIB = 1024 * 1024


def report(left: Aftermath, verdict: Verdict) -> str:
    lines = {
        "faults": _counts(left.faults),
        "jobs": f"{verdict.sent} sent, {verdict.answered} answered, dead letters: {_counts(verdict.dead)}",
        "lost": _some(verdict.lost),
        "wrong": _some(verdict.wrong),
        "victims of the storm": _some(verdict.victims),
        "duplicates": f"{verdict.duplicates} ({verdict.duplicates_percent:.2f} %), "
        f"and {verdict.repeated} of jobs that were published twice",
        "consumers ended with": "; ".join(f"{name}: {_counts(codes)}" for name, codes in left.codes.items()),
        "recoveries": _recoveries(left.recoveries),
        "witness": _witness(left),
        "its jobs": _counts(Counter(left.witness)),
        "its health": f"asked {left.probes.asked} times, not ready {left.probes.unready} times, "
        f"without jobs {left.probes.away_s:.1f} s, "
        f"slowest answer {left.probes.slowest_s:.2f} s",
    }
    return "\n".join(f"  {name}: {text}" for name, text in lines.items())


def _counts(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=str)) or "none"


def _some(found: list[str]) -> str:
    return "\n    ".join((str(len(found)), *found[:20]))


def _recoveries(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    return f"{len(seconds)} outages, median {median(seconds):.2f} s, longest {max(seconds):.1f} s"


def _witness(left: Aftermath) -> str:
    first, last = left.samples[0], left.samples[-1]
    return (
        f"resident {first.resident_bytes / MIB:.1f} to {last.resident_bytes / MIB:.1f} MiB, "
        f"growth after the first fifth {100 * (growth(left.samples) - 1):+.1f} %, "
        f"descriptors {first.descriptors} to {last.descriptors}"
    )
