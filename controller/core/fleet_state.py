"""Everything the core remembers of each miner, as arrays: what is seen, what is wanted, and what is on its way."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from operator import attrgetter

import numpy as np

from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, ByteArray, Code, Condition, Fleet, FloatArray, IntArray, Verdict

NO_COMMAND = 0
VERB_CODES: dict[Verb, int] = {Verb.SLEEP: 1, Verb.WAKE: 2, Verb.TRIM: 3}
VERB_OF_CODE: dict[int, Verb] = {code: verb for verb, code in VERB_CODES.items()}


class Away(Code):
    """What is known of one of many miners that vanished at once.

    DRAWS: as far as anybody knows it goes on. DARK: a meter shows that it draws nothing; it is planned asleep.
    DARK_FOREIGN: the same of one that slept by another's hand, and shall again.
    """

    NO = 0
    DRAWS = 1
    DARK = 2
    DARK_FOREIGN = 3


class Work(Code):
    """Whether a miner gets work from its pools, while a loss of work stands.

    HAS: as far as anybody knows. LOST: it idled by itself, or came up without. BACK: it did, and hashes again.
    """

    HAS = 0
    LOST = 1
    BACK = 2


@dataclass(frozen=True, slots=True)
class Wants:
    """What was wanted of every miner before the plan changed it, (n,) each."""

    hashing: BoolArray
    level: IntArray


@dataclass(slots=True)
class FleetState:
    """One entry per miner, all arrays (n,). Times are loop seconds, -inf for "never".

    Observed: condition, reported_w (NaN unknown), power_error_w (how far an estimate may be off; 0 for the miner's own
    word), level (-1 unknown), read_at (begin of the newest read that proved something), unknown_at (of the newest that
    told nothing of what it does).
    Wanted: want_hashing, want_level; ceiling: highest level we may ask for (what the owner had set).
    changed_at: when last told to sleep or wake, for dwell; changed_before: the same without the command in flight.
    told_again: that command asks for what was wanted before it.
    attempts: failed commands since it last obeyed one of the same kind, failed_verb.
    switch_again_at, trim_again_at: its budget of writes and restarts is used up until then, said at budget_told_at.
    trims_lost: in a row, that never arrived; trim_told_at: when the last trim was told to have arrived or not. See
    core/arrivals.
    sleep_proved: asleep, and its feeder's meter agrees. caught, since caught_at: says that it sleeps, and its feeder
    shows that it does not; counted as drawing until the meter, or the miner itself, says otherwise. anchor_w: what it
    was believed to draw when its feeder's meter last agreed, NaN never; stirred: not asleep all the time since.
    drifts: moves of its own, the last at drifted_at. parked: given back to its owner, not ours to move.
    unchosen: put to sleep by a shed, a fallback, a lost pool or a blackout: waking it costs no start of the day.
    unheard: told to draw less, and not heard of since, though it should be there by now; doubted: and it counts as it
    was before, for neither its next reading nor the site meter will tell.
    gone_at: when it stopped answering, -inf while it answers, inf before it ever did; gone_said: an event told so.
    away: one of many that vanished at once, an `Away`; back_at: when such a one, or one that had restarted by itself,
    answered again. See core/mass.
    rate_th: the hash rate it told, NaN none told; has_rate: one worth the name. idle_at: since when it idles by itself,
    -inf while it does not. work: a `Work`. See core/work.
    In-flight ledger: verb (0 none), command_id, sent_at, from_w, to_w, dead_s, to_90_s, deadline_at; learned: how many
    times the configured seconds these were, 1 where nothing is learned.
    expected_w moves from from_w to to_w along the response class; without a command both are the settled draw.
    """

    condition: ByteArray
    reported_w: FloatArray
    power_error_w: FloatArray
    level: IntArray
    read_at: FloatArray
    unknown_at: FloatArray
    want_hashing: BoolArray
    want_level: IntArray
    ceiling: IntArray
    ratio: FloatArray
    ours_asleep: BoolArray
    changed_at: FloatArray
    changed_before: FloatArray
    told_again: BoolArray
    verb: ByteArray
    command_id: IntArray
    sent_at: FloatArray
    from_w: FloatArray
    to_w: FloatArray
    dead_s: FloatArray
    to_90_s: FloatArray
    learned: FloatArray
    deadline_at: FloatArray
    unchosen: BoolArray
    unheard: BoolArray
    doubted: BoolArray
    verdict: ByteArray
    attempts: IntArray
    failed_verb: ByteArray
    drifts: IntArray
    drifted_at: FloatArray
    parked: BoolArray
    retry_at: FloatArray
    switch_again_at: FloatArray
    trim_again_at: FloatArray
    budget_told_at: FloatArray
    trims_lost: IntArray
    trim_told_at: FloatArray
    refused: BoolArray
    sleep_proved: BoolArray
    caught: BoolArray
    caught_at: FloatArray
    anchor_w: FloatArray
    stirred: BoolArray
    disagreed: IntArray
    quarantined_until: FloatArray
    quarantines: IntArray
    gone_at: FloatArray
    gone_said: BoolArray
    away: ByteArray
    back_at: FloatArray
    rate_th: FloatArray
    has_rate: BoolArray
    idle_at: FloatArray
    work: ByteArray

    def wants(self) -> Wants:
        """What is wanted now, as a copy to compare with later."""
        return Wants(self.want_hashing.copy(), self.want_level.copy())

    def copy(self) -> FleetState:
        return FleetState(*map(np.ndarray.copy, _COLUMNS(self)))

    @classmethod
    def unseen(cls, fleet: Fleet) -> FleetState:
        """A fleet nobody has read yet: nothing is assumed to hash or to sleep."""
        n = len(fleet)
        zeros, never = np.zeros(n), np.full(n, -math.inf)
        return cls(
            condition=np.full(n, Condition.UNKNOWN, dtype=np.int8),
            reported_w=np.full(n, np.nan),
            power_error_w=zeros.copy(),
            level=np.full(n, -1, dtype=np.int64),
            read_at=never.copy(),
            unknown_at=never.copy(),
            want_hashing=np.zeros(n, dtype=np.bool_),
            want_level=fleet.cap_level.copy(),
            ceiling=fleet.cap_level.copy(),
            ratio=np.ones(n),
            ours_asleep=np.zeros(n, dtype=np.bool_),
            changed_at=never.copy(),
            changed_before=never.copy(),
            told_again=np.zeros(n, dtype=np.bool_),
            verb=np.zeros(n, dtype=np.int8),
            command_id=np.zeros(n, dtype=np.int64),
            sent_at=never.copy(),
            from_w=zeros.copy(),
            to_w=zeros.copy(),
            dead_s=zeros.copy(),
            to_90_s=np.ones(n),
            learned=np.ones(n),
            deadline_at=np.full(n, math.inf),
            unchosen=np.zeros(n, dtype=np.bool_),
            unheard=np.zeros(n, dtype=np.bool_),
            doubted=np.zeros(n, dtype=np.bool_),
            verdict=np.full(n, Verdict.UNSEEN, dtype=np.int8),
            attempts=np.zeros(n, dtype=np.int64),
            failed_verb=np.zeros(n, dtype=np.int8),
            drifts=np.zeros(n, dtype=np.int64),
            drifted_at=never.copy(),
            parked=np.zeros(n, dtype=np.bool_),
            retry_at=never.copy(),
            switch_again_at=never.copy(),
            trim_again_at=never.copy(),
            budget_told_at=never.copy(),
            trims_lost=np.zeros(n, dtype=np.int64),
            trim_told_at=never.copy(),
            refused=np.zeros(n, dtype=np.bool_),
            sleep_proved=np.zeros(n, dtype=np.bool_),
            caught=np.zeros(n, dtype=np.bool_),
            caught_at=never.copy(),
            anchor_w=np.full(n, math.nan),
            stirred=np.ones(n, dtype=np.bool_),
            disagreed=np.zeros(n, dtype=np.int64),
            quarantined_until=never.copy(),
            quarantines=np.zeros(n, dtype=np.int64),
            gone_at=np.full(n, math.inf),
            gone_said=np.zeros(n, dtype=np.bool_),
            away=np.zeros(n, dtype=np.int8),
            back_at=never.copy(),
            rate_th=np.full(n, math.nan),
            has_rate=np.zeros(n, dtype=np.bool_),
            idle_at=never.copy(),
            work=np.full(n, Work.HAS, dtype=np.int8),
        )


_COLUMNS = attrgetter(*(entry.name for entry in fields(FleetState)))  # every cycle copies them all
