"""A restart believes no input that was in doubt before, and none that nothing speaks for yet."""

from __future__ import annotations

import json

import pytest

from controller.core import checkpoint, failsafe, offset
from controller.core.estimator import SLEEP
from controller.core.fleet_state import NO_COMMAND
from controller.domain.command import Verb
from controller.domain.dispatch import DispatchKind, RejectCode
from controller.domain.metering import Point, Quality
from tests.core.builders import WALL
from tests.core.failsafe.conftest import CALM, FALLBACK, FROZEN, GOOD, HOLD, Watch, health

LOST = {"missing": ("poi_export_w",)}


def back(facts, state, taken_at, now):
    """What resume makes of the checkpoint of `taken_at`, `now`."""
    record = json.loads(json.dumps(checkpoint.to_record(facts, state, taken_at), allow_nan=False))
    state = checkpoint.from_record(facts, record, taken_at, WALL)
    state.started_at = state.now = now
    return state


def restarted(watch, away_s=5.0):
    watch.now += away_s
    watch.state = back(watch.kit.fleet(1), watch.state, watch.now - away_s, watch.now)


@pytest.mark.parametrize("away_s", [1.0, 3_600.0])
@pytest.mark.parametrize(("lost_s", "state"), [(15, FROZEN), (40, FALLBACK)])
def test_an_input_in_doubt_is_believed_only_after_the_rearm_time_of_the_new_start(watch, lost_s, state, away_s):
    for _ in range(lost_s):
        watch.see(**LOST)
    watch.calm(8)
    restarted(watch, away_s)
    assert [health(watch.see(), "poi").state for _ in range(11)] == [state] * 10 + [GOOD]


def test_an_input_that_stays_lost_goes_on_from_where_it_was(watch):
    for _ in range(20):
        watch.see(**LOST)
    restarted(watch, 8.0)
    seen = [health(watch.see(**LOST), "poi").state for _ in range(4)]
    assert seen == [FROZEN, FROZEN, FROZEN, FALLBACK], "28 s at the start, and 3 s to be read"


def test_a_stop_makes_a_good_input_no_worse(watch):
    watch.calm(20)
    restarted(watch, 3_600.0)
    assert failsafe.assess(watch.state, watch.policy, {}, None, watch.now).worst is HOLD
    assert watch.see().worst is GOOD


