"""One that loses its power for a moment, and nobody with it, boots to where it was: it is no crowd, and no culprit."""

from __future__ import annotations

import pytest

from controller.domain.command import Verb
from controller.domain.fleet import Verdict
from tests.core.mass.conftest import RATED_W


@pytest.fixture
def restarted(block):
    """A trim was on its way to the one that went. Returns the site as it answers again, and which it is."""
    site = block(attempts_max=2)
    site.spare_w -= 3_000.0
    site.cycle()
    miner = site.sent[0].miner
    assert site.sent[0].verb is Verb.TRIM
    site.trip([miner])
    site.power([miner])
    site.run_until(lambda: not site.unreachable(miner), 60)
    return site, miner


def test_it_is_not_judged_for_a_trim_nor_trimmed_before_it_is_up(restarted):
    """Found by harsh seed 4181: a trim that failed because it had restarted, another as it booted, and it was out."""
    site, miner = restarted
    site.spare_w += 3_000.0
    rung_w = float(site.facts.level_power_w[miner, site.level[miner]])
    trimmed_at_w = []
    for _ in range(80):
        drawn_w = float(site.draws_w()[miner])
        decision = site.cycle()
        trimmed_at_w += [drawn_w for command in decision.commands if command.miner == miner]
        assert not site.state.fleet.attempts[miner]
        assert site.state.fleet.verdict[miner] in (Verdict.SETTLED, Verdict.APPROACHING)
    assert trimmed_at_w and min(trimmed_at_w) >= 0.85 * rung_w
    assert not site.names()["miner_stuck"]
    assert site.load_w() == pytest.approx(57_200.0, abs=300.0)


def test_a_limit_above_it_keeps_room_for_its_boot(block, kit):
    """Two of a feeder's five restart; the others could take what those draw no more, until these are up again."""
    facts = kit.fleet(20, feeders=[1] * 5 + [0] * 15, feeder_rating_w=(1_000_000, 14_500))
    site = block(facts=facts, hashing=20, surplus_w=RATED_W)
    site.cycles(60)
    lowest = [miner for miner in range(5) if site.draws_w()[miner] > 2_900.0][:2]
    site.trip(lowest)
    site.power(lowest)
    feeder_w = []
    for _ in range(150):
        site.cycle()
        feeder_w.append(float(site.draws_w()[:5].sum()))
    assert max(feeder_w) <= 1.01 * 14_500


def test_one_that_comes_back_as_it_was_is_trimmed_at_once(block):
    site = block(attempts_max=2)
    site.unplugged = {15}
    site.cycles(10)
    site.unplugged.clear()
    site.spare_w -= 3_000.0
    site.cycle()
    assert 15 in {command.miner for command in site.sent if command.verb is Verb.TRIM}


def test_one_that_slept_and_comes_back_hashing_is_put_to_sleep_at_first_sight(block):
    """Found by harsh seed 4761: the third reading said that it was no noise, and it drew above a cap for all three."""
    site = block(sweep_s=5)
    site.trip([18])
    site.cycles(30)
    site.power([18])
    site.ends_as[18] = True
    site.run_until(lambda: not site.unreachable(18), 40)
    site.cycles(6)
    assert [command.verb for command in site.commands_to([18])] == [Verb.SLEEP]
    assert site.names()["miner_drifted"] == 1


def test_one_reading_of_a_sleeper_that_was_there_all_the_time_is_no_drift(block):
    site = block()
    site.hashing[18] = True
    site.cycle()
    site.hashing[18] = False
    site.cycles(10)
    assert not site.commands_to([18])
