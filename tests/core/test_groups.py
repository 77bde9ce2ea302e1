"""A feeder's meter as the witness of miners that tell no watts: proof, accusation, and when nobody may be accused.

Fifteen miners on one feeder, 3.5 kW each; the three worst tell no watts, are not trimmed, and sleep first.
"""

from __future__ import annotations

import pytest

from controller.core import checkpoint, figures
from controller.domain.fleet import CommandReport, Condition, GroupVerdict, Outcome, ResponseClass, Verb, Verdict
from controller.domain.metering import Point, Quality, Sample
from tests.core.conftest import WALL

BLIND = {"trims": False, "reports_power": False}
COUNT = 15
FIRST, SECOND, THIRD = 14, 13, 12  # as they go to sleep
AWAKE_W = 3_500.0
LOWEST_W = 35_500.0  # everybody hashing, the twelve others at their lowest rung
EASY_W = 45_000.0  # twelve that trim make up for three that lie, and nobody needs to wake
LONG_S = 300


@pytest.fixture
def build(kit):
    def made(asleep=(), extra_w=0.0, rating_w=100_000, dwell_off_s=1e6, spare_w=EASY_W):
        facts = kit.fleet(COUNT, odd=dict.fromkeys((THIRD, SECOND, FIRST), BLIND), feeder_rating_w=(rating_w,))
        fleet = {"attempts_max": 2, "tolerance_ratio": 0.04, "dwell_off_s": dwell_off_s}
        policy = kit.policy(inputs={"frozen_after_s": 1e6}, fleet=fleet, rated_w=60_000, site_cap_w=60_000)
        hashing = [row not in asleep for row in range(COUNT)]
        site = kit.site(policy, facts, hashing=hashing, surplus_w=spare_w if asleep else 60_000)
        site.metered.add(0)
        site.feeder_extra_w = extra_w
        site.cycles(20)
        return site

    return made


def put_to_sleep(site, count):
    """The worst `count` go to sleep in one cycle; then there is enough for all who are left."""
    site.spare_w = LOWEST_W - (count - 1) * (AWAKE_W - 50) - 1_000.0
    before = len(told(site))
    site.cycle()
    site.spare_w = EASY_W
    assert len(told(site)) - before == count


def told(site, verb=Verb.SLEEP):
    return [command.miner for command in site.sent if command.verb is verb]


def said(site, name):
    return [event for decision in site.decisions for event in decision.events if event.name == name]


def verdict(site):
    return site.decisions[-1].feeders[0].verdict


def quarantined(site):
    return [row for row in range(len(site.facts)) if site.state.fleet.verdict[row] == Verdict.QUARANTINED]


def until(site, condition):
    for _ in range(LONG_S):
        if condition():
            return
        site.cycle()
    raise AssertionError("it never came to that")


# --- proof ----------------------------------------------------------------------------------------------------------


def test_sleepers_are_proved_together_once_the_meter_agrees(build):
    site = build()
    assert verdict(site) == "proved", "with everybody hashing there is nothing to doubt"
    put_to_sleep(site, 3)
    assert verdict(site) == "proved", "of those before; nobody has been believed asleep since"
    until(site, lambda: site.decisions[-1].feeders[0].unproved == 3)
    site.cycle()
    assert verdict(site) == "unproven"
    site.cycles(25)
    report = site.decisions[-1].feeders[0]
    assert (report.verdict, report.unproved, report.excess_w) == ("proved", 0, 0.0)
    assert report.load_w == pytest.approx(report.believed_w, rel=0.03)
    assert report.proved_age_s is not None and report.proved_age_s < 10.0
    assert site.state.fleet.sleep_proved[THIRD:].all()
    assert not site.state.fleet.sleep_proved[:THIRD].any()


