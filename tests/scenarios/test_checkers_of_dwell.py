"""The swarm's judge of dwell, on commands written by hand around a mass disconnect."""

from __future__ import annotations

from dataclasses import replace

from controller.domain.command import Verb
from controller.domain.fleet import Condition
from tests.rig.check_miners import dwell_kept
from tests.rig.recount import committed_w
from tests.rig.setup import Crash, FeederTrip, InputFault, InputFaultKind, Outage
from tests.rig.site import Site
from tests.scenarios.written_runs import RATED_W, SETUP, falling, told, written


def test_a_repeated_sleep_begins_a_rest_anew_unless_it_cannot_have_arrived():
    """Found by harsh seed 3570: a shed asked one to sleep again that slept, and was out of reach."""
    again = [told(100.0, Verb.SLEEP), told(120.0, Verb.SLEEP), told(170.0, Verb.WAKE)]
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_off_s=60.0)))
    record = written(falling(1.0), cycles=again)
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [170.0]
    away = replace(setup, outages=(Outage(3, 110.0, 140.0),))
    assert dwell_kept(away, record) == []
    early = written(falling(1.0), cycles=[*again[:2], told(155.0, Verb.WAKE)])
    assert [breach.at_s for breach in dwell_kept(away, early)] == [155.0], "the first one did arrive"
    back = replace(setup, outages=(Outage(3, 110.0, 121.0),))
    assert [breach.at_s for breach in dwell_kept(back, record)] == [170.0], "it was tried until it was there again"


def test_a_repeated_sleep_to_one_that_starts_after_its_feeder_tripped_begins_no_rest_anew():
    """Found by harsh seed 10304: it was told twice more before it could be heard again."""
    again = [told(100.0, Verb.SLEEP), told(150.0, Verb.SLEEP), told(170.0, Verb.WAKE)]
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_off_s=60.0)))
    record = written(falling(1.0), cycles=again)
    mine = FeederTrip(setup.feeder_of_miner[3], 110.0, 140.0)
    assert dwell_kept(replace(setup, trips=(mine,)), record) == []
    for trip in (replace(mine, feeder=mine.feeder + 1), replace(mine, begin_s=155.0, end_s=165.0)):
        assert [breach.at_s for breach in dwell_kept(replace(setup, trips=(trip,)), record)] == [170.0]


def test_a_site_meter_that_lies_above_a_limit_excuses_a_sleep_and_an_honest_one_does_not():
    """Found by harsh seed 4388: a meter stood still above a cap, and all that were put to sleep for it moved it not."""
    capped_w = 0.5 * RATED_W
    sleep = replace(told(160.0, Verb.SLEEP), setpoint_w=capped_w, cap_w=capped_w, shown_w=0.6 * RATED_W)
    record = written(lambda t_s: 0.4 * RATED_W, cycles=[told(100.0, Verb.WAKE), sleep])
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_on_s=120.0)))
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [160.0]
    stuck = InputFault("site", InputFaultKind.STUCK, 130.0, 200.0)
    assert dwell_kept(replace(setup, input_faults=(stuck,)), record) == []
    others = (replace(stuck, feed="poi"), replace(stuck, begin_s=161.0), replace(stuck, end_s=159.0))
    for fault in others:
        assert len(dwell_kept(replace(setup, input_faults=(fault,)), record)) == 1
    record.cycles[1] = replace(sleep, shown_w=0.45 * RATED_W)
    assert len(dwell_kept(replace(setup, input_faults=(stuck,)), record)) == 1, "below the cap by its own lie"


def test_who_restarted_while_many_had_vanished_may_be_put_to_sleep_when_heard():
    """Found by harsh seed 2309: its stay was over, and nobody can tell its start from those of a feeder with power."""
    record = written(falling(1.0), cycles=[told(100.0, Verb.WAKE), told(160.0, Verb.SLEEP)])
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_on_s=120.0)))
    restarted = replace(setup, reboots=((130.0, 3),))
    assert [breach.at_s for breach in dwell_kept(restarted, record)] == [160.0], "alone, it boots on"
    mine = SETUP.facts.feeder_names[SETUP.facts.feeder[3]]
    record.events = [(140.0, "mass_disconnect", None, f"many, by feeder {mine} (9); dark")]
    assert dwell_kept(restarted, record) == []
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [160.0], "another that did not restart"
    assert [breach.at_s for breach in dwell_kept(replace(setup, reboots=((50.0, 3),)), record)] == [160.0]


