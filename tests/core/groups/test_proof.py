"""A feeder's meter as the witness of miners that tell no watts: whom it proves, and when it proves nothing."""

from __future__ import annotations

import pytest

from controller.domain.command import Verb
from controller.domain.fleet import GroupVerdict
from controller.domain.metering import Quality, Sample
from tests.core.groups.conftest import (
    COUNT,
    EASY_W,
    FIRST,
    LONG_S,
    LOWEST_W,
    SECOND,
    THIRD,
    put_to_sleep,
    quarantined,
    said,
    told,
    until,
    verdict,
)


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
