"""The surplus behind the noise of its meters: noise is not chased, a step is followed, a fall is seen in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from controller.core.trend import Track, follow, soon_w

NOISE_W = 1_000.0
SIGMA = 0.6  # of the noise that is configured: what one reading is beside the truth, standard deviation
LEAD_S = 4.0


def track_of(readings: list[float], every_s: float = 1.0) -> Track:
    found: Track | None = None
    for number, reading in enumerate(readings):
        found = follow(found, reading, number * every_s, NOISE_W)
    assert found is not None
    return found


REST = [50_000.0] * 10


def test_one_reading_that_could_be_noise_moves_the_level_by_a_part() -> None:
    assert track_of([*REST, 49_000.0]).level_w == pytest.approx(49_717.0, abs=1.0)
    assert track_of([*REST, 48_500.0]).level_w == pytest.approx(49_500.0, abs=1.0)


def test_a_second_one_that_says_the_same_is_followed_at_once() -> None:
    assert track_of([*REST, 48_500.0, 48_200.0]).level_w == 48_200.0
    assert track_of([*REST, 48_500.0, 51_000.0]).level_w > 49_500.0


@pytest.mark.parametrize("step_w", [-20_000.0, -2_600.0, 2_600.0, 20_000.0])
def test_a_step_that_no_noise_makes_is_followed_at_once(step_w: float) -> None:
    assert track_of([*REST, 50_000.0 + step_w]).level_w == 50_000.0 + step_w


@pytest.mark.parametrize("every_s", [0.5, 1.0, 2.0, 5.0])
def test_a_fall_is_followed_without_delay_and_led_by_what_a_move_takes(every_s: float) -> None:
    fall = [50_000.0 - 300.0 * every_s * number for number in range(round(40.0 / every_s))]
    track = track_of([*REST, *fall], every_s)
    assert track.level_w == pytest.approx(fall[-1], abs=0.2 * NOISE_W)
    assert soon_w(track, LEAD_S, NOISE_W) == pytest.approx(fall[-1] - LEAD_S * 300.0, abs=0.3 * NOISE_W)


def test_a_fall_in_the_noise_is_seen_within_ten_seconds() -> None:
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0.0, SIGMA * NOISE_W, 200)
        truth = np.concatenate((np.full(100, 50_000.0), 50_000.0 - 300.0 * np.arange(1, 101)))
        found, off = None, []
        for second, reading in enumerate((truth + noise).tolist()):
            found = follow(found, reading, float(second), NOISE_W)
            off.append(soon_w(found, LEAD_S, NOISE_W) - truth[second] + LEAD_S * 300.0)
        assert float(np.mean(off[110:])) < 0.5 * NOISE_W
        assert float(np.mean(off[110:])) > -1.0 * NOISE_W


def test_noise_alone_leads_nowhere() -> None:
    noise = np.random.default_rng(1).normal(0.0, SIGMA * NOISE_W, 2_000)
    found, led = None, []
    for second, reading in enumerate((50_000.0 + noise).tolist()):
        found = follow(found, reading, float(second), NOISE_W)
        led.append(found.level_w - soon_w(found, LEAD_S, NOISE_W))
    assert float(np.mean(led)) < 0.1 * NOISE_W


def test_a_rise_is_believed_as_it_is_seen_and_leads_nobody() -> None:
    track = track_of([*REST, *(50_000.0 + 300.0 * number for number in range(20))])
    assert soon_w(track, LEAD_S, NOISE_W) == track.level_w <= 50_000.0 + 300.0 * 19


def test_the_same_reading_with_another_despatch_moves_by_that() -> None:
    """A cycle between two readings is no second witness for the first."""
    track = track_of([*REST, 48_500.0])
    again = follow(track, 48_500.0, track.at, NOISE_W)
    assert again.level_w == track.level_w
    assert follow(track, 48_500.0 - 700.0, track.at, NOISE_W).level_w == track.level_w - 700.0


def test_a_step_is_no_trend() -> None:
    track = track_of([*REST, 20_000.0])
    assert soon_w(track, LEAD_S, NOISE_W) == track.level_w == 20_000.0