def test_another_crowd_than_its_own_excuses_no_sleep_of_one_that_restarted():
    """A crowd told of long after the restart, or that names other feeders when a sweep had missed the miner already."""
    sleep_s = 140.0 + SETUP.sweep_s + SETUP.policy.fleet.mass_disconnect_window_s
    record = written(falling(1.0), cycles=[told(100.0, Verb.WAKE), told(sleep_s, Verb.SLEEP)])
    fleet = replace(SETUP.policy.fleet, dwell_on_s=120.0)
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=fleet), reboots=((130.0, 3),))
    mine = setup.facts.feeder_names[setup.facts.feeder[3]]

    def broken(at_s, feeders):
        record.events = [
            (at_s, "mass_disconnect", None, f"9 of 40 miners stopped answering, by feeder {feeders}; dark")
        ]
        return [breach.at_s for breach in dwell_kept(setup, record)]

    missed_s = 130.0 + setup.sweep_s
    assert broken(missed_s + 1.0, f"other (4), {mine} (5)") == []
    assert broken(missed_s - 1.0, "other (9)") == [], "it may have joined them"
    assert broken(missed_s + 1.0, "other (9)") == [sleep_s]
    assert broken(missed_s + fleet.mass_disconnect_window_s + 1.0, f"{mine} (9)") == [sleep_s]


def test_while_blind_a_sleep_is_excused_by_a_load_that_passes_what_is_held_all_the_same():
    """Found by harsh seed 4059: late boots took the load above the held set-point, in spite of the sleep."""
    held_w = 0.5 * RATED_W
    sleep = replace(told(160.0, Verb.SLEEP), setpoint_w=held_w, cap_w=held_w, fail_safe="frozen_up")
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_on_s=120.0)))

    def broken(row, then):
        record = written(lambda t_s: (0.49 if t_s < 163.0 else then) * RATED_W, cycles=[told(100.0, Verb.WAKE), row])
        return [breach.at_s for breach in dwell_kept(setup, record)]

    assert broken(sleep, 0.52) == []
    assert broken(sleep, 0.49) == [160.0]
    assert broken(replace(sleep, fail_safe="good"), 0.52) == [160.0]


def test_a_wake_that_cannot_have_arrived_begins_no_stay():
    """Found by harsh seed 4736: one that was restarting came up hashing by itself, and was put to sleep when heard."""
    record = written(falling(1.0), cycles=[told(100.0, Verb.WAKE), told(150.0, Verb.SLEEP)])
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_on_s=120.0)))

    def broken(began_s, miner=3):
        return [breach.at_s for breach in dwell_kept(replace(setup, reboots=((began_s, miner),)), record)]

    off_s = min(setup.fleet.response_scale or (1.0,)) * setup.fleet.models[3].response.reboot_off.low_s
    assert broken(99.0) == []
    assert broken(99.0, miner=4) == [150.0]
    assert broken(101.0) == [150.0], "it was there when it was told"
    assert broken(102.0 - off_s) == [150.0], "it may have been there again"


def test_what_a_start_holds_until_everybody_was_read_is_a_limit_and_is_none_later():
    """Found by harsh seed 4802: three were not read for 30 s, and boots brought a quarter more than was held."""
    held_w = 0.4 * RATED_W
    sleep = replace(told(160.0, Verb.SLEEP), setpoint_w=held_w, bound="hold")
    setup = replace(SETUP, policy=replace(SETUP.policy, fleet=replace(SETUP.policy.fleet, dwell_on_s=120.0)))

    def broken(row, load_w, died_s):
        record = written(lambda t_s: load_w, cycles=[told(100.0, Verb.WAKE), row])
        return [breach.at_s for breach in dwell_kept(replace(setup, crashes=(Crash(died_s, 5.0),)), record)]

    assert broken(sleep, 1.1 * held_w, 145.0) == []
    assert broken(sleep, 0.9 * held_w, 145.0) == [160.0], "nothing has to come off"
    assert broken(sleep, 1.1 * held_w, 100.0) == [160.0], "who was not read by then is not waited for"
    assert broken(replace(sleep, bound="surplus"), 1.1 * held_w, 145.0) == [160.0]


def test_an_order_that_lowers_one_out_of_reach_is_not_taken_for_obeyed():
    """Found by harsh seed 4619: a switch died on four that were trimmed, and no site meter told what became of it."""
    site = Site(SETUP)
    fleet = site.state.fleet
    fleet.from_w[:3], fleet.to_w[:3], fleet.verb[:3] = 3_000.0, (1_000.0, 1_000.0, 3_200.0), 3
    fleet.condition[:3] = (Condition.HASHING, Condition.UNREACHABLE, Condition.UNREACHABLE)
    fleet.to_w[3:] = 0.0
    assert committed_w(site.state) == 1_000.0 + 3_000.0 + 3_200.0
