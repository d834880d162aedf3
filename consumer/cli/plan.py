"""`consumer plan`: slots and consumers for a latency target, as a table or JSON. capacity/ computes them.

Reads the file of run times that `consumer try --times` writes. Modules that only this command needs are imported
when it runs, so that they do not delay the start of the service.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from consumer.cli.arguments import (
    DECIMAL,
    MAX_SECONDS,
    add_settings,
    decimal,
    is_written_as,
    read_file,
    refusal,
    settings_of,
    whole,
)

if TYPE_CHECKING:
    from consumer.capacity.plan import Target
    from consumer.capacity.service_times import MemoryUse, ServiceTime

HELP = "compute how many slots and consumers a latency target needs"
#: Largest count on the command line; a larger one is a typing error.
MOST = 1_000_000
MAX_SEED = 2**63 - 1
MAX_RATE = 1e9
#: The given number of slots is not enough, or no number is.
EXIT_NOT_MET = 1
DEFAULT_TARGET = "p95-wait=1"
_PER_S = {"": 1.0, "/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600, "/d": 1 / 86400}
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def describe(command: argparse.ArgumentParser) -> None:
    """Add the flags."""
    command.add_argument(
        "--rate",
        type=_rate,
        required=True,
        metavar="N",
        help="rate at which jobs arrive: 30, 30/s, 1800/min, 5000/h or 90000/d",
    )
    runs = command.add_mutually_exclusive_group(required=True)
    runs.add_argument(
        "--times", type=Path, metavar="FILE", help="file of run times that `consumer try --times` has written"
    )
    runs.add_argument(
        "--service",
        metavar="FIGURES",
        help="run times in seconds: mean=0.1, or mean=0.1,cv=0.5, or p50=0.1,p95=0.3",
    )
    command.add_argument(
        "--target",
        type=_target,
        default=DEFAULT_TARGET,
        metavar="WHAT=S",
        help="limit of the p50, p95 or p99 of the wait or the total, in seconds, e.g. p95-total=2; default: "
        f"{DEFAULT_TARGET}",
    )
    command.add_argument(
        "--slots", type=whole(1, MOST), metavar="N", help="also judge N slots; exit code 1 if they are not enough"
    )
    command.add_argument(
        "--burst",
        type=whole(1, MOST),
        default=1,
        metavar="N",
        help="number of jobs that arrive together; default: 1",
    )
    command.add_argument(
        "--overhead-ms",
        type=decimal(0, 1000 * MAX_SECONDS, "milliseconds"),
        metavar="MS",
        help="time that RabbitMQ and the consumer add to each run; default: 3",
    )
    command.add_argument(
        "--slot-memory",
        type=_bytes,
        metavar="BYTES",
        help="memory of one slot, e.g. 120M; default: as measured by --times",
    )
    command.add_argument(
        "--seed",
        type=whole(-MAX_SEED, MAX_SEED),
        default=1,
        metavar="N",
        help="seed of the random numbers; default: 1",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    add_settings(command)


def _rate(text: str) -> float:
    number, slash, unit = text.partition("/")
    try:
        rate = float(number) * _PER_S[slash + unit] if is_written_as(DECIMAL, number) else 0.0
    except (KeyError, ValueError):
        rate = 0.0
    if not 0 < rate <= MAX_RATE:
        raise refusal(text, "a rate above 0: jobs per second, or with /s, /min, /h or /d behind it")
    return rate


def _target(text: str) -> Target:
    from consumer.capacity.plan import Target  # noqa: PLC0415 - see above

    try:
        return Target.read(text)
    except ValueError as error:
        raise refusal(text, f"a target: {error}") from None


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,18})([kMG]?)", text)
    if not found or not int(found[1]):
        raise refusal(text, "a whole number of bytes above 0, such as 120000000, 120M or 2G")
    return int(found[1]) * _BYTES[found[2]]


def run(arguments: argparse.Namespace) -> int:
    """Plan, and show the plan; return the exit code: whether the target is met."""
    from consumer.capacity import report  # noqa: PLC0415 - see above
    from consumer.capacity.plan import OVERHEAD_S, Load, plan  # noqa: PLC0415

    settings = settings_of(arguments)
    service, memory = _service(arguments)
    overhead_s = OVERHEAD_S if arguments.overhead_ms is None else arguments.overhead_ms / 1000
    load = Load(arguments.rate, service, arguments.burst, overhead_s)
    found = plan(load, arguments.target, given=arguments.slots, seed=arguments.seed)
    sizing = report.Sizing.of(found, arguments.slots, settings.pool_size, _memory(arguments, memory))
    if arguments.json:
        print(json.dumps(report.as_json(load, found, sizing, settings.pool_size), indent=1))
    else:
        report.show(load, found, sizing, sys.stdout)
    return os.EX_OK if sizing and sizing.row.meets else EXIT_NOT_MET


def _memory(arguments: argparse.Namespace, measured: MemoryUse | None) -> MemoryUse | None:
    from consumer.capacity.service_times import MemoryUse  # noqa: PLC0415 - see above

    if arguments.slot_memory is None:
        return measured
    return MemoryUse(base_bytes=measured.base_bytes if measured else 0, slot_bytes=arguments.slot_memory)


def _service(arguments: argparse.Namespace) -> tuple[ServiceTime, MemoryUse | None]:
    from consumer.capacity import service_times  # noqa: PLC0415 - see above

    if arguments.service:
        return service_times.given(arguments.service), None
    times = service_times.read_times(str(arguments.times), read_file(arguments.times))
    source = f"{len(times.run_s):,} runs in {arguments.times}"
    return service_times.measured(times.run_s, source), times.memory
