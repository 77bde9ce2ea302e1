"""Judges of how the load moves and whether it is known: the way down, the in-flight ledger, limit cycles.

What each cannot see: `ramp_down_kept` nothing while any disturbance of the run may have lowered the load, nor what the
surplus asked for; `ledger_balances` only what is left once the faults are over; `no_limit_cycle` nothing slower than a
third of the calm, nor a cycle under a climb, or that only a
moving surplus keeps alive.
"""

from __future__ import annotations

import numpy as np

from controller.domain.dispatch import Dispatch, DispatchClass
from controller.domain.fleet import FloatArray
from tests.rig.breaches import NOISE, Breach, exceeded_limits, horizon_s, within
from tests.rig.record import Record
from tests.rig.setup import Setup

STILL_S = 100.0  # of the calm's end: by then what the faults left behind is over
LINE = 0.0025  # of rated
LEDGER = 0.02  # of rated


def ramp_down_kept(setup: Setup, record: Record) -> list[Breach]:
    """No fall beyond the down ramp while the surplus stayed above the load: then only a gentle order was followed."""
    t_s, load_w, cap_w, _ = record.arrays()
    ramp, rated_w, tick_s = setup.policy.ramp, setup.policy.rated_w, setup.tick_s
    lead_s = horizon_s(setup) + 15.0
    relieved = [(one.begin_s - 1.0, one.end_s + lead_s) for one in exceeded_limits(setup, record)]
    troubled = within(t_s, _rough_spells(setup) + relieved)
    room = cap_w - setup.policy.surplus_margin_w > load_w + 0.02 * rated_w
    shed = np.zeros(len(t_s), dtype=np.bool_)
    for row in record.cycles:
        if row.bound in ("surplus", "fallback", "hold") or row.shed:  # the surplus with its noise and reserve
            shed |= (t_s >= row.at_s - 1.0) & (t_s <= row.at_s + lead_s)
    bad = troubled | ~room | shed
    found = []
    for window_s, allowed_w in ((60.0, ramp.down_w_per_min), (15.0, ramp.down_w_per_15s)):
        steps, before = round(window_s / tick_s), round(lead_s / tick_s)
        if len(t_s) <= steps + before:
            continue
        clean = np.concatenate(([0], np.cumsum(bad)))
        first = np.arange(before, len(t_s) - steps)
        untroubled = clean[first + steps + 1] - clean[first - before] == 0
        fall_w = load_w[first] - load_w[first + steps]
        unit_w = float(setup.facts.level_power_w.max())
        over = untroubled & (fall_w > 1.05 * allowed_w + 2.0 * NOISE * rated_w + unit_w)
        if over.any():
            text = f"fell {fall_w[over].max() / 1e3:.1f} kW in {window_s:g} s, {allowed_w / 1e3:.1f} kW allowed"
            found.append(Breach("ramp_down_kept", float(t_s[first][np.argmax(over)]), text))
    return found


def ledger_balances(setup: Setup, record: Record) -> list[Breach]:
    """In the last calm seconds the watts that the core expects are those that flow: nothing is in flight for ever."""
    if setup.duration_s - setup.calm_from_s < 170.0:
        return []
    t_s, load_w, _, _ = record.arrays()
    allowed_w = LEDGER * setup.policy.rated_w + float(setup.facts.level_power_w.max())
    gaps = [
        (row.at_s, row.expected_w - float(np.interp(row.at_s, t_s, load_w)))
        for row in record.cycles
        if row.at_s > setup.duration_s - 20.0 and row.expected_w is not None
    ]
    worst_at, worst_w = max(gaps, key=lambda gap: abs(gap[1]), default=(0.0, 0.0))
    if abs(worst_w) <= allowed_w:
        return []
    return [Breach("ledger_balances", worst_at, f"expects {worst_w / 1e3:+.1f} kW more than flows")]


def no_limit_cycle(setup: Setup, record: Record) -> list[Breach]:
    """A still surplus, and no line of fixed period in the true load above 0.25 % of rated or one unit's step (T9)."""
    still_s = min(STILL_S, setup.duration_s - setup.calm_from_s - 70.0)
    if still_s < 60.0:
        return []
    t_s, load_w, _, _ = record.arrays()
    last_w = load_w[t_s > setup.duration_s - still_s]
    third = len(last_w) // 3
    if abs(float(last_w[-third:].mean() - last_w[:third].mean())) > 0.01 * setup.policy.rated_w:
        return []  # still on its way
    amplitude_w, period_s = strongest_line(last_w, setup.tick_s)
    allowed_w = max(LINE * setup.policy.rated_w, _step_w(setup))
    if amplitude_w <= allowed_w:
        return []
    text = f"a line of {amplitude_w / 1e3:.2f} kW at {period_s:.0f} s, {allowed_w / 1e3:.2f} kW allowed"
    return [Breach("no_limit_cycle", setup.duration_s - still_s, text)]


def strongest_line(load_w: FloatArray, tick_s: float) -> tuple[float, float]:
    """(amplitude in watts, period in seconds) of the strongest line that fits in at least three times; no trend."""
    at = np.arange(len(load_w))
    flat_w = load_w - np.polyval(np.polyfit(at, load_w, 1), at)
    lines_w = 2.0 * np.abs(np.fft.rfft(flat_w * np.hanning(len(flat_w)))) / (0.5 * len(flat_w))
    lines_w[:3] = 0.0
    line = int(np.argmax(lines_w))
    return float(lines_w[line]), len(flat_w) * tick_s / max(line, 1)


def _step_w(setup: Setup) -> float:
    """One unit's step: on or off."""
    return float((setup.facts.level_power_w.max(axis=1) - setup.facts.sleep_power_w).max())


def _rough_spells(setup: Setup) -> list[tuple[float, float]]:
    """When something else than an order may have taken load away."""
    after_s = horizon_s(setup) + 30.0
    spells = [(fault.begin_s, fault.end_s) for fault in setup.input_faults]
    spells += [(outage.begin_s, outage.end_s) for outage in (*setup.outages, *setup.strangers)]
    spells += [(trip.begin_s, trip.end_s) for trip in setup.trips]
    spells += [(crash.at_s, crash.up_s) for crash in setup.crashes] + [(at_s, at_s + 90.0) for at_s, _ in setup.reboots]
    spells += [(event.at_s, event.at_s + event.held_s) for event in setup.plant_events]
    for message in setup.messages:
        order = message.received.message
        if isinstance(order, Dispatch) and order.dispatch_class is DispatchClass.EMERGENCY:
            spells.append((message.at_s, message.at_s + max(order.expires_at - order.issued_at, 0.0)))
    return [(begin_s - 1.0, end_s + after_s) for begin_s, end_s in spells]
