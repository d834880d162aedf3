"""The limit: no broker, one process; a job's JSON from bytes, the function, its answer to bytes, and the next.

`python in_process.py JOBS.jsonl` loads everything, says so with an empty line, and then does as many jobs as each
line of its stdin asks for, or fewer in the seconds that it gives. Each time it answers with one line of JSON: wall
and CPU time in all, every job's time and label. The labels are what the contenders' replies are compared with.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from inside import resolve


def main() -> None:
    """Answer stdin line by line."""
    function = resolve()
    bodies = Path(sys.argv[1]).read_bytes().splitlines()
    print(flush=True)
    for line in sys.stdin:
        times, answers = [], []
        cpu, begun = time.process_time(), time.perf_counter()
        jobs, seconds = line.split()
        for place in range(int(jobs)):
            started = time.perf_counter()
            answers.append(json.dumps(function(json.loads(bodies[place % len(bodies)]))).encode())
            times.append(time.perf_counter() - started)
            if time.perf_counter() - begun > float(seconds):
                break
        wall_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
        labels = [json.loads(answer)["label"] for answer in answers]
        print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "times_s": times, "labels": labels}), flush=True)


main()
