"""Generates the current of an electric machine in ten states by textbook physics. Equal seeds give equal data.

One phase of a three-phase induction motor, sampled at 1 kHz for 0.3 to 0.6 s (300 to 600 points), in amperes.
A current is the sum of the mains frequency f, its harmonics, and the components of a fault:

* A switch-on draws five to eight times the rated current, with a direct component; both decay exponentially.
* A defect in a bearing's outer ring changes the air gap at the rate at which balls pass the defect, and thereby
  the current's amplitude: side bands at f ± k·BPFO, with BPFO = n/2 · fr · (1 - d/D · cos a) for n balls of
  diameter d on the pitch diameter D, contact angle a and shaft frequency fr. Schoen, Habetler, Kamran and
  Bartheld, "Motor bearing damage detection using stator current monitoring", IEEE Trans. Ind. Appl. 31(6), 1995.
* A broken rotor bar gives side bands at (1 ± 2s)·f for the slip s. Thomson and Fenger, "Current signature
  analysis to detect induction motor faults", IEEE Ind. Appl. Mag. 7(4), 2001.
* The mains bring the 5th and 7th harmonic. Saturated iron, and two phases doing the work of three, add the 3rd.

Each signal is of another machine: rated current, load, harmonics, phase and noise are random. The ranges of
similar states touch (a full load and a light overload; a faint defect and an unsteady load), so that no classifier
is always right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifier.signals.datasets import DataSet

SAMPLING_HZ: Final = 1000.0
MAINS_HZ: Final = 50.0
SHORTEST: Final = 300
LONGEST: Final = 600

Wave: TypeAlias = NDArray[np.float64]

_RATED_A: Final = 10.0  # effective value at the rated load, in amperes
_FULL_SLIP: Final = 0.05  # at the rated load; the slip is proportional to the load
_POLE_PAIRS: Final = 2
# A deep-groove ball bearing 6205, which carries motors of this size.
_BALLS: Final = 9
_BALL_TO_PITCH: Final = 7.94 / 39.04
_CONTACT_ANGLE: Final = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Machine:
    """One machine during one recording."""

    random: np.random.Generator
    time: Wave  # seconds
    mains_hz: float
    rated: float  # peak current at the rated load, in amperes
    phase: float

    def slip(self, load: float) -> float:
        return _FULL_SLIP * load

    def shaft_hz(self, load: float) -> float:
        return self.mains_hz / _POLE_PAIRS * (1.0 - self.slip(load))

    def tone(self, multiple: float, share: float) -> Wave:
        """Return a sine of `multiple` times the mains frequency; its amplitude is `share` of the rated current."""
        angle = 2.0 * np.pi * multiple * self.mains_hz * self.time + multiple * self.phase
        wave: Wave = self.rated * share * np.sin(angle)
        return wave

    def current(self, load: float, third: float = 0.01) -> Wave:
        """Return the current under `load` times the rated load; `third`: the share of the third harmonic.

        Even without load, a motor draws its magnetising current, some 35 % of the rated one, at right angles to
        the load's current. The 5th and 7th harmonics stay within the limits of EN 50160 for mains (6 % and 5 %).
        """
        size = float(np.hypot(0.35, 0.94 * load))
        fifth, seventh = self.random.uniform(0.005, 0.05), self.random.uniform(0.003, 0.03)
        harmonics = self.tone(3, third) + self.tone(5, fifth) + self.tone(7, seventh)
        return size * self.unrest(load) * (self.tone(1, 1.0) + harmonics)

    def unrest(self, load: float) -> Wave:
        """Return the amplitude's variation in a healthy machine: no shaft is quite straight, no load quite steady.

        The second component, at 1 to 8 Hz, is in practice mistaken for a broken bar.
        """
        bent, unsteady = self.random.uniform(0.0, 0.02), self.random.uniform(0.0, 0.03)
        return 1.0 + bent * self.beat(self.shaft_hz(load)) + unsteady * self.beat(self.random.uniform(1.0, 8.0))

    def beat(self, hertz: float) -> Wave:
        """Return a sine of amplitude 1 and random phase."""
        return np.sin(2.0 * np.pi * (hertz * self.time + self.random.random()))

    def noise(self) -> Wave:
        """Return a sensor's noise, 0.5 to 2.5 % of the rated current, with a constant offset of the same order."""
        level = self.rated * self.random.uniform(0.005, 0.025)
        return level * (self.random.standard_normal(self.time.size) + self.random.standard_normal())


def bpfo_hz(shaft_hz: float) -> float:
    """Return the ball pass frequency of the outer ring, in Hz: how often a ball passes a defect of this ring."""
    return _BALLS / 2.0 * shaft_hz * (1.0 - _BALL_TO_PITCH * float(np.cos(_CONTACT_ANGLE)))


