"""Shadow mode: the core in charge of a fleet that does what it is told, beside a real one that is told nothing.

Before the step the real inputs become those of the site as it would be: miners that were commanded are read as they
would be, and site and POI meter are moved by the difference between the two fleets. Their sum stays as measured, so the
surplus, which hangs on that sum alone, is the real one. What cannot be known - who would have refused, lied or never
booted - is taken as obeyed; docs/operations.md says what that means for the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from controller.core.imagined import ImaginedFleet
from controller.core.shadow_state import ShadowState
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.dispatch import Answer, AnswerStatus, RejectCode
from controller.domain.fleet import Condition, Fleet, MinerReading
from controller.domain.metering import Point, Quality, Readings, Sample
from controller.domain.plan import Decision, Snapshot
from controller.domain.policy import Policy
from controller.domain.shadow import ShadowReport

REST_MEMORY_S = 60.0  # over which the site's own load is learned, so that a sweep's delay does not look like one
REST_STEP_RATIO = 0.02  # of rated: more than this in one look is miners that moved and were not read yet
NOISE_RATIO = 0.005  # of rated: the meter's own unrest, which a meter that lives must show
RATIO_MIN, RATIO_MAX = 0.7, 1.3
TOLERANCE_RATIO = 0.01  # of rated, above a cap before it counts
GAP_MAX_S = 10.0  # a cycle later than this is a start, and nothing was measured meanwhile
HERE = (Condition.HASHING, Condition.ASLEEP)
IN_SHADOW = "shadow mode: what it would have done is journalled, and nothing is moved"


def enter(facts: Fleet, policy: Policy, state: State, snapshot: Snapshot, now: float) -> Snapshot:
    """The snapshot of the site as it would be; `state` is the cycle's private copy."""
    shadow = state.shadow = state.shadow or ShadowState.nothing_seen(facts)
    telemetry = tuple(_as_would_be(facts, shadow, reading) for reading in snapshot.telemetry)
    _learn_rest(policy, shadow, snapshot.readings)
    return replace(
        snapshot,
        readings=_moved(shadow, snapshot.readings) if shadow.begun else snapshot.readings,
        telemetry=telemetry,
        reports=shadow.fleet.reports(shadow.sent, shadow.answers, shadow.sent_at, now),
        feeders={},  # a feeder's meter shows the real miners, and can prove nothing of these
    )


def leave(facts: Fleet, policy: Policy, state: State, decision: Decision, real: Readings, now: float) -> Decision:
    """Have the imagined fleet obey, and set what it does beside what the site meter shows."""
    shadow = state.shadow
    if shadow is None:
        raise ValueError("shadow mode left before it was entered")
    commands = decision.commands
    if commands and not shadow.begun:
        shadow.begun, shadow.rest_w = True, _rest_now_w(shadow)
    shadow.fleet.obey(facts, commands, shadow.answers, state.fleet.want_level, now)
    shadow.sent, shadow.sent_at = commands, now
    verbs = Counter(command.verb for command in commands)
    for verb, count in verbs.items():
        shadow.commands[verb.value] = shadow.commands.get(verb.value, 0) + count
    shadow.shadow.switches += verbs[Verb.SLEEP] + verbs[Verb.WAKE]
    sample = real.get(Point.SITE_LOAD_W)
    measured_w = sample.value if sample is not None and _young(policy, sample, now) else None
    load_w = _load_w(shadow, now) if shadow.begun else measured_w
    seconds = 0.0 if shadow.at is None else now - shadow.at
    shadow.at = now
    cap_w = decision.figures.cap_w
    if cap_w is not None and measured_w is not None and load_w is not None and seconds <= GAP_MAX_S:
        tolerance_w = TOLERANCE_RATIO * policy.rated_w
        shadow.compared_s += seconds
        shadow.shadow.add(load_w, cap_w, tolerance_w, seconds)
        shadow.site.add(measured_w, cap_w, tolerance_w, seconds)
    report = ShadowReport(
        load_w, shadow.compared_s, replace(shadow.shadow), replace(shadow.site), dict(shadow.commands)
    )
    figures = replace(decision.figures, measured_w=measured_w, residual_w=None)
    return replace(decision, figures=figures, shadow=report)


def answers_told(answers: tuple[Answer, ...]) -> tuple[Answer, ...]:
    """What a dispatcher hears: a no, for nobody obeys. Within, the order counts, so that its effect can be measured."""
    told: list[Answer] = []
    for answer in answers:
        if answer.status in (AnswerStatus.RECEIVED, AnswerStatus.REJECTED):
            told.append(answer)
        elif answer.status in (AnswerStatus.ACCEPTED, AnswerStatus.CLAMPED):
            no = replace(answer, status=AnswerStatus.REJECTED, code=RejectCode.NOT_ALLOWED, reason=IN_SHADOW)
            told.append(replace(no, terminal=True, power_w=None))
    return tuple(told)


