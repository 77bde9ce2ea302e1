"""Response classes as they turn out to be: dead time, seconds to 90 %, boot success, sleep watts, out of telemetry.

A sweep looks at a miner every few seconds, so no single command tells when its power moved: only that it had not yet at
one reading and had at a later one. Counted over many commands, whose readings fall at all ages, the age at which as
many had come so far as had not is the middle of the class - as sharply as the readings fall around it, and not at all
where none do. What they cannot tell stays as configured.

What is learned says what is *expected*. Deadlines never get shorter by it, and the brackets around a move in flight
still hold whoever keeps to the configured figures (core/estimator).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from controller.core import class_truth
from controller.core.class_state import GRID, RATIO_LEAST, RATIO_MOST, SHARES, VERBS, ClassState
from controller.core.fleet_state import NO_COMMAND, VERB_CODES
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.plan import ClassReport, VerdictReport
from controller.domain.policy import FleetPolicy

LEAST_COMMANDS = 20  # obeyed ones; before that nothing is believed
SLACK = 2.0  # so many may contradict: a limit that so few decide is none
SHARPEST_STEPS = 5  # on the grid, a factor of 1.8: what readings leave more open than that is not learned
MEMORY = 200.0  # commands; older ones fade
LEAST_WAY = 0.2  # of the highest rung: the noise of watts told would be taken for a tenth of a smaller move
AT_ONCE = 256  # commands a cycle: a fleet that is shed at once teaches no more than so many of it
SLEEP_GAIN = 0.02  # how far the sleepers read in one cycle move the middle, at most
LEAST_READS = 50.0
# Share of the move's 90 % time at which a tenth is gone: on the exponential of a sleep or trim, on the line of a boot.
TENTH_AT = np.array([1.0 - np.log10(9.0), 1.0 / 9.0, 1.0 - np.log10(9.0)])
_VERB_PLACE = {verb.value: place for place, verb in enumerate(VERBS)}
_WAKE = _VERB_PLACE[Verb.WAKE.value]


def watch(facts: Fleet, state: State, fresh: BoolArray) -> None:
    """Note how far moves in flight are, by readings of this cycle (`fresh`, (n,)); before they are judged.

    Only of miners that tell their own watts: an estimate moves with a hash rate that lags behind.
    """
    fleet, kept = state.fleet, state.classes
    way_w = fleet.to_w - fleet.from_w
    told = fresh & (fleet.verb != NO_COMMAND) & facts.reports_power & (fleet.power_error_w == 0.0)
    told &= ~np.isnan(fleet.reported_w) & (np.abs(way_w) >= LEAST_WAY * facts.level_power_w[:, -1])
    resumed = (fleet.verb == VERB_CODES[Verb.WAKE]) & (fleet.changed_at < state.started_at)
    told &= ~resumed  # of a boot that was under way a start sees the rest
    kept.about[resumed] = -1  # no command
    rows = told.nonzero()[0]
    rows = rows[fleet.read_at[rows] > fleet.sent_at[rows]]
    if not len(rows):
        return
    anew = rows[kept.about[rows] != fleet.command_id[rows]]
    kept.about[anew], kept.low[anew], kept.high[anew] = fleet.command_id[anew], 0.0, np.inf
    age_s = (fleet.read_at[rows] - fleet.sent_at[rows])[:, None]
    gone = ((fleet.reported_w[rows] - fleet.from_w[rows]) / way_w[rows])[:, None] >= np.array(SHARES)
    kept.high[rows] = np.where(gone, np.minimum(kept.high[rows], age_s), kept.high[rows])
    kept.low[rows] = np.where(gone, kept.low[rows], np.maximum(kept.low[rows], age_s))


def learn(facts: Fleet, state: State, fresh: BoolArray, verdicts: Iterable[VerdictReport]) -> None:
    """Count what this cycle's judgement proved of commands, and what settled sleepers say that they draw."""
    _learn_sleep(facts, state, fresh)
    judged = tuple(verdicts)
    if not judged:
        return
    fleet, kept = state.fleet, state.classes
    for report in judged:  # a miner that says no has not tried to boot
        if report.verb == Verb.WAKE.value and not fleet.refused[report.miner]:
            kind = facts.kind[report.miner]
            keep = 1.0 - 1.0 / MEMORY
            kept.boots[kind] = kept.boots[kind] * keep + 1.0
            kept.booted[kind] = kept.booted[kind] * keep + (report.verdict == "settled")
    settled = [
        (report.miner, _VERB_PLACE[report.verb])
        for report in judged
        if report.verdict == "settled" and kept.about[report.miner] == report.command_id
    ][:AT_ONCE]
    if settled:
        rows, verbs = np.array(settled, dtype=np.int64).T
        _count(facts, kept, rows, verbs)


