"""A feeder's meter as the witness of miners that tell no watts: who is found out, told again and quarantined."""

from __future__ import annotations

import pytest

from controller.core import checkpoint, figures
from controller.domain.command import CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, GroupVerdict, Verdict
from tests.core.builders import WALL
from tests.core.groups.conftest import (
    AWAKE_W,
    BLIND,
    COUNT,
    EASY_W,
    FIRST,
    SECOND,
    THIRD,
    put_to_sleep,
    quarantined,
    said,
    told,
    until,
    verdict,
)


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
    site.spare_w = 49_500.0
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
