"""A start on a site that runs: until all were looked at once, nobody is woken in the place of who hashes unseen."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.command import Verb
from controller.domain.metering import Point

STALE_S = 60.0  # telemetry_stale of the small site: who was not read by then has to be done without


def woken(site):
    return [command.miner for command in site.sent if command.verb is Verb.WAKE]


def test_a_running_site_of_which_a_part_is_read_first_wakes_nobody(kit):
    site = kit.site(hashing=(False, True, True, True), surplus_w=11_500.0)
    site.level[:] = 1  # trimmed: raised again, the three that hash are enough for the surplus
    site.from_w = np.where(site.hashing, 2_500.0, site.from_w)
    site.silent = {2, 3}
    site.cycles(10)
    assert site.sent == []
    assert site.decisions[-1].setpoint.source == "2 miners not read yet"
    site.silent = set()
    site.cycles(60)
    assert woken(site) == []
    assert site.load_w() > 11_000.0


def test_a_miner_that_nobody_can_read_does_not_keep_the_site_down_for_ever(kit):
    site = kit.site(hashing=(True, True, False, False), surplus_w=15_000.0)
    site.silent = {3}
    site.cycles(int(STALE_S))
    assert site.sent == []
    site.cycles(60)
    assert woken(site) == [2]


def test_who_is_first_read_while_the_site_meter_says_nothing_was_in_what_it_said_last(kit):
    """Found by harsh seed 4397: a fast fall at the start put the powers out of balance for a moment, and who was read
    meanwhile counted a second time; others were put to sleep for it, and raised again faster than the ramp."""
    site = kit.site(hashing=(True,) * 4, surplus_w=20_000.0)
    site.silent = {2, 3}
    site.cycles(2)
    site.meter_lost = {Point.SITE_LOAD_W}
    site.cycles(4)  # longer than a reading of it is believed
    site.silent = set()
    for decision in site.cycles(3):
        assert decision.figures.expected_w == pytest.approx(site.load_w(), rel=0.01)
    assert site.sent == []


def test_before_any_site_meter_nobody_is_taken_for_a_part_of_what_it_said(kit):
    """The configured auxiliaries that stand in for it hold no miner."""
    site = kit.site(hashing=(True,) * 4, surplus_w=20_000.0)
    site.meter_lost = {Point.SITE_LOAD_W}
    site.state.offset_w = float(kit.auxiliary_w)
    site.cycles(3)
    assert site.state.offset_w == kit.auxiliary_w
