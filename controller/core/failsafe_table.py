"""The fail-safe table: for every input the daemon depends on, what can be wrong with it and what happens then.

Pure data, and longer than a page because every input stands beside the others. core/failsafe, core/doubts, core/clock
and core/arbiter look their reactions up here, docs/safety.md is rendered from here, and tests/core drives every cell in
virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.core.frequency import APART_MIN_S
from controller.domain.plan import EventLevel, InputState
from controller.domain.policy import Policy


class Row(StrEnum):
    """Every input, named as in `status` and /metrics where it stands there."""

    POI = "poi"
    SITE = "site"
    PLANT = "plant"
    HEARTBEAT = "heartbeat"
    UNITS = "units"
    TRIP = "trip"
    PERMIT = "permit"
    EMERGENCY = "emergency"
    FREQUENCY = "frequency"
    DISPATCHER = "dispatcher"
    NO_DISPATCHER = "dispatcher, without a lease"
    ORDER = "orders"
    BROKER = "broker"
    MINER = "a miner"
    MINERS = "many miners at once"
    FEEDER = "feeder meter"
    JOURNAL = "journal"
    CLOCK = "wall clock"
    OPERATOR = "operator's socket"
    CONFIGURATION = "configuration, on reload"
    PROCESS = "the daemon itself"


class Condition(StrEnum):
    """What can be wrong with an input, in the words of docs/safety.md."""

    LATE = "late"
    STALE = "stale"
    GONE = "gone"
    LOST = "lost"
    GARBAGE = "bad or unreadable"
    EXCEPTION = "answers with exceptions"
    WRONG_UNIT = "another one answers"
    IMPLAUSIBLE = "impossible"
    FROZEN = "stands still"
    CONTRADICTED = "contradicted by another"
    STOP = "says stop"
    REPEATED = "repeated"
    OUT_OF_SEQUENCE = "out of sequence"
    RETAINED = "retained"
    FLOODED = "too many"
    STEPPED_FORWARD = "stepped forward"
    STEPPED_BACK = "stepped back"
    KILLED = "killed"
    HUNG = "hangs"
    CRASH_LOOP = "dies again and again"
    UNCONFIRMED = "back, without a fresh order"
    BACK = "back again"


class Effect(StrEnum):
    """What becomes of the highest power the site may draw."""

    NONE = "none"
    HOLD = "held"
    ONLY_FALLS = "may only fall"
    FALLBACK = "ramps to the fallback"
    AUXILIARIES = "falls to auxiliaries at once"


class Action(StrEnum):
    """Everything the site ever does about a fault."""

    FOLLOW = "follow"
    HOLD = "hold"
    FREEZE_UP = "freeze upward"
    FALL_BACK = "fall back"
    SHED = "shed"
    LEAVE_OUT = "leave out"
    REFUSE = "refuse"
    STAND = "stand"


class After(StrEnum):
    """After how long: the site's own settings, by their keys."""

    AT_ONCE = "at once"
    SECOND_READING = "at the second reading in a row, 0.2 s to 3 s after the first"
    HOLD = "`failsafe.hold_after`"
    FREEZE = "`failsafe.freeze_after`"
    FALLBACK = "`failsafe.fallback_after` and the site's offset"
    FROZEN = "`failsafe.frozen_after`"
    BALANCE = "`failsafe.balance_after`"
    HEARTBEAT = "`failsafe.dcs_heartbeat_after`"
    REARM = "at once; after more than a hold, `failsafe.rearm_after`"
    LEASE = "`dispatch.heartbeat_lost_after`"
    COMMIT = "5 s"
    VERIFY = "`verify.attempts` orders in vain"
    WATCHDOG = "`WatchdogSec=`"
    CRASHES = "`restart.crash_limit` within `restart.crash_window`"


@dataclass(frozen=True, slots=True)
class Doing:
    """What an action means. raises: whether anything may be raised meanwhile. words: for events and people."""

    effect: Effect
    raises: bool
    words: str


