"""`make history`: adds the last results of `make bench` to bench-history/, and prints how the targets fare.

The file has a line of JSON for each run. The same results are added once. The table is Markdown: a row for each
target, a column for each of the last runs. It never measures anything, and never removes a run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path("bench-results") / "results.json"
HISTORY = Path("bench-history") / "history.jsonl"
#: Columns of the table; the file keeps all.
SHOWN = 7
_NONE = "-"

Run = dict[str, Any]


def run_of(results: Run, commit: str) -> Run:
    """Keep of the results what is compared between nights: what was measured for each target."""
    targets = {
        f"{target['number']}: {target['text']}": {key: target[key] for key in ("measured", "unit", "verdict")}
        for target in results["targets"]
    }
    return {"commit": commit, "machine": results["machine"], "targets": targets}


def added(history: Sequence[Run], run: Run) -> list[Run]:
    """Return the history with this run at its end; as it was if its last run is the same."""
    return [*history] if history and history[-1] == run else [*history, run]


def table(history: Sequence[Run]) -> Iterator[str]:
    """Show the last runs: a column for each, a row for each target that the last one has."""
    shown = history[-SHOWN:]
    yield f"| target | {' | '.join(run['commit'] for run in shown)} |"
    yield f"|---|{'--:|' * len(shown)}"
    for target in shown[-1]["targets"]:
        yield f"| {target.replace('|', '/')} | {' | '.join(_cell(run['targets'].get(target)) for run in shown)} |"
    yield ""
    yield f"The last run: {shown[-1]['machine']}."


def _cell(target: Run | None) -> str:
    if target is None or target["measured"] is None:
        return _NONE
    missed = " MISSED" if target["verdict"] == "MISSED" else ""
    return f"{target['measured']:.3g} {target['unit']}{missed}"


def main(commit: str) -> None:
    """Add the results that are in the current folder, and print the table."""
    if not RESULTS.exists():
        sys.exit(f"there is no {RESULTS}: run `make bench` first")
    lines = HISTORY.read_text().splitlines() if HISTORY.exists() else []
    history = added([json.loads(line) for line in lines], run_of(json.loads(RESULTS.read_text()), commit))
    HISTORY.parent.mkdir(exist_ok=True)
    HISTORY.write_text("".join(f"{json.dumps(run)}\n" for run in history))
    print("\n".join(table(history)))


if __name__ == "__main__":
    main(sys.argv[1])
