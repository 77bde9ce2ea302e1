"""Machines that do not exist, at the ends of what a response class and a ladder may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controller.domain.fleet import ResponseClass
from simulators.asic.models import MODELS, MinerModel, Profile
from simulators.asic.response import LUXOS_RESPONSE, ResponseTimes, Span, VerbResponse
from simulators.asic.spec import FleetSpec

SHARE_OF_SEEDS = 0.3
_PLAIN = MODELS["s21"]


def _ladder(watts: list[int], hashrate_th: float = 200.0) -> tuple[Profile, ...]:
    """Rungs at these watts, the last the nameplate; hash rate in proportion, so that models tie in J/TH."""
    top_w = watts[-1]
    return tuple(
        Profile(f"p{power_w}", step - len(watts) + 1, 490, 14.0, power_w, round(hashrate_th * power_w / top_w, 1))
        for step, power_w in enumerate(watts)
    )


def _verb(dead: tuple[float, float], to_90: tuple[float, float]) -> VerbResponse:
    return VerbResponse(Span(*dead), Span(*to_90))


def _machine(
    key: str, watts: list[int], response: ResponseTimes = LUXOS_RESPONSE, sleep_w: float = 25.0, trims: bool = True
) -> MinerModel:
    return replace(
        _PLAIN,
        key=key,
        name=key,
        response=response,
        profiles=_ladder(watts),
        default_profile=len(watts) - 1,
        sleep_power_w=sleep_w,
        idle_power_w=sleep_w + 40.0,
        trims=trims,
    )


_EVEN = [1750, 2100, 2450, 2800, 3150, 3500]
_LATE = _verb((3.0, 5.0), (2.0, 4.0))
MACHINES: tuple[MinerModel, ...] = (
    _machine("slow-boot", _EVEN, replace(LUXOS_RESPONSE, wake=_verb((25.0, 40.0), (50.0, 75.0)))),
    _machine("coarse", [2000, 3500]),
    _machine("fine", list(range(1500, 3501, 25))),
    _machine("hungry-sleeper", _EVEN, sleep_w=350.0),
    _machine("late", _EVEN, replace(LUXOS_RESPONSE, sleep=_LATE, profile=_LATE)),
    _machine("on-off", [3500], trims=False),
    _machine("tie", _EVEN),
)


def response_class(model: MinerModel) -> ResponseClass:
    """What an operator's class file would say of it: the middle of what it does."""
    times = model.response
    return ResponseClass(
        name=f"invented {model.key}",
        sleep_dead_s=times.sleep.dead_time.nominal_s,
        sleep_90_s=times.sleep.to_90_percent.nominal_s,
        wake_dead_s=times.wake.dead_time.nominal_s,
        wake_90_s=times.wake.to_90_percent.nominal_s,
        trim_dead_s=times.profile.dead_time.nominal_s,
        trim_90_s=times.profile.to_90_percent.nominal_s,
        sleep_power_w=round(model.sleep_power_w),
    )


def mixed_in(odd: np.random.Generator, fleet: FleetSpec) -> tuple[FleetSpec, Mapping[str, ResponseClass]]:
    """Some of a fleet's miners, or all, are one or two of these; and their classes by model key."""
    if odd.random() > SHARE_OF_SEEDS:
        return fleet, {}
    picks = [MACHINES[int(at)] for at in odd.permutation(len(MACHINES))[: int(odd.integers(1, 3))]]
    share = float(odd.choice([0.2, 0.5, 1.0]))
    models = [picks[int(odd.integers(len(picks)))] if odd.random() < share else model for model in fleet.models]
    return replace(fleet, models=models), {model.key: response_class(model) for model in picks}
