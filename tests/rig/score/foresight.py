"""Two sites that do not exist: an ideal one that sees the order late, and the linear programme that knew it all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.domain.fleet import FloatArray
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from simulators.benchmark import oracle_class
from simulators.oracle import absorbable
from simulators.oracle_case import OracleClass, OracleSite, RampWindow
from tests.rig.score.judge import Day
from tests.rig.score.orders import RAMP_PER_MIN, SAMPLE_S, limited
from tests.rig.score.plant_site import LOSS, RULES, Site10MW

HOLD_S, LAG_S = 30.0, 10.0
ORACLE_STEP_S = 8.0


def lagged(day: Day) -> FloatArray:
    """(d) A site without miners: takes the order every 30 s, follows it by the ramps grids allow, 10 s late.

    It looks a quarter of a minute after the full half one, so that orders that come on the minute are no luck of it.
    """
    order_w, hold = day.orders.sampled(), round(HOLD_S / SAMPLE_S)
    since_look = (np.arange(len(order_w)) + hold // 2) % hold
    held_w = order_w[np.maximum(np.arange(len(order_w)) - since_look, 0)]
    step_w = RAMP_PER_MIN / 60.0 * day.site.rated_w * SAMPLE_S
    ramped_w = limited(held_w, step_w, float(order_w[0]))
    late = round(LAG_S / SAMPLE_S)
    return np.concatenate((np.full(late, ramped_w[0]), ramped_w[:-late]))


@dataclass(frozen=True, slots=True)
class Foresight:
    """The best run under the reference: its load second by second, and what it absorbed after the warm-up."""

    load_w: FloatArray
    absorbed_kwh: float


def oracle(day: Day) -> Foresight:
    """(e) All that could have been drawn under the reference, known in advance: an upper bound.

    A relaxation: miners in fractions, steps of 8 s under the mean of the reference, and dwell held only against the
    miners that cannot be trimmed. Those out of reach and those that never wake are known to it.
    """
    classes, around = _fleet(day.site)
    each = round(ORACLE_STEP_S / SAMPLE_S)
    reference_w = day.reference_w[day.scored]
    cap_w = reference_w[: len(reference_w) // each * each].reshape(-1, each).mean(axis=1)
    best = absorbable(cap_w, ORACLE_STEP_S, classes, around)
    middles_s = ORACLE_STEP_S * (np.arange(len(cap_w)) + 0.5)
    inside_w = np.interp(SAMPLE_S * np.arange(len(reference_w)), middles_s, best.site_load_w)
    before_w = day.reference_w[: len(day.reference_w) - len(reference_w)]
    return Foresight(np.concatenate((before_w, inside_w)), best.absorbed_kwh)


def _fleet(site: Site10MW) -> tuple[tuple[OracleClass, ...], OracleSite]:
    fixed_w = float(site.auxiliary_w)
    members: dict[str, list[tuple[bool, float]]] = {}
    fleet, unreachable = site.fleet, set(site.unreachable)
    assert fleet.asleep is not None and fleet.behaviours is not None and fleet.draw_ratio is not None
    miners = zip(fleet.models, fleet.asleep, fleet.behaviours, fleet.draw_ratio, strict=True)
    for index, (model, asleep, behaviour, ratio) in enumerate(miners):
        if behaviour is Behaviour.OBEYS and index not in unreachable:
            members.setdefault(model.key, []).append((asleep, ratio))
        else:
            fixed_w += (model.sleep_power_w if asleep else ratio * model.nameplate.power_w) * (1.0 + LOSS)
    classes = []
    for key, those in members.items():
        model, ratio = MODELS[key], sum(ratio for _, ratio in those) / len(those)
        known = oracle_class(model, len(those), sum(not asleep for asleep, _ in those), 0.0)
        known = replace(known, full_w=ratio * known.full_w, floor_w=ratio * known.floor_w)
        if not model.trims:
            known = replace(known, min_hashing_s=RULES.dwell_on_s, min_asleep_s=RULES.dwell_off_s)
        classes.append(known)
    rated_w = float(site.rated_w)
    ramps = tuple(
        RampWindow(window_s, RAMP_PER_MIN * window_s / 60.0 * rated_w, RAMP_PER_MIN * window_s / 60.0 * rated_w)
        for window_s in (60.0, 16.0)
    )
    return tuple(classes), OracleSite(loss_fraction=LOSS, fixed_w=fixed_w, ramps=ramps)
