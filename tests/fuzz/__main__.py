"""`make fuzz`: every target for its share of FUZZ_S seconds, then a table; a crash is told and is the exit code.

What was found goes to fuzz-results/ and is where the next run starts. A crash belongs in `corpus/`, once it is
mended.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fuzz import TARGETS, corpus

RESULTS = Path("fuzz-results")
#: Longest input, as short as what is under test allows: a frame's worth would only make the fuzzer slow.
MAX_LEN = 4096
#: A target that takes this long for one input, or this much memory, has crashed.
LIMITS = ("-timeout=10", "-rss_limit_mb=1024")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_EXECUTIONS = re.compile(r"number_of_executed_units: (\d+)")


@dataclass(frozen=True)
class Row:
    """What came of one target. `crashes`: files with the inputs, or what became of a run that left none."""

    target: str
    executions: int
    edges: int
    features: int
    inputs: int
    lines: str
    crashes: tuple[str, ...]


def fuzz(target: str, seconds: int) -> Row:
    found, crashes = RESULTS / target, RESULTS / "crashes"
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    log = RESULTS / f"{target}.log"
    command = [sys.executable, "-m", "fuzz.target", target, str(found), str(corpus(target))]
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_LEN}", "-print_final_stats=1", *LIMITS]
    with log.open("wb") as output:
        ended = subprocess.run(
            [*command, *options, f"-artifact_prefix={crashes}/{target}-"],
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    told = log.read_text(errors="replace")
    new = tuple(str(path) for path in sorted(set(crashes.iterdir()) - before))
    failed = (f"exit code {ended.returncode}, see {log}",) if ended.returncode and not new else ()
    edges, features, inputs = (int(figure) for figure in [("0",) * 3, *_COVERAGE.findall(told)][-1])
    executions = sum(int(figure) for figure in _EXECUTIONS.findall(told))
    return Row(target, executions, edges, features, inputs, lines(target, found), new + failed)


def lines(target: str, found: Path) -> str:
    command = [sys.executable, "-m", "fuzz.lines", target, str(found), str(corpus(target))]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        return "?"
    got, every = ended.stdout.split("\n", 1)[0].split()
    return f"{got} of {every}"


def main() -> int:
    seconds = max(int(os.environ.get("FUZZ_S", "600")) // len(TARGETS), 1)
    print(f"{'target':10} {'executions':>11} {'edges':>6} {'features':>8} {'inputs':>6} {'lines':>11}  crashes")
    rows = []
    for target in TARGETS:
        row = fuzz(target, seconds)
        rows.append(row)
        print(
            f"{row.target:10} {row.executions:11,} {row.edges:6} {row.features:8} {row.inputs:6} {row.lines:>11}  "
            f"{len(row.crashes)}",
            flush=True,
        )
    for crash in (crash for row in rows for crash in row.crashes):
        print(crash)
    return int(any(row.crashes for row in rows))


if __name__ == "__main__":
    sys.exit(main())
