"""The slow layer: which units hash at all, so that the quick one can reach the surplus of the near future."""

from __future__ import annotations

import numpy as np

from controller.core import estimator
from controller.core.desk import (
    Desk,
    Goal,
    boot_levels,
    dwelt,
    feeder_room_w,
    sleeping_ours,
    wakeable,
    want_asleep,
    want_awake,
)
from controller.core.ramp import STEP_WINDOW_S
from controller.core.state import NO_COMMAND


def commit(desk: Desk, goal: Goal, boots_w_per_15s: float) -> None:
    """Have enough units hashing for the lead and a reserve, and not many more than lately needed.

    What boots cannot be trimmed, so units woken within 15 s must fit under that ramp by themselves.
    """
    state, policy = desk.state, desk.policy
    memory = min(max(desk.now - state.now, 0.0) / max(policy.margin_memory_s, 1e-9), 1.0)
    state.cap_peak_w = max(goal.lead_w, state.cap_peak_w + (goal.lead_w - state.cap_peak_w) * memory)
    reserve_w = policy.trim_reserve_ratio * goal.lead_w if policy.trim else 0.0
    still_w = float(desk.soon_w[~desk.on].sum())
    reach_w = desk.offset_w + still_w + float(desk.ceiling_w[desk.on].sum())
    # Booting units cannot be trimmed yet: the lowest they will draw at first is the rung they come up at.
    rows = np.arange(len(desk.facts))
    boot_w = desk.facts.level_power_w[rows, boot_levels(desk)] * state.fleet.ratio
    lowest = np.where(desk.trimmable, desk.floor_w, boot_w) if policy.trim else desk.ceiling_w
    low_w = desk.offset_w + still_w + float(lowest[desk.on].sum())
    wanted_w = goal.lead_w + reserve_w
    booting_w = _lately_woken_w(desk)
    room_of_feeder_w = feeder_room_w(desk)
    budget = policy.wakes_per_cycle_max
    woken: list[int] = []
    for miner in desk.best_first[wakeable(desk)[desk.best_first]]:
        unit_w = float(desk.ceiling_w[miner] - desk.facts.sleep_power_w[miner])
        slack_w = 0.5 * unit_w if policy.trim else unit_w
        if budget == 0 or reach_w + slack_w > wanted_w:
            break
        added_w = float(lowest[miner] - desk.facts.sleep_power_w[miner])
        boots_w = float(boot_w[miner] - desk.facts.sleep_power_w[miner])
        if low_w + added_w > goal.lead_w or 0.0 < booting_w > boots_w_per_15s - boots_w:
            break
        feeder = desk.facts.feeder[miner]
        if room_of_feeder_w[feeder] < unit_w:
            desk.held_by_feeder[miner] = True
            continue
        want_awake(desk, int(miner))
        woken.append(int(miner))
        reach_w, low_w, budget = reach_w + unit_w, low_w + added_w, budget - 1
        booting_w += boots_w
        room_of_feeder_w[feeder] -= unit_w
    resting = sleeping_ours(desk) & ~dwelt(desk, policy.dwell_off_s)
    if reach_w < goal.lead_w:
        desk.held_by_dwell |= resting
    elif woken:  # a better one sleeps on while a worse one wakes: say why
        desk.held_by_dwell |= resting & (desk.facts.joule_per_th < desk.facts.joule_per_th[woken[-1]])
    _let_go(desk, reach_w, state.cap_peak_w + 2.0 * reserve_w)


def _lately_woken_w(desk: Desk) -> float:
    """Watts that units woken within the last 15 s bring, whether they show them yet or not."""
    fleet = desk.state.fleet
    lately = (fleet.verb == estimator.WAKE) & fleet.want_hashing & (desk.now - fleet.sent_at < STEP_WINDOW_S)
    return float((fleet.to_w - desk.facts.sleep_power_w)[lately].sum())


def _let_go(desk: Desk, reach_w: float, enough_w: float) -> None:
    """Put the worst unit to sleep when the peaks of late would be met without it; one a cycle, for it can wait."""
    free = desk.trimmable & dwelt(desk, desk.policy.dwell_on_s) & (desk.state.fleet.verb == NO_COMMAND)
    if not desk.policy.trim or not bool(free.any()):
        return
    worst = int(desk.best_first[::-1][np.argmax(free[desk.best_first[::-1]])])
    if reach_w - 2.0 * float(desk.ceiling_w[worst]) > enough_w:
        want_asleep(desk, np.array([worst]))