def test_a_feeder_without_a_meter_is_never_spoken_of(build):
    site = build()
    site.metered.clear()
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    site.spare_w = 20_000.0
    site.cycles(LONG_S)
    assert site.decisions[-1].feeders == ()
    assert quarantined(site) == []
    assert site.load_w() <= 20_000.0, "the site meter holds the limit all the same"


@pytest.mark.parametrize("finding", ["lost", "bad", "uncertain", "beyond the rating", "negative", "still"])
def test_a_meter_that_cannot_be_believed_proves_nothing_accuses_nobody_and_stops_nothing(build, finding):
    site = build()
    value = site.feeders()[0].value
    shown = {
        "lost": lambda now: None,
        "bad": lambda now: Sample(None, now, Quality.BAD, "f"),
        "uncertain": lambda now: Sample(value, now, Quality.UNCERTAIN, "f"),
        "beyond the rating": lambda now: Sample(3e5 + now, now, Quality.GOOD, "f"),
        "negative": lambda now: Sample(-5.0 - now, now, Quality.GOOD, "f"),
        "still": lambda now: Sample(value, now, Quality.GOOD, "f"),
    }[finding]
    site.feeders = lambda: {} if shown(site.now) is None else {0: shown(site.now)}
    put_to_sleep(site, 3)
    site.spare_w = 20_000.0
    site.cycles(LONG_S)
    assert said(site, "feeder_contradicts") == said(site, "miner_stuck") == []
    assert site.load_w() <= 20_000.0
    assert not site.state.fleet.sleep_proved.any()
    assert site.state.groups.verdict[0] != GroupVerdict.CONTRADICTED


def test_one_that_nobody_can_reach_leaves_the_group_unproven(build):
    site = build()
    site.silent.add(0)
    site.cycles(70)
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    site.cycles(LONG_S)
    assert not site.state.fleet.sleep_proved.any()
    assert quarantined(site) == []
    site.silent.clear()
    site.cycles(40)
    assert verdict(site) == "contradicted"


def test_what_hangs_on_a_feeder_beside_its_miners_is_learned_and_proves_nothing_of_who_slept_before(build):
    site = build(asleep=[FIRST], extra_w=6_000.0)
    report = site.decisions[-1].feeders[0]
    assert report.rest_w == pytest.approx(6_000.0, abs=5.0)
    assert (report.verdict, report.unproved, report.excess_w) == ("unproven", 1, 0.0)
    site.spare_w = LOWEST_W - 5_000.0
    site.cycle()
    site.spare_w = EASY_W
    assert told(site) == [SECOND]
    site.cycles(40)
    assert site.state.fleet.sleep_proved.nonzero()[0].tolist() == [SECOND]


def test_where_nothing_else_hangs_those_are_proved_too_that_slept_before(build):
    site = build(asleep=range(3, COUNT), spare_w=11_500.0)
    site.cycles(10)
    assert int(site.hashing.sum()) == 3
    assert (verdict(site), site.decisions[-1].feeders[0].unproved) == ("proved", 0)


def test_a_feeder_carries_no_more_than_its_meter_leaves_room_for(build):
    for rating_w, woken in ((62_000, [FIRST]), (57_000, [])):
        site = build(asleep=[FIRST], extra_w=6_000.0, rating_w=rating_w, dwell_off_s=0.0)
        site.cycles(60)
        site.spare_w = 90_000.0
        site.cycles(200)
        assert told(site, Verb.WAKE) == woken


