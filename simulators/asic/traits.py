"""What every miner of a fleet is, as arrays: its ladder, its behaviour, its bias, its own place within every span."""

from collections.abc import Sequence
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulators.asic.response import Behaviour
from simulators.asic.spans import Spans
from simulators.asic.spec import FleetSpec

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.int8]
Bools: TypeAlias = NDArray[np.bool_]

# What a pending command, or the curve a miner is on, is about.
NONE: Final = 0
SLEEP: Final = 1
WAKE: Final = 2
PROFILE: Final = 3

_Scalar = TypeVar("_Scalar", bound=np.generic)


def given(values: Sequence[object] | None, otherwise: Sequence[object], dtype: type[_Scalar]) -> NDArray[_Scalar]:
    """The values as an array; `otherwise` where there are none."""
    return np.array(otherwise if values is None else values, dtype=dtype)


class FleetTraits:
    """The miners of a fleet, one index each. Nothing here changes with time but the streams of random numbers."""

    def __init__(self, spec: FleetSpec) -> None:
        count = len(spec.models)
        self.count: Final = count
        self._all: Final[Ints] = np.arange(count)
        self.spec: Final = spec
        self.models: Final = tuple(spec.models)
        # Separate streams: when commands arrive must not change what the firmware's noise looks like.
        traits, self._command_rng, self._report_rng, self._luck_rng = np.random.default_rng(spec.seed).spawn(4)
        self._traits_rng: Final = traits

        # One row per miner, padded with zeros to the longest ladder; `ladder_length` says where a row ends.
        longest = max((len(model.profiles) for model in self.models), default=1)
        ladder_power_w = np.zeros((count, longest))
        self.ladder_hashrate_th: Final[Floats] = np.zeros((count, longest))
        self.ladder_length: Final[Ints] = np.array([len(model.profiles) for model in self.models], dtype=np.int64)
        for i, model in enumerate(self.models):
            ladder_power_w[i, : len(model.profiles)] = [rung.power_w for rung in model.profiles]
            self.ladder_hashrate_th[i, : len(model.profiles)] = [rung.hashrate_th for rung in model.profiles]
        draws = given(spec.draw_ratio, [1.0] * count, np.float64)
        self.ladder_power_w: Final[Floats] = ladder_power_w * draws[:, None]
        self.sleep_power_w: Final[Floats] = np.array([model.sleep_power_w for model in self.models])
        self.idle_power_w: Final[Floats] = np.array([model.idle_power_w for model in self.models])
        self.nameplate_w: Final[Floats] = np.array([float(model.nameplate.power_w) for model in self.models])

        self.loses_profile: Final[Bools] = np.array(
            [model.profile_lost_at_restart for model in self.models], dtype=bool
        )
        self.loses_sleep: Final[Bools] = np.array([model.sleep_lost_at_reboot for model in self.models], dtype=bool)
        times = [spec.response or model.response for model in self.models]
        self._dead_time: Final = {
            SLEEP: Spans.of(times, lambda t: t.sleep.dead_time),
            WAKE: Spans.of(times, lambda t: t.wake.dead_time),
            PROFILE: Spans.of(times, lambda t: t.profile.dead_time),
        }
        self._to_90_percent: Final = {
            SLEEP: Spans.of(times, lambda t: t.sleep.to_90_percent),
            WAKE: Spans.of(times, lambda t: t.wake.to_90_percent),
            PROFILE: Spans.of(times, lambda t: t.profile.to_90_percent),
        }
        self._reboot_off: Final = Spans.of(times, lambda t: t.reboot_off)

        self.behaviour: Final[Codes] = given(spec.behaviours, [Behaviour.OBEYS] * count, np.int8)
        self._silent: Final[Bools] = (self.behaviour & Behaviour.SILENT_DRAW) != 0
        self.response_scale: Final[Floats] = given(spec.response_scale, [1.0] * count, np.float64)
        limit = spec.report_bias_limit
        own = np.clip(traits.normal(0.0, spec.report_bias_sigma, count), -limit, limit)
        said = given(spec.report_ratio, [1.0] * count, np.float64)
        self.report_bias: Final[Floats] = own + (said - 1.0)
        self._overshoot: Final[Floats] = traits.uniform(0.0, spec.boot_overshoot, count)
        # Each miner's own place within every span, 0 quick and 1 slow; wakes bunch towards the quick end with a tail.
        self._quickness: Final[Floats] = traits.uniform(0.0, 1.0, (count, 4))
        self._quickness[:, WAKE] = traits.beta(2.0, 2.5, count)

    def _draw(self, indices: Ints, kind: int, spans: Spans) -> Floats:
        """Seconds within the span of each miner: its own place, a little different every time, scaled if it is slow."""
        place = self._quickness[indices, kind] + self._command_rng.normal(0.0, 0.1, indices.size)
        seconds: Floats = spans.at(indices, np.clip(place, 0.0, 1.0)) * self.response_scale[indices]
        return seconds
