"""Whether trims arrive at all. A trim takes more calls than a sleep: a miner that answers slowly is read and put to
sleep as ever, and no trim to it ever comes to its end.

Such a miner is held at its level for a while, only to be put to sleep and woken, so that what a limit asks for is slept
for instead of being asked of one miner after the other. Among thousands each would have to fail for itself before that;
so when of late more trims were lost than arrived, all are held but those that were reached. Every further hold is twice
as long, up to eight minutes, until a trim arrives.
"""

from __future__ import annotations

import numpy as np

from controller.core.consequences import Findings
from controller.core.fleet_state import FleetState
from controller.core.state import State
from controller.domain.command import Outcome
from controller.domain.fleet import BoolArray, Fleet
from controller.domain.plan import Event, EventLevel

LOST_IN_A_ROW = 2  # of one miner: a first one may be a dropped packet
REST_S = 5.0  # after the first one: it would be lost again at once, and another miner may do
LOST_OF_ALL = 2  # miners, and more than were reached: it is not this one or that one
LATELY_S = 15.0  # long enough for two that were asked one after the other
HOLD_S = 30.0  # the first hold; then 60, 120, 240 and 480 s
LOST_MAX = LOST_IN_A_ROW + 4
SAY_AGAIN = 10  # times as many held as were told of
ARRIVED = (Outcome.ACKNOWLEDGED, Outcome.APPLIED, Outcome.ROUNDED, Outcome.REFUSED, Outcome.UNSUPPORTED)


def held(fleet: FleetState, now: float) -> BoolArray:
    """(n,) who is planned without trim, for trims to it do not arrive."""
    if not fleet.trims_lost.any():
        return np.zeros(len(fleet.trims_lost), dtype=np.bool_)
    doublings = np.maximum(fleet.trims_lost - LOST_IN_A_ROW, 0)
    hold_s = np.where(fleet.trims_lost >= LOST_IN_A_ROW, HOLD_S * 2.0**doublings, REST_S)
    waits: BoolArray = (fleet.trims_lost > 0) & (now < fleet.trim_told_at + hold_s)
    return waits


def arrived(state: State, miner: int, now: float, findings: Findings) -> None:
    """A trim was answered, be it with a no: the way to this miner is open."""
    fleet = state.fleet
    was_held = fleet.trims_lost[miner] >= LOST_IN_A_ROW
    fleet.trims_lost[miner], fleet.trim_told_at[miner] = 0, now
    if was_held and not _most_are_lost(fleet, now) and not held(fleet, now).any():
        fleet.trims_lost[:] = 0  # many were held for the others' sake
    if state.trims_told and not (fleet.trims_lost >= LOST_IN_A_ROW).any():
        state.trims_told = 0
        findings.events.append(Event("trims_arrive", EventLevel.INFO, "trims arrive again, and nobody is held"))


def lost(facts: Fleet, state: State, miner: int, now: float) -> bool:
    """A trim never arrived. True where that says nothing against the miner itself: it is lost like the others."""
    fleet = state.fleet
    if fleet.sent_at[miner] >= fleet.trim_told_at[miner]:  # otherwise it was on its way when all were held
        fleet.trims_lost[miner] = min(int(fleet.trims_lost[miner]) + 1, LOST_MAX)
        fleet.trim_told_at[miner] = now
        if _most_are_lost(fleet, now):
            _hold_all(facts, fleet, now)
    return bool(fleet.trims_lost[miner] >= LOST_IN_A_ROW)


def say(state: State, findings: Findings) -> None:
    """One event when it begins and one when it is ten times as many: thousands share them."""
    count = int(np.count_nonzero(state.fleet.trims_lost >= LOST_IN_A_ROW))
    if count >= max(SAY_AGAIN * state.trims_told, 1):
        state.trims_told = count
        text = (
            f"trims do not arrive in time, though miners are read: {count} of {len(state.fleet.trims_lost)} are held "
            "at their level, and put to sleep where a limit asks for less; tried again after a while"
        )
        findings.events.append(Event("trims_lost", EventLevel.WARNING, text))


def _lately(fleet: FleetState, now: float) -> BoolArray:
    told: BoolArray = now - fleet.trim_told_at <= LATELY_S
    return told


def _most_are_lost(fleet: FleetState, now: float) -> bool:
    lately = _lately(fleet, now)
    missing = int((lately & (fleet.trims_lost > 0)).sum())
    return missing >= LOST_OF_ALL and 2 * missing > int(lately.sum())


def _hold_all(facts: Fleet, fleet: FleetState, now: float) -> None:
    """Hold everybody who was not reached of late."""
    others = facts.trims & ~(_lately(fleet, now) & (fleet.trims_lost == 0))
    counted = fleet.trim_told_at == now  # by itself, in this very cycle
    fleet.trims_lost[others & ~counted] += 1
    fleet.trims_lost[others] = np.clip(fleet.trims_lost[others], LOST_IN_A_ROW, LOST_MAX)
    fleet.trim_told_at[others] = now
