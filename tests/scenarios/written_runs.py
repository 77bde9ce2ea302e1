"""Runs written by hand for the swarm's judges: the true load at every tick, and what each cycle decided.

Forty miners, half asleep.
"""

from __future__ import annotations

from dataclasses import replace

from controller.domain.command import Command, Verb
from tests.rig.large import large_setup
from tests.rig.record import CycleRow, Record

SECONDS = 300.0
SETUP = replace(large_setup(40, SECONDS), calm_from_s=120.0)
RATED_W = SETUP.policy.rated_w
UNIT_W = float(SETUP.facts.level_power_w.max())
RAMPED = replace(
    SETUP,
    policy=replace(
        SETUP.policy,
        ramp=replace(SETUP.policy.ramp, down_w_per_min=0.2 * RATED_W, down_w_per_15s=0.05 * RATED_W),
    ),
)


def cycle(at_s, *, bound="dispatch_target", expected_w=0.0, commands=(), **changes):
    row = CycleRow(
        at_s=at_s,
        setpoint_w=RATED_W,
        cap_w=RATED_W,
        bound=bound,
        shed=False,
        fail_safe="good",
        expected_w=expected_w,
        committed_w=0.0,
        plan_gap_w=0.0,
        recount_gap_w=0.0,
        commands=commands,
        quarantined=0,
        step_ms=0.1,
    )
    return replace(row, **changes)


def told(at_s, verb, miner=3):
    """A cycle with one command."""
    return cycle(at_s, commands=(Command(int(at_s), miner, verb, None, verb is Verb.WAKE, False, "test"),))


def written(load_w, cap_w=lambda t_s: 2.0 * RATED_W, setup=SETUP, cycles=None):
    """A record whose true load at each tick is `load_w(t_s)`; a cycle each second that expects just that."""
    record = Record()
    for tick in range(round(setup.duration_s / setup.tick_s)):
        t_s = (tick + 1) * setup.tick_s
        record.tick(t_s, load_w(t_s), cap_w(t_s), 0.0)
    seconds = range(1, round(setup.duration_s))
    record.cycles = [cycle(float(at), expected_w=load_w(float(at))) for at in seconds] if cycles is None else cycles
    return record


def falling(over_s, depth=0.3, from_s=150.0):
    """From 80 % of rated down by `depth` of it within so many seconds."""
    return lambda t_s: (0.8 - depth * min(max((t_s - from_s) / over_s, 0.0), 1.0)) * RATED_W
