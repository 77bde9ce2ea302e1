"""Commands on their way: what is entered for each miner when one is given, and when it is over."""

from __future__ import annotations

from controller.core import estimator
from controller.core.fleet_state import NO_COMMAND, VERB_CODES, FleetState
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, Fleet, FloatArray, IntArray


def put_in_flight(
    facts: Fleet, state: State, miners: IntArray, verb: Verb, to_w: FloatArray, now: float, deadline_s: FloatArray
) -> None:
    """Enter commands for `miners` (k,) into the ledger, from what each is expected to draw now to `to_w` (k,)."""
    fleet = state.fleet
    fleet.from_w[miners] = estimator.expected_power_w(fleet, now, miners)
    fleet.to_w[miners] = to_w
    fleet.verb[miners] = VERB_CODES[verb]
    fleet.sent_at[miners] = now
    dead, to_90 = response_s(facts, verb)
    fleet.dead_s[miners] = dead[miners]
    fleet.to_90_s[miners] = to_90[miners]
    fleet.learned[miners] = learned_ratio(facts, verb)[miners]
    fleet.deadline_at[miners] = now + deadline_s


def take_out_of_flight(fleet: FleetState, miners: IntArray | BoolArray | int, draw_w: FloatArray | float) -> None:
    """The command of `miners` (one, or an array) is over (proved, refused or given up): they draw `draw_w` now."""
    fleet.from_w[miners] = draw_w
    fleet.to_w[miners] = draw_w
    fleet.verb[miners] = NO_COMMAND


def response_s(facts: Fleet, verb: Verb) -> tuple[FloatArray, FloatArray]:
    """Dead time and seconds from there to 90 % of the way, (n,) each."""
    match verb:
        case Verb.SLEEP:
            return facts.sleep_dead_s, facts.sleep_90_s
        case Verb.WAKE:
            return facts.wake_dead_s, facts.wake_90_s
        case Verb.TRIM:
            return facts.trim_dead_s, facts.trim_90_s


def learned_ratio(facts: Fleet, verb: Verb) -> FloatArray:
    """How many times the configured seconds `response_s` is, (n,)."""
    match verb:
        case Verb.SLEEP:
            return facts.sleep_learned
        case Verb.WAKE:
            return facts.wake_learned
        case Verb.TRIM:
            return facts.trim_learned