# --- accusation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("liars", [[FIRST], [SECOND, FIRST], [THIRD, SECOND, FIRST]])
def test_who_must_have_lied_is_told_again_then_quarantined_and_its_watts_count(build, liars):
    site = build()
    site.liars.update(liars)
    put_to_sleep(site, len(liars))
    site.cycles(60)
    assert quarantined(site) == liars
    stuck = said(site, "miner_stuck")
    assert sorted(event.miner for event in stuck) == [f"m{miner}" for miner in liars]
    assert "feeder-0 shows that it draws on" in stuck[0].text
    for miner in liars:
        assert told(site).count(miner) == 2
        assert site.state.fleet.to_w[miner] == pytest.approx(AWAKE_W)
    floor_w = figures.floor_w(site.facts, site.state, site.engine.policy)
    assert floor_w == pytest.approx(1_000 + len(liars) * AWAKE_W + (COUNT - len(liars)) * 50, rel=0.03)
    assert site.load_w() <= site.spare_w
    reports = [report for decision in site.decisions for report in decision.verdicts if report.miner in liars]
    assert [report.verdict for report in reports].count("stuck") == 2 * len(liars)
    report = site.decisions[-1].feeders[0]
    assert report.believed_w == pytest.approx(report.load_w, rel=0.03)


def test_who_sleeps_after_all_is_proved_and_its_record_cleared(build):
    site = build()
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    until(site, lambda: site.state.fleet.caught[FIRST])
    assert site.state.fleet.to_w[FIRST] == AWAKE_W
    site.liars.clear()
    site.lying.clear()
    site.set_hashing(FIRST, False, times=(1.0, 3.0))
    site.cycles(40)
    assert quarantined(site) == []
    fleet = site.state.fleet
    assert (fleet.attempts[FIRST], bool(fleet.caught[FIRST]), bool(fleet.sleep_proved[FIRST])) == (0, False, True)
    assert fleet.to_w[FIRST] == 50
    assert len(said(site, "feeder_agrees")) == 1


def test_nobody_is_accused_when_only_some_can_have_lied(build):
    site = build()
    site.liars.add(SECOND)
    put_to_sleep(site, 2)
    site.cycles(60)
    assert quarantined(site) == []
    assert not site.state.fleet.caught.any()
    (event,) = said(site, "feeder_contradicts")
    assert "m14" in event.text and "m13" in event.text and "feeder-0" in event.text
    report = site.decisions[-1].feeders[0]
    assert report.verdict == "contradicted"
    assert report.excess_w == pytest.approx(AWAKE_W, rel=0.3)
    floor_w = figures.floor_w(site.facts, site.state, site.engine.policy)
    assert floor_w == pytest.approx(1_000 + COUNT * 50 + report.excess_w), "nobody can be told to take it off"


def test_it_is_found_out_when_the_honest_one_wakes(build):
    site = build(dwell_off_s=0.0)
    site.liars.add(FIRST)
    put_to_sleep(site, 2)
    site.cycles(60)
    assert verdict(site) == "contradicted"
    site.spare_w = 55_000.0
    until(site, lambda: SECOND in told(site, Verb.WAKE))
    site.cycles(90)
    assert quarantined(site) == [FIRST]
    assert site.state.groups.excess_w[0] == 0.0


def test_all_are_proved_when_the_one_that_lied_sleeps_after_all(build):
    site = build()
    site.liars.add(SECOND)
    put_to_sleep(site, 2)
    site.cycles(60)
    site.lying.clear()  # it shows that it hashes, and is told again
    site.liars.clear()
    site.cycles(40)
    assert quarantined(site) == []
    assert site.state.fleet.sleep_proved.nonzero()[0].tolist() == [SECOND, FIRST]
    assert verdict(site) == "proved"
    (event,) = said(site, "feeder_agrees")
    assert event.text.startswith("feeder feeder-0 draws what its miners do")


def test_another_load_on_the_feeder_is_said_and_nobodys_fault_who_sleeps_later(build):
    site = build()
    site.feeder_extra_w = 3 * (AWAKE_W - 50)
    site.cycles(40)
    (event,) = said(site, "feeder_contradicts")
    assert event.text.endswith("who says that it sleeps and may not: none of its miners")
    put_to_sleep(site, 3)
    site.cycles(60)
    assert quarantined(site) == []
    assert site.state.fleet.sleep_proved[THIRD:].all()
    site.feeder_extra_w = 0.0
    site.cycles(40)
    assert verdict(site) == "proved"
    assert said(site, "miner_stuck") == []