def learned(facts: Fleet, state: State, policy: FleetPolicy) -> Fleet:
    """The fleet's facts with what was learned in the place of what was configured."""
    kept = state.classes
    if not policy.learn or bool(np.isnan(kept.to_90_s).all()):
        return facts
    changed: dict[str, Any] = {}
    for place, verb in enumerate(VERBS):
        dead_s, to_90_s = _columns(facts)[place]
        known = ~np.isnan(kept.to_90_s[:, place])[facts.kind]
        changed[f"{verb.value}_dead_s"] = np.where(known, kept.dead_s[facts.kind, place], dead_s)
        changed[f"{verb.value}_90_s"] = np.where(known, kept.to_90_s[facts.kind, place], to_90_s)
        now_s = changed[f"{verb.value}_dead_s"] + changed[f"{verb.value}_90_s"]
        changed[f"{verb.value}_learned"] = now_s / np.maximum(dead_s + to_90_s, 1e-9)
    # Nobody is called lifeless sooner than the configured dead time says.
    patience_s = policy.deadline_factor * facts.wake_dead_s + policy.deadline_extra_s
    return replace(
        facts,
        **changed,
        boot_s=changed["wake_dead_s"] + 0.5 * changed["wake_90_s"],
        wake_patience_s=np.maximum(facts.wake_patience_s, patience_s),
    )


@dataclass(slots=True)
class LastLearned:
    """What `learned` made of one site's facts and policy, kept for as long as the very same was learned: that changes
    once in many cycles."""

    proofs: tuple[bytes, bytes] = (b"", b"")
    facts: Fleet | None = None

    def of(self, facts: Fleet, state: State, policy: FleetPolicy) -> Fleet:
        proofs = state.classes.dead_s.tobytes(), state.classes.to_90_s.tobytes()
        if self.facts is None or proofs != self.proofs:
            self.proofs, self.facts = proofs, learned(facts, state, policy)
        return self.facts


def reports(facts: Fleet, state: State) -> tuple[ClassReport, ...]:
    """Every class with miners, as it was learned; where nothing was, as configured. `facts` as configured."""
    kept, found = state.classes, []
    for kind, name in enumerate(facts.class_names):
        known = ~np.isnan(kept.to_90_s[kind])
        one = _one_of(facts, kind)
        configured = [(float(dead_s[one]), float(to_90_s[one])) for dead_s, to_90_s in _columns(facts)]
        sleep_w = float(facts.sleep_power_w[one])
        found.append(
            ClassReport(
                name=name,
                dead_s=_each(known, kept.dead_s[kind], [dead_s for dead_s, _ in configured]),
                to_90_s=_each(known, kept.to_90_s[kind], [to_90_s for _, to_90_s in configured]),
                learned=_flags(known),
                commands=_numbers(kept.commands[kind]),
                boots=float(kept.boots[kind]),
                boot_success=float(kept.booted[kind] / kept.boots[kind]) if kept.boots[kind] else None,
                sleep_power_w=sleep_w * float(kept.sleep_ratio[kind])
                if kept.sleep_reads[kind] >= LEAST_READS
                else None,
                true_ratio=class_truth.told(state, kind),
            )
        )
    return tuple(found)


def _count(facts: Fleet, kept: ClassState, rows: IntArray, verbs: IntArray) -> None:
    """Enter obeyed commands (k,) of miners `rows`; the figures of their classes follow."""
    kinds = facts.kind[rows]
    dead_s, to_90_s = (np.stack(columns, axis=1)[rows, verbs] for columns in zip(*_columns(facts), strict=True))
    figure_s = np.stack((dead_s + TENTH_AT[verbs] * to_90_s, dead_s + to_90_s), axis=1)
    low, high = kept.low[rows] / figure_s, kept.high[rows] / figure_s
    sound = (low < high)[:, :, None]  # less of the way at a later reading than at an earlier: no clean move
    late = sound & (low[:, :, None] >= GRID)
    early = sound & (high[:, :, None] <= GRID)
    for kind, verb in sorted(set(zip(kinds.tolist(), verbs.tolist(), strict=True))):
        mine = (kinds == kind) & (verbs == verb)
        keep = (1.0 - 1.0 / MEMORY) ** int(mine.sum())
        kept.late[kind, verb] = kept.late[kind, verb] * keep + late[mine].sum(axis=0)
        kept.early[kind, verb] = kept.early[kind, verb] * keep + early[mine].sum(axis=0)
        kept.commands[kind, verb] = kept.commands[kind, verb] * keep + int(mine.sum())
        _conclude(kept, kind, verb, *configured_s(facts, kind, verb))