def test_a_fallback_under_way_goes_on_across_a_restart_and_does_not_wait_for_its_turn_again(kit):
    site = kit.site(kit.policy(inputs={"fallback_offset_s": 20.0}), hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    site.meter_lost = {Point.POI_EXPORT_W}
    site.cycles(58)
    before_w = site.decisions[-1].setpoint.power_w
    assert 6_000.0 < before_w < 14_000.0, "on its way"
    site.state = back(site.facts, site.state, site.now, site.now + 5.0)
    site.now += 5.0
    site.cycles(30)
    assert site.decisions[-1].setpoint.power_w == pytest.approx(5_000.0)
    assert site.load_w() <= 5_000.0
    site.meter_lost = set()
    rearming = site.cycles(10)
    assert {decision.fail_safe for decision in rearming} == {FALLBACK}
    assert not any(command.raises for decision in rearming for command in decision.commands)


@pytest.mark.parametrize("anew", [True, False], ids=["first start", "restart"])
def test_a_heart_that_was_not_seen_to_beat_since_the_start_is_not_believed(kit, anew):
    watch = Watch(kit)
    if not anew:
        assert [watch.see(dcs_heartbeat=beat).worst for beat in (1.0, 2.0, 3.0)] == [HOLD, GOOD, GOOD]
        restarted(watch)
    stopped = [health(watch.see(dcs_heartbeat=7.0), "plant") for _ in range(40)]
    assert GOOD not in [entry.state for entry in stopped]
    assert [stopped[at].condition for at in (0, 39)] == ["not proved yet", "heartbeat stuck"]


def test_a_heart_that_stopped_before_a_restart_has_stood_still_for_as_long(kit):
    """Found by harsh seed 4536: what the plant said was taken for good until its heart was found to stand still again,
    and the fallback waited for its whole time from there."""
    watch = Watch(kit)
    for beat in (1.0, 2.0, 3.0):
        watch.see(dcs_heartbeat=beat)
    stopped = [health(watch.see(dcs_heartbeat=3.0), "plant").state for _ in range(25)]
    assert stopped[-1] is FROZEN
    restarted(watch)
    seen = [health(watch.see(dcs_heartbeat=3.0), "plant").state for _ in range(12)]
    assert seen == [FROZEN] * 11 + [FALLBACK], "33 s after it was last believed, as soon as it is known again"


def test_a_slow_heart_is_no_reason_not_to_lower(kit):
    """What a plant tells whose heart is still to be seen beating counts, and only raises wait."""
    watch = Watch(kit)
    trust = watch.see(dcs_heartbeat=7.0)
    assert trust.worst is HOLD
    assert Point.DESPATCH_EXPORT_W in trust.samples
    assert watch.see(dcs_heartbeat=8.0).worst is GOOD


@pytest.mark.parametrize("anew", [True, False], ids=["first start", "restart"])
def test_powers_that_never_added_up_since_the_start_are_not_believed(kit, anew):
    watch = Watch(kit)
    if not anew:
        watch.calm(10)
        restarted(watch)
    seen = [watch.see(site_load_w=50_000.0).worst for _ in range(20)]
    assert GOOD not in seen
    watch.calm(11)
    assert watch.see().worst is GOOD


def test_a_meter_that_stood_still_before_a_restart_has_stood_still_for_as_long(kit):
    watch = Watch(kit, inputs={"balance_after_s": 1e9})
    watch.see()
    watch.calm(58)
    restarted(watch)
    seen = health(watch.see(site_load_w=CALM["site_load_w"] + 500.0), "poi")
    assert (seen.state, seen.condition) == (HOLD, "frozen")


def asleep(kit):
    """One miner whose sleep has arrived and was not read yet, beside a site meter that stands still."""
    watch = Watch(kit, inputs={"balance_after_s": 1e9})
    fleet = watch.state.fleet
    fleet.verb[:], fleet.sent_at[:], fleet.from_w[:], fleet.to_w[:] = SLEEP, watch.now - 600.0, 3_500.0, 30.0
    watch.calm(70)
    return watch


def test_the_higher_end_that_a_checkpoint_keeps_of_a_sleep_under_way_is_no_load_that_moved(kit):
    """Found by harsh seed 4825: the site meter was taken for dead beside a fleet at rest, and kept it so for good."""
    watch = asleep(kit)
    restarted(watch)
    assert watch.state.fleet.to_w[0] == 3_500.0
    assert health(watch.see(poi_export_w=CALM["poi_export_w"] + 500.0), "site").state is GOOD
    offset.revise(watch.state, -3_470.0, watch.now)  # the first read
    watch.state.fleet.to_w[:] = 30.0
    assert health(watch.see(poi_export_w=CALM["poi_export_w"] + 500.0), "site").state is GOOD


def test_nor_is_the_whole_rung_of_a_wake_that_came_after_the_checkpoint(kit):
    watch = asleep(kit)
    watch.state.fleet.verb[:] = NO_COMMAND
    restarted(watch)
    checkpoint.replay_commands(kit.fleet(1), watch.state, [(7, kit.fleet(1).miner_ids[0], Verb.WAKE)])
    assert watch.state.fleet.to_w[0] > 3_000.0
    assert health(watch.see(poi_export_w=CALM["poi_export_w"] + 500.0), "site").state is GOOD


def test_what_moves_after_a_restart_still_shows_a_dead_site_meter(kit):
    watch = asleep(kit)
    restarted(watch)
    watch.state.fleet.to_w[:] = 30.0  # and slept after all
    assert health(watch.see(poi_export_w=CALM["poi_export_w"] + 500.0), "site").condition == "frozen"


def test_a_raised_contact_that_cannot_be_read_after_a_restart_stands(kit):
    watch = Watch(kit)
    watch.see(trip=1.0)
    restarted(watch)
    trust = watch.see(trip=1.0, qualities={"trip": Quality.BAD})
    assert trust.samples[Point.TRIP].value == 1.0
    assert watch.see(trip=0.0).samples[Point.TRIP].value == 0.0


def test_a_stepped_clock_is_waited_out_across_a_restart(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.wall_step_s = 100.0
    site.cycles(2)
    site.state = back(site.facts, site.state, site.now, site.now + 3.0)
    site.now += 3.0
    assert [decision.fail_safe for decision in site.cycles(6)] == [HOLD] * 5 + [GOOD]


def test_a_checkpoint_is_due_at_once_when_doubt_begins_or_ends_and_not_for_a_late_reading(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    states = [site.state]

    def cycles(count):
        due = []
        for _ in range(count):
            site.cycle()
            states.append(site.state)
            due.append(checkpoint.due_at_once(*states[-2:]))
        return due

    assert not any(cycles(5))
    site.meter_lost = {Point.POI_EXPORT_W}
    assert sum(cycles(40)) == 2, "stale, then gone"
    site.meter_lost = set()
    assert sum(cycles(20)) == 1


def test_a_release_that_left_nothing_in_force_is_not_answered_again_after_a_crash(kit):
    """Found by harsh seed 10321: the daemon died five seconds after it, and with it what it had answered."""
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    before = site.state
    release = site.receive(kit.order(DispatchKind.RELEASE, seq=12, issued_at=kit.wall + site.now))
    decision = site.cycle(received=(release,))
    assert [answer.status for answer in decision.answers] == ["RECEIVED", "ACCEPTED", "REACHED"]
    assert checkpoint.due_at_once(before, site.state)
    site.state = back(site.facts, site.state, site.now, site.now + 3.0)
    again = site.cycle(3.0, received=(release,)).answers[-1]
    assert (again.status, again.code, again.terminal) == ("REJECTED", RejectCode.INVALID_ID, False)
    before = site.state
    site.cycle()
    assert not checkpoint.due_at_once(before, site.state)


def test_a_checkpoint_of_an_earlier_program_begins_as_at_the_first_start(kit):
    watch = Watch(kit)
    for _ in range(40):
        watch.see(**LOST)
    facts = kit.fleet(1)
    record = checkpoint.to_record(facts, watch.state, watch.now)
    del record["trust"]
    watch.state = checkpoint.from_record(facts, record, watch.now, WALL)
    assert watch.see().worst is GOOD
