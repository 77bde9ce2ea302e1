"""State <-> what the journal keeps of it. Loop seconds do not survive a restart: times are stored as ages.

What miners do now is read anew after a start; kept is what telemetry cannot tell: who was put to sleep by us, what must
be given back, dwell, quarantine, orders, sequence numbers, which input was in doubt - and the last known draw, for a
miner that stays silent.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from controller.core import class_record, estimator, mass, order_record, starts, trust_record
from controller.core.fleet_state import NO_COMMAND, Away
from controller.core.order_record import age, moment_of
from controller.core.shadow_state import ShadowState
from controller.core.state import MassState, OrderBook, State, WorkState
from controller.domain.command import Verb
from controller.domain.fleet import Fleet, FloatArray, Verdict
from controller.domain.shadow import Tally

VERSION = 2
READABLE = (1, VERSION)  # the first knew neither wear nor who was caught lying
LEAST_PATIENCE_S = 30.0


def to_record(facts: Fleet, state: State, now: float) -> dict[str, Any]:
    """JSON-able; miners by id, so that a changed inventory keeps what it still has."""
    shadow = {} if state.shadow is None else {"shadow": _shadow_record(state.shadow)}
    return {
        **shadow,
        "version": VERSION,
        "taken_at": now,
        "cycle": state.cycle,
        "next_command_id": state.next_command_id,
        "miners": _miners_record(facts, state, now),
        **order_record.of_orders(state, now),
        "mass": _mass_record(state, now),
        "work": None if state.work.since is None else {"for_s": now - state.work.since, "most": state.work.most},
        "classes": class_record.of_classes(facts, state),
        "waves": class_record.of_waves(facts, state, now),
        "trims_told": state.trims_told,
        "trust": trust_record.of_trust(state, now),
    }


def due_at_once(before: State, after: State) -> bool:
    """Whether what the site is held to has changed, or what was said of it: a crash must not forget an order whose
    ACCEPTED has gone out, be it a release that left nothing in force, nor that an input is in doubt, nor that many are
    away, what the meter showed before and who was seen dark by it."""
    books = [state.orders for state in (before, after)]
    orders = [(book.active, book.scheduled, book.last_seq) for book in books]
    crowds = [(state.mass.since, state.mass.crowd_from) for state in (before, after)]
    turned_dark = mass.dark(after.fleet) & ~mass.dark(before.fleet)
    binds = orders[0] != orders[1] or before.operator_caps != after.operator_caps
    told = crowds[0] != crowds[1] or bool(turned_dark.any())
    return binds or told or trust_record.doubts_changed(before, after)


def _miners_record(facts: Fleet, state: State, now: float) -> dict[str, dict[str, Any]]:
    """Column by column: miner by miner, asking arrays for one number each took longer than the step itself."""
    fleet, rows = state.fleet, range(len(facts))
    quarantined = fleet.verdict == Verdict.QUARANTINED
    until = np.where(quarantined, fleet.quarantined_until, -math.inf)
    columns: dict[str, list[Any]] = {
        "ours_asleep": fleet.ours_asleep.tolist(),
        "ceiling": fleet.ceiling.tolist(),
        "ratio": fleet.ratio.tolist(),
        "changed_age_s": _ages(now, fleet.changed_at),
        "attempts": fleet.attempts.tolist(),
        "failed_verb": fleet.failed_verb.tolist(),
        "drifts": fleet.drifts.tolist(),
        "drifted_age_s": _ages(now, fleet.drifted_at),
        "parked": fleet.parked.tolist(),
        # Of a move under way the higher end: after a restart nobody knows how far it came.
        "draw_w": np.maximum(fleet.from_w, fleet.to_w).tolist(),
        "quarantines": fleet.quarantines.tolist(),
        "quarantined_for_s": [None if math.isinf(end) else end - now for end in until.tolist()],
        "prior": [state.priors.get(row) for row in rows],
        "caught": (fleet.caught & quarantined).tolist(),
        "wear": [list(state.wear.get(row, ())) for row in rows],
        "away": fleet.away.tolist(),
        "answers": np.isneginf(fleet.gone_at).tolist(),
        "gone_age_s": _ages(now, fleet.gone_at),
    }
    each = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    miners = dict(zip(facts.miner_ids, each, strict=True))
    for row in fleet.trims_lost.nonzero()[0].tolist():
        miners[facts.miner_ids[row]]["trims_lost"] = [
            int(fleet.trims_lost[row]),
            now - float(fleet.trim_told_at[row]),
        ]
    for row in (fleet.verb == estimator.WAKE).nonzero()[0].tolist():
        sent_at, deadline_at = float(fleet.sent_at[row]), float(fleet.deadline_at[row])
        miners[facts.miner_ids[row]]["waking"] = [now - sent_at, deadline_at - now]
    started, places = (state.starts_at > now - starts.DAY_S).nonzero()
    for row, ago_s in zip(started.tolist(), np.round(now - state.starts_at[started, places], 1).tolist(), strict=True):
        miners[facts.miner_ids[row]].setdefault("starts_age_s", []).append(ago_s)
    for row in fleet.unchosen.nonzero()[0].tolist():
        miners[facts.miner_ids[row]]["unchosen"] = True
    for row in fleet.work.nonzero()[0].tolist():
        miners[facts.miner_ids[row]]["work"] = int(fleet.work[row])
    return miners


def from_record(facts: Fleet, record: dict[str, Any], now: float, wall: float) -> State:
    """A state that remembers; verdicts start unseen. Raises ValueError for a record of another version.

    `now` is the loop second, `wall` the UTC second at which it was taken: records without ends of orders have the
    latter to go by.
    """
    if record.get("version") not in READABLE:
        raise ValueError(f"checkpoint version {record.get('version')!r}; this program writes {VERSION}")
    state = State.fresh(facts, now)
    state.cycle = int(record["cycle"])
    state.next_command_id = int(record["next_command_id"])
    if "shadow" in record:
        # What a shadow believes is true of no fleet: nobody sleeps by its order, and no dispatch to it is in force.
        state.shadow = _shadow(facts, record["shadow"])
        state.orders = OrderBook(last_seq=dict(record["last_seq"]), seen_ids=tuple(record["seen_ids"]))
        trust_record.recall_trust(state, record.get("trust", {}), now)
        return state
    for row, miner_id in enumerate(facts.miner_ids):
        kept = record["miners"].get(miner_id)
        if kept is not None:
            _recall_miner(facts, state, row, kept, now)
    trust_record.recall_trust(state, record.get("trust", {}), now)
    _recall_mass(state, record.get("mass"), now)
    lost = record.get("work")
    if lost is not None:
        state.work = WorkState(since=now - lost["for_s"], most=lost["most"])
    class_record.recall_classes(facts, state, record.get("classes", {}))
    class_record.recall_waves(facts, state, record.get("waves", {}), now)
    state.trims_told = record.get("trims_told", 0)
    order_record.recall_orders(state, record, now, wall)
    return state


def replay_commands(facts: Fleet, state: State, commands: list[tuple[int, str, Verb]]) -> None:
    """Enter commands journalled after the checkpoint: (command id, miner id, verb), oldest first.

    When exactly each was sent nobody knows any more: not after now, from which dwell and boots are counted.
    """
    for command_id, miner_id, verb in commands:
        state.next_command_id = max(state.next_command_id, command_id + 1)
        if miner_id not in facts.miner_ids or state.shadow is not None:
            continue
        fleet, row = state.fleet, facts.index_of(miner_id)
        if verb is Verb.SLEEP:
            fleet.ours_asleep[row] = True
            fleet.verb[row] = NO_COMMAND
            fleet.changed_at[row] = state.now
        elif verb is Verb.WAKE:
            if not fleet.unchosen[row]:
                starts.recall(state, row, [*starts.of_miner(state, row), state.now])
            patience_s = max(estimator.LATE * float(facts.wake_dead_s[row] + facts.wake_90_s[row]), LEAST_PATIENCE_S)
            _waking(facts, state, row, state.now, state.now + max(patience_s, float(facts.wake_patience_s[row])))


def _waking(facts: Fleet, state: State, row: int, sent_at: float, deadline_at: float) -> None:
    """A boot under way, which shows as sleep at first: it counts as what it will draw, until it has been looked at."""
    fleet = state.fleet
    fleet.verb[row] = estimator.WAKE
    fleet.sent_at[row], fleet.deadline_at[row] = sent_at, deadline_at
    fleet.changed_at[row] = max(float(fleet.changed_at[row]), sent_at)
    fleet.dead_s[row], fleet.to_90_s[row] = facts.wake_dead_s[row], facts.wake_90_s[row]
    rung_w = float(facts.level_power_w[row, fleet.ceiling[row]] * fleet.ratio[row])
    before_w = float(fleet.to_w[row])
    fleet.from_w[row] = fleet.to_w[row] = max(before_w, rung_w)
    state.corrected_w += float(fleet.to_w[row]) - before_w  # believed, and nobody saw it move


def _recall_miner(facts: Fleet, state: State, row: int, kept: dict[str, Any], now: float) -> None:
    fleet = state.fleet
    fleet.ours_asleep[row] = kept["ours_asleep"]
    fleet.ceiling[row] = min(int(kept["ceiling"]), int(facts.cap_level[row]))
    fleet.want_level[row] = fleet.ceiling[row]
    fleet.ratio[row] = kept["ratio"]
    fleet.changed_at[row] = moment_of(now, kept["changed_age_s"])
    fleet.attempts[row] = kept["attempts"]
    fleet.failed_verb[row] = kept["failed_verb"]
    fleet.drifts[row] = kept["drifts"]
    fleet.drifted_at[row] = moment_of(now, kept["drifted_age_s"])
    fleet.parked[row] = kept["parked"]
    fleet.from_w[row] = fleet.to_w[row] = kept["draw_w"]
    fleet.quarantines[row] = kept["quarantines"]
    if kept["prior"] is not None:
        state.priors[row] = kept["prior"]
    fleet.caught[row] = kept.get("caught", False)
    fleet.away[row] = kept.get("away", 0)
    if fleet.away[row]:
        fleet.gone_at[row] = now - (kept.get("gone_age_s") or 0.0)  # until it is read it is away as before
    elif kept.get("answers"):
        fleet.gone_at[row] = -math.inf  # who does not any more has vanished since
    fleet.work[row] = kept.get("work", 0)
    if "waking" in kept:
        age_s, left_s = kept["waking"]
        _waking(facts, state, row, now - age_s, now + left_s)
    if "trims_lost" in kept:
        times, age_s = kept["trims_lost"]
        fleet.trims_lost[row], fleet.trim_told_at[row] = times, now - age_s
    fleet.unchosen[row] = kept.get("unchosen", False)
    if "starts_age_s" in kept:
        starts.recall(state, row, [now - age for age in kept["starts_age_s"]])
    if kept.get("wear"):
        state.wear[row] = tuple(kept["wear"])
    if kept["quarantined_for_s"] is not None:
        fleet.verdict[row] = np.int8(Verdict.QUARANTINED)
        fleet.quarantined_until[row] = now + kept["quarantined_for_s"]


def _shadow_record(shadow: ShadowState) -> dict[str, Any]:
    """The measurements alone."""
    return {
        "compared_s": shadow.compared_s,
        "shadow": asdict(shadow.shadow),
        "site": asdict(shadow.site),
        "commands": dict(shadow.commands),
    }


def _shadow(facts: Fleet, kept: dict[str, Any]) -> ShadowState:
    """Begun anew with the fleet as it is; what was measured goes on."""
    shadow = ShadowState.nothing_seen(facts)
    shadow.compared_s, shadow.commands = kept["compared_s"], dict(kept["commands"])
    shadow.shadow, shadow.site = Tally(**kept["shadow"]), Tally(**kept["site"])
    return shadow


def _mass_record(state: State, now: float) -> dict[str, Any] | None:
    mass = state.mass
    if mass.since is None:
        return None
    offset_w = None if mass.offset_w is None else mass.offset_w - state.revised_w
    return {
        "for_s": now - mass.since,
        "crowd_from_s": now - mass.crowd_from,
        "crowd_s": now - mass.crowd_at,
        "most": mass.most,
        "idled": mass.idled,
        "offset_w": offset_w,
    }


def _recall_mass(state: State, kept: dict[str, Any] | None, now: float) -> None:
    """A mass disconnect that stood goes on standing: it has been said, and nobody is told a second time."""
    if kept is None:
        return
    state.mass = MassState(
        since=now - kept["for_s"],
        crowd_from=now - kept.get("crowd_from_s", kept["for_s"]),
        crowd_at=now - kept.get("crowd_s", kept["for_s"]),
        said=True,
        said_dark=bool((state.fleet.away >= Away.DARK).any()),
        most=kept["most"],
        idled=kept["idled"],
        offset_w=kept["offset_w"],
    )


def _ages(now: float, moments: FloatArray) -> list[float | None]:
    return [age(now, moment) for moment in moments.tolist()]