def test_a_proved_sleeper_that_draws_again_is_named_and_not_proved_any_more(build):
    site = build()
    put_to_sleep(site, 3)
    site.cycles(40)
    site.lying.add(SECOND)
    site.set_hashing(SECOND, True, 3)
    site.cycles(30)
    (event,) = said(site, "feeder_contradicts")
    assert event.text.endswith("m12, m13, m14")
    assert not site.state.fleet.sleep_proved.any()
    assert quarantined(site) == []
    assert (verdict(site), site.decisions[-1].feeders[0].unproved) == ("unproven", 3)


def test_one_that_slept_when_the_meter_last_agreed_and_lies_the_next_time_is_the_one(build):
    """It is not what it drew at the last agreement that makes a suspect, but what it may have done since."""
    site = build(dwell_off_s=0.0)
    put_to_sleep(site, 2)
    site.cycles(40)
    assert site.state.fleet.sleep_proved[SECOND:].all()
    site.feeders = dict  # lost while one of them wakes and sleeps again
    site.spare_w = 52_000.0
    until(site, lambda: site.hashing[SECOND] and site.state.fleet.verdict[SECOND] == Verdict.SETTLED)
    site.liars.add(SECOND)
    site.spare_w = 30_000.0
    until(site, lambda: told(site)[-1] == SECOND)
    site.spare_w = EASY_W
    del site.feeders
    site.cycles(60)
    assert site.state.fleet.caught[SECOND] or SECOND in quarantined(site)
    assert FIRST not in quarantined(site)
    assert THIRD not in quarantined(site)


def test_one_that_fell_asleep_by_itself_is_named_and_not_accused(build):
    site = build()
    site.lying.add(FIRST)
    site.cycles(40)
    (event,) = said(site, "feeder_contradicts")
    assert event.text.endswith("m14")
    assert site.sent == []
    assert quarantined(site) == []


def test_an_attempt_that_never_reached_the_miner_is_none_and_wakes_nobody(build, kit):
    site = build()
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    until(site, lambda: told(site).count(FIRST) == 2)
    for _ in range(5):
        again = site.sent[-1]
        report = CommandReport(again.command_id, FIRST, Outcome.WITHHELD, None, site.now, "held")
        site.cycle(reports=(report,))
        assert not site.state.fleet.want_hashing[FIRST]
    assert told(site, Verb.WAKE) == []
    assert site.state.fleet.to_w[FIRST] == AWAKE_W
    assert quarantined(site) == []


def test_one_whose_second_order_never_arrived_is_told_once_more_and_then_quarantined(build, kit):
    site = build()
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    until(site, lambda: told(site).count(FIRST) == 2)
    site.cycle(reports=(kit.report(site.sent[-1], Outcome.UNREACHABLE, site.now),))
    until(site, lambda: quarantined(site))
    assert (quarantined(site), told(site).count(FIRST)) == ([FIRST], 3)


def test_when_only_some_obey_the_second_time_nobody_is_accused(build):
    """A deficit of two lies out of three says that two sleep, and not which."""
    site = build()
    site.liars |= {FIRST, SECOND, THIRD}
    put_to_sleep(site, 3)
    until(site, lambda: site.state.fleet.caught[THIRD:].all())
    site.liars -= {FIRST, SECOND}
    for miner in (FIRST, SECOND):
        site.set_hashing(miner, False, times=(1.0, 3.0))
    site.cycles(120)
    assert quarantined(site) == []
    assert site.state.groups.excess_w[0] == pytest.approx(AWAKE_W - 50, rel=0.05)
    assert all(name in said(site, "feeder_contradicts")[-1].text for name in ("m12", "m13", "m14"))
    site.spare_w = 3_000.0
    site.cycles(60)
    assert site.hashing.nonzero()[0].tolist() == [THIRD], "it lies, and everybody else makes up for it"


