"""Generated currents: the same for the same seed, and shaped by the physics that is promised."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.signals import machines
from classifier.signals.machines import LONGEST, MAINS_HZ, SAMPLING_HZ, SHORTEST, STATES, Wave

DRIVEN = ("idle", "running", "overload", "locked_rotor", "bearing_fault", "broken_bar", "phase_loss")


def recordings(state: str, count: int = 20) -> list[Wave]:
    return [machines.signal(state, np.random.default_rng([7, number])) for number in range(count)]


def effective(wave: Wave) -> float:
    return float(np.sqrt((wave * wave).mean()))


def share_at(wave: Wave, hertz: float, width: float = 4.0) -> float:
    """The share of power within `width` Hz of a frequency."""
    power = np.abs(np.fft.rfft(wave * np.hanning(wave.size), 8192)) ** 2
    near = np.abs(np.fft.rfftfreq(8192, 1.0 / SAMPLING_HZ) - hertz) <= width
    return float(power[near].sum() / power.sum())


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data() -> None:
    assert machines.generate(2, seed=3).sha256() == machines.generate(2, seed=3).sha256()
    assert machines.generate(2, seed=3).sha256() != machines.generate(2, seed=4).sha256()


def test_asking_for_more_keeps_what_was_there() -> None:
    few, more = machines.generate(2, seed=3), machines.generate(3, seed=3)
    kept = {signal.tobytes() for signal in more.signals}
    assert all(signal.tobytes() in kept for signal in few.signals)


def test_every_state_comes_as_often_as_asked_with_varying_lengths() -> None:
    data = machines.generate(9)
    assert {name: data.labels.count(name) for name in data.classes} == dict.fromkeys(STATES, 9)
    assert all(SHORTEST <= signal.size <= LONGEST for signal in data.signals)
    assert len({signal.size for signal in data.signals}) > 40
    assert all(np.isfinite(signal).all() for signal in data.signals)


@pytest.mark.parametrize("state", DRIVEN)
def test_most_power_is_at_the_mains_frequency(state: str) -> None:
    wave = machines.signal(state, np.random.default_rng(1))
    assert share_at(wave, MAINS_HZ) > 0.9


def test_current_grows_with_load() -> None:
    means = [np.mean([effective(wave) for wave in recordings(state)]) for state in ("off", "idle", "running")]
    means += [np.mean([effective(wave) for wave in recordings(state)]) for state in ("overload", "locked_rotor")]
    assert means == sorted(means)
    assert means[0] < 0.5
    assert means[-1] > 40.0


def test_a_start_begins_with_silence_and_decays_from_its_inrush() -> None:
    for wave in recordings("starting"):
        assert np.abs(wave[:8]).max() < 3.0
        assert np.abs(wave).max() > 2.0 * np.abs(wave[-20:]).max()


def test_a_stop_ends_in_silence() -> None:
    for wave in recordings("stopping"):
        assert effective(wave[-10:]) < 0.2 * effective(wave[:60])


def test_the_outer_ring_frequency_is_that_of_the_bearings_data_sheet() -> None:
    # 6205: 3.585 times the shaft's frequency, the figure that bearing data bases list.
    assert machines.bpfo_hz(1.0) == pytest.approx(3.585, abs=0.002)


def side_band(state: str, offsets: list[float]) -> float:
    shares = [share_at(wave, MAINS_HZ + offset) for wave in recordings(state, 60) for offset in offsets]
    return float(np.mean(shares))


def test_a_bearing_fault_has_side_bands_at_the_ball_pass_frequency() -> None:
    # The shaft turns at 23.75 to 24.5 Hz under these loads.
    offset = machines.bpfo_hz(24.1)
    assert side_band("bearing_fault", [offset]) > 3.0 * side_band("running", [offset])


def test_a_broken_bar_makes_the_current_beat_at_twice_the_slip_frequency() -> None:
    def beating(wave: Wave) -> float:
        periods = wave[: wave.size // 20 * 20].reshape(-1, 20)
        heights = np.sqrt((periods**2).mean(axis=1))
        return float(heights.std() / heights.mean())

    assert np.mean(list(map(beating, recordings("broken_bar", 60)))) > 1.5 * np.mean(
        list(map(beating, recordings("running", 60)))
    )


def test_a_lost_phase_has_a_third_harmonic() -> None:
    third = [3 * MAINS_HZ - MAINS_HZ]
    assert side_band("phase_loss", third) > 10.0 * side_band("running", third)