def _off(machine: _Machine) -> Wave:
    """Return almost no current: a neighbouring cable induces a little."""
    return machine.tone(1, machine.random.uniform(0.0, 0.01))


def _idle(machine: _Machine) -> Wave:
    return machine.current(machine.random.uniform(0.0, 0.15), third=0.03)


def _running(machine: _Machine) -> Wave:
    return machine.current(machine.random.uniform(0.4, 1.05))


def _overload(machine: _Machine) -> Wave:
    """Return a current above the rated load, at which the iron begins to saturate."""
    load = machine.random.uniform(1.05, 1.6)
    return machine.current(load, third=0.02 * load)


def _starting(machine: _Machine) -> Wave:
    """Return standstill, the switch-on, the inrush, and the run-up to some load."""
    random = machine.random
    since = machine.time - random.uniform(0.03, 0.3) * machine.time[-1]
    inrush = random.uniform(5.0, 8.0) * np.exp(-since.clip(0.0) / random.uniform(0.05, 0.15))
    direct = machine.rated * random.uniform(-4.0, 4.0) * np.exp(-since.clip(0.0) / random.uniform(0.01, 0.04))
    wave: Wave = machine.current(random.uniform(0.0, 0.8)) + direct + machine.tone(1, 1.0) * inrush
    return np.where(since < 0.0, 0.0, wave)


def _locked_rotor(machine: _Machine) -> Wave:
    """Return a start that never ends: the rotor does not turn, the slip is 1."""
    height = machine.random.uniform(4.5, 7.5)
    return machine.tone(1, height) + machine.tone(3, 0.05 * height)


def _stopping(machine: _Machine) -> Wave:
    """Return a current that is switched off: it ends within a period, when the arc is extinguished."""
    random = machine.random
    since = machine.time - random.uniform(0.3, 0.9) * machine.time[-1]
    arc: Wave = np.exp(-since.clip(0.0) / random.uniform(0.001, 0.005))
    return machine.current(random.uniform(0.0, 1.0)) * arc


def _bearing_fault(machine: _Machine) -> Wave:
    """Return a running machine's current whose amplitude pulses at BPFO and twice that."""
    load, depth = machine.random.uniform(0.4, 1.0), machine.random.uniform(0.015, 0.07)
    pulses = bpfo_hz(machine.shaft_hz(load))
    return machine.current(load) * (1.0 + depth * machine.beat(pulses) + 0.4 * depth * machine.beat(2.0 * pulses))


def _broken_bar(machine: _Machine) -> Wave:
    """Return a current under load: without load, a rotor carries no current, and a broken bar has no effect."""
    load, depth = machine.random.uniform(0.6, 1.0), machine.random.uniform(0.012, 0.07)
    side, slip = depth * load, machine.slip(load)
    return machine.current(load) + machine.tone(1 - 2 * slip, side) + machine.tone(1 + 2 * slip, 0.8 * side)


def _phase_loss(machine: _Machine) -> Wave:
    """Return the current of two phases that do the work of three: root 3 times as large, with a third harmonic."""
    load = machine.random.uniform(0.3, 0.9)
    return machine.current(np.sqrt(3.0) * load, third=machine.random.uniform(0.03, 0.15))


STATES: Final[dict[str, Callable[[_Machine], Wave]]] = {
    "off": _off,
    "idle": _idle,
    "running": _running,
    "overload": _overload,
    "starting": _starting,
    "stopping": _stopping,
    "locked_rotor": _locked_rotor,
    "bearing_fault": _bearing_fault,
    "broken_bar": _broken_bar,
    "phase_loss": _phase_loss,
}


def signal(state: str, random: np.random.Generator) -> Wave:
    """Return one recording of a machine in `state` (a key of `STATES`), in amperes at `SAMPLING_HZ`."""
    points = int(random.integers(SHORTEST, LONGEST, endpoint=True))
    machine = _Machine(
        random=random,
        time=np.arange(points) / SAMPLING_HZ,
        mains_hz=MAINS_HZ * random.uniform(0.998, 1.002),
        rated=np.sqrt(2.0) * _RATED_A * random.uniform(0.92, 1.08),
        phase=random.uniform(0.0, 2.0 * np.pi),
    )
    return STATES[state](machine) + machine.noise()


def generate(per_class: int, seed: int = 0) -> DataSet:
    """Generate `per_class` recordings of every state, shuffled.

    A larger `per_class` adds recordings, and changes none of the others.
    """
    made = [
        (signal(state, np.random.default_rng([seed, number, at])), state)
        for at, state in enumerate(STATES)
        for number in range(per_class)
    ]
    order = np.random.default_rng(seed).permutation(len(made)).tolist()
    return DataSet(tuple(made[at][0] for at in order), tuple(made[at][1] for at in order))