def _conclude(kept: ClassState, kind: int, verb: int, dead_s: float, to_90_s: float) -> None:
    """What the evidence of one class and verb says now, where `dead_s` and `to_90_s` are configured."""
    if kept.commands[kind, verb] < LEAST_COMMANDS:
        return
    begins, arrives = (_middle(kept.early[kind, verb, share], kept.late[kind, verb, share]) for share in (0, 1))
    if arrives is None:
        return
    tenth = float(TENTH_AT[verb])
    arrives_s = arrives * (dead_s + to_90_s)
    if begins is None:  # too quick for this sweep to see: the dead time stays as configured
        learned_90_s = arrives_s - dead_s
    else:
        learned_90_s = (arrives_s - min(begins * (dead_s + tenth * to_90_s), arrives_s)) / (1.0 - tenth)
    kept.to_90_s[kind, verb] = _bounded(learned_90_s, to_90_s)
    kept.dead_s[kind, verb] = _bounded(arrives_s - learned_90_s, dead_s)


def _middle(early: FloatArray, late: FloatArray) -> float | None:
    """The ratio at which as many had come so far as had not, (g,) counts each; None when readings leave it open.

    That is where a line between "not yet" and "there" contradicts the fewest commands. All places that contradict
    hardly more are as good; the middle of them is taken, unless they lie far apart.
    """
    # A line at place k: at ages below GRID[k] nobody should have come so far, from there on everybody.
    wrong = np.concatenate(([0.0], np.cumsum(early))) + np.concatenate((np.cumsum(late[::-1])[::-1], [0.0]))
    good = (wrong <= wrong.min() + SLACK).nonzero()[0]
    first, last = int(good[0]), int(good[-1])
    if last - first > SHARPEST_STEPS:
        return None
    between = 0.5 * (first + last) - 0.5  # place k lies between GRID[k - 1] and GRID[k]
    ratio = float(np.interp(between, np.arange(len(GRID)), GRID))
    return min(max(ratio, RATIO_LEAST), RATIO_MOST)


def _learn_sleep(facts: Fleet, state: State, fresh: BoolArray) -> None:
    """The middle of what settled sleepers say, a step towards each: no outlier moves it further than any other."""
    fleet, kept = state.fleet, state.classes
    asleep = fresh & (fleet.verb == NO_COMMAND) & (fleet.condition == Condition.ASLEEP) & ~fleet.want_hashing
    own_word = facts.reports_power & (fleet.power_error_w == 0.0) & ~np.isnan(fleet.reported_w) & ~fleet.caught
    rows = (asleep & own_word & (fleet.verdict == Verdict.SETTLED)).nonzero()[0]
    if not len(rows):
        return
    kinds = facts.kind[rows]
    drawn = fleet.reported_w[rows] / np.maximum(facts.sleep_power_w[rows], 1.0)
    count = np.bincount(kinds, minlength=len(kept.sleep_ratio))
    above = np.bincount(kinds, np.sign(drawn - kept.sleep_ratio[kinds]), minlength=len(count)) / np.maximum(count, 1)
    kept.sleep_ratio = np.clip(kept.sleep_ratio * np.exp(SLEEP_GAIN * above), RATIO_LEAST, RATIO_MOST)
    kept.sleep_reads = np.minimum(kept.sleep_reads + count, MEMORY)


def configured_s(facts: Fleet, kind: int, place: int) -> tuple[float, float]:
    """Dead time and seconds to 90 % of one class for the verb at `place`; `facts` as configured."""
    one = _one_of(facts, kind)
    dead_s, to_90_s = _columns(facts)[place]
    return float(dead_s[one]), float(to_90_s[one])


def _one_of(facts: Fleet, kind: int) -> int:
    """A miner of this class."""
    return int((facts.kind == kind).argmax())


def _columns(facts: Fleet) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Dead time and seconds to 90 % of each verb, (n,) each."""
    return (
        (facts.sleep_dead_s, facts.sleep_90_s),
        (facts.wake_dead_s, facts.wake_90_s),
        (facts.trim_dead_s, facts.trim_90_s),
    )


def _bounded(learned_s: float, configured_s: float) -> float:
    return min(max(learned_s, RATIO_LEAST * configured_s), RATIO_MOST * configured_s)


def _each(known: BoolArray, learned_s: FloatArray, configured_s: list[float]) -> tuple[float, float, float]:
    sleep, wake, trim = np.where(known, learned_s, configured_s).tolist()
    return sleep, wake, trim


def _flags(known: BoolArray) -> tuple[bool, bool, bool]:
    sleep, wake, trim = known.tolist()
    return sleep, wake, trim


def _numbers(values: FloatArray) -> tuple[float, float, float]:
    sleep, wake, trim = values.tolist()
    return sleep, wake, trim
