"""From a scenario to what the oracle needs: the obedient fleet in classes, the site around it, the cap it had."""

import numpy as np
import numpy.typing as npt

from simulators.accounting import violation_horizon_s
from simulators.asic.curves import boot_fraction, exponential_fraction
from simulators.asic.models import MinerModel
from simulators.asic.response import Behaviour, VerbResponse
from simulators.oracle_case import OracleClass, OracleSite, RampWindow
from simulators.scenario import Scenario

FloatArray = npt.NDArray[np.float64]
_CURVE_POINTS = 12
_BOOT_ARRIVES = 1.25  # progress (1.0 = 90 %) at which a boot without overshoot is level
_EXPONENTIAL_ARRIVES = 1.6  # progress at which 97.5 % of the way is done; the rest is below the noise of a meter


def oracle_fleet(scenario: Scenario) -> tuple[tuple[OracleClass, ...], OracleSite]:
    """Describe a scenario's fleet to the oracle.

    Miners respond at the middle of their firmware's spans. Never-wakers, liars and refusers are known to the oracle and
    excluded: they draw what they drew at the start. The dwell of hashing miners is not held against it, because a
    falling surplus waives it.
    """
    fleet = scenario.fleet
    loss = scenario.plant.site.mean_loss_fraction()
    rated_w = fleet.rated_w()
    fixed_w = scenario.plant.site.auxiliary_w
    members: dict[str, list[bool]] = {}
    models: dict[str, MinerModel] = {}
    for model, behaviour, asleep in zip(fleet.miners(), fleet.behaviours(), fleet.asleep(), strict=True):
        models[model.key] = model
        if behaviour is Behaviour.OBEYS:
            members.setdefault(model.key, []).append(asleep)
        else:
            fixed_w += (model.sleep_power_w if asleep else model.nameplate.power_w) * (1.0 + loss)
    classes = tuple(
        oracle_class(models[key], len(asleep), asleep.count(False), scenario.policy.min_asleep_s)
        for key, asleep in members.items()
    )
    policy = scenario.policy
    ramps = (
        RampWindow(60.0, policy.ramp_up_fraction_per_min * rated_w, policy.ramp_down_fraction_per_min * rated_w),
        RampWindow(15.0, policy.step_15s_fraction * rated_w, policy.step_15s_fraction * rated_w),
    )
    return classes, OracleSite(loss_fraction=loss, fixed_w=fixed_w, ramps=ramps)


def cap_steps(t_s: FloatArray, cap_w: FloatArray, duration_s: float, dt_s: float) -> FloatArray:
    """Bring a recorded cap to the oracle's steps.

    Args:
        t_s, cap_w: record of the line to be kept, shape (n,); `t_s` in seconds from the start of the run, rising.
        duration_s, dt_s: length of the run and of a step.

    Returns:
        The lowest cap within each step, W, shape (floor(duration / dt),), so that the oracle is under it all the time.
    """
    steps = int(duration_s / dt_s + 1e-9)
    edges = np.arange(steps + 1) * dt_s
    # The value in force when a step begins counts too: it was sampled before.
    first = np.maximum(np.searchsorted(t_s, edges[:-1], side="right") - 1, 0)
    last = np.maximum(np.searchsorted(t_s, edges[1:], side="left"), first + 1)
    return np.array([cap_w[a:b].min() for a, b in zip(first, last, strict=True)], dtype=np.float64)


def demo_horizon_s(scenario: Scenario) -> float:
    """Return H of the violation rule: slowest miner of normal speed, sleep or trim, whichever takes longer."""
    models = scenario.fleet.miners()
    verbs = [model.response.sleep for model in models] + [model.response.profile for model in models if model.trims]
    slowest = max(verbs, key=lambda verb: verb.slowest_total_s)
    return violation_horizon_s(
        meter_period_s=scenario.policy.meter_period_s,
        cycle_s=scenario.policy.cycle_s,
        dead_time_s=slowest.dead_time.high_s,
        down_90_s=slowest.to_90_percent.high_s,
    )


def oracle_class(model: MinerModel, count: int, hashing: int, min_asleep_s: float) -> OracleClass:
    """Describe `count` miners of one model, `hashing` of them at the start; nothing holds who hashes."""
    response = model.response
    return OracleClass(
        name=model.key,
        count=count,
        hashing_at_start=hashing,
        full_w=float(model.nameplate.power_w),
        floor_w=float((model.profiles[0] if model.trims else model.nameplate).power_w),
        sleep_w=model.sleep_power_w,
        trim_s=response.profile.nominal_total_s if model.trims else 0.0,
        wake_curve=_curve(response.wake, boot=True),
        sleep_curve=_curve(response.sleep, boot=False),
        min_hashing_s=0.0,
        min_asleep_s=min_asleep_s,
    )


def _curve(verb: VerbResponse, *, boot: bool) -> tuple[tuple[float, float], ...]:
    """Return points of the power curve after a command of a middling miner, without overshoot."""
    progress = np.linspace(0.0, _BOOT_ARRIVES if boot else _EXPONENTIAL_ARRIVES, _CURVE_POINTS)
    fractions = boot_fraction(progress, np.zeros_like(progress)) if boot else exponential_fraction(progress)
    seconds = verb.dead_time.nominal_s + progress * verb.to_90_percent.nominal_s
    points = [(float(s), float(f)) for s, f in zip(seconds, fractions, strict=True)]
    return (*points[:-1], (points[-1][0], 1.0))
