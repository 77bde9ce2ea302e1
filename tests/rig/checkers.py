"""Judges of a run, each independent of the core and of the others: they know the setup, true power and what was said.

A checker returns the breaches it found; an empty list is a clean run.
"""

from __future__ import annotations

from tests.rig.breaches import Breach, Checker
from tests.rig.check_load import (
    blind_ends_low,
    blind_only_down,
    caps_obeyed,
    limits_kept,
    load_under_cap,
    ramp_up_kept,
    settles,
    sheds_at_once,
)
from tests.rig.check_miners import (
    commands_bounded,
    dwell_kept,
    many_are_one_event,
    misbehaving_go,
    orders_answered,
    orders_end_in_time,
    plan_adds_up,
    power_back_is_idled,
    well_behaved_stay,
)
from tests.rig.check_physics import ledger_balances, no_limit_cycle, ramp_down_kept
from tests.rig.record import Record
from tests.rig.setup import Setup

CHECKERS: dict[str, Checker] = {
    check.__name__: check
    for check in (
        load_under_cap,
        blind_only_down,
        blind_ends_low,
        plan_adds_up,
        ramp_up_kept,
        dwell_kept,
        orders_answered,
        orders_end_in_time,
        caps_obeyed,
        limits_kept,
        sheds_at_once,
        well_behaved_stay,
        misbehaving_go,
        commands_bounded,
        settles,
        power_back_is_idled,
        many_are_one_event,
    )
}
HARSH = {check.__name__: check for check in (ramp_down_kept, ledger_balances, no_limit_cycle)}


def judge(setup: Setup, record: Record, harsh: bool = False) -> list[Breach]:
    """Every checker's breaches, earliest first; of the harsh ones too where asked."""
    asked = {**CHECKERS, **(HARSH if harsh else {})}
    found = [breach for check in asked.values() for breach in check(setup, record)]
    return sorted(found, key=lambda breach: breach.at_s)