def _as_would_be(facts: Fleet, shadow: ShadowState, reading: MinerReading) -> MinerReading:
    """One reading, of the real miner in, of the imagined one out."""
    miner, fleet = reading.miner, shadow.fleet
    shadow.away[miner] = reading.condition not in HERE
    if shadow.away[miner]:
        return reading
    _see_real(facts, shadow, reading)
    if not fleet.known[miner] or not shadow.begun:
        if shadow.begun and shadow.rest_w is not None:
            shadow.rest_w -= float(shadow.real_w[miner])  # it was among what the meter shows beside the miners
        fleet.see(facts, reading)
        return reading
    power_w = float(fleet.power_w(reading.started_at)[miner])
    return replace(fleet.read(facts, miner, power_w, reading.started_at, reading.finished_at), detail=reading.detail)


def _see_real(facts: Fleet, shadow: ShadowState, reading: MinerReading) -> None:
    """What one really does: its watts, its ratio to the nameplate, and whether somebody switched it."""
    miner, hashing = reading.miner, reading.condition is Condition.HASHING
    if shadow.real_on[miner] == (0 if hashing else 1):
        shadow.site.switches += 1
    shadow.real_on[miner] = hashing
    rung_w = None if reading.level is None else float(facts.level_power_w[miner, reading.level])
    if reading.power_w is not None:
        shadow.real_w[miner] = reading.power_w
        own_word = reading.power_error_w is None and rung_w is not None and hashing
        if own_word and rung_w and RATIO_MIN <= reading.power_w / rung_w <= RATIO_MAX:
            shadow.fleet.ratio[miner] = reading.power_w / rung_w
    else:
        shadow.real_w[miner] = (rung_w or 0.0) if hashing else float(facts.sleep_power_w[miner])


def _learn_rest(policy: Policy, shadow: ShadowState, readings: Readings) -> None:
    """Keep the real samples, and follow slowly what the site draws beside its miners."""
    load, export = readings.get(Point.SITE_LOAD_W), readings.get(Point.POI_EXPORT_W)
    if export is not None and _good(export) and (not shadow.exports or export.taken_at > shadow.exports[-1].taken_at):
        shadow.exports = (*shadow.exports[-1:], export)
    if load is None or not _good(load) or (shadow.loads and load.taken_at <= shadow.loads[-1].taken_at):
        return
    elapsed_s = load.taken_at - shadow.loads[-1].taken_at if shadow.loads else 0.0
    shadow.loads = (*shadow.loads[-1:], load)
    if shadow.rest_w is None:
        return
    gap_w = _rest_now_w(shadow) - shadow.rest_w
    step_w, noise_w = REST_STEP_RATIO * policy.rated_w, NOISE_RATIO * policy.rated_w
    shadow.rest_w += -math.expm1(-elapsed_s / REST_MEMORY_S) * min(max(gap_w, -step_w), step_w)
    shadow.noise_w = min(max(gap_w, -noise_w), noise_w)


def _rest_now_w(shadow: ShadowState) -> float:
    """The newest site sample less the miners' own watts; those never read count as none."""
    load_w = shadow.loads[-1].value if shadow.loads else None
    return (load_w or 0.0) - float(np.nansum(shadow.real_w[shadow.fleet.known]))


def _load_w(shadow: ShadowState, at: float) -> float:
    """What the site would draw at a moment."""
    fleet: ImaginedFleet = shadow.fleet
    return (shadow.rest_w or 0.0) + shadow.noise_w + float(fleet.power_w(at)[fleet.known].sum())


def _moved(shadow: ShadowState, readings: Readings) -> Readings:
    """The readings of a site that draws what it would draw: load up, export down by the same watts, and back."""
    moved = dict(readings)
    for point in (Point.SITE_LOAD_W, Point.POI_EXPORT_W, Point.DCS_POI_EXPORT_W):
        sample = readings.get(point)
        if sample is None or not _good(sample) or not shadow.loads:
            continue
        if point is Point.POI_EXPORT_W:
            sample = _export_between(shadow, sample)
        shown = shadow.shown.get(point)
        # A sample is moved once: what is decided later changes nothing of what was read before.
        if shown is None or shown.taken_at != sample.taken_at:
            at, value = sample.taken_at, sample.value or 0.0
            would_be_w = _load_w(shadow, at)
            value = would_be_w if point is Point.SITE_LOAD_W else value + _real_load_w(shadow, at) - would_be_w
            shown = shadow.shown[point] = replace(sample, value=value)
        moved[point] = shown
    return moved


def _export_between(shadow: ShadowState, newest: Sample) -> Sample:
    """The newest export that two site samples enclose: one beyond them would be set beside a load of another moment."""
    newest_load = shadow.loads[-1]
    if newest.taken_at <= newest_load.taken_at or len(shadow.exports) < 2:
        return newest
    before = shadow.exports[0]
    return before if before.taken_at <= newest_load.taken_at else newest


def _real_load_w(shadow: ShadowState, at: float) -> float:
    """The real site load at a moment: on the line between the last two samples, or the nearer of them."""
    times = [sample.taken_at for sample in shadow.loads]
    return float(np.interp(at, times, [sample.value or 0.0 for sample in shadow.loads]))


def _good(sample: Sample) -> bool:
    return sample.quality is Quality.GOOD


def _young(policy: Policy, sample: Sample, now: float) -> bool:
    return _good(sample) and now - sample.taken_at <= policy.inputs.hold_after_s
