"""What survives a restart: ages, not loop seconds; miners by id; nothing that telemetry can tell anew."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from controller.core import checkpoint, classes
from controller.core.state import ActiveOrder, OrderBook
from controller.domain.command import Verb
from controller.domain.dispatch import DispatchClass, DispatchKind
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import OperatorOrder, OperatorVerb
from tests.core.builders import WALL


def lived(kit, facts, now=1_000.0):
    """A state with something in every drawer."""
    state = kit.seen_state(facts, [True, False, False, True], now=now)
    fleet = state.fleet
    fleet.ceiling[0], fleet.ratio[0], fleet.attempts[0] = 2, 1.07, 1
    fleet.changed_at[1] = 400.0
    fleet.verdict[3], fleet.quarantined_until[3], fleet.quarantines[3] = Verdict.QUARANTINED, 1_500.0, 2
    state.priors[0] = "3000W"
    state.wear[2] = (1_799_999_000, 1_799_999_500)
    state.cycle, state.next_command_id = 77, 42
    order = kit.order(DispatchKind.TARGET, 9_000, priority=3, dispatch_class=DispatchClass.ECONOMIC)
    state.orders = OrderBook(
        (ActiveOrder(order, 9_000, True, now + 600.0),), {"desk": 1}, ("old", "desk-1"), lease_held=True
    )
    state.operator_caps = (OperatorOrder(OperatorVerb.CAP, "maria", 8_000, kit.wall + 60.0),)
    state.operator_ends = {"maria": now + 45.0}
    return state


def through_the_journal(facts, state, now, back_at, facts_after=None):
    record = json.loads(json.dumps(checkpoint.to_record(facts, state, now), allow_nan=False))
    return checkpoint.from_record(facts_after or facts, record, back_at, WALL)


def test_what_telemetry_cannot_tell_survives(kit):
    facts = kit.fleet(4)
    state = lived(kit, facts)
    back = through_the_journal(facts, state, 1_000.0, 5.0)
    assert list(back.fleet.ours_asleep) == [False, True, True, False]
    assert (back.fleet.ceiling[0], back.fleet.ratio[0], back.fleet.attempts[0]) == (2, pytest.approx(1.07), 1)
    assert back.priors == {0: "3000W"}
    assert (back.cycle, back.next_command_id) == (77, 42)
    assert back.orders.active == (replace(state.orders.active[0], ends_at=5.0 + 600.0),), "ages, not loop seconds"
    assert back.operator_ends == {"maria": 5.0 + 45.0}
    assert (back.orders.last_seq, back.orders.seen_ids) == ({"desk": 1}, ("old", "desk-1"))
    assert back.operator_caps == state.operator_caps
    assert back.wear == {2: (1_799_999_000, 1_799_999_500)}


def test_an_order_for_later_begins_when_it_would_have_and_records_without_any_are_as_they_were(kit):
    facts, state = kit.fleet(4), lived(kit, kit.fleet(4))
    plain = checkpoint.to_record(facts, state, 1_000.0)
    later = ActiveOrder(
        replace(kit.order(seq=2), not_before=WALL + 90.0), 10_000, False, ends_at=1_600.0, starts_at=1_090.0
    )
    state.orders = replace(state.orders, scheduled=(later,))
    back = through_the_journal(facts, state, 1_000.0, 5.0)
    assert back.orders.scheduled == (replace(later, ends_at=605.0, starts_at=95.0),)
    record = checkpoint.to_record(facts, state, 1_000.0)
    assert {key for key in record if key not in plain} == {"scheduled"}, "an earlier program reads the rest"
    assert "not_before" not in record["orders"][0]["dispatch"]
    assert checkpoint.from_record(facts, plain, 5.0, WALL).orders.scheduled == ()


def test_a_record_of_the_version_before_is_read_and_knows_no_wear(kit):
    facts = kit.fleet(4)
    record = checkpoint.to_record(facts, lived(kit, facts), 1_000.0)
    for miner in record["miners"].values():
        del miner["wear"]
    back = checkpoint.from_record(facts, {**record, "version": 1}, 5.0, WALL)
    assert back.priors == {0: "3000W"}
    assert back.wear == {}


def test_times_come_back_as_ages_on_the_new_clock(kit):
    facts = kit.fleet(4)
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0)
    assert back.fleet.changed_at[1] == 5.0 - 600.0
    assert back.fleet.changed_at[0] == -math.inf
    assert back.fleet.quarantined_until[3] == 5.0 + 500.0
    assert back.fleet.verdict[3] == Verdict.QUARANTINED
    assert back.fleet.quarantines[3] == 2


def test_what_telemetry_tells_is_read_anew(kit):
    facts = kit.fleet(4)
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0)
    assert set(back.fleet.condition) == {Condition.UNKNOWN}
    assert list(back.fleet.verdict[:3]) == [Verdict.UNSEEN] * 3
    assert back.offset_w is None
    assert back.surplus_cap_w is None


def test_a_changed_inventory_keeps_what_it_still_has(kit):
    facts = kit.fleet(4)
    grown = kit.fleet(6, joule_per_th=(40, 30, 20, 25, 26, 27))
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0, grown)
    assert list(back.fleet.ours_asleep) == [False, True, True, False, False, False]
    shrunk = kit.fleet(2)
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0, shrunk)
    assert list(back.fleet.ours_asleep) == [False, True]


def test_a_lower_cap_in_the_inventory_bounds_the_remembered_ceiling(kit):
    facts = kit.fleet(4)
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0, kit.fleet(4, cap_level=1))
    assert np.all(back.fleet.ceiling <= 1)


def test_a_record_of_another_version_is_refused(kit):
    facts = kit.fleet(4)
    record = {**checkpoint.to_record(facts, lived(kit, facts), 1_000.0), "version": 99}
    with pytest.raises(ValueError, match="99"):
        checkpoint.from_record(facts, record, 5.0, WALL)


def test_commands_after_the_checkpoint_are_entered(kit):
    facts = kit.fleet(4)
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0)
    checkpoint.replay_commands(facts, back, [(42, "m0", Verb.SLEEP), (43, "m3", Verb.TRIM), (44, "gone", Verb.SLEEP)])
    assert back.fleet.ours_asleep[0]
    assert back.next_command_id == 45


def test_a_restart_moves_no_miner(kit):
    """The daemon dies and comes back: the first cycles look, and the load stays where it is."""
    site = kit.site(hashing=[True, True, True, False], surplus_w=11_650.0)
    site.cycles(60)
    load = site.load_w()
    site.state = through_the_journal(site.facts, site.state, site.now, 0.0)
    site.now, site.moved_at[:] = 0.0, -1e6
    site.sent.clear()
    for _ in range(30):
        site.cycle()
        assert site.load_w() == pytest.approx(load)
    assert site.sent == []


@pytest.mark.parametrize("journalled", ["checkpoint", "command"])
@pytest.mark.parametrize("dead_s", [2.0, 25.0])
def test_a_restart_in_the_middle_of_a_boot_goes_on_with_it(kit, journalled, dead_s):
    """It shows as sleep for as long as the boot takes to begin: it was planned asleep, taken for one that woke by
    itself and put to sleep again, and others were woken in its place."""
    site = kit.site(hashing=[True, False, False, False], surplus_w=8_000.0)
    site.facts.wake_dead_s[:] = dead_s
    while not site.sent or site.sent[-1].verb is not Verb.WAKE:
        before = site.state
        site.cycle()
    (wake,) = site.sent
    if journalled == "checkpoint":
        site.cycle(1.0)
        site.state = through_the_journal(site.facts, site.state, site.now, site.now)
    else:
        site.state = through_the_journal(site.facts, before, before.now, before.now)
        site.state.now = site.now
        checkpoint.replay_commands(site.facts, site.state, [(wake.command_id, f"m{wake.miner}", wake.verb)])
    site.cycles(120)
    assert [one.verb for one in site.sent if one.verb is not Verb.TRIM] == [Verb.WAKE]
    assert site.hashing[wake.miner]
    assert site.state.fleet.verdict[wake.miner] == Verdict.SETTLED
    told = [event.name for decision in site.decisions for event in decision.events]
    assert not {"miner_drifted", "miner_stuck", "foreign_sleeper"} & set(told)


def test_of_a_boot_that_was_under_way_a_restart_learns_nothing(kit):
    """It sees the rest of it. Twenty such boots taught a class that it boots in a quarter of its time: what boots next
    was taken for idle, without work, and put to sleep half-way (harsh seed 10660)."""
    fast = {"up_w_per_min": 300_000.0, "up_w_per_15s": 150_000.0}
    policy = kit.policy(rated_w=200_000, site_cap_w=200_000, ramp=fast)
    site = kit.site(policy, kit.fleet(40), hashing=[False] * 40, surplus_w=150_000.0)
    while sum(command.verb is Verb.WAKE for command in site.sent) < 30:
        site.cycle()
    site.cycles(12)
    site.state = through_the_journal(site.facts, site.state, site.now, site.now)
    site.cycles(60)
    assert np.count_nonzero(site.state.fleet.verdict == Verdict.SETTLED) == 40
    (report,) = classes.reports(site.facts, site.state)
    assert (report.learned, report.commands) == ((False, False, False), (0.0, 0.0, 0.0))
    assert (report.dead_s[1], report.to_90_s[1]) == (10.0, 30.0)


def test_who_was_told_to_sleep_after_the_checkpoint_rests_its_dwell(kit):
    facts = kit.fleet(4)
    back = through_the_journal(facts, lived(kit, facts), 1_000.0, 5.0)
    back.now = 7.0
    checkpoint.replay_commands(facts, back, [(42, "m0", Verb.WAKE), (43, "m0", Verb.SLEEP)])
    assert back.fleet.changed_at[0] == 7.0
    assert back.fleet.ours_asleep[0]
    assert back.fleet.verb[0] == 0


def test_who_is_up_by_the_time_of_a_restart_is_no_boot_any_more(kit):
    """Counted twice, as what the meter shows and as what is still to come, it would have put another to sleep."""
    site = kit.site(hashing=[True, False, False, False], surplus_w=8_000.0)
    while not site.sent or site.sent[-1].verb is not Verb.WAKE:
        site.cycle()
    site.set_hashing(site.sent[0].miner, True)  # sooner than its class says
    site.now += 1.0
    site.state = through_the_journal(site.facts, site.state, site.now, site.now)
    site.cycle()
    assert site.state.fleet.verb[site.sent[0].miner] == 0
    site.cycles(30)
    assert not [one for one in site.sent if one.verb is Verb.SLEEP]