def test_who_comes_out_of_quarantine_and_still_lies_is_named_again(build):
    site = build()
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    until(site, lambda: quarantined(site))
    for _ in range(700):
        if not quarantined(site):
            break
        site.cycle()
    before = told(site).count(FIRST)
    site.cycles(60)
    assert told(site).count(FIRST) > before
    assert site.state.fleet.to_w[FIRST] == AWAKE_W
    assert quarantined(site) == [FIRST]


@pytest.mark.parametrize("who", [[FIRST], [FIRST, SECOND, THIRD]])
@pytest.mark.parametrize(("speed", "proof_s"), [(0.5, 12.0), (0.5, 13.0), (0.7, 14.0), (1.0, 16.0)])
def test_who_said_no_at_first_is_not_convicted_by_its_own_obedience(kit, speed, proof_s, who):
    """Its watts are booked when it is seen asleep; the meter follows as it falls."""
    slow = ResponseClass("slow", 4, 4, 25, 60, 25, 60, 50)
    blind = {"trims": False, "reports_power": False, "response": slow}
    facts = kit.fleet(
        COUNT,
        odd=dict.fromkeys(range(9, COUNT), blind),
        feeders=[1] * 9 + [0] * 6,
        feeder_rating_w=(100_000, 100_000),
    )
    fleet = {"attempts_max": 2, "tolerance_ratio": 0.15, "dwell_off_s": 1e6, "tolerance_w": 100.0}
    policy = kit.policy(inputs={"frozen_after_s": 1e6}, fleet=fleet, rated_w=60_000, site_cap_w=60_000)
    site = kit.site(policy, facts, hashing=[True] * COUNT, surplus_w=60_000)
    site.metered.add(0)
    site.cycles(20)
    site._times = lambda command: (4 * speed, 4 * speed) if command.miner >= 9 else (1.0, 3.0)
    site.deaf |= set(who)
    site.spare_w = 39_500.0 - (len(who) - 1) * (AWAKE_W - 50)
    refused = [each for each in site.cycle().commands if each.verb is Verb.SLEEP]
    assert sorted(each.miner for each in refused) == sorted(who)
    site.spare_w = 42_000.0
    site.deaf.clear()
    site.cycle(reports=tuple(kit.report(each, Outcome.REFUSED, site.now) for each in refused))
    until(site, lambda: all(told(site).count(miner) == 2 for miner in who))
    site.silent |= set(who)
    rest_w = float(site.state.groups.rest_w[0])
    site.cycles(int(proof_s))
    assert site.state.groups.rest_w[0] == rest_w, "as it falls, nothing else was switched off"
    site.silent.clear()
    site.cycles(60)
    assert said(site, "feeder_contradicts") == []
    assert quarantined(site) == []
    assert set(site.state.fleet.to_w[who]) == {50}


@pytest.mark.parametrize("idle_share", [0.1, 0.25, 0.45])
def test_miners_that_lost_their_pools_make_no_liars_of_each_other(kit, idle_share):
    """They count at their rung, as far as anybody knows, and draw a part of it: their sleep takes little off."""
    facts = kit.fleet(
        COUNT,
        odd=dict.fromkeys(range(9, COUNT), BLIND),
        feeders=[1] * 9 + [0] * 6,
        feeder_rating_w=(100_000, 100_000),
    )
    fleet = {"attempts_max": 2, "dwell_off_s": 1e6}
    policy = kit.policy(inputs={"frozen_after_s": 1e6}, fleet=fleet, rated_w=60_000, site_cap_w=60_000)
    site = kit.site(policy, facts, hashing=[True] * COUNT, surplus_w=60_000)
    site.metered.add(0)
    site.cycles(20)
    rest_w = float(site.state.groups.rest_w[0])
    site.poolless, site.idle_share = set(range(9, COUNT)), idle_share
    site.cycles(60)
    assert site.state.groups.rest_w[0] == rest_w, "what nobody knows is not booked against the feeder"
    for spare_w in (22_000.0, 19_500.0, 10_000.0, 3_000.0):
        site.spare_w = spare_w
        site.cycles(60)
    assert said(site, "miner_stuck") == said(site, "feeder_contradicts") == []
    assert quarantined(site) == []
    assert site.state.groups.excess_w.max() == 0.0
    assert site.load_w() <= 3_000.0


