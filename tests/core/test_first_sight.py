"""A start on a site that runs: until all were looked at once, nobody is woken in the place of who hashes unseen."""

from __future__ import annotations

import numpy as np

from controller.domain.fleet import Verb

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
