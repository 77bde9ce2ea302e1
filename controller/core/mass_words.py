"""What a mass disconnect has people told: one event instead of hundreds, and no flood before it is known to be one."""

from __future__ import annotations

import numpy as np

from controller.core.consequences import Findings
from controller.core.fleet_state import Away
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, IntArray
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy

SAID_AT_ONCE = 5  # events about single miners within the window; the others wait for it to be over
DARK_RATIO, DRAWN_RATIO = 0.6, 0.4  # of what the lost drew: so much missing at the meter is dark, so little is drawn
NAMED_MAX = 5


def say_one_by_one(
    facts: Fleet, state: State, policy: FleetPolicy, gone: BoolArray, now: float, findings: Findings
) -> None:
    """Single miners at once; where they are more, the others when the window is over and no mass disconnect came."""
    if not bool(gone.any()):
        return
    fleet, window_s = state.fleet, policy.mass_disconnect_window_s
    unsaid = gone & ~fleet.gone_said & ~_absent(state)
    room = SAID_AT_ONCE - int(np.count_nonzero(gone & fleet.gone_said & (now - fleet.gone_at <= window_s)))
    why = {miner: detail for miner, detail in findings.gone if unsaid[miner]}
    late = [miner for miner in unsaid.nonzero()[0].tolist() if now - fleet.gone_at[miner] > window_s]
    said = [*list(why)[: max(room, 0)], *late[:SAID_AT_ONCE]]
    fleet.gone_said[said] = True
    for miner in said:
        text = why.get(miner, f"no answer for {now - fleet.gone_at[miner]:.0f} s")
        findings.events.append(Event("miner_unreachable", EventLevel.WARNING, text, facts.miner_ids[miner]))


def say_absent(
    facts: Fleet, state: State, policy: FleetPolicy, standing: BoolArray, now: float, findings: Findings
) -> None:
    """Those that were not there before the start either, once a sweep has looked at everybody: one event for all."""
    if now - state.started_at <= policy.mass_disconnect_window_s:
        return
    rows = (_absent(state) & ~standing & ~state.fleet.gone_said).nonzero()[0]
    if not len(rows):
        return
    state.fleet.gone_said[rows] = True
    text = f"{len(rows)} of {len(facts)} miners have not answered since the start: {_names(facts, rows)}"
    findings.events.append(Event("miners_absent", EventLevel.WARNING, text))


def say_gone(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    lost: BoolArray,
    missing_w: float,
    lost_w: float,
    findings: Findings,
) -> None:
    mass = state.mass
    mass.said = True
    mass.said_dark = missing_w >= DARK_RATIO * lost_w > 0.0
    counts = np.bincount(facts.feeder[lost], minlength=len(facts.feeder_names))
    feeders = ", ".join(f"{facts.feeder_names[place]} ({counts[place]})" for place in counts.nonzero()[0])
    if mass.said_dark:
        view = f"the meters show {missing_w / 1e3:.1f} kW gone, they drew {lost_w / 1e3:.1f} kW: dark"
    elif lost_w > 0.0 and missing_w <= DRAWN_RATIO * lost_w:
        view = f"by the meters their {lost_w / 1e3:.1f} kW are drawn on"
    else:
        view = "whether they draw is not known; their last known power counts"
    share = int(lost.sum()) / len(facts)
    window_s = policy.mass_disconnect_window_s
    text = f"{lost.sum()} of {len(facts)} miners ({share:.0%}) stopped answering within {window_s:g} s"
    findings.events.append(Event("mass_disconnect", EventLevel.ERROR, f"{text}, by feeder {feeders}; {view}"))


def say_back(facts: Fleet, state: State, left: BoolArray, now: float, findings: Findings) -> None:
    """Enough are back; who is not is a miner that cannot be reached, like any other."""
    fleet, mass = state.fleet, state.mass
    rows = left.nonzero()[0]
    fleet.gone_said[rows] = True
    lasted_s = (mass.few_since or now) - (mass.since or now)
    text = f"{mass.most - len(rows)} of {mass.most} miners answer again, after {lasted_s:.0f} s"
    if mass.idled:
        text += f"; {mass.idled} came back hashing and were put to sleep, the ramps let them in"
    if len(rows):
        text += f"; still away: {_names(facts, rows)}"
    findings.events.append(Event("mass_return", EventLevel.WARNING if len(rows) else EventLevel.INFO, text))


def say_stay(facts: Fleet, state: State, left: BoolArray, now: float, findings: Findings) -> None:
    """They stay away, and nobody followed: from here on they are miners that cannot be reached, like any other."""
    rows = left.nonzero()[0]
    state.fleet.gone_said[rows] = True
    after_s = now - (state.mass.since or now)
    text = (
        f"{len(rows)} of {state.mass.most} miners are still away after {after_s / 60.0:.0f} min: {_names(facts, rows)}"
    )
    findings.events.append(Event("mass_stays", EventLevel.WARNING, text))


def _absent(state: State) -> BoolArray:
    """(n,) who cannot be reached and could not before the start, as far as anybody knows."""
    fleet = state.fleet
    unread = (fleet.condition == Condition.UNREACHABLE) & ~np.isfinite(fleet.read_at)
    absent: BoolArray = unread & (np.isposinf(fleet.gone_at) | (fleet.away != Away.NO))
    return absent


def _names(facts: Fleet, rows: IntArray) -> str:
    more = len(rows) - NAMED_MAX
    return ", ".join(facts.miner_ids[row] for row in rows[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
