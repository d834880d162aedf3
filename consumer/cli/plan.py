"""`consumer plan`: slots and consumers for a latency target, as a table or JSON. capacity/ computes them.

Reads the file of run times that `consumer try --times` writes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from consumer.capacity import report, service_times
from consumer.capacity.plan import OVERHEAD_S, Load, Target, plan
from consumer.capacity.service_times import ServiceTime
from consumer.cli.arguments import (
    MAX_SECONDS,
    add_settings,
    decimal,
    duration,
    read_file,
    refusal,
    settings_of,
    whole,
)
from consumer.cli.progress_line import progress
from consumer.wording import counted

EXAMPLES = (
    "consumer plan --rate 20 --times times.json --target p95-wait=500ms",
    "consumer plan --rate 20 --service mean=0.1,cv=0.5 --slots 4",
)
#: Largest values on the command line; a larger one is a typing error.
MAX_SLOTS = 1_000_000
MAX_RATE = 1e9
#: One job in 30 years.
MIN_RATE = 1e-9
#: The given number of slots is not enough, or no number is.
EXIT_NOT_MET = 1
DEFAULT_TARGET = "p95-wait=1s"


def describe(command: argparse.ArgumentParser) -> None:
    """Add the flags."""
    load = command.add_argument_group("the load")
    load.add_argument(
        "--rate",
        type=decimal(MIN_RATE, MAX_RATE, "jobs per second"),
        required=True,
        metavar="N",
        help="number of jobs that arrive per second",
    )
    runs = load.add_mutually_exclusive_group(required=True)
    runs.add_argument(
        "--times",
        type=Path,
        metavar="FILE",
        help="file that `consumer try --times` has written; required without --service; default: none",
    )
    runs.add_argument(
        "--service",
        metavar="FIGURES",
        help="guessed run times: mean=0.1, or mean=100ms,cv=0.5 (cv: standard deviation / mean), or "
        "p50=0.1,p95=0.3; default: none",
    )
    load.add_argument(
        "--overhead",
        type=duration(0, MAX_SECONDS),
        default=OVERHEAD_S,
        metavar="TIME",
        help="time that RabbitMQ and the consumer add to each run; default: 3ms",
    )
    wanted = command.add_argument_group("the aim")
    wanted.add_argument(
        "--target",
        type=_target,
        default=DEFAULT_TARGET,
        metavar="WHAT=TIME",
        help="the goal: p50, p95 or p99 of the wait for a slot, or of the total (wait and run), e.g. p95-total=2s",
    )
    wanted.add_argument(
        "--slots",
        type=whole(1, MAX_SLOTS),
        metavar="N",
        help="also check whether N slots meet the target; exit code 1 if they are not enough; default: only "
        "compute the smallest number",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    add_settings(command)


def _target(text: str) -> Target:
    try:
        return Target.read(text)
    except ValueError as error:
        raise refusal(text, f"a target: {error}") from None


def run(arguments: argparse.Namespace) -> int:
    """Plan, and show the plan; return the exit code: whether the target is met."""
    pool_size = settings_of(arguments).pool_size
    load = Load(arguments.rate, _service(arguments), arguments.overhead)
    with progress("plans ...") as show:
        found = plan(
            load,
            arguments.target,
            given=arguments.slots,
            on_slots=lambda slots: show(f"simulates {counted(slots, 'slot')} ..."),
        )
    row = report.chosen(found, arguments.slots)
    if arguments.json:
        print(json.dumps(report.as_json(load, found, row, pool_size), indent=1))
    else:
        report.show(load, found, row, pool_size, sys.stdout)
    return os.EX_OK if row and row.meets else EXIT_NOT_MET


def _service(arguments: argparse.Namespace) -> ServiceTime:
    if arguments.service:
        return service_times.given(arguments.service)
    times = service_times.read_times(str(arguments.times), read_file(arguments.times))
    return service_times.measured(times.run_s, f"{len(times.run_s):,} runs in {arguments.times}")
