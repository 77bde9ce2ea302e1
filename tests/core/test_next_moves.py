"""Who can be moved next, how soon that is felt, and how far trim leads.

A trim has moved by half after 2.5 s, a sleep after 1.9; a boot is dead for 10 s and climbs in 30.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.core import flight, next_moves
from controller.domain.command import Verb


def test_what_a_fall_is_led_by_does_not_go_with_the_last_trimmer_that_has_room(kit):
    """It went, so trimmers were let up, so it came again: a limit cycle of two seconds."""
    facts = kit.fleet(4)
    with_room, without = (kit.seen_state(facts, [True] * 4, level=level) for level in (3, 0))
    leads_s = [
        next_moves.NextMoves(facts, state, True, kit.policy().ramp, 0.0, 0.0).falls.middling.in_s
        for state in (with_room, without)
    ]
    assert leads_s[0] == leads_s[1] > 0.0


def test_nor_does_what_a_rise_is_led_by(kit):
    """It went with the last trimmer below its ceiling: sixty were trimmed down in the middle of a rise, to make room
    for boots that the ramp had room for when they came, and the load stood for twenty seconds."""
    facts = kit.fleet(4)
    with_room, without = (kit.seen_state(facts, [True] * 4, level=level) for level in (2, 3))
    rises = [
        next_moves.NextMoves(facts, state, True, kit.policy().ramp, 0.0, 0.0).rises for state in (with_room, without)
    ]
    assert rises[0].quickest.in_s == rises[1].quickest.in_s
    assert rises[0].middling.in_s == rises[1].middling.in_s > 0.0


@pytest.mark.parametrize(
    ("trims", "aim_w", "alone"),
    [
        pytest.param(True, -2_000.0, True, id="down by all four's range"),
        pytest.param(True, -2_001.0, False, id="down by more, for which somebody sleeps"),
        pytest.param(True, 4_000.0, True, id="up by all four's range"),
        pytest.param(True, 4_001.0, False, id="up by more, for which somebody boots"),
        pytest.param(False, -1.0, False, id="nobody is trimmed"),
    ],
)
def test_trim_is_alone_as_far_as_its_range_leads(kit, trims, aim_w, alone):
    """Four miners one rung above their lowest and two below their ceilings, 500 W each."""
    state = kit.seen_state(kit.fleet(4), [True] * 4, level=1)
    state.setpoint_w = 20_000.0
    pace = kit.policy().ramp
    moves = next_moves.NextMoves(kit.fleet(4), state, trims, pace, 20_000.0 + aim_w, 0.0)
    assert (moves.rises if aim_w > 0.0 else moves.falls).alone is alone


def test_where_nobody_trims_a_fall_is_felt_as_the_sleepers_move(kit):
    """Found by harsh seed 11171: it was taken to be felt at once, when the load's limit of 15 s says nothing."""
    facts = replace(kit.fleet(4), trims=np.zeros(4, dtype=np.bool_))
    state = kit.seen_state(facts, [True] * 4)
    falls = next_moves.NextMoves(facts, state, True, kit.policy().ramp, 0.0, 0.0).falls
    assert falls.quickest.in_s == falls.middling.in_s == pytest.approx(1.9, abs=0.01)


def test_a_fall_beyond_the_range_of_trim_goes_by_its_quickest_sleeper(kit):
    """Small ones that sleep at once followed large slow ones: what those still owed came down with these, 5.5 % of
    rated in 15 s where 5 are allowed."""
    facts, pace = kit.fleet(4), kit.policy().ramp
    state = kit.seen_state(facts, [True] * 4, level=1)
    state.setpoint_w = 20_000.0
    falls = [next_moves.NextMoves(facts, state, True, pace, aim_w, 0.0).falls for aim_w in (19_000, 10_000)]
    lags_s = [one.quickest.in_s for one in falls]
    assert lags_s == [pytest.approx(2.505, abs=0.01), pytest.approx(1.903, abs=0.01)]


def test_how_far_a_rise_looks_ahead_does_not_jump_with_the_last_quick_trimmer_at_its_ceiling(kit):
    """Only slow ones had room: five seconds of boots instead of two made the load's limit fall, twenty were trimmed
    down again in the middle of a rise, and it ended three seconds late."""
    facts, pace = kit.fleet(4), kit.policy().ramp
    facts = replace(facts, trim_dead_s=np.array([1.0, 1.0, 1.0, 5.0]))
    state = kit.seen_state(facts, [True] * 4, level=1)
    lags_s = []
    for quick_at in (1, 3):
        state.fleet.want_level[:3] = quick_at
        rises = next_moves.NextMoves(facts, state, True, pace, 20_000.0, 0.0).rises
        lags_s.append((rises.quickest.in_s, rises.middling.in_s))
    assert lags_s[0] == lags_s[1] == (pytest.approx(2.505, abs=0.01), pytest.approx(3.505, abs=0.01))


def test_no_rise_is_trims_alone_while_boots_are_under_way(kit):
    """It was taken for that as soon as their range led to the end, ninety boots beside it: 5.4 % of rated in 15 s."""
    facts, pace = kit.fleet(4), kit.policy().ramp
    state = kit.seen_state(facts, [True, True, True, False], level=1)
    state.setpoint_w = 20_000.0
    flight.put_in_flight(facts, state, np.array([3]), Verb.WAKE, np.array([3_500.0]), 0.0, np.array([90.0]))
    waits, climbs, is_up = (
        next_moves.NextMoves(facts, state, True, pace, 20_100.0, now).rises for now in (-20.0, 12.0, 44.0)
    )
    assert (waits.alone, climbs.alone, is_up.alone) == (True, False, True)
    assert waits.middling.owed_w == pytest.approx(0.0, abs=1.0)
    line_w = 3_450.0 * 0.9 / 30.0 * climbs.middling.in_s
    assert climbs.middling.owed_w == pytest.approx(0.75 * line_w, abs=1.0), "an S is steeper"
