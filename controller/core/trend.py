"""Where the surplus is and whether it falls, through the noise of its meters.

A level and a trend follow the readings. While the trend points down the level goes on with it between readings, and
what is ordered now can be ordered for the moment at which it arrives. A rise is believed as it is seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MEMORY_S = 3.0  # how long one noisy reading is felt
TREND_GAIN = 1.5  # of the level's gain squared
SURELY = 2.5  # times the noise: so far off is no reading by noise alone, and it is followed at once
STEEPEST, LEAST = 1.0 / 3.0, 0.1  # noise a second: beyond the first a move is a step; what is below the other is noise


@dataclass(frozen=True, slots=True)
class Track:
    """The level at `at`, watts, and its trend, watts a second, as a meter's readings up to then have them.

    seen_w: the last reading itself. off_w: by how much it was beside what was expected of it.
    """

    at: float
    level_w: float
    trend_w_per_s: float = 0.0
    seen_w: float = 0.0
    off_w: float = 0.0

    @property
    def falls_w_per_s(self) -> float:
        """The trend where it points down; at most 0."""
        return min(self.trend_w_per_s, 0.0)


def follow(track: Track | None, seen_w: float, at: float, noise_w: float) -> Track:
    """The track after the reading `seen_w` of the time `at`.

    What could be noise is followed within seconds, what is beyond it at once; all of it when the second reading says so
    too, or no noise is that large. The same reading once more, moved by what else counts: the level moves with it.
    """
    if track is None:
        return Track(at, seen_w, 0.0, seen_w)
    if at <= track.at:
        moved_w = seen_w - track.seen_w
        return Track(track.at, track.level_w + moved_w, track.trend_w_per_s, seen_w, track.off_w)
    after_s = at - track.at
    expected_w = track.level_w + track.falls_w_per_s * after_s
    off_w = seen_w - expected_w
    step = abs(off_w) > SURELY * noise_w
    twice = abs(off_w) > noise_w and abs(track.off_w) > noise_w and off_w * track.off_w > 0.0
    gain = -math.expm1(-after_s / MEMORY_S)
    part_w = math.copysign(max(gain * abs(off_w), abs(off_w) - noise_w), off_w)
    level_w = seen_w if twice or step else expected_w + part_w
    turn_w, most = min(max(off_w, -noise_w), noise_w), STEEPEST * noise_w
    trend = track.trend_w_per_s + TREND_GAIN * gain * gain * turn_w / after_s
    trend = 0.0 if step else min(max(trend, -most), most)  # a step says nothing of where it goes from there
    return Track(at, level_w, trend, seen_w, off_w)


def soon_w(track: Track, after_s: float, noise_w: float) -> float:
    """Where the level will be `after_s` seconds later, watts: as far down as a fall that is none of the noise leads."""
    falls = track.falls_w_per_s
    return track.level_w + (falls * after_s if falls < -LEAST * noise_w else 0.0)