DOES: dict[Action, Doing] = {
    Action.FOLLOW: Doing(Effect.NONE, True, "follow"),
    Action.HOLD: Doing(Effect.HOLD, False, "hold the cap; nothing is raised"),
    Action.FREEZE_UP: Doing(
        Effect.ONLY_FALLS, False, "the cap may only fall until the input has been good for the re-arm time"
    ),
    Action.FALL_BACK: Doing(
        Effect.FALLBACK, False, "ramp to the fallback until the input has been good for the re-arm time"
    ),
    Action.SHED: Doing(Effect.AUXILIARIES, False, "everybody sleeps at once, whatever else holds"),
    Action.LEAVE_OUT: Doing(Effect.NONE, True, "no plan counts on it; what it drew last counts as drawn"),
    Action.REFUSE: Doing(Effect.NONE, True, "refused with a reason; nothing moves"),
    Action.STAND: Doing(Effect.HOLD, False, "the load stays where it is: nobody is told anything"),
}

# The required inputs have a memory of their own: what an action makes of it, and the other way round.
STATE_OF: dict[Action, InputState] = {
    Action.FOLLOW: InputState.GOOD,
    Action.HOLD: InputState.HOLD,
    Action.FREEZE_UP: InputState.FROZEN_UP,
    Action.FALL_BACK: InputState.FALLBACK,
}
ACTION_OF: dict[InputState, Action] = {state: action for action, state in STATE_OF.items()}
LEVEL_OF: dict[InputState, EventLevel] = {
    InputState.GOOD: EventLevel.INFO,
    InputState.HOLD: EventLevel.WARNING,
    InputState.FROZEN_UP: EventLevel.WARNING,
    InputState.FALLBACK: EventLevel.ERROR,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What happens in one case.

    event, level: what is told; empty where an answer, a metric or a log line tells instead. how: in which way, and by
    what where the core does not do it. proved_by: the test that drives it over real processes or sockets, beside a
    scenario in virtual time or, where the core has no part in it, instead of one.
    """

    action: Action
    after: After = After.AT_ONCE
    event: str = ""
    level: EventLevel | None = None
    how: str = ""
    proved_by: str = ""

    @property
    def raises(self) -> bool:
        return DOES[self.action].raises


def _input(action: Action, after: After, how: str = "", proved_by: str = "") -> Cell:
    """A cell of a required input: its state changes, and that is told by how bad it is."""
    return Cell(action, after, "input_state", LEVEL_OF[STATE_OF[action]], how, proved_by)


A, C = Action, Condition
_READ = "the poller puts nothing into the mailbox: then as late, stale, gone"
_FAULTS = (
    "tests/drivers/modbus/test_against_simulator.py::test_every_fault_of_the_simulated_wire_has_its_name_and_passes"
)


def _measured(lost_by: str) -> dict[Condition, Cell]:
    """What all blocks of registers have in common."""
    return {
        C.LATE: _input(A.HOLD, After.HOLD, proved_by=lost_by),
        C.STALE: _input(A.FREEZE_UP, After.FREEZE, proved_by=lost_by),
        C.GONE: _input(A.FALL_BACK, After.FALLBACK, proved_by=lost_by),
        C.GARBAGE: _input(A.HOLD, After.AT_ONCE, "a sample without a value; then as stale, gone"),
        C.EXCEPTION: _input(A.HOLD, After.HOLD, _READ, _FAULTS),
        C.WRONG_UNIT: _input(A.HOLD, After.HOLD, _READ, _FAULTS),
        C.IMPLAUSIBLE: _input(A.HOLD, After.AT_ONCE, "then as stale, gone"),
        C.BACK: _input(A.FOLLOW, After.REARM),
    }


_METER = {
    C.FROZEN: _input(A.HOLD, After.FROZEN, "while the other meter moves; then as stale, gone"),
    C.CONTRADICTED: _input(A.HOLD, After.BALANCE, "generation, auxiliaries, load and export do not add up"),
}
_LOST_METER = (
    "tests/e2e/test_survive_inputs.py::"
    "test_a_site_that_loses_an_input_in_whatever_way_never_rises_falls_when_it_has_to_and_comes_back"
)


def _stepped(orders: str) -> Cell:
    how = f"for `failsafe.rearm_after`; {orders}"
    return Cell(A.HOLD, After.AT_ONCE, "clock_stepped", EventLevel.WARNING, how)


_SHED_OVER = Cell(A.FOLLOW, After.AT_ONCE, "shed_over", EventLevel.INFO, "by the ramps")


def _contact(stop: str) -> dict[Condition, Cell]:
    return {
        C.STOP: Cell(A.SHED, After.AT_ONCE, "shed", EventLevel.WARNING, stop),
        C.GARBAGE: _input(A.HOLD, After.AT_ONCE, "while it lasts; it counts as it was last read"),
        C.BACK: _SHED_OVER,
    }


TABLE: dict[Row, dict[Condition, Cell]] = {
    Row.POI: {**_measured(_LOST_METER), **_METER},
    Row.SITE: {**_measured(_LOST_METER), **_METER},
    Row.PLANT: _measured(_LOST_METER),
    Row.HEARTBEAT: {
        C.FROZEN: _input(A.HOLD, After.HEARTBEAT, "the plant is doubtful; then as stale, gone"),
        C.GARBAGE: _input(A.HOLD, After.HEARTBEAT, "as one that stands still"),
        C.BACK: _input(A.FOLLOW, After.REARM),
    },
    Row.UNITS: {
        C.STOP: _input(A.HOLD, After.AT_ONCE, "none is synchronised: the plant is doubtful; then as stale, gone"),
        C.GARBAGE: _input(A.HOLD, After.AT_ONCE, "the plant is doubtful; then as stale, gone"),
        C.BACK: _input(A.FOLLOW, After.REARM),
    },
    Row.TRIP: _contact("raised"),
    Row.PERMIT: _contact("withdrawn"),
    Row.EMERGENCY: _contact("raised"),
    Row.FREQUENCY: {
        C.STOP: Cell(A.SHED, After.SECOND_READING, "shed", EventLevel.WARNING, "below `failsafe.frequency_guard`"),
        C.IMPLAUSIBLE: _input(A.HOLD, After.AT_ONCE, "the POI meter's block is not what it should be"),
        C.GARBAGE: _input(
            A.HOLD, After.AT_ONCE, "while it lasts: the guard is blind; so it is when nothing follows one low reading"
        ),
        C.BACK: Cell(A.FOLLOW, After.AT_ONCE, "shed_over", EventLevel.INFO, "0.1 % above the guard; by the ramps"),
    },
    Row.DISPATCHER: {
        C.LOST: _input(A.FALL_BACK, After.LEASE, "no heartbeat; at the start, at once"),
        C.UNCONFIRMED: Cell(A.FALL_BACK, how="a heartbeat alone holds no lease"),
        C.BACK: _input(A.FOLLOW, After.AT_ONCE, "with a heartbeat and an order accepted since"),
    },
    Row.NO_DISPATCHER: {
        C.LOST: Cell(A.FOLLOW, how='`dispatch.lease = "none"`: the meters govern; orders in force run on'),
    },
    Row.ORDER: {
        C.GARBAGE: Cell(A.REFUSE, how="answered REJECTED"),
        C.LATE: Cell(A.REFUSE, how="answered REJECTED: issued too long ago, or over already"),
        C.RETAINED: Cell(A.REFUSE, how="answered REJECTED"),
        C.REPEATED: Cell(A.REFUSE, how="answered REJECTED; the first answer stands"),
        C.OUT_OF_SEQUENCE: Cell(A.REFUSE, how="answered REJECTED"),
        C.FLOODED: Cell(
            A.REFUSE,
            how="answered REJECTED before a cycle sees it; emergencies have places of their own",
            proved_by="tests/runtime/test_inbox.py::test_a_full_mailbox_refuses_with_an_answer_but_takes_an_emergency",
        ),
    },
    Row.BROKER: {
        C.LOST: Cell(
            A.FOLLOW,
            After.AT_ONCE,
            "broker_lost",
            EventLevel.WARNING,
            "the surplus is followed, orders in force run on; under a lease see the dispatcher",
            "tests/e2e/test_survive_broker.py::"
            "test_a_broker_that_is_killed_and_comes_back_empty_finds_a_site_that_followed_its_surplus",
        ),
        C.BACK: Cell(
            A.FOLLOW,
            After.AT_ONCE,
            "broker_connected",
            EventLevel.INFO,
            "answers that wait are delivered",
            "tests/runtime/test_inbox.py::test_answers_wait_for_a_broker_that_restarts_and_stale_ones_are_dropped",
        ),
    },
    Row.MINER: {
        C.LOST: Cell(A.LEAVE_OUT, After.AT_ONCE, "miner_unreachable", EventLevel.WARNING),
        C.CONTRADICTED: Cell(
            A.LEAVE_OUT,
            After.VERIFY,
            "miner_quarantined",
            EventLevel.ERROR,
            "its watts do not do what it was told: asked again, then quarantined",
        ),
        C.WRONG_UNIT: Cell(A.LEAVE_OUT, After.AT_ONCE, "miner_contradicts", EventLevel.ERROR, "nothing is asked of it"),
        C.BACK: Cell(A.FOLLOW, After.AT_ONCE, "miner_back", EventLevel.INFO),
    },
    Row.MINERS: {
        C.LOST: Cell(
            A.LEAVE_OUT,
            After.AT_ONCE,
            "mass_disconnect",
            EventLevel.ERROR,
            "the meters say whether they draw on; nobody is judged, and only a shed asks them for anything",
            "tests/e2e/test_survive_mass_disconnect.py::"
            "test_a_switch_that_dies_moves_nothing_and_a_shed_goes_round_the_lost",
        ),
        C.BACK: Cell(
            A.FOLLOW,
            After.AT_ONCE,
            "mass_return",
            EventLevel.INFO,
            "those that drew nothing are let in by the ramps; a warning when some stay away",
            "tests/e2e/test_survive_mass_disconnect.py::"
            "test_a_feeder_that_trips_is_dark_and_its_miners_are_let_in_by_the_ramps",
        ),
    },
    Row.FEEDER: {
        C.LOST: Cell(A.FOLLOW, how="it proves nothing and accuses nobody"),
        C.FROZEN: Cell(A.FOLLOW, how="it proves nothing and accuses nobody"),
        C.GARBAGE: Cell(A.FOLLOW, how="it proves nothing and accuses nobody"),
        C.CONTRADICTED: Cell(
            A.FOLLOW,
            After.AT_ONCE,
            "feeder_contradicts",
            EventLevel.WARNING,
            "the excess counts as drawn by nobody who could be named",
        ),
        C.BACK: Cell(A.FOLLOW, how="its miners are judged by it again"),
    },
    Row.JOURNAL: {
        C.LOST: Cell(
            A.HOLD,
            After.AT_ONCE,
            "journal_not_writable",
            EventLevel.ERROR,
            "full, read-only or failing: lowering commands go at once, raising ones not at all",
            "tests/e2e/test_survive_journal.py::"
            "test_a_full_disk_lowers_and_does_not_raise_and_one_that_has_room_again_raises",
        ),
        C.HUNG: Cell(A.HOLD, After.COMMIT, how="a commit that does not come back counts as a disk that does not write"),
        C.GARBAGE: Cell(
            A.FOLLOW,
            After.AT_ONCE,
            "journal_corrupt",
            EventLevel.ERROR,
            "set aside; a new one begins",
            "tests/e2e/test_survive_journal.py::"
            "test_a_torn_last_write_costs_that_write_and_a_damaged_journal_is_set_aside",
        ),
        C.BACK: Cell(A.FOLLOW, After.AT_ONCE, "journal_writable", EventLevel.INFO, "a warning when rows were lost"),
    },
    Row.CLOCK: {
        C.STEPPED_FORWARD: _stepped("no order ends early"),
        C.STEPPED_BACK: _stepped("no order lives longer"),
    },
    Row.OPERATOR: {
        C.GARBAGE: Cell(
            A.REFUSE,
            how="answered with a reason",
            proved_by="tests/runtime/test_console.py::"
            "test_one_conversation_may_ask_many_times_and_nonsense_does_not_end_it",
        ),
        C.FLOODED: Cell(
            A.REFUSE,
            how="16 clients, 64 orders a cycle",
            proved_by="tests/runtime/test_console.py::test_more_clients_than_allowed_are_turned_away",
        ),
        C.HUNG: Cell(
            A.FOLLOW,
            how="a client that does not read loses its connection",
            proved_by="tests/runtime/test_console.py::"
            "test_a_client_that_does_not_read_loses_its_connection_and_holds_no_socket",
        ),
    },
    Row.CONFIGURATION: {
        C.GARBAGE: Cell(
            A.REFUSE,
            After.AT_ONCE,
            "reload_refused",
            EventLevel.ERROR,
            "the old one stays in force",
            "tests/e2e/test_survive_reload.py::test_a_broken_inventory_keeps_the_old_one_and_every_problem_is_named",
        ),
    },
    Row.PROCESS: {
        C.KILLED: Cell(
            A.STAND,
            After.AT_ONCE,
            "resumed",
            EventLevel.INFO,
            "systemd starts it again: in control within 10 s, from its journal",
            "tests/e2e/test_survive_crash.py::test_a_kill_in_the_middle_of_a_move_changes_nothing_and_the_move_goes_on",
        ),
        C.HUNG: Cell(
            A.STAND,
            After.WATCHDOG,
            "resumed",
            EventLevel.INFO,
            "systemd kills what reports no healthy cycle, and starts it again",
            "tests/e2e/test_survive_hang.py::test_no_watchdog_beat_comes_from_anywhere_but_a_healthy_cycle",
        ),
        C.CRASH_LOOP: Cell(
            A.FALL_BACK,
            After.CRASHES,
            "safe_mode",
            EventLevel.ERROR,
            "safe mode: without meters, broker and engine, until a person ends it",
            "tests/e2e/test_survive_crash_loop.py::"
            "test_after_too_many_crashes_the_load_ramps_to_the_fallback_and_a_restart_ends_it",
        ),
    },
}
# Rows the core has a scenario for; the others are the runtime's, and each of their cells names its proof.
RUNTIME_ROWS = frozenset({Row.OPERATOR, Row.CONFIGURATION, Row.PROCESS})


def state_asked(row: Row, condition: Condition) -> InputState:
    """What a required input's state becomes at least, by its cell."""
    return STATE_OF[TABLE[row][condition].action]


def words_of(state: InputState) -> str:
    """What the site does while a required input is in this state."""
    return DOES[ACTION_OF[state]].words


def seconds(after: After, policy: Policy) -> float:
    """The limit on this site, seconds; raises KeyError for one that is not counted in the site's settings."""
    inputs = policy.inputs
    return {
        After.AT_ONCE: 0.0,
        After.SECOND_READING: APART_MIN_S,
        After.HOLD: inputs.hold_after_s,
        After.FREEZE: inputs.freeze_after_s,
        After.FALLBACK: inputs.fallback_after_s + inputs.fallback_offset_s,
        After.FROZEN: inputs.frozen_after_s,
        After.BALANCE: inputs.balance_after_s,
        After.HEARTBEAT: inputs.dcs_heartbeat_after_s,
        After.REARM: inputs.rearm_s,
        After.LEASE: policy.dispatch.heartbeat_lost_after_s,
    }[after]
