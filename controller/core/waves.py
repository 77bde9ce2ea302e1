"""Wakes in waves: how many miners of one class may be starting at once on one feeder, by how the last ones came up.

171 started at once left 57 % standing, and asking the others again at once is the same crowd. So a wave begins small,
grows while boots come up, and where too few do it stops, says so, and begins again smaller. A cell is a class on a
feeder: what a crowd overloads is a feeder's supply, and what it breaks on is a class's own.

Only first tries tell of the crowd. Who failed before may never start however few start beside it: it counts among those
starting, and for its class (core/classes), not for the wave.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.core import estimator, mass
from controller.core.consequences import Findings
from controller.core.fleet_state import NO_COMMAND
from controller.core.state import State
from controller.domain.command import Command, Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.plan import Event, EventLevel, WaveReport
from controller.domain.policy import FleetPolicy, WavePolicy

LEAST_JUDGED, LEAST_BAD = 8, 3  # boots: fewer than these stop nothing, one in three fails by itself now and then
USED_RATIO = 0.75  # a wave grows only when this much of it was used: what was not tried is not proved
SMALLEST = 4
BELOW_FAILED = 0.75  # of what failed last: no wave grows beyond it for a day
FAILED_MEMORY_S = 86_400.0
BATCH_S = 0.9  # one batch a cycle, and none in the cycles that urgent input starts in between


@dataclass(slots=True)
class Room:
    """Who may still be woken in this cycle. left: miners, (c, f); left_w: watts of starting miners, (f,).

    idle: (f,) nobody starts there: one may, though it alone were more than the limit, else it never could.
    """

    facts: Fleet
    left: IntArray
    left_w: FloatArray
    idle: BoolArray
    needs_w: FloatArray

    def open_to(self) -> BoolArray:
        """(n,) who could be woken if nobody else were."""
        feeder = self.facts.feeder
        fits_w = self.idle[feeder] | (self.left_w[feeder] >= self.needs_w)
        fits: BoolArray = fits_w & (self.left[self.facts.kind, feeder] > 0)
        return fits

    def take(self, miner: int) -> bool:
        """Whether this one may be woken as well; if so it is counted."""
        kind, feeder = int(self.facts.kind[miner]), int(self.facts.feeder[miner])
        needs_w = float(self.needs_w[miner])
        if self.left[kind, feeder] <= 0 or (self.left_w[feeder] < needs_w and not self.idle[feeder]):
            return False
        self.idle[feeder] = False
        self.left[kind, feeder] -= 1
        self.left_w[feeder] -= needs_w
        return True


def room(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> Room:
    """What may start beside those that are starting, and those that failed and are asked again in this cycle."""
    found = _room_beside(facts, state, policy.waves, _starting(state), now)
    for miner in _asked_again(state, now).nonzero()[0].tolist():
        found.take(miner)
    return found


def hold_back(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> None:
    """Those that failed to start and are due to be asked again wait until there is room for them, the best first."""
    again = _asked_again(state, now).nonzero()[0]
    if not len(again):
        return
    found = _room_beside(facts, state, policy.waves, _starting(state), now)
    for miner in again[np.argsort(facts.joule_per_th[again], kind="stable")].tolist():
        if not found.take(miner):
            state.fleet.retry_at[miner] = np.nextafter(now, np.inf)


def judge(facts: Fleet, before: State, state: State, policy: FleetPolicy, findings: Findings, now: float) -> None:
    """What this cycle proved of boots: waves grow, stop, and begin again. `before`: the state of the last cycle."""
    waves, rules = state.waves, policy.waves
    if not rules.enabled:
        return
    starting = _by_cell(facts, _starting(state))
    waves.peak = np.maximum(waves.peak, starting)
    _shrink_after_blackout(facts, state, rules)
    touched = _count(facts, before, state, findings)
    for kind, feeder in np.argwhere(waves.stopped & (now >= waves.stopped_until)).tolist():
        _resume(facts, state, kind, feeder, int(starting[kind, feeder]), findings)
    for kind, feeder in sorted(touched):
        _judge_cell(facts, state, rules, (kind, feeder), int(starting[kind, feeder]), findings, now)


def note_batch(state: State, commands: tuple[Command, ...], now: float) -> None:
    """Where wakes were sent in this cycle the next ones come a second later."""
    if any(command.verb is Verb.WAKE for command in commands):
        state.waves.woken_at = now


def reports(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> tuple[WaveReport, ...]:
    """Every cell in which somebody was woken since the start; nothing while wakes do not come in waves."""
    waves, rules = state.waves, policy.waves
    if not rules.enabled:
        return ()
    starting = _by_cell(facts, _starting(state))
    shown = np.argwhere((starting > 0) | (waves.peak > 0) | (waves.size > 0.0)).tolist()
    if not shown:
        return ()
    sizes = _sizes(state, rules)
    return tuple(
        WaveReport(
            class_name=facts.class_names[kind],
            feeder=feeder,
            size=int(sizes[kind, feeder]),
            starting=int(starting[kind, feeder]),
            stopped_for_s=float(waves.stopped_until[kind, feeder]) - now if waves.stopped[kind, feeder] else None,
        )
        for kind, feeder in shown
    )


def _room_beside(facts: Fleet, state: State, rules: WavePolicy, starting: BoolArray, now: float) -> Room:
    fleet, waves = state.fleet, state.waves
    rows = np.arange(len(facts))
    comes_up_at = np.where(fleet.level >= 0, fleet.level, fleet.ceiling)
    needs_w = facts.level_power_w[rows, comes_up_at] * fleet.ratio
    feeders = len(facts.feeder_names)
    starting_w = np.bincount(facts.feeder[starting], needs_w[starting], minlength=feeders)
    left_w, idle = facts.feeder_inrush_w - starting_w, starting_w == 0.0
    if not rules.enabled:
        return Room(facts, np.full(waves.size.shape, len(facts), dtype=np.int64), left_w, idle, needs_w)
    left = _sizes(state, rules) - _by_cell(facts, starting)
    left = np.where(waves.stopped | (now - waves.woken_at < BATCH_S), 0, left)
    return Room(facts, np.maximum(left, 0), left_w, idle, needs_w)


def _starting(state: State) -> BoolArray:
    """(n,) who was woken and is not up yet, as far as anybody knows."""
    starting: BoolArray = (state.fleet.verb == estimator.WAKE) & state.fleet.want_hashing
    return starting


def _asked_again(state: State, now: float) -> BoolArray:
    """(n,) whose wake failed and is due again in this cycle; see core/reconcile."""
    fleet = state.fleet
    failed: BoolArray = (fleet.verdict == Verdict.STUCK) | (fleet.verdict == Verdict.DRIFTED)
    if not failed.any():
        return failed
    asleep = fleet.want_hashing & (fleet.condition == Condition.ASLEEP) & (fleet.verb == NO_COMMAND)
    again: BoolArray = failed & asleep & (fleet.read_at > fleet.sent_at) & (now >= fleet.retry_at) & ~fleet.parked
    return again


def _by_cell(facts: Fleet, who: BoolArray) -> IntArray:
    """How many of `who` (n,) there are in each cell, (c, f)."""
    classes, feeders = len(facts.class_names), len(facts.feeder_names)
    cell = facts.kind[who] * feeders + facts.feeder[who]
    return np.bincount(cell, minlength=classes * feeders).reshape(classes, feeders)


def _sizes(state: State, rules: WavePolicy) -> IntArray:
    return np.where(state.waves.size > 0.0, state.waves.size, rules.first).astype(np.int64)


def _shrink_after_blackout(facts: Fleet, state: State, rules: WavePolicy) -> None:
    """Where power was lost nothing is proved any more: those that come back are let in by small waves."""
    miners = mass.dark(state.fleet)
    if bool(miners.any()):
        dark = _by_cell(facts, miners) > 0
        state.waves.size[dark] = np.minimum(_sizes(state, rules)[dark], rules.first)


def _count(facts: Fleet, before: State, state: State, findings: Findings) -> set[tuple[int, int]]:
    """Enter boots that were judged; returns the cells in question."""
    fleet, waves, was = state.fleet, state.waves, before.fleet
    touched = set()
    for report in findings.verdicts:
        miner = report.miner
        failed_before = (was.attempts[miner] > 0 and was.failed_verb[miner] == estimator.WAKE) or was.quarantines[miner]
        if report.verb != Verb.WAKE.value or failed_before or fleet.refused[miner]:
            continue
        cell = int(facts.kind[miner]), int(facts.feeder[miner])
        if waves.stopped[cell]:
            continue  # one of the wave that was stopped
        good = report.verdict == "settled"
        waves.good[cell] += good
        waves.bad[cell] += not good
        touched.add(cell)
    return touched


def _judge_cell(
    facts: Fleet, state: State, rules: WavePolicy, cell: tuple[int, int], starting: int, findings: Findings, now: float
) -> None:
    waves = state.waves
    good, bad, peak = int(waves.good[cell]), int(waves.bad[cell]), int(waves.peak[cell])
    size = int(_sizes(state, rules)[cell])
    judged = good + bad
    # Stopped as soon as all that are still starting could not make up for it.
    may_fail = 1.0 - rules.success_min + 1e-9
    lost = bad >= LEAST_BAD and judged >= LEAST_JUDGED and bad > may_fail * (judged + starting)
    if lost:
        waves.failed_size[cell], waves.failed_at[cell] = peak, now
        waves.size[cell] = max(min(peak, size) / 2.0, min(SMALLEST, size))
        waves.stopped[cell], waves.stopped_until[cell] = True, now + rules.pause_s
        text = (
            f"{_name(facts, cell)}: of the last {judged} that were woken {good} came up, with up to {peak} starting "
            f"at once; none is woken for {rules.pause_s / 60.0:.3g} min, then {int(waves.size[cell])} at once"
        )
        findings.events.append(Event("restore_stopped", EventLevel.ERROR, text))
    elif judged >= min(size, peak) and bad <= may_fail * judged:
        if peak >= USED_RATIO * size:
            most = BELOW_FAILED * waves.failed_size[cell] if now - waves.failed_at[cell] < FAILED_MEMORY_S else np.inf
            waves.size[cell] = max(min(size * rules.growth, most), size)
        waves.good[cell] = waves.bad[cell] = 0
        waves.peak[cell] = starting


def _resume(facts: Fleet, state: State, kind: int, feeder: int, starting: int, findings: Findings) -> None:
    waves, cell = state.waves, (kind, feeder)
    waves.stopped[cell] = False
    waves.good[cell] = waves.bad[cell] = 0
    waves.peak[cell] = starting
    text = f"{_name(facts, cell)}: woken again, {int(waves.size[cell])} at once"
    findings.events.append(Event("restore_resumed", EventLevel.INFO, text))


def _name(facts: Fleet, cell: tuple[int, int]) -> str:
    return f"{facts.class_names[cell[0]]} on {facts.feeder_names[cell[1]]}"