def test_a_feeder_that_shows_less_than_its_miners_draw_owes_nobody_anything(build):
    """A rest far below nothing is a wrong belief; once that is over, it would look like as many lies."""
    site = build()
    put_to_sleep(site, 3)
    site.cycles(40)
    site.feeder_extra_w = -12_000.0
    site.cycles(40)
    assert site.state.groups.rest_w[0] > -6_000.0


@pytest.mark.parametrize("gone", ["meter", "stranger"])
def test_what_a_feeder_once_showed_holds_nobody_up_when_it_is_shown_no_more(build, kit, gone):
    """The excess stays on the books; the site meter says that nobody draws it any more."""
    site = build(dwell_off_s=0.0)
    site.liars.add(SECOND)
    put_to_sleep(site, 2)
    site.cycles(60)
    assert site.state.groups.excess_w[0] > 0.0
    if gone == "meter":
        site.feeders = dict
    else:
        site.strangers[11] = "another machine"
    site.cycles(5)
    site.lying.clear()
    site.liars.clear()
    site.cycles(60)
    site.spare_w = 1_000.0
    site.cycles(90)
    ours = [row for row in site.hashing.nonzero()[0] if row not in site.strangers]
    assert ours == []
    site.spare_w = EASY_W
    site.cycles(60)
    for _ in range(30):
        site.extra[Point.TRIP] = kit.sample(1.0, site.now + 1.0)
        site.cycle()
    assert [row for row in site.hashing.nonzero()[0] if row not in site.strangers] == []


def test_a_meter_that_froze_never_turns_sleepers_into_liars(build):
    """It froze while they hashed: everything they took off would look like a lie."""
    site = build()
    shown = site.feeders()[0].value
    site.feeders = lambda: {0: Sample(shown, site.now, Quality.GOOD, "f")}
    put_to_sleep(site, 3)
    site.cycles(LONG_S)
    assert sorted(told(site)) == [THIRD, SECOND, FIRST]
    assert said(site, "miner_stuck") == []


def test_who_is_in_quarantine_for_lying_draws_what_it_drew_after_a_restart_too(build):
    site = build()
    site.liars.add(FIRST)
    put_to_sleep(site, 1)
    until(site, lambda: quarantined(site))
    record = checkpoint.to_record(site.facts, site.state, site.now)
    site.state = checkpoint.from_record(site.facts, record, site.now, WALL + site.now)
    assert site.state.groups.verdict[0] == GroupVerdict.UNPROVEN
    site.cycles(40)
    assert site.state.fleet.condition[FIRST] == Condition.ASLEEP
    assert site.state.fleet.to_w[FIRST] == AWAKE_W
    assert quarantined(site) == [FIRST]


def test_two_feeders_are_judged_each_by_its_own_meter(kit):
    facts = kit.fleet(4, feeders=(0, 1, 0, 1), feeder_rating_w=(50_000, 50_000), odd=dict.fromkeys((2, 3), BLIND))
    site = kit.site(kit.policy(inputs={"frozen_after_s": 1e6}), facts, hashing=[True] * 4, surplus_w=40_000)
    site.metered |= {0, 1}
    site.cycles(20)
    site.liars.add(3)
    site.spare_w = 5_500.0
    site.cycle()
    assert set(told(site)) >= {2, 3}
    site.cycles(30)
    assert verdict(site) == "proved"
    assert bool(site.state.fleet.sleep_proved[2])
    assert bool(site.state.fleet.caught[3])
    assert not site.state.fleet.caught[2]
