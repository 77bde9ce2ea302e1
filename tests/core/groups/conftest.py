"""Fifteen miners on one feeder, 3.5 kW each; the three worst tell no watts, are not trimmed, and sleep first."""

from __future__ import annotations

import pytest

from controller.domain.command import Verb
from controller.domain.fleet import Verdict

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
