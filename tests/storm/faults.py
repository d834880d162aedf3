"""The storm's faults, in three lanes that blow at the same time: RabbitMQ, the network, processes.

In a lane one fault follows the other, each with its own mending, so that all is whole when a lane has ended. What
is chosen comes from the seed alone; when it strikes what is the machine's doing.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.rabbitmq.management_api import rabbitmqctl

from consumer.local_broker import node as local_broker
from storm.amqp_proxy import AmqpProxy
from storm.units import Unit

NO_MEMORY, SOME_MEMORY = "0.000001", "0.4"
#: The longest silence. With a heartbeat of one second it is noticed after six.
SILENCE_S = 8.0
#: A delivery may be held for this long, instead of half an hour; it is looked at every second.
CONSUMER_TIMEOUT_S = 3
ADVANCED = (
    f"[{{rabbit, [{{consumer_timeout, {CONSUMER_TIMEOUT_S * 1000}}}, {{channel_tick_interval, 1000}}, "
    "{quorum_tick_interval, 1000}]}]."
)

#: Makes a fault and mends it; returns whether there was anything to strike.
Fault = Callable[[random.Random], bool]


class Lane:
    """Makes one fault after another for as long as the block lasts.

    Mutable state, of its thread: `made`, how many of each; `bug`, what ended it.
    """

    def __init__(self, name: str, faults: Mapping[Fault, int], *, seed: int, pause_s: float) -> None:
        """Make a lane.

        Args:
            name: for the seed and for people.
            faults: each with how often it is chosen, in relation to the others.
            seed: of the storm.
            pause_s: between two faults, on average.
        """
        self.made: Counter[str] = Counter()
        self.bug: BaseException | None = None
        self._faults = faults
        self._pause_s = pause_s
        self._chance = random.Random(f"{seed} {name}")  # noqa: S311 - a storm that can be repeated
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the last fault is mended."""
        self._is_over.set()
        self._thread.join()
        if self.bug:
            raise self.bug

    def _run(self) -> None:
        try:
            while not self._is_over.wait(self._chance.expovariate(1 / self._pause_s)):
                [fault] = self._chance.choices(list(self._faults), list(self._faults.values()))
                if fault(self._chance):
                    self.made[fault.__qualname__] += 1
        except BaseException as error:  # noqa: BLE001 - raised at the end, in the test's own thread
            self.bug = error


class Rabbit:
    """The one node, and its faults. Mutable state: `node`, another process after each kill."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.node = self._up()

    def _up(self) -> local_broker.Node:
        return local_broker.up(self._data_dir, more={"advanced.config": f"{ADVANCED}\n"})

    def stop_and_start(self, pause_s: float = 0.0) -> None:
        """Let it end as it should, with all its files saved."""
        rabbitmqctl(self.node, "stop_app")
        time.sleep(pause_s)
        rabbitmqctl(self.node, "start_app")

    def restarted(self, chance: random.Random) -> bool:
        self.stop_and_start(chance.uniform(0, 2))
        return True

    def killed(self, _: random.Random) -> bool:
        os.kill(self.node.pid, signal.SIGKILL)
        os.waitpid(self.node.pid, 0)  # its ports are free when its last thread has gone
        self.node = self._up()
        return True

    def frozen(self, chance: random.Random) -> bool:
        """Silent for a shorter or a longer time than heartbeats take to notice."""
        os.kill(self.node.pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, SILENCE_S))
        os.kill(self.node.pid, signal.SIGCONT)
        return True

    def out_of_memory(self, chance: random.Random) -> bool:
        rabbitmqctl(self.node, "set_vm_memory_high_watermark", NO_MEMORY)
        time.sleep(chance.uniform(0.5, 4))
        rabbitmqctl(self.node, "set_vm_memory_high_watermark", SOME_MEMORY)
        return True

    def lane(self, seed: int) -> Lane:
        faults: dict[Fault, int] = {self.restarted: 2, self.killed: 2, self.frozen: 2, self.out_of_memory: 3}
        return Lane("RabbitMQ", faults, seed=seed, pause_s=4)


@dataclass(frozen=True)
class Network:
    """The ways between consumers and RabbitMQ, each consumer's its own."""

    proxies: Sequence[AmqpProxy]

    def cut(self, chance: random.Random) -> bool:
        chance.choice(self.proxies).cut()
        return True

    def silent(self, chance: random.Random) -> bool:
        proxy = chance.choice(self.proxies)
        proxy.silence()
        time.sleep(chance.uniform(0.5, SILENCE_S))
        proxy.resume()
        return True

    def refusing(self, chance: random.Random) -> bool:
        proxy = chance.choice(self.proxies)
        proxy.refuse()
        time.sleep(chance.uniform(0.1, 3))
        proxy.accept()
        return True

    def consumer_cancelled(self, chance: random.Random) -> bool:
        return chance.choice(self.proxies).cancel_consumers()

    def channel_closed(self, chance: random.Random) -> bool:
        return chance.choice(self.proxies).close_channels()

    def lane(self, seed: int) -> Lane:
        faults: dict[Fault, int] = {
            self.cut: 4,
            self.silent: 2,
            self.refusing: 1,
            self.consumer_cancelled: 2,
            self.channel_closed: 2,
        }
        return Lane("network", faults, seed=seed, pause_s=1)


@dataclass(frozen=True)
class Processes:
    """The consumers and what runs below them. The `witness` is never ended itself: what it holds is measured.

    `disk` is where its job files are, a small file system of its own; None where none can be made.
    """

    units: Sequence[Unit]
    witness: Unit
    disk: Path | None

    def consumer_killed(self, chance: random.Random) -> bool:
        chance.choice(self.units).signal(signal.SIGKILL)
        return True

    def consumer_terminated(self, chance: random.Random) -> bool:
        chance.choice(self.units).signal(signal.SIGTERM)
        return True

    def consumer_reloaded(self, _: random.Random) -> bool:
        self.witness.signal(signal.SIGHUP)
        return True

    def worker_killed(self, chance: random.Random) -> bool:
        return self._strike(chance, signal.SIGKILL)

    def worker_terminated(self, chance: random.Random) -> bool:
        return self._strike(chance, signal.SIGTERM)

    def disk_full(self, chance: random.Random) -> bool:
        if not self.disk:
            return False
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 65536):
                pass
        time.sleep(chance.uniform(0.2, 3))
        filler.unlink()
        return True

    def _strike(self, chance: random.Random, number: signal.Signals) -> bool:
        """Strike one process below a consumer: a worker, the fork server, a program, what they have started."""
        found = chance.choice([*self.units, self.witness]).descendants()
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(chance.choice(found), number)
        return True

    def lane(self, seed: int) -> Lane:
        faults: dict[Fault, int] = {
            self.consumer_killed: 2,
            self.consumer_terminated: 2,
            self.consumer_reloaded: 1,
            self.worker_killed: 6,
            self.worker_terminated: 2,
            self.disk_full: 1,
        }
        return Lane("processes", faults, seed=seed, pause_s=1)
