"""What a simulated fleet is made of."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulators.asic.crowd import BootCrowd
from simulators.asic.models import MinerModel
from simulators.asic.response import Behaviour, ResponseTimes

_PER_MINER = ("asleep", "behaviours", "profile_index", "response_scale", "feeder", "draw_ratio", "report_ratio")


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """What a fleet is made of and how it stands at the start.

    `models` names each miner's model, in index order; every other sequence is as long or None. `profile_index` None
    means every miner at its model's nameplate. `response_scale` multiplies all response times of a miner (2.0 is a
    miner twice as slow); `response` takes the place of every model's own. Biases are fractions; `boot_overshoot` is the
    largest overshoot drawn, 0 for none. `feeder` numbers each miner's feeder, None for one that has them all;
    `boot_crowd` None means that a crowd boots like one. `draw_ratio`: what each miner draws at the wall over its
    model's ladder, which makers state to 5 % (Antminer S19 Pro: 3,250 W +-5 %); `report_ratio`: what its model's
    firmware says over what is drawn, on top of its own bias.
    """

    models: Sequence[MinerModel]
    seed: int
    asleep: Sequence[bool] | None = None
    behaviours: Sequence[Behaviour] | None = None
    profile_index: Sequence[int] | None = None
    response_scale: Sequence[float] | None = None
    response: ResponseTimes | None = None
    report_bias_sigma: float = 0.03
    report_bias_limit: float = 0.10
    report_noise_sigma: float = 0.005
    boot_overshoot: float = 0.03
    feeder: Sequence[int] | None = None
    boot_crowd: BootCrowd | None = None
    draw_ratio: Sequence[float] | None = None
    report_ratio: Sequence[float] | None = None

    def __post_init__(self) -> None:
        for name in _PER_MINER:
            given: Sequence[object] | None = getattr(self, name)
            if given is not None and len(given) != len(self.models):
                raise ValueError(f"{name} has {len(given)} entries for {len(self.models)} miners")
